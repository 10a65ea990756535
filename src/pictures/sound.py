"""TensorBoard: what a classifier of sounds hears, and what it says of it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from ..data.sound.files import FULL_SCALE
from ..drawing.spectrograms import draw_spectrograms
from ..drawing.text import plain
from ..loggers.base import At, RunLogger
from ..tasks.classification import Classification
from .base import STAGES, Pictures, Shown, evenly

RIGHT, WRONG = "tab:green", "tab:red"


class Clip(NamedTuple):
    """A sound to listen to: a waveform `n` from -1 to 1, and its sample rate in hertz."""

    wave: Tensor
    sample_rate: int

    def show(self, logger: RunLogger, tag: str, at: At) -> None:
        logger.sound(tag, self.wave, self.sample_rate, at)


class SoundPictures(Pictures):
    """Spectrograms, sounds to listen to, and predictions, of some validation clips, and once of some test clips.

    The clips are spaced evenly over the split, so that they are the same each time. Drawn every `every_n_epochs` and in
    the last epoch; of data that are no sounds, never.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        clips: how many are drawn.
    """

    task_class = Classification
    kind = "sound"

    def __init__(self, every_n_epochs: int = 10, share: float | None = 0.1, clips: int = 12) -> None:
        super().__init__(every_n_epochs, share)
        self.clips = clips

    def draw(self, task: Classification, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        dataset = data.splits[split]
        waves, lengths, labels, _, _ = raw = dataset[-1, evenly(len(dataset), self.clips)]
        batch = tuple(part.to(task.device) if isinstance(part, Tensor) else part for part in raw)
        logits = task.step(data.on_after_batch_transfer(batch, 0))["logits"].float().cpu()
        confidence, predicted = logits.softmax(1).max(1)

        stage = STAGES[split]
        clips = [wave[:length] for wave, length in zip(waves.float() / FULL_SCALE, lengths.tolist(), strict=True)]
        names = [str(name) for name in data.classes]
        rows = list(zip(labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True))
        titles = [
            f"{plain(names[p])} {100 * c:.0f}%" + ("" if p == y else f"\nis {plain(names[y])}") for y, p, c in rows
        ]
        colours = [RIGHT if p == y else WRONG for y, p, _ in rows]
        yield f"predictions {stage}/spectrograms", draw_spectrograms(clips, data.sample_rate, titles, colours)
        lines = ["| sound | is | taken for | probability |", "|---|---|---|---|"]
        for i, (clip, (y, p, c)) in enumerate(zip(clips, rows, strict=True), start=1):
            yield f"predictions {stage}/sound {i:02}, {names[y]}", Clip(clip, data.sample_rate)
            verdict = names[p] if p == y else f"**{names[p]}**"
            lines.append(f"| {i:02} | {names[y]} | {verdict} | {c:.3f} |")
        yield f"predictions {stage}/what was said of the sounds", "\n".join(lines)
