"""Data of a program's own: what is in them is found by looking, and they become words of the command line."""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from ..data.base import DataModule
from ..data.held import SPLITS, classes_in, hold, labels_in, number_of, pair_of
from ..data.images.held import CHANNELS, image_of
from ..errors import UserError, some
from .words import word_of

log = logging.getLogger(__name__)
LOOKED = 16  # samples whose shapes are looked at
SURE = 1000  # classes that nobody doubts, however few samples there are
PATIENCE = 10.0  # seconds in which classes are counted by reading
NAMES = {"validation": "val", "valid": "val", "dev": "val"}
MEANT = {"classification": "class", "regression": "number"}  # what a task says of its targets


def own_words(data: Any, val: Any = None, test: Any = None, given: Sequence[str] = ()) -> list[str]:
    """Keep a program's data under a name, and say in words what they are.

    Args:
        data: a `Dataset` or `DataLoader`; a pair of arrays, inputs and targets; a dictionary of such for "train", "val"
            and "test"; or a `LightningDataModule`.
        val, test: the same, for validation and test.
        given: words of the user's, which need not be found out.

    Raises:
        UserError: what they give is no pair of input and target, or the number of classes cannot be found.
    """
    splits = splits_in(data, val, test)
    named = hold(splits)
    known = {key: value for key, _, value in (word.partition("=") for word in given)}
    words, task = described(splits["train"], known)
    if "test" not in splits:
        words.append("test=false")
    task_words = [] if task is None or "task" in known else [f"task={task}"]
    return [*words[:1], word_of("data.held", named), *words[1:], *task_words]


def splits_in(data: Any, val: Any = None, test: Any = None) -> dict[str, Any]:
    """The parts of a program's data, each a `Dataset` or a `DataLoader`."""
    if isinstance(data, DataModule):
        raise UserError("data of the zoo are named: data='digits', and their settings as in data__batch_size=32")
    if isinstance(data, lightning.LightningDataModule):
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        makers = {"train": data.train_dataloader, "val": data.val_dataloader, "test": data.test_dataloader}
        found = {split: loader for split, make in makers.items() if (loader := made(make)) is not None}
    elif isinstance(data, Mapping):
        found = {NAMES.get(str(split), str(split)): part for split, part in data.items()}
        if unknown := [split for split in found if split not in SPLITS]:
            raise UserError(
                f"a dictionary of data has parts for train, val and test, and {some(unknown)} is none of them"
            )
    else:
        found = {"train": data}
    found |= {split: part for split, part in (("val", val), ("test", test)) if part is not None}
    if "train" not in found:
        raise UserError("there is nothing to train on: give data= for training, beside val= and test=")
    return {split: dataset_of(part) for split, part in found.items()}


def made(make: Any) -> Any:
    """A loader of a module, if it has that one."""
    try:
        return make()
    except (NotImplementedError, lightning.fabric.utilities.exceptions.MisconfigurationException):
        return None


def dataset_of(part: Any) -> Any:
    """A `Dataset` or `DataLoader` as it is, and one for a pair of arrays.

    Raises:
        UserError: it is none.
    """
    if isinstance(part, tuple | list) and len(part) == 2 and all(hasattr(side, "shape") for side in part):
        x, y = (array_of(side, what) for side, what in zip(part, ("inputs", "targets"), strict=True))
        if len(x) != len(y):
            raise UserError(f"{len(x)} inputs and {len(y)} targets do not go together: give one target for each")
        return TensorDataset(x, y)
    if isinstance(part, DataLoader) or (hasattr(part, "__getitem__") and not isinstance(part, str | tuple | list)):
        return part
    raise UserError(
        f"data= is a {type(part).__name__}: give the name of a data set, a torch.utils.data.Dataset, a DataLoader, or "
        "a pair of arrays (inputs, targets)"
    )


def array_of(side: Any, what: str) -> Tensor:
    """One side of a pair of arrays.

    Raises:
        UserError: it holds other things than real numbers.
    """
    try:
        numbers = side if isinstance(side, Tensor) else torch.as_tensor(np.asarray(side))
    except (TypeError, ValueError, RuntimeError) as error:
        advice = "use .astype(float)" if what == "inputs" else "np.unique(labels, return_inverse=True)[1] numbers them"
        raise UserError(f"the {what} are {getattr(side, 'dtype', 'things')}, and no numbers: {advice}") from error
    if numbers.is_complex():
        raise UserError(f"the {what} are complex: give real numbers, as in torch.view_as_real(x)")
    return numbers


def described(dataset: Any, known: Mapping[str, str]) -> tuple[list[str], str | None]:
    """Words for what a data set gives, and the task of its targets where it is not the usual one.

    Args:
        dataset: of training.
        known: keys that the user has given, and their values.

    Raises:
        UserError: see `own_words`.
    """
    x, some_inputs, targets = looked_at(dataset)
    y, chosen = targets[0], known.get("data.target") or MEANT.get(known.get("task", ""))
    number = is_number(y, chosen)
    if number and chosen is None and (doubt := as_classes(targets)):
        log.warning(doubt)
    loader = isinstance(dataset, DataLoader)
    if not loader and not number and is_image(x):
        words = ["data=own_images", *image_words(some_inputs, known)]
    else:
        shape = list(np.shape(x) if not isinstance(x, Tensor) else x.shape)
        if not shape or isinstance(x, str | bytes):
            raise UserError(
                f"an input is {'a text' if isinstance(x, str) else f'a {type(x).__name__}'} and no image or array: "
                "texts are read of files, as in data='text_csv', data__path='texts.csv'"
            )
        if str(getattr(x, "dtype", "")).endswith("uint8") and len(shape) == 3:
            raise UserError(
                "the DataLoader gives images of uint8, which are not normalised: give its Dataset, or floats"
            )
        words = ["data=own_samples", word_of("data.shape", shape), f"data.target={'number' if number else 'class'}"]
    if loader and "data.batch_size" not in known:
        words.append(f"data.batch_size={dataset.batch_size or len(some_inputs)}")
    if number:
        return [*words, f"data.num_classes={int(np.prod(np.shape(y))) or 1}"], "regression"
    names = names_of(dataset)
    if "data.num_classes" not in known:
        words.append(f"data.num_classes={len(names) if names else count_classes(dataset)}")
        if names and "data.classes" not in known:
            words.append(word_of("data.classes", names))
    return words, None


def looked_at(dataset: Any) -> tuple[Any, list[Any], list[Any]]:
    """The first input, some inputs, and their targets."""
    if number_of(dataset) == 0:
        raise UserError(f"the {type(dataset).__name__} is empty")
    if isinstance(dataset, DataLoader):
        x, y = pair_of(next(iter(dataset)), "the DataLoader")
        return x[0], list(x), list(y)
    if isinstance(dataset, IterableDataset):
        raise UserError(
            f"a {type(dataset).__name__} has no places to draw from: give a DataLoader of it, or one with __getitem__"
        )
    n = number_of(dataset)
    places = sorted({round(i * (n - 1) / (LOOKED - 1)) for i in range(LOOKED)})
    pairs = [pair_of(dataset[place], f"the {type(dataset).__name__}") for place in places]
    return pairs[0][0], [x for x, _ in pairs], [y for _, y in pairs]


def is_image(x: Any) -> bool:
    """Whether an input is an image of levels, which is still to be normalised."""
    if isinstance(x, Image.Image):
        return True
    shape = tuple(getattr(x, "shape", ()))
    grey_or_colour = len(shape) == 2 or (len(shape) == 3 and not {shape[0], shape[2]}.isdisjoint(CHANNELS))
    return str(getattr(x, "dtype", "")).rpartition(".")[2] == "uint8" and grey_or_colour


def image_words(images: Sequence[Any], known: Collection[str]) -> list[str]:
    """Channels and size of images.

    Raises:
        UserError: they have several sizes, or are not square, and nobody has said to which they are to be scaled.
    """
    found = [image_of(image) for image in images]
    words = []
    if "data.in_channels" not in known:
        words.append(
            f"data.in_channels={1 if all(image.mode in ('1', 'L', 'I', 'F', 'I;16') for image in found) else 3}"
        )
    if "data.image_size" not in known:
        sizes = sorted({image.size for image in found})
        if len(sizes) > 1 or sizes[0][0] != sizes[0][1]:
            shown = some(f"{width}x{height}" for width, height in sizes)
            raise UserError(f"the images have {shown} pixels: say to which side they are scaled, data__image_size=64")
        words.append(f"data.image_size={sizes[0][0]}")
    return words


def is_number(y: Any, chosen: str | None = None) -> bool:
    """Whether a target is real numbers, and no class.

    Args:
        y: a target.
        chosen: "class" or "number", as the user says; None: by its type.

    Raises:
        UserError: it is neither one class nor real numbers.
    """
    if isinstance(y, str):
        raise UserError(f"a target is the text {y!r:.40}: let the Dataset give the number of its class, from 0 on")
    try:
        target = torch.as_tensor(np.asarray(y) if isinstance(y, np.generic) else y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"a target is a {type(y).__name__}: let the Dataset give the number of its class") from error
    if chosen == "number" or (chosen is None and target.is_floating_point()):
        return True
    if target.numel() != 1:
        kind = "real" if target.is_floating_point() else "whole"
        raise UserError(
            f"a target is {target.numel()} {kind} numbers, and one class is meant: of one-hot targets give argmax(1), "
            "and task='regression' learns them as numbers"
        )
    return False


def as_classes(targets: Sequence[Any]) -> str | None:
    """What is to be said of real numbers that could be classes; None where they cannot.

    Args:
        targets: some of them.

    >>> as_classes([0.0, 1.0, 1.0])
    "targets such as 0, 1 are real numbers, and are learned as numbers: task='classification' takes them as classes"
    >>> as_classes([0.5, 1.0])
    """
    try:
        found = torch.stack([torch.as_tensor(y).float() for y in targets])
    except RuntimeError:  # of several sizes, which is said where they are read
        return None
    if not bool(((found == found.round()) & (found >= 0) & (found < SURE)).all()):
        return None
    if found.numel() == len(found):
        shown = some((f"{y:g}" for y in found.unique().tolist()), 3)
        return (
            f"targets such as {shown} are real numbers, and are learned as numbers: task='classification' takes them "
            "as classes"
        )
    one_hot = found.ndim == 2 and bool((found.sum(1) == 1).all())
    return "targets are one-hot and are learned as numbers: give y.argmax(1) for classes" if one_hot else None


def names_of(dataset: Any) -> list[str]:
    """The names of classes that a data set knows."""
    while isinstance(dataset, Subset | DataLoader):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    features = getattr(dataset, "features", None)  # of Hugging Face
    if names is None and isinstance(features, Mapping):
        names = next((feature.names for feature in features.values() if hasattr(feature, "names")), None)
    return [str(name) for name in names] if isinstance(names, list | tuple) else []


def count_classes(dataset: Any) -> int:
    """One more than the highest class; all targets are read where nothing says it, for a while.

    Raises:
        UserError: that takes too long, or a target is no class.
    """
    whole = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    labels = labels_in(whole)
    if labels is None:
        began, found = time.monotonic(), []
        # a loader may make pairs of what its data set gives, which may have no places
        pairs = dataset if isinstance(dataset, DataLoader) else (whole[i] for i in range(number_of(whole)))
        for item in pairs:
            found.append(classes_in(torch.as_tensor(pair_of(item)[1])).reshape(-1))
            if time.monotonic() - began > PATIENCE:
                raise UserError(
                    f"how many classes a {type(whole).__name__} has takes long to find: data__num_classes=10"
                )
        labels = torch.cat(found)
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise UserError(f"a target is {low}, and classes are counted from 0")
    if high >= max(SURE, len(labels)):
        raise UserError(
            f"a target is {high}, of {len(labels)} samples: number the classes from 0 on, as "
            f"np.unique(labels, return_inverse=True)[1] does, say data__num_classes={high + 1}, or learn numbers by "
            "task='regression'"
        )
    if low > 0 and high > low:
        log.warning("no target is below %d: classes are counted from 0, and there will be %d", low, high + 1)
    return max(2, high + 1)
