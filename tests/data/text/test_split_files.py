"""Folders with a file for each split."""

from pathlib import Path

import pytest

from torchatlas.data.text.split_files import own_splits, split_files, tell_splits
from torchatlas.errors import UserError


@pytest.mark.parametrize(
    "names",
    [
        ["train.txt", "valid.txt", "test.txt"],
        ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"],
        ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"],
        ["Train.txt", "dev.txt", "TEST.txt"],
        ["corpus_train.txt", "corpus_val.txt", "corpus_test.txt"],
    ],
)
def test_files_of_the_splits(names: list[str], tmp_path: Path) -> None:
    for name in (*names, "README.txt", "words.json", "other.txt"):
        (tmp_path / name).write_text(name)
    found = split_files(tmp_path)
    assert list(found) == ["train", "val", "test"]
    assert [path.name for path in found.values()] == names
    told = f"{tmp_path}: {', '.join(names)} are the splits (data.parts=files); 2 other texts there are left out"
    assert tell_splits(tmp_path, found) == told


def test_other_folders_have_none(tmp_path: Path) -> None:
    assert split_files(tmp_path / "nowhere") == {}
    for name in ("train.txt", "the_test.txt", "dev.md"):  # a train alone, and parts of other names
        (tmp_path / name).write_text(name)
    assert split_files(tmp_path) == {}


def test_two_texts_in_a_folder(tmp_path: Path) -> None:
    """As in the archive of Mikolov's examples."""
    for name in ("ptb.train.txt", "ptb.valid.txt", "ptb.char.train.txt", "ptb.char.valid.txt"):
        (tmp_path / name).write_text(name)
    with pytest.raises(UserError, match=r"the splits of two texts, as ptb\.char\.train\.txt and ptb\.train\.txt"):
        split_files(tmp_path)
    (tmp_path / "ptb.dev.txt").write_text("")
    with pytest.raises(UserError, match=r"holds ptb\.dev\.txt and ptb\.valid\.txt"):
        split_files(tmp_path)


def test_what_the_splits_are_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no files such as train\.txt.* use data\.parts=position"):
        own_splits(tmp_path, "files")
    with pytest.raises(UserError, match=r"data\.parts=folders must be files or position"):
        own_splits(tmp_path, "folders")
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text(name)
    assert list(own_splits(tmp_path, None)) == list(own_splits(tmp_path, "files")) == ["train", "test"]
    assert own_splits(tmp_path, "position") == {}
