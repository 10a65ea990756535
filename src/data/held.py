"""Data sets of a program's own: whatever follows torch's protocol, under a name that a config can have."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ..errors import UserError, some
from .base import SPLIT_SEED
from .loading import Order

INPUTS = ("image", "images", "img", "pixel_values", "x", "input", "inputs", "features")
TARGETS = ("label", "labels", "target", "targets", "y", "class", "fine_label")
SPLITS = ("train", "val", "test")
# A config has plain values alone, and what a program has in memory cannot be one of them: it is here, by its name.
_held: dict[str, dict[str, Any]] = {}


def hold(splits: Mapping[str, Any], name: str | None = None) -> str:
    """Keep a program's data sets for as long as it runs.

    Args:
        splits: a `Dataset` or `DataLoader` for "train", "val" and "test", as far as there are.
        name: under which a run that goes on knows them; None: one that no others have.

    Returns:
        The name: that of their class, with a number behind it where others have it.
    """
    if name is None:
        first = next(iter(splits.values()))
        while isinstance(first, Subset | DataLoader):
            first = first.dataset
        called = type(first).__name__
        names = itertools.chain([called], (f"{called}-{i}" for i in itertools.count(2)))
        name = next(each for each in names if _same(_held.get(each), splits))
    _held[name] = dict(splits)
    return name


def _same(one: Mapping[str, Any] | None, two: Mapping[str, Any]) -> bool:
    """Whether a name is free, or of these very data sets."""
    return one is None or (one.keys() == two.keys() and all(one[split] is two[split] for split in one))


@contextlib.contextmanager
def for_now() -> Iterator[None]:
    """What is held meanwhile is let go afterwards."""
    before = set(_held)
    try:
        yield
    finally:
        for name in set(_held) - before:
            del _held[name]


def held(name: str | None) -> dict[str, Any]:
    """The data sets of that name.

    Raises:
        UserError: this program has none.
    """
    if name is None or name not in _held:
        called = f"{name}, " if name else ""
        raise UserError(
            f"these data are of a program's own ({called}which no file has): give them in Python, as in "
            "torchatlas.train('resnet18', data=my_dataset), and again where a run goes on or is evaluated"
        )
    return _held[name]


def pair_of(item: Any, what: str = "a data set") -> tuple[Any, Any]:
    """Input and target of what a data set or a loader gives: (x, y), or a dictionary that names them.

    Raises:
        UserError: it is neither; it says what is there.
    """
    if isinstance(item, Mapping):
        x, y = (next((key for key in names if key in item), None) for names in (INPUTS, TARGETS))
        if x is None or y is None:
            raise UserError(
                f"{what} gives a dictionary of {some(item)}: call the input x or image, and the target y or label"
            )
        return item[x], item[y]
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    given = f"{len(item)} things" if isinstance(item, tuple | list) else f"a {type(item).__name__}"
    raise UserError(f"{what} gives {given}, where a pair (input, target) is expected: put it into a Dataset that does")


def number_of(dataset: Any) -> int:
    """The length of a data set or a loader.

    Raises:
        UserError: it has none.
    """
    try:
        return len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise UserError(
            f"a {type(dataset).__name__} has no length, by which an epoch is known: give one with __len__"
        ) from error


def classes_in(targets: Tensor) -> Tensor:
    """Targets as int64 of the same shape; those of floats, as NumPy reads them from a file, are whole numbers too.

    Raises:
        UserError: one is none.

    >>> classes_in(torch.tensor([0.0, 2.0]))
    tensor([0, 2])
    """
    whole = (targets == targets.round()) & targets.isfinite() if targets.is_floating_point() else targets == targets
    if not bool(whole.all()):
        wrong = float(targets[~whole].flatten()[0])
        raise UserError(f"a target is {wrong:g}, and classes are whole numbers: task='regression' is for others")
    return targets.long()


def require_classes(labels: Tensor, num_classes: int) -> None:
    """Refuse targets of a batch that are none of so many classes.

    Raises:
        UserError: it says from where to where they run.
    """
    labels = classes_in(labels)
    if not len(labels) or 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        return
    low, high = int(labels.min()), int(labels.max())
    advice = "number the classes from 0 on" if low < 0 else f"give data__num_classes={high + 1} to the training"
    raise UserError(f"targets of the data run from {low} to {high}, and there are {num_classes} classes: {advice}")


def labels_in(dataset: Any) -> Tensor | None:
    """The classes of all samples, where they are known without reading the inputs; int64 `n`."""
    if isinstance(dataset, Subset):
        labels = labels_in(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(dataset.indices)]
    tensors = getattr(dataset, "tensors", ())
    for found in (*tensors[1:2], *(getattr(dataset, name, None) for name in ("targets", "labels", "_labels", "y"))):
        if found is None or isinstance(found, str) or not hasattr(found, "__len__"):
            continue
        try:
            labels = classes_in(torch.as_tensor(found))
        except (TypeError, ValueError, RuntimeError):  # such as numbers beside the classes
            continue
        if labels.ndim == 1 and len(labels) == number_of(dataset):
            return labels
    return None


def divided(n: int, share: float) -> tuple[list[int], list[int]]:
    """Places for training and for validation, always the same ones of so many.

    Raises:
        UserError: nothing would be left.
    """
    if not 0 < share < 1 or not 0 < (size := max(1, round(n * share))) < n:
        raise UserError(
            f"data.val_share={share} of {n} samples leaves nothing: use a share between 0 and 1, or give val="
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return order[size:].sort().values.tolist(), order[:size].sort().values.tolist()


def splits_of(name: str | None, share: float) -> dict[str, Any]:
    """The data sets of a name, with validation taken out of training where there is none.

    Raises:
        UserError: there are none, or a loader would have to be divided.
    """
    found = dict(held(name))
    if "train" in found and "val" not in found:
        if isinstance(found["train"], DataLoader):
            raise UserError("a DataLoader cannot be divided into training and validation: give val= too")
        train, val = divided(number_of(found["train"]), share)
        found |= {"train": Subset(found["train"], train), "val": Subset(found["train"], val)}
    return found


class HeldLoader:
    """Batches of a program's own `DataLoader`, in its own order.

    What it draws at the beginning of an epoch, such as a permutation, is a function of (seed, epoch), so that a run
    that goes on has the same order; a generator of the loader's own is left to itself.

    Args:
        loader: gives pairs, see `pair_of`.
        seed: of the run.
        shuffled: whether it is for training.
        num_classes: of the targets; None: they are no classes.
    """

    batch_sampler = None  # Lightning asks each loader for one

    def __init__(self, loader: Any, seed: int, *, shuffled: bool, num_classes: int | None = None) -> None:
        self.loader, self.num_workers, self.num_classes = loader, 0, num_classes
        self.sampler = Order(max(2, number_of(loader)), 1, shuffle=shuffled, seed=seed)  # of batches

    def __len__(self) -> int:
        return number_of(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        start, self.sampler.start = self.sampler.start, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.sampler.generator().initial_seed()))
            batches = iter(self.loader)
            first = list(itertools.islice(batches, start + 1))[start:]
        for batch in itertools.chain(first, batches):
            x, y = pair_of(batch, "the loader")
            if self.num_classes is not None:
                require_classes(torch.as_tensor(y), self.num_classes)
            yield x, y


class LoaderSplit:
    """A split that a program's own loader reads: only its number is known.

    Args:
        loader: the program's.
        num_classes: of its targets; None: they are no classes.
    """

    def __init__(self, loader: Any, num_classes: int | None = None) -> None:
        self.loader, self.num_classes = loader, num_classes

    def __len__(self) -> int:
        batches = number_of(self.loader)
        try:
            return len(self.loader.dataset) if getattr(self.loader, "batch_size", None) else batches
        except TypeError:
            return batches

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Any, ...]:
        raise UserError("single samples of a DataLoader cannot be asked for: give its Dataset in its place")


def items_of(dataset: Any, places: Sequence[int]) -> list[tuple[Any, Any]]:
    """Some samples of a data set as pairs."""
    many = getattr(dataset, "__getitems__", None)
    items = many(list(places)) if many is not None else [dataset[place] for place in places]
    return [pair_of(item, f"the {type(dataset).__name__}") for item in items]
