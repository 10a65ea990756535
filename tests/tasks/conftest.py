"""A trainer without files."""

import warnings
from collections.abc import Iterator
from functools import partial

import lightning
import pytest
from helpers.segmentation import MakeTrainer

from torchatlas.run.console import quiet_libraries


@pytest.fixture
def make_trainer() -> Iterator[MakeTrainer]:
    with warnings.catch_warnings():
        quiet_libraries()
        yield partial(
            lightning.Trainer, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, max_epochs=1,
        )  # fmt: skip
