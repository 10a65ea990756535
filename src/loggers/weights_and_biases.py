"""Weights & Biases: offline, as a file in the run folder that `wandb sync` sends, or online."""

import html
import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from matplotlib.figure import Figure
from torch import Tensor

from ..storage.run_folder import shown
from .base import At, Outcome, RunLogger, comes_again, group_of, image_of, remembered, require_choice

MODES = ["offline", "online"]
INTERVAL = 0.1  # seconds between two times at which the file is written
BLOCK, HEADER = 1 << 15, 7  # of the file of records, which is LevelDB's log
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # parts of a record


class WandbLogger(RunLogger):
    """Figures, pictures, texts and sounds by optimiser step, and by epoch where they are of one; config and best.

    A run that goes on does so under its number: `wandb sync` joins the files of both. Runs of a series, a multirun or
    a sweep share a group.

    Args:
        folder, config: see `RunLogger`.
        project: under which it is kept.
        mode: "offline" or "online", where it is sent while it trains.
        entity: the team or user; None: the one of the login.
        tags: words by which it is found.
    """

    title: ClassVar[str] = "Weights & Biases"
    requires: ClassVar[tuple[str, str] | None] = ("wandb", "wandb")

    def __init__(
        self, folder: Path, config: Mapping[str, Any] | None = None, project: str = "torchatlas",
        mode: str = "offline", entity: str | None = None, tags: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(folder, config)
        self.project, self.mode, self.entity, self.tags = project, mode, entity, list(tags)
        self.run: Any = None

    @classmethod
    def check(cls, chosen: Mapping[str, Any]) -> None:
        require_choice("logger.wandb.mode", chosen.get("mode", "offline"), MODES)
        super().check(chosen)

    def begin(self, behind: At | None) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers, before it is imported
        import wandb

        number, _ = remembered(self.folder, "wandb", lambda: uuid.uuid4().hex[:12])
        if behind is not None:
            for path in self.folder.glob(f"wandb/*run-*-{number}*/run-{number}.wandb"):
                forget_after(path, behind)
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True,
            x_transaction_log_flush_interval=INTERVAL,  # else 15 seconds, which a killed run would lose
        )  # fmt: skip
        self.run = wandb.init(
            id=number, resume="allow", dir=str(self.folder), name=self.config.get("name"), config=dict(self.config),
            project=self.project, mode=self.mode, entity=self.entity, tags=self.tags or None,  # type: ignore[arg-type]
            group=group_of(self.folder), settings=settings, reinit="create_new",
        )  # fmt: skip
        for stage in ("train", "val"):
            self.run.define_metric(f"{stage}/*", step_metric="epoch")

    def figures(self, values: Mapping[str, float], at: At) -> None:
        of_epoch = {} if at.epoch is None else {"epoch": at.epoch}
        self.run.log(of_epoch | {key: float(value) for key, value in values.items()}, step=at.step)

    def summary(self, values: Mapping[str, float], at: At) -> None:
        self.run.summary.update({key: float(v) for key, v in values.items() if not key.startswith("final/")})

    def picture(self, tag: str, figure: Figure, at: At) -> None:
        import wandb

        self.run.log({tag: wandb.Image(image_of(figure))}, step=at.step)

    def text(self, tag: str, text: str, at: At) -> None:
        import wandb

        self.run.log({tag: wandb.Html(f"<pre>{html.escape(text)}</pre>", inject=False)}, step=at.step)

    def sound(self, tag: str, wave: Tensor, sample_rate: int, at: At) -> None:
        import wandb

        self.run.log({tag: wandb.Audio(wave.numpy(), sample_rate=sample_rate)}, step=at.step)

    def flush(self) -> None:
        """Another process writes the file, and tells nobody when it has."""
        if self.mode == "offline":
            time.sleep(3 * INTERVAL)

    def end(self, outcome: Outcome) -> None:
        self.run.summary["outcome"] = outcome
        self.run.finish(exit_code=0 if outcome == "finished" else 1)
        self.flush()

    def hint(self) -> str:
        if self.mode == "online":
            return str(self.run.url)
        return f"wandb sync {' '.join(str(shown(path)) for path in sorted(self.folder.glob('wandb/offline-run-*')))}"


# --- the file of an offline run, of which the library has no reader


def records(data: bytes) -> Iterator[bytes]:
    """The records of a file that may end within one."""
    place, parts = HEADER, []
    while place + HEADER <= len(data):
        if (left := BLOCK - place % BLOCK) < HEADER:  # a block's end that has no space for a header
            place += left
            continue
        checksum, size, part = struct.unpack("<IHB", data[place : place + HEADER])
        content = data[place + HEADER : place + HEADER + size]
        if len(content) < size or zlib.crc32(content, zlib.crc32(bytes([part]))) != checksum:
            return
        place += HEADER + size
        parts.append(content)
        if part in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []


def packed(head: bytes, contents: Iterable[bytes]) -> bytes:
    """A file of these records."""
    data = bytearray(head)
    for content in contents:
        begun, rest = False, content
        while True:
            if (left := BLOCK - len(data) % BLOCK) < HEADER:
                data += bytes(left)
                continue
            piece, rest = rest[: left - HEADER], rest[left - HEADER :]
            part = (LAST if begun else WHOLE) if not rest else (MIDDLE if begun else FIRST)
            data += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([part]))), len(piece), part) + piece
            begun = True
            if not rest:
                break
    return bytes(data)


def forget_after(path: Path, behind: At) -> None:
    """Drop the points of an offline run that come once more.

    Args:
        path: its file, which is not open.
        behind: what the run that goes on has had.
    """
    from wandb.proto import wandb_internal_pb2

    Record: Any = wandb_internal_pb2.Record  # type: ignore[attr-defined]
    data = path.read_bytes()
    kept = []
    for content in records(data):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            again = {key for key in items if comes_again(key, items["_step"], items.get("epoch"), behind)}
            if not {key for key in items if not key.startswith("_") and key != "epoch"} - again:
                continue
            left = [i for i in record.history.item if ("/".join(i.nested_key) or i.key) not in again]
            del record.history.item[:]
            record.history.item.extend(left)
            content = record.SerializeToString()
        kept.append(content)
    part = path.with_name("part." + path.name)
    part.unlink(missing_ok=True)
    with part.open("xb") as file:
        file.write(packed(data[:HEADER], kept))
    part.replace(path)
