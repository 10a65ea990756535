"""What a request asks about: files, texts, arrays and tables, each as the file that `DataModule.read` takes."""

import base64
import binascii
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException

from ..data.base import DataModule
from .limits import (
    Limits,
    require_few_pixels,
    require_few_rows,
    require_short_sound,
    require_short_text,
    too_large,
    unpacked,
)  # fmt: skip

Form = Literal["image", "sound", "text", "table", "file"]
NPY = b"\x93NUMPY"
UNNAMED = "the input"
MEDIA: dict[Form, tuple[str, ...]] = {  # of a body that is one file
    "image": ("image/",),
    "sound": ("audio/", "video/ogg"),
    "text": ("text/",),
    "table": ("text/", "application/vnd.ms-excel"),
    "file": ("",),
}
ANY_MEDIA = ("application/octet-stream", "application/x-npy")


@dataclass(frozen=True)
class Input:
    """One thing that is asked about.

    Attributes:
        value: the content of a file, or what `TrainedModel.predict` takes beside files.
        ending: of the file's name; "": it is no file.
        name: as the user calls it; "": it has no name.
        question: whether it is one question with its text, on one line of a file.
    """

    value: Any
    ending: str = ""
    name: str = ""
    question: bool = False


def form_of(endings: Sequence[str]) -> Form:
    """What people give to data that read files with these endings.

    >>> form_of((".jpg", ".png")), form_of((".txt", ".csv")), form_of((".csv",)), form_of((".pdb",))
    ('image', 'text', 'table', 'file')
    """
    marks: dict[str, Form] = {".png": "image", ".wav": "sound", ".txt": "text", ".csv": "table"}
    return next((form for ending, form in marks.items() if ending in endings), "file")


def sides_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the two texts of an input; none: it is one.

    Args:
        about: what the data say of themselves, see `DataModule.describe`.
    """
    if about["kind"] == "text_spans":
        return "question", "context"
    return ("text", "pair") if about.get("pair") else ()


class Taker:
    """Makes inputs of what a request has, and refuses what is over the limits.

    Args:
        data: of the training, which say what they read.
        sides: names of the two texts of an input, as in ("question", "context"); none: it is one text.
        limits: see `Limits`.
    """

    def __init__(self, data: DataModule, sides: tuple[str, ...], limits: Limits) -> None:
        self.endings, self.sides, self.limits = data.endings, sides, limits
        self.form = form_of(data.endings)
        self.sample_rate: int | None = getattr(data, "sample_rate", None)
        if self.form == "image":
            known = Image.registered_extensions()
            self.formats = tuple(sorted({known[ending] for ending in self.endings if ending in known}))
        if self.form == "sound":
            from ..data.sound.files import audio  # the extra "audio" is needed for sounds alone

            self.soundfile = audio("soundfile")
            audio("torchaudio")  # now, and not while the first request waits
        if self.form == "table":
            import pandas  # noqa: F401  # likewise

    def of_body(self, content: bytes, media: str) -> Input:
        """A body that is one file.

        Raises:
            HTTPException: its type is none of these data.
        """
        if not media.startswith((*MEDIA[self.form], *ANY_MEDIA)):
            known = [f"{kind}*" if kind.endswith("/") else kind for kind in (*MEDIA[self.form], *ANY_MEDIA) if kind]
            ways = ["application/json", "multipart/form-data", *known]
            raise HTTPException(415, f"the content type {media or 'is missing, which'} is none of {', '.join(ways)}")
        if self.form == "text":
            return self.of_value(decoded(content, UNNAMED))
        return self.of_file(content, "")

    def of_file(self, content: bytes, name: str) -> Input:
        """A file that was sent.

        Raises:
            HTTPException: it is over a limit, or cannot be read at all.
        """
        name = PurePath(name.replace("\\", "/")).name[:200]  # of a path only the last part
        name = name.encode(errors="replace").decode()  # half of a pair of surrogates could not be sent back
        called = name or UNNAMED
        if not content:
            raise HTTPException(422, f"{called} is empty: send a file that holds something")
        if content.startswith(NPY) and self.form in ("image", "sound"):
            return self.of_array(array_of(content, called), self.sample_rate, name)
        ending = PurePath(name).suffix.lower()
        match self.form:
            case "image":
                require_few_pixels(content, called, self.formats, self.limits)
            case "sound":
                require_short_sound(content, called, self.soundfile, self.limits)
            case "text":
                content = unpacked(content, called, self.limits)
                require_short_text(content, called, self.limits)
            case "table":
                content = unpacked(content, called, self.limits)
                require_few_rows(content, called, self.limits)
        return Input(content, ending if ending in self.endings else self.endings[0], name)

    def of_value(self, value: Any) -> Input:
        """An input of a JSON body; see `ways`.

        Raises:
            HTTPException: it is none of these ways, or over a limit.
        """
        match value:
            case {"base64": str(text), **rest} if set(rest) <= {"name"}:
                return self.of_file(bytes_of(text), str(rest.get("name", "")))
            case str() if self.form in ("image", "sound") and value.startswith("data:"):
                return self.of_file(bytes_of(value.partition(",")[2]), "")
            case list() if self.form in ("image", "sound"):
                return self.of_array(numbers_in(value), self.sample_rate)
            case {"array": list(numbers), **rest} if set(rest) <= {"sample_rate"} and self.form in ("image", "sound"):
                return self.of_array(numbers_in(numbers), rest.get("sample_rate", self.sample_rate))
            case str() if self.form == "text":
                return self.of_text(*value.split("\t", 1) if self.sides else (value,))
            case dict() if self.form == "text" and set(value) == set(self.sides or ("text",)):
                return self.of_text(*(value[side] for side in self.sides or ("text",)))
            case str() if self.form == "table":
                return self.of_file(value.encode(), "")
            case dict() | list() if self.form == "table":
                return Input(table_of(value, self.limits))
        raise HTTPException(422, f"an input must be {self.ways()}")

    def ways(self) -> str:
        """How an input is written in JSON."""
        file = '{"base64": "..."} of a file'
        sides = ", ".join(f'"{side}": "..."' for side in self.sides)
        return {
            "image": f"a list of rows of pixels (h w, h w 3 or 3 h w), or {file}",
            "sound": f'{{"array": [...], "sample_rate": 16000}} with samples from -1 to 1, or {file}',
            "text": f"an object {{{sides}}}, or {file}" if self.sides else f"a text, or {file}",
            "table": f"an object with a list for each column, a list of objects, the text of a CSV file, or {file}",
            "file": file,
        }[self.form]

    def of_text(self, *sides: Any) -> Input:
        """A text that was typed, or the two sides of one.

        Raises:
            HTTPException: it is empty, too long, or has not two sides where they are asked for.
        """
        names = self.sides or ("text",)
        if len(sides) != len(names) or not all(isinstance(side, str) and side.strip() for side in sides):
            raise HTTPException(422, f"{' and '.join(names)} must be a text that is not empty")
        require_short_text("".join(sides).encode("utf-8", "replace"), "the text", self.limits)
        if "question" in names:
            return Input("\t".join(map(flat, sides)).encode("utf-8", "replace"), ".txt", question=True)
        return Input(sides if self.sides else sides[0])

    def of_array(self, array: NDArray[Any], sample_rate: Any, name: str = "") -> Input:
        """An image or a sound that is an array.

        Raises:
            HTTPException: it is over a limit, or the sample rate is no number of hertz.
        """
        if self.form == "image":
            if array.size > 4 * self.limits.pixels:
                raise HTTPException(413, f"the array has more than the {self.limits.pixels:,} pixels that are taken")
            return Input(array, name=name)
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or not 1 <= sample_rate < 2**31:
            raise HTTPException(422, f"sample_rate={sample_rate} must be a whole number of hertz, as in 16000")
        if max(array.shape, default=0) > self.limits.seconds * sample_rate:
            seconds = round(max(array.shape) / sample_rate, 1)
            raise too_large("the array", seconds, self.limits.seconds, "seconds")
        return Input((array, sample_rate), name=name)


def flat(text: Any) -> str:
    r"""A text on one line.

    >>> flat("one\r\n two\tthree ")
    'one two three'
    """
    return re.sub(r"\s*[\r\n\t\v\f\x1c-\x1e\x85\u2028\u2029]+\s*", " ", str(text)).strip()


def decoded(content: bytes, name: str) -> str:
    """A text in UTF-8.

    Raises:
        HTTPException: it is none.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HTTPException(422, f"{name} is no UTF-8 text: save it as UTF-8") from error


def bytes_of(text: str) -> bytes:
    """What was written in base64, perhaps behind the head of a data URL.

    Raises:
        HTTPException: it is none.
    """
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, f"base64 cannot be read: {error}") from error


def array_of(content: bytes, name: str) -> NDArray[Any]:
    """The array in a .npy file, whose head must not promise more than there is, nor objects, which are code.

    Raises:
        HTTPException: it cannot be read.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        heads: dict[tuple[int, int], Callable[[Any], Any]] = {
            (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0,
        }  # fmt: skip
        shape, _, dtype = heads[version](file)
        if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(content) - file.tell():
            raise ValueError("its head promises another size than it has")
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    except (ValueError, KeyError, EOFError, OSError, TypeError) as error:
        raise HTTPException(422, f"{name} cannot be read as an array: {error}") from error


def numbers_in(value: list[Any]) -> NDArray[Any]:
    """Nested lists as an array.

    Raises:
        HTTPException: the rows have different lengths, or there are other things than numbers.
    """
    try:
        array = np.array(value)
    except ValueError as error:
        raise HTTPException(422, "the rows of an array must have the same length") from error
    if array.dtype.kind not in "iuf":
        raise HTTPException(422, "an array must have numbers")
    return array


def table_of(value: Mapping[str, Any] | Sequence[Any], limits: Limits) -> Any:
    """A DataFrame of columns {"time": [...], "load": [...]}, or of rows [{"time": ..., "load": ...}, ...].

    Raises:
        HTTPException: it is neither, columns have different lengths, or there are too many rows.
    """
    import pandas as pd

    if isinstance(value, Mapping):
        if not value or not all(isinstance(column, list) for column in value.values()):
            raise HTTPException(422, "a table must have a list for each column")
        if len({len(column) for column in value.values()}) > 1:
            raise HTTPException(422, "the columns of a table must have the same length")
        cells = [cell for column in value.values() for cell in column]
    else:
        if not value or not all(isinstance(row, dict) for row in value):
            raise HTTPException(422, "a table must be a list of objects, one for each row")
        cells = [cell for row in value for cell in row.values()]
    if any(isinstance(cell, list | dict) for cell in cells):
        raise HTTPException(422, "the cells of a table must be numbers or texts")
    frame = pd.DataFrame(value)
    if len(frame) > limits.rows:
        raise too_large("the table", len(frame), limits.rows, "rows")
    return frame
