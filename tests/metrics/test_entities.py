"""Entities by the rules of conlleval."""

import random

import torch

from torchatlas.metrics import entities


def chunks(tags: list[str]) -> set[tuple[int, int, str]]:
    """Entities of one sentence by a plain reading of the rules."""
    found, start, kind = set(), None, ""
    for i, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if start is not None and (mark in ("O", "B") or name != kind):
            found.add((start, i, kind))
            start = None
        if mark != "O" and start is None:
            start, kind = i, name
    return found


def counted(there: list[list[str]], said: list[list[str]], classes: list[str]) -> list[float]:
    number = {tag: k for k, tag in enumerate(classes)}
    table = entities.tag_table(classes)
    assert table is not None
    flat = [torch.tensor([number[tag] for tags in part for tag in tags]) for part in (there, said)]
    rows = torch.tensor([i for i, tags in enumerate(there) for _ in tags])
    return entities.count_entities(flat[0], flat[1], rows, table).tolist()


def test_entities_of_worked_examples() -> None:
    """Right, said, there; the last case is the one in which conlleval's rules matter: I- after another kind."""
    classes = ["B-LOC", "I-LOC", "B-PER", "I-PER", "O"]
    for there, said, expected in (
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", (2, 2, 2)),
        ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", (1, 2, 2)),  # half an entity is none
        ("B-PER I-PER O B-LOC", "I-PER I-PER O I-LOC", (2, 2, 2)),  # IOB1
        ("B-PER I-PER O O", "B-LOC I-LOC O O", (0, 1, 1)),  # another kind
        ("B-LOC B-LOC I-LOC O", "B-LOC I-LOC I-LOC O", (0, 1, 2)),  # two that touch
        ("B-LOC I-PER O O", "B-LOC B-PER O O", (2, 2, 2)),
        ("O O O O", "O O O O", (0, 0, 0)),
    ):
        assert counted([there.split()], [said.split()], classes) == list(expected)
    # An entity ends with its sentence.
    assert counted([["O", "B-PER"], ["I-PER", "O"]], [["O", "B-PER"], ["B-PER", "O"]], classes) == [2, 2, 2]
    assert entities.tag_table(["NN", "VB", "O"]) is None


def test_entities_against_a_plain_reading() -> None:
    classes = ["O", "B-A", "I-A", "B-B", "I-B"]
    rng = random.Random(0)
    lengths = [rng.randint(1, 9) for _ in range(300)]
    there, said = ([[rng.choice(classes) for _ in range(n)] for n in lengths] for _ in range(2))
    said = [a if rng.random() < 0.5 else b for a, b in zip(there, said, strict=True)]
    one, two = ([chunks(tags) for tags in part] for part in (there, said))
    expected = [
        sum(len(a & b) for a, b in zip(one, two, strict=True)), sum(map(len, two)), sum(map(len, one)),
    ]  # fmt: skip
    assert counted(there, said, classes) == expected


def test_conlleval_of_its_documentation() -> None:
    """From counts to per cent: 3 of 4 said, 3 of 5 there."""
    found = entities.entity_figures(torch.tensor([3.0, 4.0, 5.0]))
    assert [round(float(v), 4) for v in found.values()] == [0.75, 0.6, 0.6667]
    assert [float(v) for v in entities.entity_figures(torch.zeros(3)).values()] == [0, 0, 0]
