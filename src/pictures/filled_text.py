"""TensorBoard: what a masked language model writes in place of hidden tokens."""

from collections.abc import Sequence
from typing import Any

import lightning
import torch

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..tasks.masked_lm import MaskedLM


class FilledText(Callback):
    """The first validation samples with hidden tokens, each with the network's likeliest guesses.

    In the text each selected token stands as ⟦number⟧; below it, by number: the true token, what the network saw in
    its place, and its guesses with their probabilities; then whether the second piece follows the first, and how sure
    the network is of it.

    Drawn every `every_n_epochs`, in the last epoch, and of the tested weights.

    Args:
        every_n_epochs: epochs between two drawings.
        samples: how many.
        top: guesses for each token.
    """

    def __init__(self, every_n_epochs: int = 5, samples: int = 4, top: int = 3) -> None:
        self.every_n_epochs, self.samples, self.top = every_n_epochs, samples, top

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.write(trainer, pl_module, "validation", trainer.current_epoch + 1)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module, "test", trainer.current_epoch)

    @torch.no_grad()
    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str, epoch: int) -> None:
        assert isinstance(module, MaskedLM)
        writer = writer_of(trainer)
        if writer is None:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        pairs = data.splits["val"]
        indices = torch.linspace(0, len(pairs) - 1, min(self.samples, len(pairs))).long()
        batch = tuple(x.to(module.device) if isinstance(x, torch.Tensor) else x for x in pairs[-1, indices])
        hidden = data.transform(batch)
        training = module.training
        logits, next_logits = module.eval().network(*hidden[:4])
        module.train(training)
        guesses = logits.float().softmax(2).topk(min(self.top, logits.shape[2]), 2)
        foreign = next_logits.float().softmax(1)[:, 1].tolist()
        for i in range(len(indices)):
            text = describe(
                data.codec.pieces,
                *(x[i].tolist() for x in (batch[0], batch[1], hidden[0], hidden[3], hidden[4], *guesses)),
            )
            if module.next_sentence:
                truth = ("follows", "is of another document")[int(hidden[5][i])]
                text += (
                    f"\n\nThe second piece {truth}; to the network that it does not follow is {foreign[i]:.0%} likely."
                )
            # Indented lines are a code block in TensorBoard's Markdown: nothing in the text is interpreted.
            shown = "\n".join("    " + line for line in text.splitlines())
            writer.add_text(f"{stage} text/hidden tokens {i + 1}", shown, epoch)


def describe(
    pieces: Any, tokens: list[int], length: int, seen: list[int], positions: list[int], labels: list[int],
    probabilities: Sequence[Sequence[float]], guesses: Sequence[Sequence[int]],
) -> str:  # fmt: skip
    """One sample as text; see `FilledText`.

    Args:
        pieces: gives each token as text.
        tokens, seen: before and after some were hidden.
        length: tokens that are no padding.
        positions, labels: of the selected tokens; -100 where there are fewer.
        probabilities, guesses: for each of them, the likeliest first.
    """
    words = pieces(tokens[:length])
    rows = []
    for number, (position, label) in enumerate(zip(positions, labels, strict=True), start=1):
        if label < 0:
            break
        true, sight = pieces([label, seen[position]])
        said = ", ".join(
            f"{word} {p:.0%}" for word, p in zip(pieces(guesses[number - 1]), probabilities[number - 1], strict=True)
        )
        words[position] = f"⟦{number}⟧"
        rows.append(f"{number}: {true}" + (f" (seen as {sight})" if sight != "[MASK]" else "") + f" | {said}")
    return "\n".join([" ".join(words), "", *rows])
