"""null switches off what can be off, and of the rest one sentence says that it cannot; so it is of empty values."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Train, small_data, tiny_overrides
from omegaconf import DictConfig, OmegaConf

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.run.check import fits
from torchatlas.run.compose import Composed, composed
from torchatlas.run.values import check_values
from torchatlas.zoo import GROUPS, model_card

OFF = ("logger", "schedule", "callbacks", "augment", "experiment", "debug")
COMMANDS = ("plan", "preview", "lr_range", "sweep", "evaluate")
TINY = ("data=digits", "model=mlp", "model.widths=[8]", "trainer=cpu")
NULLS = tuple(f"{group}=null" for group in OFF)


@pytest.mark.parametrize("group", GROUPS)
def test_groups(group: str) -> None:
    words = [word for word in TINY if not word.startswith(f"{group}=")]
    if group in OFF:
        config = composed([*words, f"{group}=null"]).config
        assert not config.get(group) or config.schedule._target_.endswith("constant")
        fits(composed([*words, f"{group}=null"]))
        gone = composed([*words, f"~{group}"])
        assert gone.choices.get(group) == composed([*words, f"{group}=null"]).choices.get(group)
    else:
        with pytest.raises(UserError, match=f"^~{group} would leave the run without {group}: choose one"):
            composed([*words, f"~{group}"])
        with pytest.raises(UserError, match=f"{group}=null would leave the run without {group}: choose one"):
            composed([*words, f"{group}=null"])
    if group in ("augment", "experiment", "debug"):
        composed([*words, f"{group}="])
    else:
        with pytest.raises(UserError, match=f"{group}= would leave the run without {group}: choose one"):
            composed([*words, f"{group}="])


@pytest.mark.parametrize("word", ["augment=null", "augment=", "~augment", "augment=none"])
def test_what_an_experiment_chooses_is_off_too(word: str) -> None:
    config = composed(["experiment=vit_cifar_cifar10", word]).config
    assert config.data.augment.policy is None
    assert composed(["experiment=vit_cifar_cifar10"]).config.data.augment.policy == "autoaugment"


@pytest.mark.parametrize("key", ["seed", "test", "name", "trainer.precision", "trainer.max_epochs"])
def test_keys_that_every_run_has_cannot_go(key: str) -> None:
    with pytest.raises(
        UserError, match=f"^~{key} would leave the run without {key}: give it another value, as in {key}="
    ):
        composed([*TINY, f"~{key}"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("optim=null", "optim=null would leave the run without optim"),
        ("task=", "task= would leave the run without task"),
        ("optim.lr=", "optim.lr= must be a number"),
        ("data.mean=", "data.mean= is empty: give it a value"),
        ("trainer.profiler=", "trainer.profiler= is empty"),
        ("data.crop_padding=null", "data.crop_padding=null cannot be null"),
        ("optim.lr=null", "optim.lr=null cannot be null: leave it out, or give it a value, as in optim.lr=0.00"),
        ("schedule.final=null", "schedule.final=null cannot be null"),
        ("data.augment.rotation=null", "data.augment.rotation=null cannot be null"),
        ("model.in_channels=null", "model.in_channels=null cannot be null: leave it out, or give it a value$"),
        ("data.flip=maybe", "data.flip=maybe must be true or false"),
    ],
)
def test_every_command_says_the_same(
    command: str, word: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = {"sweep": ["optim.weight_decay=0,0.1"], "evaluate": ["weights=nowhere.pth"]}.get(command, [])
    with pytest.raises(UserError, match=sentence) as error:
        cli.run([command, *TINY, *more, word])
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("model", ["mlp", "n_linear"])
def test_each_value_may_be_null_or_is_named(model: str) -> None:
    """Of every key of a config; nothing speaks of Python's types."""
    words = [f"model={model}", "trainer=cpu", *small_data(model_card(model).data), *tiny_overrides(model)]
    asked = composed(words)
    default = OmegaConf.create(OmegaConf.to_container(asked.config, resolve=True))
    said = {}
    for key in keys_of_values(default):
        OmegaConf.update(changed := default.copy(), key, None)
        try:
            check_values(changed, default)
            fits(Composed(changed, asked.choices, []))
        except UserError as error:
            said[key] = str(error)
    assert said["optim.weight_decay"].startswith("optim.weight_decay=null cannot be null: leave it out, or give")
    assert not [sentence for sentence in said.values() if "None" in sentence]


def keys_of_values(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, node):
        if isinstance(node[name], DictConfig):
            yield from keys_of_values(node[name], f"{prefix}{name}.")
        elif node[name] is not None and not name.startswith("_"):
            yield f"{prefix}{name}"


@pytest.mark.parametrize("key", ["run.dir", "sweep.dir"])
def test_an_empty_folder_is_none(key: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("debug=one_batch", *TINY, f"hydra.{key}=")
    assert f"hydra.{key}= is empty: give it a value, or leave it out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_says_so_too(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("debug=one_batch", *TINY, "logger=none")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "optim.lr=null")
    assert "optim.lr=null cannot be null" in capsys.readouterr().err


def test_a_run_without_any(train: Train, tmp_path: Path) -> None:
    folder = train(*TINY, *NULLS, "trainer.max_epochs=1")
    assert not list(tmp_path.rglob("*.ckpt"))
    assert (folder / "config.yaml").is_file()


@pytest.mark.parametrize("name", ["checkpoint", "early_stopping", "ema", "finite", "progress", "threads", "curves"])
def test_a_run_without_one_callback(name: str, train: Train) -> None:
    folder = train("debug=one_batch", *TINY, "logger=none", "callbacks=default", f"callbacks.{name}=null")
    assert json.loads((folder / "metrics.json").read_text())["finished"]


@pytest.mark.parametrize("command", ["plan", "preview", "lr_range"])
def test_other_commands_without_any(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = {"plan": ["samples=2"], "preview": ["n=2", "epochs=1"], "lr_range": ["steps=30"]}[command]
    cli.run([command, *TINY, *NULLS, *few])
    logging.shutdown()


def test_averages_that_are_null_are_off(train: Train) -> None:
    folder = train("debug=one_batch", *TINY, "logger=none", "callbacks=default", "callbacks.ema.decay=null")
    assert json.loads((folder / "metrics.json").read_text())["finished"]
