"""TensorBoard: what a translator writes, and what it looks at meanwhile."""

import html
import re
import warnings
from collections.abc import Iterator
from typing import Any

from ..drawing.alignments import alignments, draw_alignments, labels
from ..tasks.seq2seq import SequenceToSequence
from .base import STAGES, Pictures, Shown, evenly


class Translations(Pictures):
    """Some sentences of validation, and of the test, as a table: source, reference, output.

    Of networks with attention the first of them also as pictures: how much each output token has looked at each source
    token, a panel for each layer, the mean over its heads. Drawn every `every_n_epochs`, in the last epoch, and of the
    tested weights.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        sentences: rows of the table, evenly spaced in the split.
        alignments: how many of them are drawn.
    """

    task_class = SequenceToSequence

    def __init__(
        self, every_n_epochs: int = 5, share: float | None = 0.1, sentences: int = 8, alignments: int = 3
    ) -> None:
        super().__init__(every_n_epochs, share)
        self.sentences, self.alignments = sentences, alignments

    def draw(self, task: SequenceToSequence, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        raw, stage = data.raw(split), STAGES[split]
        indices = evenly(len(raw), self.sentences)
        batch = data.on_after_batch_transfer(tuple(x.to(task.device) for x in data.splits[split][-1, indices]), 0)
        source, lengths = batch[:2]
        outputs = task.search(source, lengths, task.beams[split])
        rows = [
            (*raw[index], data.target_codec.decode(output))
            for index, output in zip(indices.tolist(), outputs, strict=True)
        ]
        yield f"{stage} text/translations", table(("source", "reference", "output"), rows)
        for i, output in enumerate(outputs[: self.alignments]):
            seen = source[i, : lengths[i]]
            if not (maps := alignments(task.network, seen, output)):
                return
            names = labels(data.source_codec, seen), [*labels(data.target_codec, output), "<eos>"]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph")  # of scripts that matplotlib's font lacks
                yield f"{stage}/alignment {i + 1}", draw_alignments(maps, *names)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown, in whose cells nothing is interpreted."""

    def line(cells: tuple[str, ...]) -> str:
        texts = (html.escape(" ".join(cell.split()), quote=False) for cell in cells)
        return "| " + " | ".join(re.sub(r"([\\`*_{}\[\]()>#+\-.!|~])", r"\\\1", text) for text in texts) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])
