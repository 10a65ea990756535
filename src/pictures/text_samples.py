"""TensorBoard: what a language model writes."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..drawing.text import verbatim
from ..tasks.language_modeling import LanguageModeling
from .base import STAGES, Pictures, Shown


class TextSamples(Pictures):
    """Sampled continuations of the first words or characters of the validation text, at several temperatures.

    What is written stands between ⟦ and ⟧.

    Drawn every `every_n_epochs`, in the last epoch, and of the tested weights.

    Args:
        every_n_epochs: epochs between two samples.
        share: see `Pictures`.
        length: tokens to sample.
        temperatures: one sample for each; 0 takes the likeliest token.
        prompt: tokens of the validation text that are given.
    """

    task_class = LanguageModeling

    def __init__(
        self,
        every_n_epochs: int = 5,
        share: float | None = 0.1,
        length: int = 300,
        temperatures: Sequence[float] = (0.8,),
        prompt: int = 32,
    ) -> None:
        super().__init__(every_n_epochs, share)
        self.length, self.temperatures, self.prompt = length, list(temperatures), prompt

    def draw(self, task: LanguageModeling, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        prompt = data.splits["val"].tokens[: self.prompt]
        for temperature in self.temperatures:
            tokens = task.generate(prompt, self.length, context=data.context, temperature=temperature)
            given, written = data.codec.decode(prompt), data.codec.decode(tokens[len(prompt) :])
            yield f"{STAGES[split]} text/temperature {temperature}", verbatim(f"{given}{data.codec.joint}⟦{written}⟧")
