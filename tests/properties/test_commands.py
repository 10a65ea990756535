"""Mistakes in the words of every command."""

import sys
from typing import Any

import pytest

MISTAKES = {
    "unknown command": (["trian"], "did you mean train"),
    "missing key": (["evaluate"], "ckpt=... is missing"),
    "unknown key": (["predict", "ckpt=x", "inptu=y"], "did you mean input"),
    "no equals sign": (["evaluate", "runs/x"], "not of the form KEY=VALUE"),
    "no checkpoint": (["evaluate", "ckpt=nowhere"], "there is no checkpoint nowhere"),
    "list takes nothing": (["list", "x=1"], "there is no key 'x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = MISTAKES[mistake]
    with pytest.raises(SystemExit) as exit_:
        command(*arguments)
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err


# --- other commands


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "there is no command 'trian': did you mean train"),
        (["evaluate"], "ckpt=... is missing"),
        (["evaluate", "ckpt=nowhere"], "there is no checkpoint nowhere"),
        (["predict", "ckpt=x", "top"], "'top' is not of the form KEY=VALUE"),
        (["predict", "ckpt=x", "input=y", "top=many"], "top=many must be a whole number"),
        (["export", "ckpt=nowhere"], "there is no checkpoint nowhere"),
        (["export", "chkpt=x"], "there is no key 'chkpt': did you mean ckpt"),
        (["sweep", "model=mlp"], "optim.lr=log(1e-4,1e-1)"),
    ],
)
def test_mistakes_of_other_commands(arguments: list[str], expected: str, monkeypatch: Any, capsys: Any) -> None:
    from torchatlas.cli import main

    monkeypatch.setattr(sys, "argv", ["torchatlas", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err
