"""One reader of masks: what the values, the palettes and the colours of their files mean."""

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError, some
from ..images.reader import PixelReader
from .smoothed import between

log = logging.getLogger(__name__)
IGNORED = 255  # in masks: no class, not in the loss and not in the figures
VOID = ("ignored", "void", "unlabelled", "unlabeled")  # names of data.colours for pixels that do not count
COLOUR = 1 << 24  # codes from here on are colours
LARGEST = 65535  # value of a pixel
MOST_COLOURS = 64
MOST_CODES = 256  # colours or values after which no more masks are looked at
MOST_VALUES = 200  # of masks with one channel; those that were smoothed have nearly all there are
FEW = 0.1  # of the masks: so rare are numbers of objects, see `numbers_objects`
LOSSY = ("JPEG", "MPO")  # formats that change colours a little
Colours = Mapping[str, int | str | Sequence[int]]
Pair = tuple[Path, Path]  # the files of image and mask; twice the same: the image on the left, the mask on the right


@dataclass(frozen=True)
class StoredMask:
    """What a mask's file says of each pixel.

    Attributes:
        codes: uint32 `h w`: a value from 0 to 65535, or a colour as 2^24 + 2^16 red + 2^8 green + blue.
        palette: of a file with one, the colour of each value; else empty.
        lossy: whether the format changes colours.
    """

    codes: NDArray[np.uint32]
    palette: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False


def colour_code(colour: Sequence[int]) -> int:
    """A colour as `StoredMask` has it."""
    red, green, blue = colour
    return COLOUR + (red << 16) + (green << 8) + blue


def colour_of(code: int) -> tuple[int, int, int]:
    """The colour of a code."""
    return code >> 16 & 255, code >> 8 & 255, code & 255


def describe_code(code: int) -> str:
    """A code in words: "the value 7", or "the colour 255,0,0"."""
    return f"the value {code}" if code < COLOUR else f"the colour {','.join(map(str, colour_of(code)))}"


def read_stored(pair: Pair) -> StoredMask:
    """The mask of a pair; an alpha channel is left out.

    Raises:
        UserError: the file cannot be read, or its values are none that a mask can have.
    """
    image_path, path = pair
    image, _ = PixelReader().open(path)
    lossy = image.format in LOSSY
    palette: dict[int, int] = {}
    if image.mode == "P":
        levels = image.getpalette("RGB") or []
        palette = dict(enumerate(map(colour_code, zip(levels[::3], levels[1::3], levels[2::3], strict=False))))
    elif not image.mode.startswith(("I", "F", "L")):
        image = image.convert("L" if image.mode == "1" else "RGB")
    elif image.mode in ("LA", "La"):
        image = image.convert("LA").getchannel("L")
    pixels = np.asarray(image)
    if image_path == path:
        pixels = pixels[:, pixels.shape[1] // 2 :]
    if image.mode.startswith(("I", "F")) and not (
        0 <= pixels.min() <= pixels.max() <= LARGEST and (pixels == pixels.astype(np.int64)).all()
    ):
        raise UserError(
            f"{path} has values from {pixels.min():g} to {pixels.max():g}, and those of masks are whole numbers from 0 "
            f"to {LARGEST}: save it so"
        )
    pixels = pixels.astype(np.uint32)
    if pixels.ndim == 3:
        pixels = COLOUR + (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]
    return StoredMask(pixels, palette, lossy)


def _grey(code: int) -> bool:
    return code >= COLOUR and len(set(colour_of(code))) == 1


def class_of(code: int, stored: StoredMask, classes: Mapping[int, int], painted: Collection[int]) -> int | None:
    """The class of a code in a mask's file; None where it has none.

    The colours of a palette come before its indices, which each program that writes the file may choose anew. Three
    equal channels are one, and one channel is three equal ones.

    Args:
        code, stored: of the file.
        classes: see `read_mask`.
        painted: the classes that a colour has.
    """
    if colour := stored.palette.get(code, 0):
        if colour in classes:
            return classes[colour]
        return None if classes.get(code) in painted else classes.get(code)
    if code in classes:
        return classes[code]
    if _grey(code):
        return classes.get(code & 255)
    return classes.get(colour_code([code] * 3)) if code <= 255 else None


def nearest_classes(codes: NDArray[np.uint32], classes: Mapping[int, int]) -> list[int | None]:
    """The classes of the known codes that are the nearest to those of a lossy file, of values or of colours.

    >>> nearest_classes(np.array([9, 250]), {0: 0, 255: 1}), nearest_classes(np.array([9]), {colour_code((0, 0, 0)): 0})
    ([0, 1], [None])
    """
    coloured = bool(len(codes)) and int(codes[0]) >= COLOUR  # one file has codes of one kind
    known = [code for code in classes if (code >= COLOUR) == coloured]
    if not known:
        return [None] * len(codes)
    width = 3 if coloured else 1
    here, there = (np.stack(_levels(np.asarray(some, dtype=np.int64))[-width:], -1) for some in (codes, known))
    nearest = [int(np.square(there - level).sum(1).argmin()) for level in here]
    return [classes[known[place]] for place in nearest]


def _levels(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    return codes >> 16 & 255, codes >> 8 & 255, codes & 255


def read_mask(pair: Pair, classes: Mapping[int, int]) -> NDArray[np.uint8]:
    """A mask as classes, `h w`.

    Args:
        pair: its files, see `Pair`.
        classes: the class of each code, see `StoredMask`.

    Raises:
        UserError: a code is of no class; file and code are named.
    """
    stored = read_stored(pair)
    painted = {k for code, k in classes.items() if code >= COLOUR}
    found, inverse = np.unique(stored.codes, return_inverse=True)
    table = [class_of(code, stored, classes, painted) for code in found.tolist()]
    if stored.lossy and None in table:
        unknown = [place for place, k in enumerate(table) if k is None]
        for place, k in zip(unknown, nearest_classes(found[unknown], classes), strict=True):
            table[place] = k
    for code, k in zip(found.tolist(), table, strict=True):
        if k is None:
            said = describe_code(code)
            if colour := stored.palette.get(code):
                said += f" in {describe_code(colour)}"
            known = ", ".join(describe_code(c).split()[-1] for c in sorted(classes)[:20])
            raise UserError(f"{pair[1]} has {said}, which is of no class: masks may have {known}")
    return np.array(table, dtype=np.uint8)[inverse].reshape(stored.codes.shape)


@dataclass
class Found:
    """What masks have, each with the first file that has it.

    Attributes:
        codes: values of one channel, and colours of three.
        pixels: how many of all masks have each colour, be it one of a palette.
        paints: of each index of palettes its colours.
        present: of each mask its values but 0 and 255.
        indexed: masks with a palette.
        merged: a file in which two indices have one colour.
    """

    codes: dict[int, Path] = field(default_factory=dict)
    pixels: Counter[int] = field(default_factory=Counter)
    paints: dict[int, dict[int, Path]] = field(default_factory=dict)
    present: list[frozenset[int]] = field(default_factory=list)
    indexed: int = 0
    merged: Path | None = None

    def add(self, pair: Pair) -> None:
        stored = read_stored(pair)
        used, numbers = (each.tolist() for each in np.unique(stored.codes, return_counts=True))
        self.pixels.update(dict(zip((stored.palette.get(code, code) for code in used), numbers, strict=True)))
        if stored.palette:
            self.indexed += 1
            colours = [stored.palette.get(index, COLOUR) for index in used]
            for index, colour in zip(used, colours, strict=True):
                self.paints.setdefault(index, {}).setdefault(colour, pair[1])
            if len(set(colours)) < len(colours):
                self.merged = pair[1]
        else:
            for code in used:
                self.codes.setdefault(code, pair[1])
        self.present.append(frozenset(used) - {0, IGNORED})

    @property
    def differing(self) -> tuple[int, list[tuple[int, Path]]] | None:
        """An index that has two colours, and these with a file of each."""
        return next(((index, list(found.items())) for index, found in self.paints.items() if len(found) > 1), None)


def find_codes(pairs: Sequence[Pair], *, tell: bool = False) -> dict[int, int]:
    """The class of each code in masks, see `StoredMask`.

    Two values 0 and 255 are classes 0 and 1. Other values are the classes themselves, and 255 is ignored; so are three
    equal channels, and the indices of palettes that agree in all files, whose colours mean the same then. Colours are
    classes in the order of red, green and blue, so that black is the first; so are those of palettes that differ.

    Args:
        pairs: the files.
        tell: whether the log says what was decided.

    Raises:
        UserError: less than two classes, more colours or values than masks have, values with large gaps, or masks that
            are saved in different ways.
    """
    found = Found()
    for pair in pairs:
        found.add(pair)
        if len(found.codes) > MOST_CODES:
            raise _too_many(found.codes, pair[1])
    coloured = {code: path for code, path in found.codes.items() if code >= COLOUR}
    if coloured and all(map(_grey, coloured)) and _counted({code & 255 for code in coloured}):
        # Three equal channels are one.
        found.codes = {code & 255: path for code, path in found.codes.items()}
        found.present = [frozenset(code & 255 for code in codes) - {0, IGNORED} for codes in found.present]
        coloured = {}
    differing = found.differing
    if differing or (coloured and found.paints):
        coloured |= {colour: path for paints in found.paints.values() for colour, path in paints.items()}
    plain = {code: path for code, path in found.codes.items() if code < COLOUR}
    if coloured and plain:
        raise UserError(
            f"{next(iter(coloured.values()))} is in colour and {next(iter(plain.values()))} has one channel: save all "
            "masks in the same way"
        )
    if coloured:
        if differing:
            index, ((one, first), (other, second), *_) = differing
            fault = f"{index} is {describe_code(one)} in {first} and {describe_code(other)} in {second}"
            if found.merged:
                raise UserError(
                    f"the palettes of the masks differ ({fault}), and in {found.merged} two indices have one colour: "
                    "say what the indices are, data.colours={background: 0, object: 1}"
                )
            if tell:
                log.info(
                    "the palettes of %d masks differ (%s): their colours are the classes; with "
                    "data.colours={background: 0, object: 1} their indices are", found.indexed, fault,
                )  # fmt: skip
        return _of_colours(coloured, found.pixels)
    return _of_values(found, tell=tell)


def _too_many(codes: Mapping[int, Path], path: Path) -> UserError:
    if max(codes) > IGNORED and max(codes) < COLOUR:
        return UserError(
            f"the masks up to {path} have {len(codes)} values: if each object has a number of its own, give them one "
            f"class, data.colours={{background: 0, object: 1..{LARGEST}}}"
        )
    return UserError(f"{path} has many colours, as photographs and JPEG files have: {_ways_out()}")


def _ways_out() -> str:
    return "save masks as PNG without smoothing, or name the right colours, data.colours={road: [128,64,128], ...}"


def _of_colours(coloured: Mapping[int, Path], pixels: Mapping[int, int]) -> dict[int, int]:
    if len(coloured) > MOST_COLOURS:
        raise UserError(f"the masks have {len(coloured)} colours, as after scaling or JPEG: {_ways_out()}")
    if len(coloured) < 2:
        raise _alone(next(iter(coloured)))
    smoothed = between({colour_of(code): pixels[code] for code in coloured})
    if len(smoothed) > len(coloured) / 2:
        where = coloured[colour_code(smoothed[0])]
        raise UserError(
            f"of {len(coloured)} colours in the masks {len(smoothed)} are rare and lie between others, as along edges "
            f"that were smoothed ({describe_code(colour_code(smoothed[0]))} in {where}): scale masks by the nearest "
            "pixel alone, and draw them without smoothing"
        )
    return {code: k for k, code in enumerate(sorted(coloured))}


def _of_values(found: Found, *, tell: bool) -> dict[int, int]:
    codes = sorted({*found.codes, *found.paints})
    known = [code for code in codes if code != IGNORED]
    if codes in ([0, IGNORED], [0, LARGEST]):
        classes = {code: k for k, code in enumerate(codes)}
    else:
        if not _counted(codes):
            values = ", ".join(map(str, codes[:20])) + ", ..." * (len(codes) > 20)
            where = found.codes.get(known[-1]) or next(iter(found.paints[known[-1]].values()))
            raise UserError(
                f"the masks have the values {values} ({known[-1]} in {where}), which are not classes counted from 0: "
                "save them as PNG if smoothing or JPEG has made them, or say what they mean, "
                "data.colours={background: 0, road: 127, ...} or, of numbered objects, "
                f"{{background: 0, object: 1..{known[-1]}}}"
            )
        if len(codes) < 2 or known == [0]:
            raise _alone(codes[0])
        classes = {k: k for k in range(known[-1] + 1)} | {IGNORED: IGNORED}
        if tell and (empty := sorted(set(classes) - {*known, IGNORED})):
            log.info("no mask that was looked at has the values %s: these classes have no pixels", some(empty))
        if tell and numbers_objects(found.present):
            rare = sum(sum(value in mask for mask in found.present) < len(found.present) / 3 for value in known[1:])
            log.warning(
                "%d of the %d values in the masks beside 0 occur in few of them, as where each object has a number of "
                "its own: if so, give all one class, data.colours={background: 0, object: 1..%d}", rare,
                len(known) - 1, known[-1],
            )  # fmt: skip
    colours = [next(iter(paints)) for paints in found.paints.values()]
    if len(set(colours)) == len(colours):  # else colours do not tell one index from another
        classes |= {next(iter(paints)): classes[index] for index, paints in found.paints.items()}
    return classes


def _counted(values: Collection[int]) -> bool:
    """Whether values are classes counted from 0, or nearly so, beside 255; or 0 and 255 alone."""
    known = sorted(set(values) - {IGNORED})
    return not known or (len(values) <= MOST_VALUES and len(known) > known[-1] / 2)


def _alone(code: int) -> UserError:
    return UserError(
        f"the masks have {describe_code(code)} alone, where at least two classes are needed: name the folder with the "
        "right masks, data.root=FOLDER"
    )


def numbers_objects(present: Sequence[Collection[int]]) -> bool:
    """Whether the values of masks look like the numbers of objects, and not like classes.

    Either the masks count their objects from 1, some more and some less of them, or most values are rare.

    Args:
        present: of each mask its values but 0 and 255.

    >>> numbers_objects([{1}, {1, 2}, {1, 2, 3}, {1, 2}]), numbers_objects([{1}, {2}, {1, 3}, {3}])
    (True, False)
    """
    values: set[int] = set().union(*present)
    counted = sum(set(mask) == set(range(1, len(mask) + 1)) for mask in present)
    sizes = {len(mask) for mask in present} - {0}
    if len(values) >= 3 and len(sizes) >= 3 and counted >= (1 - FEW) * len(present):
        return True
    rare = [value for value in values if sum(value in mask for mask in present) < FEW * len(present)]
    return len(values) >= 4 and len(rare) > len(values) / 2


def given_codes(colours: Colours) -> dict[int, int]:
    """The class of each code from `data.colours`, in their order; names of `VOID` are ignored.

    A class may have many values, as in {person: "1..255"}; a value that is named by itself is not of them. Where one
    class alone is named, by values, the value 0 is another one before it, the background.

    Raises:
        UserError: a value that is neither a level nor a colour nor a range, or less than two classes.

    >>> given_codes({"person": "1..3", "ignored": 2})
    {1: 1, 3: 1, 2: 255, 0: 0}
    """
    single: dict[int, int] = {}
    ranges: dict[int, int] = {}
    named = [name for name in colours if str(name).casefold() not in VOID]
    numbers = {name: k for k, name in enumerate(named, start=len(class_names(colours)) - len(named))}
    wanted = 0
    for name, value in colours.items():
        found = _codes_of(name, value)
        into = single if len(found) == 1 else ranges
        wanted += len(found) == 1
        if len(found) > 1 and not ranges.keys().isdisjoint(found):
            raise UserError(f"data.colours: {name} is {value}, and some of these values have a class already")
        into |= dict.fromkeys(found, numbers.get(name, IGNORED))
    if len(single) < wanted or len(class_names(colours)) < 2:
        raise UserError(
            f"data.colours names {len({*single, *ranges})} different colours, where each of at least 2 classes needs "
            "one"
        )
    codes = {code: k for code, k in ranges.items() if code not in single} | single
    return codes if len(class_names(colours)) == len(named) else {**codes, 0: 0}


def class_names(colours: Colours) -> list[str]:
    """The names of the classes in `data.colours`, in their order; with the background where it goes without saying."""
    named = [str(name) for name in colours if str(name).casefold() not in VOID]
    codes = set(itertools.chain.from_iterable(_codes_of(name, value) for name, value in colours.items()))
    return ["background"] * (len(named) == 1 and 0 not in codes and max(codes) < COLOUR) + named


def _codes_of(name: str, value: int | str | Sequence[int]) -> Sequence[int]:
    """The codes of a class.

    >>> _codes_of("road", 7), _codes_of("road", "7..9")
    ((7,), range(7, 10))
    """
    if isinstance(value, str):
        first, dots, last = value.partition("..")
        if dots and first.strip().isdecimal() and last.strip().isdecimal() and int(first) <= int(last) <= LARGEST:
            return range(int(first), int(last) + 1)
    elif isinstance(value, int):
        if type(value) is int and 0 <= value <= LARGEST:
            return (value,)
    elif len(value) == 1 and 0 <= value[0] <= LARGEST:
        return (value[0],)
    elif len(value) == 3 and all(type(v) is int and 0 <= v <= 255 for v in value):
        return (colour_code(value),)
    raise UserError(
        f"data.colours: {name} is {value}, which must be a value from 0 to 65535, [red,green,blue], or "
        "values as in 1..255"
    )
