"""TensorBoard's projector: the embedding of each token, with its text."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor, nn

from ..loggers.base import At, RunLogger
from ..tasks.base import Task
from .base import Pictures, Shown


class Points(NamedTuple):
    """Points `n d` for the projector, with a text of each."""

    points: Tensor
    texts: list[str]

    def show(self, logger: RunLogger, tag: str, at: At) -> None:
        """In place of what was shown under the tag before."""
        logger.points(tag, self.points, self.texts)


class Embeddings(Pictures):
    """Writes the embeddings of tokens for TensorBoard's projector, after the test or, without one, after training.

    A table is written for each embedding whose rows are the tokens of a codec of the data: `codec`, or `source_codec`
    and `target_codec`. A text stands beside each row.

    Args:
        most: rows, of the first tokens.
    """

    def __init__(self, most: int = 2000) -> None:
        super().__init__()
        self.most = most

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.show(trainer, pl_module, "val", trainer.current_epoch)

    def draw(self, task: Task, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        codecs = codecs_of(data)
        for name, embedding in embeddings_of(task.network, codecs):
            codec = codecs[name]
            weights = embedding.weight.detach()[: self.most].float().cpu()
            tokens = range(len(weights))
            pieces = getattr(codec, "pieces", None)
            texts = pieces(list(tokens)) if pieces else [codec.decode(torch.tensor([i])) for i in tokens]
            # Quoted, since a token may be a tabulator or a line feed, or nothing that shows.
            yield name, Points(weights, [repr(text) for text in texts])


def codecs_of(data: Any) -> dict[str, Any]:
    """The codecs of a data module, by what their tokens are: "tokens", or "source" and "target"."""
    found = {"tokens": "codec", "source": "source_codec", "target": "target_codec"}
    return {name: getattr(data, key) for name, key in found.items() if getattr(data, key, None) is not None}


def embeddings_of(network: nn.Module, codecs: dict[str, Any]) -> list[tuple[str, nn.Embedding]]:
    """The embedding of the tokens of each codec, where the network has one of that name and size."""
    named = {
        "tokens": ("embedding",),
        "source": ("source_embedding", "encoder.embedding"),
        "target": ("target_embedding", "embedding"),
    }
    modules = dict(network.named_modules(remove_duplicate=False))  # a shared embedding has two names
    found = []
    for name, codec in codecs.items():
        embedding = next((modules[place] for place in named[name] if place in modules), None)
        if isinstance(embedding, nn.Embedding) and embedding.num_embeddings == codec.vocab_size:
            found.append((name, embedding))
    return found
