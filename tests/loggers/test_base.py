"""Several loggers at once, one that fails, a user's own, and what trackers need."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Train
from helpers.trackers import expected
from lightning.pytorch.loggers import Logger
from matplotlib.figure import Figure

from torchatlas.errors import UserError
from torchatlas.loggers.base import (
    At,
    RunLogger,
    begin_all,
    comes_again,
    each,
    end_all,
    flat,
    group_of,
    image_of,
    known,
    remembered,
)
from torchatlas.storage.files import write_json

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "duration=2ep", "hydra.run.dir=runs/one")


class Keeper(RunLogger):
    title = "keeper"

    def __init__(self, folder: Path, config: Any = None, breaks_at: int | None = None, never: bool = False) -> None:
        super().__init__(folder, config)
        self.breaks_at, self.never, self.told = breaks_at, never, []  # type: ignore[var-annotated]

    def begin(self, behind: At | None) -> None:
        if self.never:
            raise ConnectionError("no network\nat all")
        self.told.append(("begin", behind))

    def figures(self, values: Any, at: At) -> None:
        if at.step == self.breaks_at:
            raise ConnectionError("the network is lost")
        self.told.append((dict(values), at))

    def end(self, outcome: str) -> None:
        self.told.append(outcome)

    def hint(self) -> str:
        return "look"


class Plain(Logger):
    """As a user writes one for Lightning."""

    made: "list[Plain]" = []  # noqa: RUF012

    def __init__(self, save_dir: str, extra: int = 0) -> None:
        super().__init__()
        self.where, self.extra, self.params, self.told, self.images = save_dir, extra, {}, [], []  # type: ignore[var-annotated]
        Plain.made.append(self)

    @property
    def name(self) -> str:
        return "plain"

    @property
    def version(self) -> str:
        return "0"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.params = params

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.told.append((dict(metrics), step))

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.images.append((key, np.asarray(images[0]).shape, step))


def test_one_that_fails_is_told_nothing_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = Keeper(tmp_path, breaks_at=2), Keeper(tmp_path)
    begin_all([one, two], {"seed": 1}, None)
    with caplog.at_level(logging.WARNING):
        for step in range(4):
            each([one, two], lambda logger: logger.figures({"step/loss": 1.0}, At(step)))  # noqa: B023
    assert [at.step for _, at in one.told[1:]] == [0, 1]
    assert [at.step for _, at in two.told[1:]] == [0, 1, 2, 3]
    assert caplog.messages == [
        "keeper gets nothing more of this run, which goes on: ConnectionError: the network is lost"
    ]
    assert end_all([one, two], "finished") == {"keeper": "look"}
    assert (one.told[-1], two.told[-1]) == (({"step/loss": 1.0}, At(1)), "finished")
    assert two.config == {"seed": 1}


def test_what_cannot_begin_ends_a_new_run_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"^keeper cannot begin \(ConnectionError: no network at all\): mend it, or"):
        begin_all([Keeper(tmp_path, never=True)], {}, None)
    one, two = Keeper(tmp_path, never=True), Keeper(tmp_path)
    begin_all([one, two], {}, At(10, 1))
    assert (one.state, two.state, two.told) == ("over", "open", [("begin", At(10, 1))])
    assert caplog.messages == ["keeper gets nothing of this run, which goes on: ConnectionError: no network at all"]


def test_under_a_trainer_of_ones_own_it_begins_when_something_is_told(tmp_path: Path) -> None:
    one = Keeper(tmp_path)
    one.log_metrics({"mine": np.float32(0.5)}, 3)
    one.finalize("success")
    assert one.told == [("begin", None), ({"mine": 0.5}, At(3))]


@pytest.mark.parametrize(
    ("key", "step", "epoch", "again"),
    [
        ("step/loss", 350, None, False), ("step/loss", 351, None, True), ("val/loss", 300, 3, False),
        ("val/loss", 350, 4, True),  # of an epoch that ended with the run, and now goes on
        ("test/loss", 10, 1, True), ("best/loss", 350, 4, True), ("mine", 350, None, False), ("mine", 360, None, True),
    ],
)  # fmt: skip
def test_what_comes_again(key: str, step: int, epoch: int | None, again: bool) -> None:
    assert comes_again(key, step, epoch, At(350, 3)) is again


def test_groups(tmp_path: Path) -> None:
    for name in ("mlp/now/seed-3", "sweeps/then/0-mlp", "sweeps/later/trials/2", "mlp/alone"):
        (tmp_path / name).mkdir(parents=True)
    write_json(tmp_path / "mlp/now/seeds.json", {})
    write_json(tmp_path / "sweeps/later/sweep.json", {})
    found = [group_of(tmp_path / name) for name in ("mlp/now/seed-3", "sweeps/then/0-mlp", "sweeps/later/trials/2")]
    assert found == ["mlp/now", "sweeps/then", "sweeps/later"]
    assert group_of(tmp_path / "mlp/alone") is None


def test_numbers_are_remembered(tmp_path: Path) -> None:
    assert remembered(tmp_path, "wandb", lambda: "a") == ("a", False)
    assert remembered(tmp_path, "mlflow", lambda: "b") == ("b", False)
    assert remembered(tmp_path, "wandb", lambda: "c") == ("a", True)


def test_a_config_as_pairs() -> None:
    config = {"a": {"b": 1, "c": [1, 2], "d": None}, "e": True, "f": "x", "g": 0.5}
    assert flat(config) == {"a.b": 1, "a.c": "[1, 2]", "e": True, "f": "x", "g": 0.5}


def test_a_figure_is_drawn_once() -> None:
    figure = Figure(figsize=(2, 1), dpi=50)
    assert np.asarray(image_of(figure)).shape == (50, 100, 3)
    assert image_of(figure) is image_of(figure)


def test_a_users_own_logger(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the config, all figures with their steps, pictures if it takes them, and arguments that it asks for."""
    monkeypatch.setattr(Plain, "made", [])
    words = ["logger=none", f"+logger.mine._target_={__name__}.Plain", "+logger.mine.extra=3"]
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("sys").modules[Plain.__module__])
    folder = train(*[word for word in TINY if word != "callbacks=default"], *words)
    (logger,) = Plain.made
    assert (Path(logger.where).name, logger.extra, logger.params["optim.lr"]) == ("one", 3, 0.002)
    told = {key: [(s, m[key]) for m, s in logger.told if key in m] for key in expected(folder)}
    assert told == expected(folder)
    assert [m["epoch"] for m, _ in logger.told if "val/loss" in m] == [1, 2]
    assert [s for m, s in logger.told if "step/loss" in m] == [10, 20, 30, 40]
    assert "validation/confusion matrix" in {key for key, _, _ in logger.images}
    assert {len(shape) for _, shape, _ in logger.images} == {3}
    assert known(logger) is known(logger)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["logger=tensorbord,csv"], "there is no logger 'tensorbord': did you mean tensorboard?"),
        (["logger=[csv,nothing]"], "there is no logger 'nothing'"),
        (["+logger=csv"], "+logger=csv is another one beside those chosen: name all, as in logger=tensorboard,csv"),
        (["logger.csv.folder=x"], "logger.csv is of a logger that is not chosen: add it, as in logger=tensorboard,csv"),
        (["logger=wandb", "logger.wandb.mode=onlin"], "logger.wandb.mode=onlin is unknown: did you mean online"),
        (["logger=comet", "logger.comet.mode=none"], "logger.comet.mode=none is unknown: did you mean o"),
        (
            ["logger=none", "+logger.a._target_=nothing.At"],
            "logger.a._target_=nothing.At: there is no module 'nothing'",
        ),
        (
            ["logger=none", "+logger.a._target_=lightning.pytorch.loggers.CSVLogger", "+logger.a.colour=1"],
            "logger.a.colour: lightning.pytorch.loggers.CSVLogger has no argument 'colour'",
        ),
    ],
)
def test_mistakes(words: list[str], sentence: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*TINY, *words)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not Path("runs/one").exists()


@pytest.mark.parametrize(("name", "module", "title"), [
    ("wandb", "wandb", "Weights & Biases"), ("mlflow", "mlflow", "MLflow"), ("comet", "comet_ml", "Comet"),
])  # fmt: skip
def test_a_library_that_is_not_there(
    name: str,
    module: str,
    title: str,
    train: Train,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchatlas.loggers.base.find_spec", lambda asked: None if asked == module else 1)
    with pytest.raises(SystemExit):
        train(*TINY, f"logger=csv,{name}")
    said = capsys.readouterr().err
    assert f'logger={name} needs {title}, which is not installed ({module}): pip install "torchatlas[{name}]"' in said
