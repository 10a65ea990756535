"""TensorBoard: what a translator writes, and what it looks at meanwhile."""

import html
import re
import warnings
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from ..modes import predicting
from ..tasks.seq2seq import BEGIN, SequenceToSequence
from .base import Callback
from .curves import due, writer_of

MOST_LABELS = 60  # tokens of a side that a picture names


class Translations(Callback):
    """Some sentences of validation, and of the test, as a table: source, reference, output.

    Of networks with attention the first of them also as pictures: how much each output token has looked at each source
    token, a panel for each layer, the mean over its heads. Drawn every `every_n_epochs`, in the last epoch, and of the
    tested weights.

    Args:
        every_n_epochs: epochs between two drawings.
        sentences: rows of the table, evenly spaced in the split.
        alignments: how many of them are drawn.
    """

    def __init__(self, every_n_epochs: int = 5, sentences: int = 8, alignments: int = 3) -> None:
        self.every_n_epochs, self.sentences, self.alignments = every_n_epochs, sentences, alignments

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.write(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module, "test", trainer.current_epoch)

    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str, epoch: int) -> None:
        assert isinstance(module, SequenceToSequence)
        writer = writer_of(trainer)
        if writer is None:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        raw, title = data.raw(stage), "validation" if stage == "val" else "test"
        indices = torch.linspace(0, len(raw) - 1, min(self.sentences, len(raw))).round().long().unique()
        batch = data.on_after_batch_transfer(tuple(x.to(module.device) for x in data.splits[stage][-1, indices]), 0)
        source, lengths = batch[:2]
        outputs = module.search(source, lengths, module.beams[stage])
        rows = [
            (*raw[index], data.target_codec.decode(output))
            for index, output in zip(indices.tolist(), outputs, strict=True)
        ]
        writer.add_text(f"{title} text/translations", table(("source", "reference", "output"), rows), epoch)
        for i, output in enumerate(outputs[: self.alignments]):
            seen = source[i, : lengths[i]]
            if not (maps := alignments(module.network, seen, output)):
                return
            names = labels(data.source_codec, seen), [*labels(data.target_codec, output), "<eos>"]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph")  # of scripts that matplotlib's font lacks
                writer.add_figure(f"{title}/alignment {i + 1}", draw_alignments(maps, *names), epoch)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown, in whose cells nothing is interpreted."""

    def line(cells: tuple[str, ...]) -> str:
        texts = (html.escape(" ".join(cell.split()), quote=False) for cell in cells)
        return "| " + " | ".join(re.sub(r"([\\`*_{}\[\]()>#+\-.!|~])", r"\\\1", text) for text in texts) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])


def labels(codec: Any, tokens: Tensor) -> list[str]:
    """Each token as a text that shows, for pictures."""
    # A dollar sign would begin a formula in matplotlib.
    return [(piece.strip() or "␣").replace("$", r"\$") for piece in codec.pieces(tokens)]


def alignments(network: Any, source: Tensor, output: Tensor) -> list[Tensor]:
    """How much each token of an output, and its end, looks at each token of its source.

    Args:
        network: encoder and decoder. Modules that attend have `written_out`, and leave their `weights`, `b h t s`.
        source: tokens `s`.
        output: tokens `t` without <bos> and <eos>.

    Returns:
        `t+1 s` for each module of the decoder that attends to the source, the mean over its heads, on the CPU.
    """
    attending: list[Any] = [module for module in network.modules() if hasattr(module, "written_out")]
    target = F.pad(output.to(source.device), (1, 0), value=BEGIN)[None]
    # What attends to the source is known by the width of its weights: with a step of padding, where both are as long.
    width = len(source) + (len(source) == target.shape[1])
    padded = F.pad(source, (0, width - len(source)))[None]
    found = []
    with predicting(network):
        state = network.read(padded, torch.tensor([len(source)], device=source.device))
        try:
            for module in attending:
                module.written_out, module.weights = True, None
            network.advance(target, state)
            for module in attending:
                if module.weights is not None and module.weights.shape[-1] == width:
                    found.append(module.weights[0].float().mean(0)[:, : len(source)].cpu())
        finally:
            for module in attending:
                module.written_out, module.weights = False, None
    return found


def draw_alignments(maps: list[Tensor], source: list[str], output: list[str]) -> Figure:
    """Output tokens from top to bottom, source tokens from left to right, a panel for each map `t s`."""
    size = (0.9 + 0.17 * len(source), 0.9 + 0.17 * len(output))
    figure = Figure(figsize=(min(size[0], 12) * len(maps), min(size[1], 12)), layout="constrained")
    for i, weights in enumerate(maps):
        axes = figure.add_subplot(1, len(maps), i + 1)
        axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        if len(maps) > 1:
            axes.set_title(f"layer {i + 1}", fontsize=8)
        if len(source) <= MOST_LABELS:
            axes.set_xticks(range(len(source)), source, rotation=90, fontsize=7)
        if len(output) <= MOST_LABELS:
            axes.set_yticks(range(len(output)), output if i == 0 else [""] * len(output), fontsize=7)
    return figure
