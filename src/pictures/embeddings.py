"""TensorBoard's projector: the embedding of each token, with its text."""

import shutil
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from ..callbacks.base import Callback
from ..callbacks.curves import writer_of

CONFIG = "projector_config.pbtxt"


class Embeddings(Callback):
    """Writes the embeddings of tokens for TensorBoard's projector, after the test or, without one, after training.

    A table is written for each embedding whose rows are the tokens of a codec of the data: `codec`, or `source_codec`
    and `target_codec`. A text stands beside each row.

    Args:
        most: rows, of the first tokens.
    """

    def __init__(self, most: int = 2000) -> None:
        self.most = most

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module)

    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Replace what was written before."""
        writer = writer_of(trainer)
        if writer is None:
            return
        folder = Path(writer.log_dir)
        (folder / CONFIG).unlink(missing_ok=True)
        vars(writer).pop("_projector_config", None)  # what this writer has written before
        codecs = codecs_of(trainer.datamodule)  # type: ignore[attr-defined]
        for name, embedding in embeddings_of(module.network, codecs):  # type: ignore[arg-type]
            codec = codecs[name]
            weights = embedding.weight.detach()[: self.most].float().cpu()
            tokens = range(len(weights))
            pieces = getattr(codec, "pieces", None)
            texts = pieces(list(tokens)) if pieces else [codec.decode(torch.tensor([i])) for i in tokens]
            shutil.rmtree(folder / "00000" / name, ignore_errors=True)
            # Quoted, since a token may be a tabulator or a line feed, or nothing that shows.
            writer.add_embedding(weights, [repr(text) for text in texts], tag=name, global_step=0)


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
