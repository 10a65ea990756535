"""Configs of a user's own are found by every command: in a folder, on Hydra's path, in an installed package."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import REPOSITORY, Train
from omegaconf import OmegaConf

from torchatlas import cli, packages, zoo
from torchatlas.commands.completion import candidates
from torchatlas.errors import UserError
from torchatlas.run.compose import composed
from torchatlas.run.usage import help_text

MODEL = """\
# @package _global_
# A small network of my own.
model:
  _target_: torchatlas.models.mlp.MLP
  image_size: ${oc.select:data.image_size,8}
  num_classes: ${oc.select:data.num_classes,10}
  widths: [6]
"""
QUICK = ("trainer=cpu", "duration=1st", "callbacks=default", "logger=none")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`mine/configs` in the present folder, with a network and a schedule."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    configs = tmp_path / "mine" / "configs"
    for group, text in (("model", MODEL), ("schedule", zoo.config_text("schedule", "linear"))):
        (configs / group).mkdir(parents=True)
        (configs / group / "of_mine.yaml").write_text(text)
    yield configs
    packages.installed.cache_clear()


WAYS = (
    ["--config-dir", "mine/configs"], ["--config-dir=mine/configs"], ["hydra.searchpath=[file://mine/configs]"],
    ["hydra.searchpath=[pkg://mine.configs]"], ["hydra.searchpath=['mine/configs']"],
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_each_way_is_as_the_others(folder: Path, way: list[str]) -> None:
    asked = composed(["model=of_mine", "model.widths=[5]", *way])
    assert asked.plain()["model"] | {"_target_": ""} == {
        "_target_": "", "image_size": 8, "num_classes": 10, "widths": [5],
    }  # fmt: skip
    with pytest.raises(UserError, match="must be a list"):  # the kinds are those of the user's own file
        composed(["model=of_mine", "model.widths=5", *way])
    with pytest.raises(UserError, match="did you mean of_mine"):
        composed(["model=of_mien", *way])


@pytest.mark.parametrize("way", [WAYS[0], WAYS[3]], ids=" ".join)
def test_every_command_of_training_words_takes_them(
    folder: Path, way: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["model=of_mine", "trainer=cpu", *way]
    cli.run(["preview", "n=1", "epochs=1", *small])
    cli.run(["plan", "samples=1", "duration=3st", *small])
    assert re.search(r"parameters +460", capsys.readouterr().out)
    cli.run(["show", "of_mine", *way])
    cli.run(["list", *way])
    assert "A small network of my own." in capsys.readouterr().out
    cli.run(["sweep", "trials=1", "optim.lr=0.1,0.2", "duration=1st", *small])
    assert "trial 1" in capsys.readouterr().out


def test_a_run_begins_and_goes_on(folder: Path, train: Train) -> None:
    run = train("model=of_mine", *QUICK, "--config-dir", "mine/configs")
    assert run.parent.name == "of_mine-digits"
    train(f"resume={run}", "schedule=of_mine", "duration=2st", "--config-dir", "mine/configs")
    assert OmegaConf.load(run / "config.yaml").schedule._target_.endswith("linear")


def test_each_run_of_a_multirun(folder: Path, train: Train, tmp_path: Path) -> None:
    train("-m", "model=of_mine,mlp", *QUICK, "hydra.searchpath=[pkg://mine.configs]")
    names = {path.parent.name.partition("-")[2] for path in tmp_path.glob("runs/sweeps/*/*/config.yaml")}
    assert names == {"of_mine-digits", "mlp-digits"}


@pytest.mark.slow
def test_each_process_of_a_run(folder: Path, tmp_path: Path) -> None:
    words = ["model=of_mine", "trainer=ddp_cpu", *QUICK[1:], "--config-dir", "mine/configs"]
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 x CPU" in done.stdout


# --- an installed package


@pytest.fixture
def installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pip writes of an entry point."""
    about = tmp_path / "mine-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[torchatlas.configs]\nmine = mine.configs\n")
    monkeypatch.syspath_prepend(tmp_path)
    packages.installed.cache_clear()
    return folder


def test_an_installed_package_needs_no_word(installed: Path, command: Callable[..., None]) -> None:
    assert "of_mine" in zoo.list_models()
    assert sum(p.numel() for p in zoo.create_model("of_mine").parameters()) == 460
    assert zoo.model_card("of_mine").data == "digits"
    assert ("model=of_mine", "A small network of my own.") in list(candidates(["train", "model=of"]))
    assert "    of_mine" in help_text()
    assert composed(["model=of_mine"]).plain()["model"]["widths"] == [6]
    with pytest.raises(UserError, match="did you mean of_mine"):
        zoo.create_model("of_mina")


def test_a_file_that_is_the_section_alone(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = OmegaConf.create(MODEL).model
    (installed / "model" / "alone.yaml").write_text(OmegaConf.to_yaml(section))
    zoo._options.cache_clear()
    assert composed(["model=alone"]).plain()["model"]["widths"] == [6]
    assert sum(p.numel() for p in zoo.create_model("alone").parameters()) == 460
    cli.run(["show", "alone"])
    assert "460" in capsys.readouterr().out


def test_nothing_of_a_package_is_imported_to_be_listed(installed: Path) -> None:
    (installed.parent / "__init__.py").write_text("raise RuntimeError('imported')\n")
    assert "of_mine" in zoo.list_models()
    environment = {**os.environ, "PYTHONPATH": str(installed.parents[1])}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "torchatlas.cli", "list"], env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "of_mine" in done.stdout
    assert " torch\n" not in done.stderr


# --- mistakes


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
        (["--config-dir"], "there is no such folder"),
        (["--config-dir", "mine"], "name the folder in which model/NAME.yaml"),
        (["hydra.searchpath=[pkg://nobody.configs]"], "there is no package nobody.configs"),
        (["hydra.searchpath=[file://nowhere]"], "there is no such folder"),
    ],
)
def test_a_folder_that_is_not_there(folder: Path, way: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        composed(["model=mlp", *way])


def test_a_name_that_is_taken(folder: Path) -> None:
    """Hydra would take the first one it finds, in silence."""
    (folder / "model" / "resnet18.yaml").write_text(MODEL)
    with pytest.raises(UserError, match=r"model/resnet18.yaml has a name that is taken"):
        composed(["model=mlp", "--config-dir", "mine/configs"])
