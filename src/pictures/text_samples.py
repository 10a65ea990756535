"""TensorBoard: what a language model writes."""

from collections.abc import Sequence
from typing import Any

import lightning

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..tasks.language_modeling import LanguageModeling


class TextSamples(Callback):
    """Sampled continuations of the first words or characters of the validation text, at several temperatures.

    What is written stands between ⟦ and ⟧.

    Drawn every `every_n_epochs`, in the last epoch, and of the tested weights.

    Args:
        every_n_epochs: epochs between two samples.
        length: tokens to sample.
        temperatures: one sample for each; 0 takes the likeliest token.
        prompt: tokens of the validation text that are given.
    """

    def __init__(
        self, every_n_epochs: int = 5, length: int = 300, temperatures: Sequence[float] = (0.8,), prompt: int = 32
    ) -> None:
        self.every_n_epochs, self.length, self.temperatures = every_n_epochs, length, list(temperatures)
        self.prompt = prompt

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.write(trainer, pl_module, "validation", trainer.current_epoch + 1)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.write(trainer, pl_module, "test", trainer.current_epoch)

    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str, epoch: int) -> None:
        assert isinstance(module, LanguageModeling)
        writer = writer_of(trainer)
        if writer is None:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        prompt = data.splits["val"].tokens[: self.prompt]
        for temperature in self.temperatures:
            tokens = module.generate(prompt, self.length, context=data.context, temperature=temperature)
            given, written = data.codec.decode(prompt), data.codec.decode(tokens[len(prompt) :])
            # Indented lines are a code block in TensorBoard's Markdown: nothing in the text is interpreted.
            text = "\n".join("    " + line for line in f"{given}{data.codec.joint}⟦{written}⟧".splitlines())
            writer.add_text(f"{stage} text/temperature {temperature}", text, epoch)
