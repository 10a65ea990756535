"""Something of each kind to be shown."""

from collections.abc import Callable

import pytest
import torch
from matplotlib.figure import Figure

from torchatlas.loggers.base import At, RunLogger


@pytest.fixture
def show_everything() -> Callable[[RunLogger, At], None]:
    """A picture, a text and a sound."""

    def show(logger: RunLogger, at: At) -> None:
        figure = Figure(figsize=(2, 1), dpi=50)
        figure.subplots().plot([0, 1], [0, 1])
        logger.picture("validation/a figure", figure, at)
        logger.text("validation text/a text", "| a | b |\n|---|---|\n| 1 < 2 | ⟦x⟧ |", at)
        logger.sound("predictions/sound 01, nine", torch.linspace(-1, 1, 800), 8000, at)

    return show
