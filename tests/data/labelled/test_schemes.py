"""Schemes of tags: one meaning of spans."""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from torchatlas.data.labelled import schemes
from torchatlas.data.labelled.conll import Conll
from torchatlas.errors import UserError
from torchatlas.metrics.entities import count_entities, tag_table

Spans = list[tuple[int, int, str]]  # first word, the one behind the last, kind; sorted, and none overlap
MARKS = {"BIOES": ("B", "I", "E", "S"), "BILOU": ("B", "I", "L", "U"), "BMES": ("B", "M", "E", "S"),
         "BMEW": ("B", "M", "E", "W"), "IOB2": ("B", "I", "I", "B"), "IO": ("I", "I", "I", "I")}  # fmt: skip
FORMS: dict[str, Callable[[str, str], str]] = {
    "usual": lambda mark, kind: f"{mark}-{kind}",
    "small": lambda mark, kind: f"{mark.lower()}-{kind}",
    "low line": lambda mark, kind: f"{mark}_{kind}",
    "behind": lambda mark, kind: f"{kind}-{mark}",
}


def written(scheme: str, spans: Spans, words: int, form: str = "usual") -> list[str]:
    """The tags of entities, written by the definition of each scheme."""
    tags = ["O"] * words
    for i, (begin, end, kind) in enumerate(spans):
        before, after = spans[i - 1][1:] if i else (-1, ""), (spans[i + 1 :] or [(-1, -1, "")])[0]
        if scheme == "IOB1":
            marks = ["B" if before == (begin, kind) else "I", *"I" * (end - begin - 1)]
        elif scheme == "IOE":
            marks = [*"I" * (end - begin - 1), "E" if after[0] == end and after[2] == kind else "I"]
        else:
            first, middle, last, one = MARKS[scheme]
            marks = [one] if end - begin == 1 else [first, *middle * (end - begin - 2), last]
        tags[begin:end] = [FORMS[form](mark, kind) for mark in marks]
    return tags


def made(seed: int, *, touching: bool = True) -> tuple[Spans, int]:
    rng = random.Random(seed)
    spans, at = Spans(), 0
    while at < 8:
        begin = at + rng.randint(0 if touching else 1, 2)
        at = begin + rng.randint(1, 4)
        spans.append((begin, at, rng.choice(["PER", "LOC-X"])))
    return spans, at + rng.randint(0, 2)


@pytest.mark.parametrize("scheme", [*MARKS, "IOB1", "IOE"])
def test_each_scheme_gives_the_same_entities(scheme: str) -> None:
    """IO cannot tell entities that touch, so that it gets none of those."""
    for seed in range(200):
        spans, words = made(seed, touching=scheme != "IO")
        expected = written("IOB2", spans, words)
        tags = written(scheme, spans, words)
        assert schemes.to_iob2(tags) == expected
        names = sorted(set(tags) | {"B-PER", "I-PER", "O"})
        table = tag_table(names)
        assert table is not None
        numbers = torch.tensor([names.index(tag) for tag in tags])
        rows = torch.zeros(words, dtype=torch.int64)
        assert count_entities(numbers, numbers, rows, table).tolist() == [len(spans)] * 3


def folder_of(path: Path, scheme: str, form: str) -> Path:
    for k, name in enumerate(("train.txt", "valid.txt", "test.txt")):
        sentences = []
        for i in range(20):
            spans, words = made(100 * k + i, touching=False)
            tags = written(scheme, spans, words, form)
            sentences.append("".join(f"w{(7 * i + j) % 31} {tag}\n" for j, tag in enumerate(tags)))
        path.mkdir(exist_ok=True)
        (path / name).write_text("\n".join(sentences))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scheme", [*MARKS, "IOB1", "IOE"])
def test_each_scheme_gives_the_same_training_data(
    scheme: str, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found: list[Any] = []
    for name, of_it, how in (("one", "IOB2", "usual"), ("other", scheme, form)):
        path = str(folder_of(tmp_path / name, of_it, how))
        assert Conll.declare_num_classes(path=path) == 5
        data = Conll(num_classes=5, path=path, vocab_size=60, batch_size=20, by="word")
        sentences = data.read_sentences()
        found.append((data.classes, sentences))
    assert found[0] == found[1]
    assert found[0][0] == ["B-LOC-X", "B-PER", "I-LOC-X", "I-PER", "O"]
    shown = {"IOB1": "IO", "IOE": "IO"}.get(scheme, scheme)  # where no entities of a kind touch
    entities = " + ".join(str(sum(tags.count(f"B-{k}") for _, tags in found[0][1][s] for k in ("PER", "LOC-X")))
                          for s in ("train", "val", "test"))  # fmt: skip
    expected = f"words of column 0, tags of column 1 by {shown}, read as IOB2: {entities} entities"
    assert caplog.messages[-1] == f"train.txt, valid.txt, test.txt: {expected}"


def test_names_of_schemes() -> None:
    """IOB1 and IOE show themselves where entities touch."""
    spans: Spans = [(0, 3, "PER"), (3, 4, "PER"), (5, 6, "LOC")]
    for scheme in (*MARKS, "IOB1", "IOE"):
        assert schemes.scheme_name([written(scheme, spans, 7)]) == scheme


def test_tags_out_of_order_are_counted() -> None:
    """B- that nothing ends, I- that nothing begins, and another kind behind B-."""
    assert schemes.out_of_order([["B-A", "O", "I-A", "E-A"], ["S-A", "B-A", "E-B"]]) == 3
    assert schemes.out_of_order([written("BILOU", *made(seed)) for seed in range(20)]) == 0


def form(*tags: str, entities: bool | None = None) -> Any:
    return schemes.form_of({tag: f"file, line {i}" for i, tag in enumerate(tags, 1)}, entities)


def test_tags_that_mark_no_entities() -> None:
    for tags in (("NOUN", "VERB", "X"), ("NN", "IN", "-LRB-"), ("N", "O", "S", "L", "V", "!"), ("B-x", "y")):
        assert form(*tags) is None
    assert form("B-PER", "O", entities=False) is None
    assert form("B", "I", "O") is not None  # of one kind without a name
    assert form("B", "M", "E", "S") is not None


def test_unknown_marks_are_refused() -> None:
    for tags in (("O", "B-PER", "X-LOC"), ("Q-PER", "O"), ("B-PER", "I-PER", "O", "PER"), ("B-PER", "I-PER", "0")):
        strange = next(tag for tag in tags if tag[:2] not in ("B-", "I-", "O"))
        with pytest.raises(UserError, match=rf"^file, line \d: the tag {strange} has none of the marks B, I, E, S, L"):
            form(*tags)
    with pytest.raises(UserError, match=r"the tag NOUN has none of the marks .* data\.entities=false"):
        form("NOUN", "VERB", entities=True)


def test_unknown_tags_are_named_with_their_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "BIOES", "usual")
    with (folder / "test.txt").open("a") as file:
        file.write("\nnew O\nword X-PER\n")
    data = Conll(num_classes=5, path=str(folder), vocab_size=60, by="word")
    with pytest.raises(UserError, match=r"test\.txt, line \d+: the tag X-PER has none of the marks"):
        data.read_sentences()
    (folder / "test.txt").write_text("new O\nword S-ORG\n")
    with pytest.raises(UserError, match=r"test\.txt, line 2: the tag B-ORG is none of those of training: B-LOC-X, "):
        data.read_sentences()


def test_classes_of_an_older_checkpoint_stay(tmp_path: Path) -> None:
    """A network that was trained on tags of BIOES is judged with them."""
    folder = str(folder_of(tmp_path, "BIOES", "usual"))
    classes = ["O", *(f"{mark}-{kind}" for kind in ("LOC-X", "PER") for mark in "BIES")]
    data = Conll(num_classes=9, path=folder, classes=classes, vocab_size=60, by="word")
    spans, words = made(0, touching=False)
    assert data.read_sentences()["train"][0][1] == written("BIOES", spans, words)
