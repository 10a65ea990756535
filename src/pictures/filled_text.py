"""TensorBoard: what a masked language model writes in place of hidden tokens."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..drawing.text import verbatim
from ..tasks.masked_lm import MaskedLM
from .base import STAGES, Pictures, Shown


class FilledText(Pictures):
    """The first validation samples with hidden tokens, each with the network's likeliest guesses.

    In the text each selected token stands as ⟦number⟧; below it, by number: the true token, what the network saw in
    its place, and its guesses with their probabilities; then whether the second piece follows the first, and how sure
    the network is of it.

    Drawn every `every_n_epochs`, in the last epoch, and of the tested weights.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        samples: how many.
        top: guesses for each token.
    """

    task_class = MaskedLM

    def __init__(self, every_n_epochs: int = 5, share: float | None = 0.1, samples: int = 4, top: int = 3) -> None:
        super().__init__(every_n_epochs, share)
        self.samples, self.top = samples, top

    def draw(self, task: MaskedLM, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        pairs = data.splits["val"]
        indices = torch.linspace(0, len(pairs) - 1, min(self.samples, len(pairs))).long()
        batch = tuple(x.to(task.device) if isinstance(x, torch.Tensor) else x for x in pairs[-1, indices])
        hidden = data.transform(batch)
        logits, next_logits = task.network(*hidden[:4])
        guesses = logits.float().softmax(2).topk(min(self.top, logits.shape[2]), 2)
        foreign = next_logits.float().softmax(1)[:, 1].tolist()
        for i in range(len(indices)):
            text = describe(
                data.codec.pieces,
                *(x[i].tolist() for x in (batch[0], batch[1], hidden[0], hidden[3], hidden[4], *guesses)),
            )
            if task.next_sentence:
                truth = ("follows", "is of another document")[int(hidden[5][i])]
                text += (
                    f"\n\nThe second piece {truth}; to the network that it does not follow is {foreign[i]:.0%} likely."
                )
            yield f"{STAGES[split]} text/hidden tokens {i + 1}", verbatim(text)


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
