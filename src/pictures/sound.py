"""TensorBoard: what a classifier of sounds hears, and what it says of it."""

from typing import Any

import lightning
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..data.sound.base import SoundData
from ..data.sound.files import FULL_SCALE
from ..tasks.classification import Classification

RIGHT, WRONG = "tab:green", "tab:red"
RANGE = 8.0  # decades of power under the loudest that a spectrogram shows
COLUMNS = 4


class SoundPictures(Callback):
    """Spectrograms, sounds to listen to, and predictions, of some validation clips, and once of some test clips.

    The clips are spaced evenly over the split, so that they are the same each time. Drawn every `every_n_epochs` and in
    the last epoch; of data that are no sounds, never.

    Args:
        every_n_epochs: epochs between two drawings.
        clips: how many are drawn.
    """

    def __init__(self, every_n_epochs: int = 10, clips: int = 12) -> None:
        self.every_n_epochs, self.clips = every_n_epochs, clips

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.write(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module, "test", trainer.current_epoch)

    @torch.no_grad()
    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule, split: str, epoch: int) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        writer = writer_of(trainer)
        if writer is None or not isinstance(data, SoundData):
            return
        assert isinstance(module, Classification)
        dataset = data.splits[split]
        places = torch.linspace(0, len(dataset) - 1, min(self.clips, len(dataset))).round().long()
        waves, lengths, labels, _, _ = raw = dataset[-1, places]
        batch = tuple(part.to(module.device) if isinstance(part, Tensor) else part for part in raw)
        training = module.training
        module.eval()
        logits = module.step(data.on_after_batch_transfer(batch, 0))["logits"].float().cpu()
        module.train(training)
        confidence, predicted = logits.softmax(1).max(1)

        stage = "validation" if split == "val" else "test"
        clips = [wave[:length] for wave, length in zip(waves.float() / FULL_SCALE, lengths.tolist(), strict=True)]
        names = [str(name) for name in data.classes]
        rows = list(zip(labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True))
        titles = [
            f"{plain(names[p])} {100 * c:.0f}%" + ("" if p == y else f"\nis {plain(names[y])}") for y, p, c in rows
        ]
        colours = [RIGHT if p == y else WRONG for y, p, _ in rows]
        figure = draw_spectrograms(clips, data.sample_rate, titles, colours)
        writer.add_figure(f"predictions {stage}/spectrograms", figure, epoch)
        lines = ["| sound | is | taken for | probability |", "|---|---|---|---|"]
        for i, (clip, (y, p, c)) in enumerate(zip(clips, rows, strict=True), start=1):
            writer.add_audio(f"predictions {stage}/sound {i:02}, {names[y]}", clip[None], epoch, data.sample_rate)
            verdict = names[p] if p == y else f"**{names[p]}**"
            lines.append(f"| {i:02} | {names[y]} | {verdict} | {c:.3f} |")
        writer.add_text(f"predictions {stage}/what was said of the sounds", "\n".join(lines), epoch)


def plain(name: str) -> str:
    """A class's name for a title: a dollar sign would begin a formula in matplotlib."""
    return str(name).replace("$", r"\$")


def draw_spectrograms(clips: list[Tensor], sample_rate: int, titles: list[str], colours: list[str]) -> Figure:
    """Logarithmic power over seconds and kilohertz, each with its title; eight decades under the loudest.

    Args:
        clips: waveforms of shape `n`.
        sample_rate: in hertz.
        titles, colours: of each.
    """
    window = max(16, sample_rate // 40)  # 25 ms
    hann = torch.hann_window(window)
    columns = min(COLUMNS, len(clips))
    figure = Figure(figsize=(2.4 * columns, 1.9 * -(-len(clips) // columns)), layout="constrained")
    for i, (clip, title, colour) in enumerate(zip(clips, titles, colours, strict=True)):
        place = figure.add_subplot(-(-len(clips) // columns), columns, i + 1)
        stft = torch.stft(
            clip, window, max(1, window // 4), window=hann, center=True, pad_mode="constant", return_complex=True
        )
        power = (stft.abs().square() + 1e-12).log10()
        top = float(power.max())
        extent = (0.0, len(clip) / sample_rate, 0.0, sample_rate / 2000)
        place.imshow(power.numpy(), origin="lower", aspect="auto", extent=extent, vmin=top - RANGE, vmax=top)
        place.set_title(title, fontsize=8, color=colour)
        place.tick_params(labelsize=6)
        if i == 0:
            place.set_xlabel("s", fontsize=7)
            place.set_ylabel("kHz", fontsize=7)
    return figure
