"""Every experiment composes, fits, and says what is to be expected of it."""

from collections.abc import Callable
from typing import Any

from torchatlas.zoo import config_text


def test_experiments_compose_and_fit(experiment_name: str, compose: Callable[..., Any]) -> None:
    from torchatlas.run.check import check

    config = compose(f"experiment={experiment_name}", "name=test", "data.fake=true")
    model, data = (config[group]._target_ for group in ("model", "data"))
    assert model
    assert data
    check(config, "the model", "the data")
    header = config_text("experiment", experiment_name)
    for word in ("Command:", "Expected:", "Hardware:"):
        assert word in header
