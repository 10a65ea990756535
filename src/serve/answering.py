"""What a network says of inputs, in the rows of `torchatlas predict`."""

import base64
import logging
import math
import mimetypes
import re
import tempfile
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api.trained import TrainedModel
from ..errors import UserError
from ..predict.rows import ERROR
from .inputs import UNNAMED, Input

log = logging.getLogger(__name__)
Row = dict[str, Any]
DIGITS = 6  # of a file's name in the folder
BROKEN = "the network could not answer; the log of the service says why"


@dataclass(frozen=True)
class Answer:
    """What is said of an input.

    Attributes:
        rows: as `torchatlas predict` prints them.
        error: why there are none.
        status: of HTTP, for that error.
    """

    rows: Sequence[Row] = ()
    error: str = ""
    status: int = 200


class Answering:
    """Answers inputs, one call at a time.

    What is in memory goes to `TrainedModel.predict` as it is. Files are written into a folder, and that is given to
    it, as `torchatlas predict` reads a folder: the rows are those of the command. Where one call for several inputs is
    refused, each is asked about alone, so that nobody suffers for another's.

    Args:
        model: the trained network.
        writes: whether it has files to give, such as masks, and takes a folder for them as `output`.
    """

    def __init__(self, model: TrainedModel, *, writes: bool = False) -> None:
        self.model, self.writes = model, writes

    def __call__(self, inputs: Sequence[Input], options: Hashable) -> list[Answer]:
        """An answer for each input.

        Args:
            inputs: any that fit into memory together.
            options: pairs of names and values.
        """
        found: dict[int, Answer] = {}
        for filed in (False, True):
            places = [i for i, each in enumerate(inputs) if bool(each.ending) == filed]
            answers = self.alike([inputs[i] for i in places], options) if places else []
            found |= zip(places, answers, strict=True)
        return [found[i] for i in range(len(inputs))]

    def alike(self, inputs: Sequence[Input], options: Hashable) -> list[Answer]:
        """An answer for each input; all are files, or none is."""
        try:
            groups = self.together(inputs, options)
        except UserError as error:
            if len(inputs) == 1:
                return [Answer(error=re.sub(r"\binput 0\b", UNNAMED, str(error)), status=422)]
            groups = None
        except Exception:
            if len(inputs) == 1:
                log.exception("an answer failed")
                return [Answer(error=BROKEN, status=500)]
            groups = None
        if groups is None:
            return [answer for each in inputs for answer in self.alike([each], options)]
        return [answer_of(group) for group in groups]

    def together(self, inputs: Sequence[Input], options: Any) -> list[list[Row]] | None:
        """The rows of each input, in one call; None: it cannot be told whose they are.

        Raises:
            UserError: see `TrainedModel.predict`.
        """
        with tempfile.TemporaryDirectory(prefix="torchatlas-serve-") as home:
            given, made = Path(home, "given"), Path(home, "made")
            given.mkdir()
            chosen = dict(options) | ({"output": str(made)} if self.writes else {})
            try:
                if inputs[0].ending:
                    for i, each in enumerate(inputs):
                        (given / f"{i:0{DIGITS}d}{each.ending}").write_bytes(each.value)
                    rows = self.model.predict(str(given), **chosen)
                else:
                    rows = self.model.predict([each.value for each in inputs], **chosen)
            except UserError as error:
                raise UserError(renamed(str(error), given, inputs)) from error
            places = owners(rows, given, inputs)
            if places is None:
                return None
            groups: list[list[Row]] = [[] for _ in inputs]
            for place, row in zip(places, rows, strict=True):
                groups[place].append({**told(row, given, inputs, place), **files_of(place, made)})
        return groups


def answer_of(rows: Sequence[Row]) -> Answer:
    """The answer that rows are; one with an error only is none."""
    if not rows:
        return Answer(error=f"{UNNAMED} holds nothing that the network reads", status=422)
    if len(rows) == 1 and ERROR in rows[0]:
        return Answer(error=re.sub(r"\binput \d+\b", UNNAMED, str(rows[0][ERROR])), status=422)
    return Answer([plain(row) for row in rows])


def owners(rows: Sequence[Row], folder: Path, inputs: Sequence[Input]) -> list[int] | None:
    """To which input each row belongs: by the place or path that it has, or, of questions, by the order.

    None: that cannot be told.
    """
    if len(inputs) == 1:
        return [0] * len(rows)
    places = [owner(row, folder) for row in rows]
    if None not in places:
        return [place for place in places if place is not None]
    known = {place for place in places if place is not None}
    others = iter([i for i in range(len(inputs)) if i not in known])
    if places.count(None) != len(inputs) - len(known) or not all(each.question for each in inputs):
        return None
    return [next(others) if place is None else place for place in places]


def owner(row: Row, folder: Path) -> int | None:
    """The number of the input that a row names."""
    if isinstance(place := row.get("input"), int):
        return place
    start = f"{folder}/"
    for value in row.values():
        if isinstance(value, str) and value.startswith(start):
            return int(value[len(start) : len(start) + DIGITS])
    return None


def told(row: Row, folder: Path, inputs: Sequence[Input], place: int) -> Row:
    """The row of an input in the words of the user: files have their names, and what has none is not named."""
    named = bool(inputs[place].name)
    return {
        key: renamed(value, folder, inputs) if isinstance(value, str) else value
        for key, value in row.items()
        if key != "input" and (named or key == ERROR or not str(value).startswith(f"{folder}/"))
    }


def renamed(text: str, folder: Path, inputs: Sequence[Input]) -> str:
    """A text in which files have the names that the user knows."""
    if str(folder) in text:
        for i, each in enumerate(inputs):
            text = text.replace(f"{folder}/{i:0{DIGITS}d}{each.ending}", each.name or UNNAMED)
        text = text.replace(str(folder), "what was sent")
    return text


def files_of(place: int, folder: Path) -> Row:
    """The pictures that were made of an input, as data URLs, by the ends of their names: `mask`."""
    paths = sorted(folder.glob(f"{place:0{DIGITS}d}_*.png")) if folder.is_dir() else []
    return {path.stem[DIGITS + 1 :]: data_url(path) for path in paths if not path.stem.endswith("_overlay")}


def data_url(path: Path) -> str:
    """A file as an address that holds it."""
    media = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers that are none are null."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
