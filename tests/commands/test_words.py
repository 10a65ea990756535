"""The grammar of the command line."""

import dataclasses
import sys
import time
from pathlib import Path

import pytest
from helpers import REPOSITORY

from torchatlas import cli
from torchatlas.commands import signature, words
from torchatlas.errors import UserError

CONFIGS = str(REPOSITORY / "configs")


def refused(*typed: str) -> str:
    """The sentence."""
    with pytest.raises(UserError) as error:
        cli.run(typed)
    return str(error.value)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ([], "WHERE is missing"),
        (["x", "y"], "'y' is not of the form KEY=VALUE, with a KEY out of where, name, size, rate"),
        (["x", "rate"], "'rate' is not of the form KEY=VALUE: did you mean rate=...?"),
        (["x", "raet=1"], "there is no key 'raet': did you mean rate"),
        (["x", "--raet", "1"], "there is no key 'raet': did you mean rate"),
        (["x", "--rate"], "--rate has no value: type rate=VALUE, as in rate=0.001"),
        (["x", "--rate", "size=3"], "--rate has no value"),
        (["x", "--rate", "--loud"], "--rate has no value"),
        (["x", "--size=1.5"], "size=1.5 must be a whole number, as in size=1"),
        (["x", f"size={2**63}"], f"size={2**63} is too large: give a whole number under {2**63}, as in size=1"),
        (["x", "size="], "size= is empty: give a value, as in size=1"),
        (["x", "name=tal"], "name=tal is unknown: did you mean tall?"),
        (["x", "loud=yes"], "loud=yes must be true or false, as in loud=true"),
        (["x", "=1"], "'=1' is not of the form KEY=VALUE"),
        (["x", ""], "'' is not of the form KEY=VALUE"),
        (["where="], "where= is empty"),
    ],
)
def test_mistakes(typed: list[str], sentence: str, package: Path) -> None:
    assert refused("measure", *typed).startswith(sentence)


def test_switches(package: Path) -> None:
    command = signature.read("measure")
    for typed, loud in (
        (["--loud"], True), (["--no-loud"], False), (["--loud", "false"], False), (["--loud=true"], True),
        (["loud=false"], False),
    ):  # fmt: skip
        assert words.parse(command, ["x", *typed]) == (["x"], {"loud": loud})
        assert words.parse(command, [*typed, "x"]) == (["x"], {"loud": loud})


def test_other_words_go_on_as_they_are(package: Path) -> None:
    command = signature.read("follow-me")
    assert words.parse(command, ["a.b=c=d", "n=5", "--optim.lr", "0.1", "~x", "-m", "+y=1", "--multirun", "z=1"]) == (
        ["a.b=c=d", "optim.lr=0.1", "~x", "-m", "+y=1", "--multirun", "z=1"], {"n": 5},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["lwo=1"], "there is no key 'lwo': did you mean low?"),
        (["modle=mlp"], "there is no key 'modle': did you mean model"),
        (["epochs=3"], "there is no key 'epochs': did you mean trainer.max_epochs=3?"),
        (["lr=.1"], "there is no key 'lr': did you mean optim.lr=.1?"),
        (["--batch-size", "32"], "there is no key 'batch_size': did you mean data.batch_size=32?"),
        (["model=lstm_lm", "context=8"], "there is no key 'context': did you mean data.context=8?"),
        (["patience=3"], "there is no key 'patience': did you mean callbacks.early_stopping.patience=3?"),
        (["step=5"], "there is no key 'step': did you mean steps"),
        (["--config-dir", CONFIGS, "modle=mlp"], "there is no key 'modle': did you mean model"),
        (["modle=mlp", f"--config-dir={CONFIGS}"], "there is no key 'modle': did you mean model"),
        (["mlp"], "'mlp' is not of the form KEY=VALUE: did you mean model=mlp?"),
        (["low=small"], "low=small must be a number, as in low=1e-6"),
        (["--seed"], "--seed has no value: type seed=VALUE"),
        (["--sede"], "there is no key 'sede': did you mean seed"),
    ],
)
def test_words_of_training(typed: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/own.yaml").write_text("_target_: torch.nn.Identity\n")
    monkeypatch.chdir(tmp_path)
    assert refused("lr_range", *typed).startswith(sentence)


def test_a_folder_of_configs_goes_on() -> None:
    command = signature.read("lr_range")
    for typed in (["--config-dir", "mine", "seed=1"], ["--config-dir=mine", "seed=1"]):
        assert words.parse(command, typed) == (["--config-dir=mine", "seed=1"], {})


def test_a_network_is_known_before_torch() -> None:
    assert refused("show", "resnet81").startswith("there is no model 'resnet81': did you mean resnet18")
    assert refused("show", "mlp", "data=digit").startswith("there is no data 'digit': did you mean digits")


def test_a_terminal_says_what_takes_long_and_wipes_it_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with words.waiting("loading", seconds=0):
        pass
    assert capsys.readouterr().err == ""  # no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with words.waiting("loading", seconds=60):
        pass
    assert capsys.readouterr().err == ""
    with words.waiting("loading", seconds=0):
        time.sleep(0.5)
    assert capsys.readouterr().err == "loading\r\x1b[K"


def test_a_command_without_keys_takes_no_words() -> None:
    alone = dataclasses.replace(signature.read("list"), name="mine", keys={})
    with pytest.raises(UserError, match="mine takes no words: leave out 'resnet18'"):
        words.parse(alone, ["resnet18"])
