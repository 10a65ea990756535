"""The adding problem."""

from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.figures import Figure, Reports
from ..base import SPLIT_SEED, DataModule

TEST_SIZE = 1000


class Sums:
    """Samples of the adding problem, each computed when it is asked for.

    Args:
        size: number of samples.
        length: steps T of each.
        stream: a number of the split, so that no two splits share a sample.
    """

    def __init__(self, size: int, length: int, stream: int) -> None:
        self.size, self.length, self.stream = size, length, stream

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor]:
        _, indices = key
        random = uniform(SPLIT_SEED, self.stream, indices, self.length + 2)
        values = random[:, 2:]
        # In double precision, where a number under 1 times T cannot be rounded up to T.
        first = (random[:, 0].double() * self.length).long()
        second = (random[:, 1].double() * (self.length - 1)).long()
        second = second + (second >= first)
        places = torch.stack([first, second], 1)
        markers = torch.zeros_like(values).scatter(1, places, 1.0)
        sums = values.gather(1, places).sum(1)
        return torch.stack([values, markers], 2), sums[:, None, None]


class AddingDescription(TypedDict):
    """Pairs of numbers to be added; `length` is of a sequence."""

    kind: Literal["adding"]
    length: int


class Adding(DataModule):
    """The adding problem: the sum of two marked numbers of a long sequence. Nothing to download.

    Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", experiment 4, in the form of Bai et al. 2018
    (arXiv:1803.01271, section 4) and of the authors' code: each of T steps has a number, uniform in [0, 1), and a
    marker, which is 1 at two steps, any two, and 0 elsewhere. The target is the sum of the two marked numbers.
    Hochreiter and Schmidhuber have numbers in [-1, 1], a scaled sum, and the first marker among the first ten steps.

    A network that answers the mean, 1, whatever it is given has a mean squared error of 1/6 = .1667, the variance of a
    sum of two uniform numbers.

    There are no official splits: a sample is a function of its split and its index alone, so training, validation and
    test set (1,000 samples) are the same for all runs and share nothing. Batches: x `b T 2`, y `b 1 1`.

    Args:
        length: T, at least 2. Known figures are for 200, 400 and 600.
        train_size, val_size: samples of training and validation; the paper's authors have 50,000 for training.
        in_channels, horizon, out_channels: what networks are told: two numbers a step in, one number out.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`) are the same problem with few samples.

    Raises:
        UserError: a size that is out of range, or a declaration that is not the problem's.
    """

    tasks = ("regression",)
    reports: ClassVar[Reports] = {
        "mean_mse": Figure("lower", tabled=True),
    }
    targets = "horizon"
    length_option = "length"

    def __init__(
        self,
        *,
        length: int = 200,
        train_size: int = 50_000,
        val_size: int = 1000,
        in_channels: int = 2,
        horizon: int = 1,
        out_channels: int = 1,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if length < 2:
            raise UserError(f"data.length={length} must be at least 2, since two steps are marked")
        if train_size < 1 or val_size < 1:
            raise UserError(f"data.train_size={train_size} and data.val_size={val_size} must be positive")
        if (in_channels, horizon, out_channels) != (2, 1, 1):
            raise UserError(
                f"data.in_channels={in_channels}, data.horizon={horizon} and data.out_channels={out_channels} must be "
                "2, 1 and 1 for the adding problem: change data.length alone"
            )
        self.length, self.train_size, self.val_size = length, train_size, val_size
        self.in_channels, self.horizon, self.out_channels = in_channels, horizon, out_channels

    @property
    def baselines(self) -> dict[str, float]:
        """What is reached without looking at the input: the mean squared error of the mean."""
        return {"mean_mse": 1 / 6}

    def setup(self, stage: str | None = None) -> None:
        sizes = (self.train_size, self.val_size, TEST_SIZE)
        if self.fake:
            sizes = (2 * self.batch_size, self.batch_size, self.batch_size)
        self.splits = {
            name: Sums(size, self.length, stream)
            for stream, (name, size) in enumerate(zip(("train", "val", "test"), sizes, strict=True))
        }

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Inputs `b T 2` and sums `b 1 1`, as they are."""
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        return torch.rand(batch, self.length, 2), torch.rand(batch, 1, 1)

    def describe(self) -> AddingDescription:
        return {"kind": "adding", "length": self.length}
