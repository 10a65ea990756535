"""What may change when a run goes on, and what may not."""

import re
from typing import ClassVar

import pytest
from helpers import Train
from helpers.runs import metrics
from omegaconf import DictConfig, OmegaConf

from torchatlas.errors import UserError
from torchatlas.run.resume import require_changeable
from torchatlas.storage.checkpoints import read

RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def test_a_resumed_run_keeps_its_layers(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*RESNET, *FAST, "trainer.max_epochs=1")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2", "task.layer_decay=0.5")
    assert "task.layer_decay=0.5 cannot change in a resumed run" in capsys.readouterr().err


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


def test_what_changes_on_resume_is_listed(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=1", *TINY)
    capsys.readouterr()
    train(
        f"resume={folder}", "trainer.max_epochs=2", "optim.lr=0.5", "optim.weight_decay=0", "schedule=linear",
        "callbacks.checkpoint.every=1st", "trainer.precision=bf16-mixed",
    )  # fmt: skip
    out = capsys.readouterr().out
    rows = (r"optim\.lr +0\.002 +0\.5", r"trainer\.max_epochs +1 +2", r"schedule\._target_ .*cosine.*linear")
    for row in (*rows, r"optim\.weight_decay +0\.01 +0"):
        assert re.search(row, out), out
        assert re.search(row, (folder / "train.log").read_text())
    assert "trainer.accelerator" not in out
    group = read(folder / "checkpoints" / "last.ckpt")["optimizer_states"][0]["param_groups"][0]
    assert group["initial_lr"] == 0.5
    assert group["weight_decay"] == 0
    assert group["lr"] == 0  # the linear schedule's end


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model=lenet5", "the network is that of the checkpoint"),
        ("model.widths=[9]", "the network is that of the checkpoint"),
        ("data=mnist", "the data are those of the checkpoint"),
        ("data.batch_size=7", "the data are those of the checkpoint"),
        ("optim=sgd", "change its values"),
        ("optim._target_=torch.optim.SGD", "the optimiser's state"),
        ("seed=1", "the order of the data"),
        ("optim.momentum=0.5", "the run's config has no key 'optim.momentum'"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs"),
        ("trainer.max_epochs=1", "this run has had 4 steps, more than the 2"),
    ],
)
def test_what_cannot_change_on_resume(
    override: str, reason: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("trainer.max_epochs=2", "trainer.limit_train_batches=2", *TINY)
    files = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".log"}
    with pytest.raises(SystemExit) as exit_:
        train(f"resume={folder}", override)
    assert exit_.value.code == 2
    assert reason in capsys.readouterr().err
    kept = {path: path.read_bytes() for path in files if path.name not in ("config.yaml", "record.json")}
    assert kept.items() <= files.items()


@pytest.mark.parametrize("override", ["trainer.max_epochs=1", "optim.lr=-1", "optim.lr=fast", "schedule.warmup=5"])
def test_a_refused_resume_changes_nothing(override: str, train: Train) -> None:
    """Neither the config, which a plain resume needs, nor the curves."""
    folder = train("trainer.max_epochs=2", "trainer.limit_train_batches=2", "model.widths=[8]", "trainer=cpu")
    files = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix != ".log"}
    old_events = [path for path in files if "tfevents" in path.name]
    with pytest.raises(SystemExit) as exit_:
        train(f"resume={folder}", override)
    assert exit_.value.code == 2
    assert {path: path.read_bytes() for path in files} == files
    assert old_events
    train(f"resume={folder}", "trainer.max_epochs=3")


def test_half_a_record_is_no_obstacle(train: Train) -> None:
    folder = train("trainer.max_epochs=1", "trainer.limit_train_batches=2", *TINY)
    (folder / "record.json").write_text("")
    (folder / "metrics.json").write_text('{"name"')
    train(f"resume={folder}", "trainer.max_epochs=2")
    assert metrics(folder)["epochs"] == 2


# --- the file


def test_weights_alone_are_no_run(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=1", *TINY)
    with pytest.raises(SystemExit):
        train(f"resume={folder / 'checkpoints' / 'best.ckpt'}")
    assert "best.ckpt holds weights only" in capsys.readouterr().err


# --- who knows says what is fixed


class Counting:
    """A callback of a user's."""

    fixed: ClassVar[dict[str, str]] = {"every": "what was counted so far is of it"}


class CountingAll(Counting):
    """One that knows better."""

    fixed: ClassVar[dict[str, str]] = {"every": "all that was counted is of it"}


def config_of(task: str, data: str = "torchatlas.data.images.cifar.CIFAR10") -> DictConfig:
    callbacks = {"counting": {"_target_": f"{__name__}.Counting", "every": 2, "color": "red"}, "left_out": None}
    callbacks["all"] = {"_target_": f"{__name__}.CountingAll", "every": 2}
    return OmegaConf.create({"task": {"_target_": task}, "data": {"_target_": data}, "callbacks": callbacks})


@pytest.mark.parametrize(
    ("task", "key", "reason"),
    [
        ("classification.Classification", "task.layer_decay", "the optimiser's state is divided by it"),
        ("diffusion.Diffusion", "task.layer_decay", "the optimiser's state is divided by it"),
        ("diffusion.Diffusion", "task.steps", "the network has learnt the noise of its steps"),
        ("elbo.ELBO", "task.likelihood", "the network's outputs are of it"),
        ("elbo.ELBO", "task._target_", "the task is that of the checkpoint"),
        ("language_modeling.LanguageModeling", "task.carry", "the order of the data follows from it"),
        ("elbo.ELBO", "data.batch_size", "the data are those of the checkpoint"),
        ("elbo.ELBO", "data", "the data are those of the checkpoint"),
        ("elbo.ELBO", "callbacks.counting.every", "what was counted so far is of it"),
        ("elbo.ELBO", "callbacks.all.every", "all that was counted is of it"),
        ("elbo.ELBO", "seed", "the order of the data follows from the seed"),
    ],
)
def test_each_class_says_what_is_fixed(task: str, key: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"{key}=1 cannot change in a resumed run, since {reason}"):
        require_changeable(key, 1, config_of(f"torchatlas.tasks.{task}"))


@pytest.mark.parametrize("key", ["data.root", "data.num_workers", "task.l1", "callbacks.counting.color", "optim.lr"])
def test_what_no_class_fixes_is_free(key: str) -> None:
    require_changeable(key, 1, config_of("torchatlas.tasks.diffusion.Diffusion"))
