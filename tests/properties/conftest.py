"""Data of each config, made without files."""

from collections.abc import Callable
from typing import Any

import pytest
from helpers import model_for, without_files
from hydra.utils import instantiate


@pytest.fixture
def make_data(compose: Callable[..., Any]) -> Callable[..., Any]:
    def made(name: str, *overrides: str) -> Any:
        config = compose(
            f"model={model_for(name)}", f"data={name}", "data.batch_size=16", *without_files(name), *overrides
        )
        data = instantiate(config.data, _convert_="all")
        data.prepare_data()
        data.setup()
        return data

    return made
