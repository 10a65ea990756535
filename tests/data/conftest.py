"""Data of a config, made without files; and what stands in place of the network."""

from collections.abc import Callable
from pathlib import Path
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


# --- the UCR archive


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """In place of the network: addresses that contain a word give a file's bytes, the others an error."""

    def serve(word: str, content: bytes) -> list[str]:
        asked: list[str] = []

        def download(url: str, part: Path, timeout: float) -> None:
            asked.append(url)
            if word not in url:
                raise OSError("404")
            part.write_bytes(content)

        monkeypatch.setattr("torchatlas.data.download.download_file", download)
        return asked

    return serve
