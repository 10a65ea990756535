"""The order of samples, and the loader that follows it."""

import itertools
import random
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..counter import uniform
from ..errors import UserError


@runtime_checkable
class BatchDataset(Protocol):
    """What a loader reads: `(epoch, indices)` of a batch in, the batch's tensors out.

    Indices are of samples, int64 `b`; in a text that is read in streams of tokens, `b t`. A sample that comes for the
    k-th time in an epoch, as in balanced sampling, has its number plus k - 1 times the length where the attribute
    `again` of the data set is true: its random numbers are then others.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]: ...


class Order:
    """Batches of sample indices as a function of (seed, epoch), divided among processes.

    In training each epoch is one permutation, cut into batches of `batch_size` over all processes together;
    a remainder is left out, another one in each epoch. In evaluation every sample comes exactly once, in
    order: process `rank` takes each `world`-th, and all processes have equally many batches (of nearly
    equal size), so that none waits for another.

    Args:
        size: samples in the data set.
        batch_size: samples per step, over all processes together.
        shuffle: a permutation for training, or the natural order for evaluation.
        seed: with the epoch, determines the permutation.
        rank, world: this process's number, and how many there are.
        labels: where each class is to come equally often in training: the class of each sample, see `balanced`.
        again: whether a sample that comes again in an epoch has another number, see `BatchDataset`.

    Attributes:
        start: batches that the next iteration leaves out; a run that goes on within an epoch has had them.

    Raises:
        UserError: the data set cannot fill one batch, or processes cannot share one equally.
    """

    def __init__(
        self, size: int, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1,
        labels: Tensor | None = None, again: bool = False,
    ) -> None:  # fmt: skip
        if batch_size < 1 or batch_size % world:
            raise UserError(f"data.batch_size={batch_size} must be a positive multiple of the {world} processes")
        if shuffle and batch_size > size:
            raise UserError(
                f"data.batch_size={batch_size} is more than the {size} training samples: use data.batch_size={size}"
            )
        if size < world:
            raise UserError(f"{size} samples cannot be divided among {world} processes")
        self.size, self.batch_size, self.shuffle, self.seed = size, batch_size, shuffle, seed
        self.rank, self.world, self.epoch, self.start = rank, world, 0, 0
        self.labels, self.again = labels, again

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.shuffle:
            return self.size // self.batch_size
        largest_share = -(-self.size // self.world)
        per_process = self.batch_size // self.world
        return min(-(-largest_share // per_process), self.size // self.world)

    def generator(self) -> torch.Generator:
        """Random numbers of this epoch."""
        # Mersenne Twister needs well-spread seeds: neighbours (seed, epoch) must not give related orders.
        mixed = (self.seed * 0x9E3779B97F4A7C15 + self.epoch * 0xBF58476D1CE4E5B9 + 1) % 2**63
        return torch.Generator().manual_seed(mixed)

    def draw(self, generator: torch.Generator) -> Tensor:
        """The samples of an epoch of training in their order, at least those of all its batches."""
        if self.labels is None:
            return torch.randperm(self.size, generator=generator)
        drawn = balanced(self.labels, len(self) * self.batch_size, generator)
        return drawn if self.again else drawn % self.size

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Pairs of the epoch (-1 in evaluation, where nothing is random) and the indices of a batch."""
        start, self.start = self.start, 0
        if not self.shuffle:
            for indices in torch.arange(self.rank, self.size, self.world).tensor_split(len(self))[start:]:
                yield -1, indices
            return
        order = self.draw(self.generator())
        for k in range(start, len(self)):
            yield self.epoch, order[k * self.batch_size : (k + 1) * self.batch_size][self.rank :: self.world]


def balanced(labels: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Samples in random order, of each class equally many, up to one.

    A class with more samples than its share gives a part of them that is another one in each epoch; one with fewer
    gives all of them as often as they go in, and a random part of them once more. Which classes get one more, where the
    number cannot be divided, is random too.

    Args:
        labels: int64 `n`; classes without a sample have no share.
        number: of samples to draw.
        generator: its state is all that the result depends on.

    Returns:
        int64 `number`: the number of the sample, plus k - 1 times n where it comes for the k-th time.
    """
    places = labels.argsort(stable=True).split(labels.unique(return_counts=True)[1].tolist())
    shares = torch.full((len(places),), number // len(places))
    shares[torch.randperm(len(places), generator=generator)[: number % len(places)]] += 1
    drawn = []
    for own, share in zip(places, shares.tolist(), strict=True):
        for times, start in enumerate(range(0, share, len(own))):
            chosen = own[torch.randperm(len(own), generator=generator)[: share - start]]
            drawn.append(chosen + times * len(labels))
    return torch.cat(drawn)[torch.randperm(number, generator=generator)]


class BucketOrder(Order):
    """Batches of samples of similar length, so that little of a padded batch is padding.

    In training each epoch is one permutation of the samples without a remainder, as in `Order`. It is cut into pools of
    `pool` batches; each pool is sorted by length and cut into batches, and all batches of the epoch are shuffled.
    Samples of equal length stay in the order of the permutation, so that batches differ from epoch to epoch. In
    evaluation all samples are sorted, the longest first, so that what does not fit into memory fails at once; each
    comes exactly once.

    Process `rank` takes each `world`-th sample of a batch: all processes have equally many batches, of equal lengths.

    Args:
        lengths: of each sample, integers `n`; or `n k` where a sample has k sides that are padded apart, as a sentence
            and its translation have. Then samples are sorted by their first side, and equal ones by the next.
        batch_size, shuffle, seed, rank, world, labels: see `Order`.
        pool: batches that are sorted together. Of 1 the batches are those of no sorting at all.

    Raises:
        UserError: see `Order`.
    """

    def __init__(
        self,
        lengths: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        labels: Tensor | None = None,
        pool: int = 100,
    ) -> None:
        super().__init__(
            len(lengths), batch_size, shuffle=shuffle, seed=seed, rank=rank, world=world, labels=labels
        )  # fmt: skip
        self.lengths, self.pool = lengths.view(len(lengths), -1).long(), pool

    def by_length(self, indices: Tensor) -> Tensor:
        """The longest first; equal ones stay in their order."""
        for lengths in reversed(self.lengths.unbind(1)):
            indices = indices[lengths[indices].argsort(descending=True, stable=True)]
        return indices

    def batches(self) -> tuple[Tensor, ...]:
        """Indices of this process's batches in this epoch, int64 `b` each."""
        if not self.shuffle:
            return self.by_length(torch.arange(self.size))[self.rank :: self.world].tensor_split(len(self))
        generator, steps = self.generator(), len(self)
        order = self.draw(generator)[: steps * self.batch_size]
        pools = order.split(self.pool * self.batch_size)
        rows = torch.cat([self.by_length(pool) for pool in pools]).view(steps, self.batch_size)
        return rows[torch.randperm(steps, generator=generator), self.rank :: self.world].unbind()

    def waste(self) -> float:
        """The share of padding in this process's batches of this epoch, from 0 to 1, over all sides."""
        filled = padded = 0
        for indices in self.batches():
            batch = self.lengths[indices]
            filled += int(batch.sum())
            padded += len(batch) * int(batch.amax(0).sum())
        return 1 - filled / max(1, padded)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Pairs of the epoch (-1 in evaluation, where nothing is random) and the indices of a batch."""
        start, self.start = self.start, 0
        epoch = self.epoch if self.shuffle else -1
        for indices in self.batches()[start:]:
            yield epoch, indices


class StreamOrder(Order):
    """Positions of tokens in one long text, so that each row of a batch goes on where it ended in the batch before.

    The text is divided into as many contiguous streams as a batch has rows, one stream a row (Zaremba, Sutskever and
    Vinyals 2014, arXiv:1409.2329, section 4.1), and the k-th batch of an epoch holds the k-th `context` tokens of each
    stream. With the state carried from batch to batch this is truncated back-propagation through time (Williams and
    Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network Trajectories"). Process
    `rank` has the rows `rank`, `rank + world`, ...

    In training all streams are equally long, and what is left of the text is divided between its beginning and its end
    by a number that depends on (seed, epoch), so that the cuts differ. In evaluation each token but the first is
    predicted exactly once: the first streams may be longer by one token, which has a last batch of its own, so that
    rows never need padding; only rows at the end of a batch drop out.

    Args:
        size: tokens of the text.
        batch_size: streams, over all processes together; evaluation has fewer where the text is short.
        context: tokens that a batch predicts of each stream.
        shuffle: for training; nothing is in random order.
        seed, rank, world: see `Order`.

    Raises:
        UserError: the text is too short for so many streams, or processes cannot share them equally.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        context: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise UserError(f"data.batch_size={batch_size} must be a positive multiple of the {world} processes")
        self.size, self.batch_size, self.context, self.shuffle, self.seed = size, batch_size, context, shuffle, seed
        self.rank, self.world, self.epoch, self.start = rank, world, 0, 0
        most = (size - context if shuffle else size - 1) // context  # streams that are at least one batch long
        if most < (batch_size if shuffle else world):
            raise UserError(
                f"{batch_size} streams of data.context={context} need more than the {size} tokens of this text: use "
                f"data.batch_size={max(1, most)} or a smaller data.context"
            )
        self.rows = batch_size if shuffle else min(batch_size, most // world * world)

    def __len__(self) -> int:
        if self.shuffle:
            return (self.size - self.context) // (self.rows * self.context)
        return -(-(self.longest - 1) // self.context) + 1

    @property
    def longest(self) -> int:
        """Predicted tokens of this process's first stream in evaluation."""
        return (self.size - 1) // self.rows + (self.rank < (self.size - 1) % self.rows)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Pairs of the epoch (-1 in evaluation) and the positions of a batch's tokens, int64 `b t+1`."""
        start, self.start = self.start, 0
        rows = torch.arange(self.rank, self.rows, self.world)
        if self.shuffle:
            length = len(self) * self.context
            spare = self.size - self.rows * length  # at least `context`
            shift = int(float(uniform(self.seed, self.epoch, torch.tensor([-1]), 1)) * spare)
            first = shift + rows * length
            for k in range(start, len(self)):
                yield self.epoch, first[:, None] + torch.arange(k * self.context, (k + 1) * self.context + 1)
            return
        base, longer = divmod(self.size - 1, self.rows)
        lengths, first = base + (rows < longer).long(), rows * base + rows.clamp(max=longer)
        cuts = [*range(0, self.longest - 1, self.context), self.longest - 1, self.longest]
        for begin, end in itertools.islice(itertools.pairwise(cuts), start, None):
            yield -1, first[lengths >= end, None] + torch.arange(begin, end + 1)


class _Seeded:
    """A data set whose random numbers in a worker depend on the batch alone, not on what the worker has read before."""

    def __init__(self, dataset: BatchDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        epoch, indices = key
        mixed = hash((self.seed, epoch, int(indices.flatten()[0]))) % 2**32
        random.seed(mixed)
        np.random.seed(mixed)
        torch.manual_seed(mixed)
        return self.dataset[key]


class Loader:
    """Batches of a data set, in an `Order`.

    Without workers, as suits data in memory, it is a plain loop; with them it is torch's `DataLoader`, whose
    base seed comes from a generator of its own, so that iterating leaves the global random state alone. What a data set
    draws in a worker is a function of (seed, epoch, first index of the batch).
    """

    def __init__(self, dataset: BatchDataset, order: Order, num_workers: int = 0) -> None:
        self.dataset, self.sampler, self.num_workers = dataset, order, num_workers
        self.batch_sampler = None  # Lightning asks each loader for one
        self._workers: DataLoader[Any] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.num_workers == 0:
            for key in self.sampler:
                yield self.dataset[key]
            return
        if self._workers is None:
            self._workers = DataLoader(
                _Seeded(self.dataset, self.sampler.seed),  # type: ignore[arg-type]  # the key is (epoch, indices)
                sampler=self.sampler,  # type: ignore[arg-type]
                batch_size=None,
                num_workers=self.num_workers,
                persistent_workers=True,
                generator=torch.Generator(),
            )
        yield from self._workers
