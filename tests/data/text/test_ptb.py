"""Penn Treebank in the places where people have it."""

from pathlib import Path

import pytest

from torchatlas.data.text import ptb
from torchatlas.data.text.text_file import TextFile
from torchatlas.errors import UserError

LINES = " the <unk> cat has N lives \n mr. <unk> is n't there \n"


def write(folder: Path, start: str) -> None:
    folder.mkdir(parents=True)
    for name in ptb.NAMES.values():
        (folder / f"{start}{name}.txt").write_text(LINES * (20 if name == "train" else 10))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb, "TOKENS", {"train": 260, "val": 130, "test": 130})


@pytest.mark.parametrize(("folder", "start"), [("ptb", "ptb."), ("simple-examples/data", "ptb."), ("penn", "")])
def test_words_as_zaremba_counts_them(
    folder: str, start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each <unk> is a word, and <eos> is one at the end of each line."""
    caplog.set_level("INFO")
    write(tmp_path / folder, start)
    data = ptb.PTB(root=str(tmp_path), vocab_size=11, context=5, batch_size=2)
    data.prepare_data()
    data.setup()
    assert data.codec.words == ["<eos>", "N", "cat", "has", "is", "lives", "mr.", "n't", "the", "there", "<unk>"]
    assert "260 + 130 + 130 words for training, validation and test, of 11 kinds" in caplog.messages
    tokens = data.splits["test"].tokens
    assert len(tokens) == 130
    assert data.codec.decode(tokens[:13]) == "the <unk> cat has N lives\nmr. <unk> is n't there\n"
    # A text of one's own is the same text.
    size = TextFile.declare_vocab_size(str(tmp_path / folder), "word", parts=None)
    own = TextFile(path=str(tmp_path / folder), by="word", parts=None, vocab_size=size, context=5, batch_size=2)
    own.setup()
    assert own.codec.describe() == data.codec.describe()
    for split, part in data.splits.items():
        assert own.splits[split].tokens.tolist() == part.tokens.tolist()


def test_another_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "ptb", "ptb.")
    path = tmp_path / "ptb" / "ptb.valid.txt"
    path.write_text(LINES)
    with pytest.raises(UserError, match=r"valid\.txt has 13 words and ends of lines .* 130 .*data=text_file"):
        ptb.PTB(root=str(tmp_path), vocab_size=11).read_texts()
    path.unlink()
    with pytest.raises(UserError, match=r"put ptb\.train\.txt, ptb\.valid\.txt and ptb\.test\.txt into"):
        ptb.PTB(root=str(tmp_path), vocab_size=11).read_texts()
