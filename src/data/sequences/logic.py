"""Truth tables."""

from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from ...errors import UserError
from ..base import DataModule

FUNCTIONS = ("and", "or", "xor", "nand")


def truth_table(function: str, inputs: int) -> tuple[Tensor, Tensor]:
    """All rows of a function of n inputs, in counting order.

    Args:
        function: and, or, xor (an odd number of ones) or nand.
        inputs: n.

    Returns:
        float32 inputs `2^n n`, each 0 or 1, and int64 values `2^n`.
    """
    places = torch.arange(inputs - 1, -1, -1)
    x = torch.arange(2**inputs)[:, None] >> places & 1
    ones = x.sum(1)
    value = {"and": ones == inputs, "or": ones > 0, "xor": ones % 2 == 1, "nand": ones < inputs}[function]
    return x.float(), value.long()


class Rows:
    """Rows `m n` with labels `m`, read by whole batches."""

    def __init__(self, x: Tensor, labels: Tensor) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        _, indices = key
        return self.x[indices], self.labels[indices]


class LogicDescription(TypedDict):
    """Truth tables: the answers, the function and how many inputs it has."""

    kind: Literal["logic"]
    classes: list[str]
    function: str
    inputs: int


class Logic(DataModule):
    """The truth table of a logical function: nothing to download, and nothing to generalise to.

    Training, validation and test set are the same full table. What is measured is whether a network can represent the
    function and whether its rule of learning finds it. Inputs are rows of zeros and ones; the two classes are false
    and true.

    Args:
        function: and, or, xor (parity: an odd number of ones) or nand.
        inputs: n, from 1 to 16; the table has 2^n rows.
        repeats: how often each row comes in an epoch of training, in random order.
        in_channels, image_size, num_classes: what networks are told: n values, no image, two classes.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`) are the same table.

    Raises:
        UserError: an unknown function, a number out of range, or a declaration that is not the table's.
    """

    tasks = ("classification",)
    network = "mlp"
    at_hand = True
    indivisible = "training, validation and test are the same table"
    classes = ("false", "true")

    def __init__(
        self,
        *,
        function: str = "and",
        inputs: int = 2,
        repeats: int = 4,
        in_channels: int,
        image_size: int = 1,
        num_classes: int = 2,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if function not in FUNCTIONS:
            raise UserError(f"data.function={function} must be {', '.join(FUNCTIONS[:-1])} or {FUNCTIONS[-1]}")
        if not 1 <= inputs <= 16:
            raise UserError(f"data.inputs={inputs} must be from 1 to 16: the table has 2^{inputs} rows")
        if repeats < 1:
            raise UserError(f"data.repeats={repeats} must be positive")
        if (in_channels, image_size, num_classes) != (inputs, 1, 2):
            raise UserError(
                f"data.in_channels={in_channels}, data.image_size={image_size} and data.num_classes={num_classes} must "
                f"be {inputs}, 1 and 2 for a table of {inputs} inputs: change data.inputs alone"
            )
        self.function, self.inputs, self.repeats = function, inputs, repeats
        self.in_channels, self.image_size, self.num_classes = in_channels, image_size, num_classes

    def setup(self, stage: str | None = None) -> None:
        x, values = truth_table(self.function, self.inputs)
        table = Rows(x, values)
        self.splits = {
            "train": Rows(x.repeat(self.repeats, 1), values.repeat(self.repeats)), "val": table, "test": table,
        }  # fmt: skip

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Rows `b n` and labels `b`, as they are."""
        x, labels = batch
        return x, labels

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return torch.randint(2, (batch, self.inputs)).float(), torch.randint(2, (batch,))

    def describe(self) -> LogicDescription:
        return {"kind": "logic", "classes": list(self.classes), "function": self.function, "inputs": self.inputs}
