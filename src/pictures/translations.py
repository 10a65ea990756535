"""TensorBoard: what a translator writes, and what it looks at meanwhile."""

import html
import re
import warnings
from typing import Any

import lightning
import torch

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..drawing.alignments import alignments, draw_alignments, labels
from ..tasks.seq2seq import SequenceToSequence


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
