"""What is said where the toolkit's packages are missing, since the zoo alone is installed."""

import importlib.metadata
import sys

import pytest

from torchatlas import cli
from torchatlas.errors import UserError, lacking, needing_toolkit


def test_a_word_that_needs_the_toolkit_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = {"lightning", "hydra-core"}
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name in absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    monkeypatch.setitem(sys.modules, "hydra", None)
    monkeypatch.delitem(sys.modules, "torchatlas.train", raising=False)
    monkeypatch.delitem(sys.modules, "torchatlas.commands.train", raising=False)
    assert set(lacking()) == absent
    with pytest.raises(SystemExit) as end:
        cli.main(["train", "model=mlp"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        "torchatlas: torchatlas train needs lightning, hydra-core, which the zoo alone does not: "
        'type pip install "torchatlas[train]"\n'
    )


def test_another_missing_module_is_no_mistake_of_the_user() -> None:
    assert lacking() == []
    with pytest.raises(ModuleNotFoundError) as raised, needing_toolkit("torchatlas train"):
        raise ModuleNotFoundError("no module of a user's package", name="mypkg")
    assert not isinstance(raised.value, UserError)
