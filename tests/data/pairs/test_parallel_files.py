"""A user's own files of pairs."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf.errors import InterpolationResolutionError

from torchatlas.errors import UserError


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """200 lines in two languages; each tenth line is empty on one side, and one source comes three times."""
    source = [f"Satz Nummer {i}\u2028hier" for i in range(200)]
    target = [f"sentence number {i}\u2028here" for i in range(200)]
    for i in range(0, 200, 10):
        (source if i % 20 else target)[i] = "  "
    source[7] = source[8] = source[9] = "dreimal"
    (tmp_path / "a.de").write_bytes(("\ufeff" + "\r\n".join(source) + "\r\n").encode())
    (tmp_path / "a.en").write_text("\n".join(target), encoding="utf-8")  # no line feed at its end
    return tmp_path


def own(compose: Callable[..., Any], *overrides: str) -> Any:
    config = compose("model=seq2seq", "data=parallel_files", "data.by=word", "data.batch_size=8", *overrides)
    data = instantiate(config.data, _convert_="all")
    data.setup()
    return data


def test_own_files_are_pairs_line_by_line(
    texts: Path, compose: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "torchatlas")
    data = own(compose, f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}", "data.share=0.1")
    assert "20 lines are left out, since they are empty on one side or both" in caplog.text
    raw = {split: data.raw(split) for split in data.splits}
    assert sum(map(len, raw.values())) == 180
    sources = {split: {source for source, _ in pairs} for split, pairs in raw.items()}
    assert {split: len(found) for split, found in sources.items()} == {"train": 142, "val": 18, "test": 18}
    assert len(set().union(*sources.values())) == 178  # none is in two splits
    for source, target in itertools.chain.from_iterable(raw.values()):
        if source != "dreimal":
            assert source.split()[2] == target.split()[2]
            assert source.startswith("Satz")
    assert data.source_codec.vocab_size == data.source_vocab_size < 8000
    lines = [(texts / name).read_text(encoding="utf-8-sig").split("\n")[::-1] for name in ("a.de", "a.en")]
    (texts / "b.tsv").write_text(
        "\n".join(f"{a}\t{b}\tfurther" for a, b in zip(lines[0][1:], lines[1], strict=True)) + "\n\n", encoding="utf-8"
    )
    table = own(compose, f"data.source_path={texts / 'b.tsv'}", "data.share=0.1")
    assert {split: set(table.raw(split)) for split in raw} == {split: set(raw[split]) for split in raw}  # in any order


def test_own_files_of_each_split(texts: Path, compose: Callable[..., Any]) -> None:
    for name in ("de", "en"):
        (texts / f"v.{name}").write_text(f"nur {name}\n\nSatz {name}\n")
    first = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    val = [f"data.val_source_path={texts / 'v.de'}", f"data.val_target_path={texts / 'v.en'}"]
    data = own(compose, *first, *val)
    assert data.raw("val") == [("nur de", "nur en"), ("Satz de", "Satz en")]
    assert len({source for source, _ in data.raw("test")}) == round(0.05 * 178)
    assert len(data.raw("train")) + len(data.raw("test")) == 180
    both = own(compose, *first, *val, *(word.replace("val_", "test_") for word in val))
    assert both.raw("test") == both.raw("val")
    assert len(both.raw("train")) == 180


@pytest.mark.parametrize("by", ["bpe", "wordpiece", "character"])
def test_own_files_by_other_tokens(texts: Path, compose: Callable[..., Any], by: str) -> None:
    files = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    data = own(compose, *files, f"data.by={by}", "data.shared=true", "data.max_tokens=300")
    assert data.source_vocab_size == data.target_vocab_size == data.source_codec.vocab_size <= 300
    sentence = "Satz Nummer 12"
    assert data.source_codec.decode(data.source_codec.encode(sentence)) == sentence


def test_own_files_are_counted_again_when_they_change(texts: Path, compose: Callable[..., Any]) -> None:
    files = [f"data.source_path={texts / 'a.de'}", f"data.target_path={texts / 'a.en'}"]
    before = own(compose, *files).source_vocab_size
    for name in ("a.de", "a.en"):
        text = (texts / name).read_text(encoding="utf-8").removesuffix("\n")
        with (texts / name).open("w", encoding="utf-8") as file:
            file.write(text)
            file.write("\n".join(["", *(f"w{i}" for i in range(90))]))
    assert own(compose, *files).source_vocab_size > before + 50


def test_own_files_name_what_is_wrong(texts: Path, compose: Callable[..., Any]) -> None:
    (texts / "short").write_text("one\ntwo\n")
    (texts / "empty").write_text(" \n")
    (texts / "latin").write_bytes("é\n".encode("latin1"))
    (texts / "half.tsv").write_text("a\tb\nc\n")
    (texts / "one.tsv").write_text("a\tb\n\tc\n")
    german = f"data.source_path={texts / 'a.de'}"

    def refused(message: str, *overrides: str) -> None:
        with pytest.raises((UserError, InterpolationResolutionError), match=message):
            own(compose, *overrides)

    # A resolver's error has the mistake's sentence in it, which the program shows alone.
    refused(r"name them with data\.source_path=FILE")
    refused(
        r"a\.de has 200 lines and .*short has 2: they must be translations",
        german,
        f"data.target_path={texts / 'short'}",
    )
    refused(r"empty is empty", german, f"data.target_path={texts / 'empty'}")
    refused(r"there is no file .*gone", f"data.source_path={texts / 'gone'}")
    refused(r"latin is no UTF-8 text", f"data.source_path={texts / 'latin'}")
    refused(r"line 2 of .*half\.tsv has no tab", f"data.source_path={texts / 'half.tsv'}")
    refused(r"has 1 different sources, too few", f"data.source_path={texts / 'one.tsv'}")
    refused(
        r"add data\.val_source_path=FILE",
        german,
        f"data.target_path={texts / 'a.en'}",
        f"data.val_target_path={texts / 'short'}",
    )
    refused(r"data\.share=0\.7 must be between", "data.share=0.7", "data.fake=true")
    refused(
        r"data\.max_tokens=10 has no room .* use at least",
        german,
        f"data.target_path={texts / 'a.en'}",
        "data.max_tokens=10",
        "data.by=bpe",
    )


def test_a_table_to_be_translated_is_read_as_in_training(texts: Path, compose: Callable[..., Any]) -> None:
    """Its targets are no part of the sentences; lines keep their order, empty ones too."""
    table = texts / "table.tsv"
    table.write_bytes("".join(f"Größe {i}\tsize {i}\n" for i in range(60)).encode("latin-1"))
    words = (f"data.source_path={table}", "data.share=0.1")
    with pytest.raises((UserError, InterpolationResolutionError), match=r"data\.encoding=latin-1"):
        own(compose, *words)
    data = own(compose, *words, "data.encoding=latin-1")
    assert all(source.startswith("Größe") for source, _ in data.raw("train"))
    new = texts / "new.tsv"
    new.write_bytes("Größe 1\tsize 1\n\nGröße 2\tsize 2\n".encode("latin-1"))
    assert [row["text"] for row in data.read(str(new)).about] == ["Größe 1", "", "Größe 2"]
    new.write_bytes("Größe 1\tsize 1\nGröße\nGröße 2\tsize 2\textra\n".encode("latin-1"))  # one has no target
    assert [row["text"] for row in data.read(str(new)).about] == ["Größe 1", "Größe", "Größe 2"]
    new.write_bytes("Größe 1\nGröße\tzwei\n".encode("latin-1"))  # a tab of a sentence
    assert [row["text"] for row in data.read(str(new)).about] == ["Größe 1", "Größe\tzwei"]
