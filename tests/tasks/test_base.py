"""What every task says of itself: its figures, what chooses the best weights, what it cannot do."""

from typing import ClassVar, Literal

import pytest
from omegaconf import OmegaConf
from torch import nn

from torchatlas.data.images.cifar import CIFAR10
from torchatlas.data.series.weather import Weather
from torchatlas.errors import UserError
from torchatlas.metrics.figures import Figure, Reports, reported
from torchatlas.models.bert import Bert
from torchatlas.models.lstm_lm import LSTMLM
from torchatlas.run.check import class_of
from torchatlas.tasks.base import Chosen, Task
from torchatlas.tasks.classification import Classification
from torchatlas.tasks.diffusion import Diffusion
from torchatlas.tasks.elbo import ELBO
from torchatlas.tasks.forecasting import Forecasting
from torchatlas.tasks.language_modeling import LanguageModeling
from torchatlas.tasks.segmentation import Segmentation
from torchatlas.zoo import config_text, options

SHARES = ("accuracy", "exact_match", "exact_match_long")


@pytest.mark.parametrize("name", options("task"))
def test_a_task_says_which_figures_it_has(name: str) -> None:
    """And its config chooses the best weights by one of them, which is shown, in the direction that is better."""
    task = class_of(name)
    known = reported(task)
    for figure, what in known.items():
        assert (what.unit == "%") is figure.endswith(SHARES), f"{figure} is a share, or is none"
    config = OmegaConf.create(config_text("task", name)).task
    monitor, mode = task.compared_by(config)
    assert mode == known[monitor].mode
    assert monitor == "loss" or known[monitor].headline or name == "seq2seq"
    with pytest.raises(ValueError, match=r"task.monitor=mood must be loss"):
        task.compared_by({"monitor": "mood"})


class Own(Task):
    """A user's, with a figure of its own."""

    name = "own"
    reports: ClassVar[Reports] = {"bumps": Figure("higher", "%", headline=True, chooses=True)}
    monitor = "bumps"


class Old(Task):
    """A user's that says nothing of its figure."""

    monitor = "bumps"
    mode: Literal["min", "max"] = "max"


def test_a_figure_of_a_users_task_needs_its_class_alone() -> None:
    assert Own(nn.Linear(1, 1)).headline == ("bumps",)
    assert Own.compared_by({}) == ("bumps", "max") == Old.compared_by({})
    assert Own.compared_by({"monitor": "loss"}) == ("loss", "min")


@pytest.mark.parametrize(
    ("monitor", "mode"), [("loss", "min"), ("mean_iou", "max"), ("dice", "max"), ("pixel_accuracy", "max")]
)
def test_the_best_is_the_lowest_loss_and_the_highest_share(monitor: Literal["loss"], mode: str) -> None:
    task = Segmentation(nn.Conv2d(1, 2, 1), monitor=monitor)
    assert (task.monitor, task.mode) == (monitor, mode)


# --- what is refused before anything is built


def chosen(data: type = CIFAR10, mean: object = 0.5, std: object = 0.5, **task: object) -> Chosen:
    config = OmegaConf.create({"task": task, "data": {"mean": mean, "std": std}})
    return Chosen(config, data, "these", ": try data=digits")


@pytest.mark.parametrize("levels", [0.5, "0.5", ["low", "high"], {"a": 1}])
def test_quantiles_are_a_list_of_numbers(levels: object) -> None:
    with pytest.raises(UserError, match=r"must be a list of numbers, as in task.quantiles="):
        Forecasting.check(chosen(Weather, quantiles=levels))
    Forecasting.check(chosen(Weather, quantiles=[0.1, 0.5, 0.9]))
    Forecasting.check(chosen(Weather, quantiles=None))
    Forecasting.check(chosen(Weather))


def test_what_makes_images_needs_images_on_its_scale() -> None:
    with pytest.raises(UserError, match="the task diffusion makes images, and data=these has none: try data=digits"):
        Diffusion.check(chosen(Weather))
    with pytest.raises(UserError, match=r"the task elbo needs pixels from 0 to 1: leave out data.mean and data.std"):
        ELBO.check(chosen())
    Diffusion.check(chosen(mean=[0.5]))
    ELBO.check(chosen(mean=[0.0, 0.0], std=[1.0]))
    Classification.check(chosen(Weather))


def test_a_network_that_reads_both_directions_is_not_told_to_write() -> None:
    assert not LanguageModeling.suits(Bert)
    assert LanguageModeling.suits(LSTMLM)
    assert Classification.suits(Bert)


def test_augment_is_for_images() -> None:
    with pytest.raises(UserError, match="augment= is for images, and data=weather has none: leave it out"):
        Weather.check({"augment": {}}, "weather")
    Weather.check({}, "weather")
    CIFAR10.check({"augment": {}}, "cifar10")
