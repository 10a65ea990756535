"""Loops of one's own with data and tasks of the zoo."""

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchatlas
from torchatlas import UserError


def network() -> nn.Module:
    return torchatlas.create_model("mlp", image_size=8, widths=[32])


def trainer(folder: Path, **options: Any) -> lightning.Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(
        default_root_dir=folder, **{"logger": False, "enable_checkpointing": False} | quiet | options
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", [None, "cosine"])
def test_a_trainer_of_ones_own_trains_to_its_end(schedule: str | None, tmp_path: Path) -> None:
    data = torchatlas.create_data("digits", batch_size=100)
    task = torchatlas.create_task("classification", network(), schedule=schedule, optim__lr=0.01)
    fitted = trainer(tmp_path, max_epochs=3, logger=CSVLogger(tmp_path, name="", version=""))
    fitted.fit(task, datamodule=data)
    assert (fitted.current_epoch, fitted.global_step) == (3, 36)
    assert task.plan.total == 36
    assert float(fitted.callback_metrics["val/accuracy"]) > 0.5
    logged = (tmp_path / "metrics.csv").read_text()
    assert "train/loss" in logged
    assert "val/accuracy" in logged
    stopped = trainer(tmp_path, max_steps=20, max_epochs=-1)
    stopped.fit(torchatlas.create_task("classification", network()), datamodule=data)
    assert stopped.global_step == 20
    (figures,) = fitted.test(task, datamodule=data, verbose=False)
    assert figures["test/accuracy"] > 0.5


@pytest.mark.filterwarnings("ignore")
def test_loaders_of_ones_own_serve_a_task(tmp_path: Path) -> None:
    x = torch.randn(64, 1, 8, 8)
    loader = DataLoader(TensorDataset(x, (x.mean((1, 2, 3)) > 0).long()), batch_size=16)
    task = torchatlas.create_task("classification", network(), label_smoothing=0.1)
    fitted = trainer(tmp_path, max_epochs=2)
    fitted.fit(task, loader, loader)
    assert fitted.global_step == 8
    assert task.plan.samples_per_step == 16
    weighted = torchatlas.create_task("classification", network(), class_weights="balanced")
    once, endless = trainer(tmp_path, max_epochs=1), trainer(tmp_path, max_epochs=-1)
    with pytest.raises(UserError, match=r"asks its data for more than batches: .*datamodule=data"):
        once.fit(weighted, loader)
    with pytest.raises(UserError, match="the trainer has no end: give it max_epochs= or max_steps="):
        endless.fit(task, loader)


def accuracy(task: Any, data: Any) -> float:
    task.eval()
    with torch.no_grad():
        found = [task.step(batch)["metrics/accuracy"] * len(batch[0]) for batch in data.iterate("val")]
    return float(sum(found)) / len(data.splits["val"])


def test_a_plain_loop() -> None:
    data = torchatlas.create_data("digits", batch_size=100)
    task = torchatlas.create_task("classification", network(), optim="sgd", optim__lr=0.1)
    optimizer = task.build_optimizer()
    for epoch in range(5):
        task.train()
        for batch in data.iterate("train", epoch):
            optimizer.zero_grad()
            task.step(batch)["loss"].backward()
            optimizer.step()
    assert accuracy(task, data) > 0.5
    assert not torch.equal(next(data.iterate("train", 0))[0], next(data.iterate("train", 1))[0])
    assert torch.equal(next(data.iterate("train", 1))[0], next(data.iterate("train", 1))[0])
    with pytest.raises(UserError, match="no split 'tset': they have train, val, test"):
        next(data.iterate("tset"))


def test_fabric() -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    data = torchatlas.create_data("digits", batch_size=100)
    task = torchatlas.create_task("classification", network(), optim__lr=0.01)
    module, optimizer = fabric.setup(task, task.build_optimizer())
    module.mark_forward_method("step")
    for epoch in range(5):
        for batch in data.iterate("train", epoch, fabric.device):
            optimizer.zero_grad()
            fabric.backward(module.step(batch)["loss"])
            optimizer.step()
    assert accuracy(task, data) > 0.5


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("digit", {}, "there is no data 'digit': did you mean digits"),
        ("digits", {"batch_sise": 3}, "no key 'data.batch_sise': did you mean data.batch_size"),
        ("digits", {"batch_size": 0}, "data.batch_size=0 must be a positive whole number"),
        ("etth1", {"augment": "strong"}, "augment"),
        ("own_images", {}, "these data are of a program's own"),
    ],
)
def test_wrong_data_are_refused_in_a_sentence(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        torchatlas.create_data(name, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("clasification", {}, "there is no task 'clasification': did you mean classification"),
        ("classification", {"optim": "adam_w"}, "there is no optim 'adam_w': did you mean adamw"),
        ("classification", {"label_smooth": 0.1}, "no key 'task.label_smooth': did you mean task.label_smoothing"),
        ("classification", {"optim__rate": 0.1}, "no key 'optim.rate'"),
        ("classification", {"monitor": "f2"}, "task.monitor=f2 must be"),
    ],
)
def test_a_wrong_task_is_refused_in_a_sentence(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        torchatlas.create_task(name, network(), **settings)
    assert "\n" not in str(error.value)
