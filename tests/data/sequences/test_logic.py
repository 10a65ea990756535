"""Truth tables."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchatlas.data.sequences.logic import FUNCTIONS, Logic, truth_table
from torchatlas.errors import UserError


@pytest.mark.parametrize("inputs", [1, 2, 5])
def test_truth_tables_are_pythons_operators(inputs: int) -> None:
    operators: dict[str, Callable[[Any], int]] = {
        "and": all, "or": any, "xor": lambda bits: sum(bits) % 2, "nand": lambda bits: not all(bits),
    }  # fmt: skip
    rows = list(itertools.product([0, 1], repeat=inputs))
    for function in FUNCTIONS:
        x, values = truth_table(function, inputs)
        assert x.tolist() == [list(map(float, row)) for row in rows]
        assert values.tolist() == [int(operators[function](row)) for row in rows]


def test_every_row_comes_equally_often_in_an_epoch() -> None:
    data = Logic(function="xor", inputs=3, in_channels=3, repeats=5, batch_size=1)
    data.setup()
    batches = [data.transform(batch) for batch in data.train_dataloader()]
    rows = [tuple(x[0].int().tolist()) for x, _ in batches]
    assert all(int(y) == sum(row) % 2 for row, (_, y) in zip(rows, batches, strict=True))
    assert sorted(rows) == sorted(5 * list(itertools.product([0, 1], repeat=3)))
    for loader in (data.val_dataloader(), data.test_dataloader()):
        assert torch.equal(torch.cat([x for x, _, *_ in loader]), truth_table("xor", 3)[0])


@pytest.mark.parametrize(
    ("given", "answer"),
    [({"function": "nor"}, "data.function=nor must be and, or, xor or nand"), ({"inputs": 0}, "from 1 to 16"),
     ({"inputs": 17}, "from 1 to 16"), ({"repeats": 0}, "data.repeats=0"), ({"in_channels": 3}, "change data.inputs"),
     ({"num_classes": 3}, "change data.inputs"), ({"image_size": 2}, "change data.inputs")],
)  # fmt: skip
def test_tables_that_cannot_be_are_refused(given: dict[str, Any], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        Logic(**{"in_channels": 2, **given})
