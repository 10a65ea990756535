"""A new run from an old one's config."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY, Train
from helpers.runs import metrics
from omegaconf import OmegaConf

from torchatlas.errors import UserError
from torchatlas.run.from_config import based, name_of
from torchatlas.storage.checkpoints import read

OLD = REPOSITORY / "tests" / "files" / "run_55db876" / "stopped"
TINY = ("trainer=cpu", "callbacks=default", "logger=none")


def same(one: Path, two: Path) -> bool:
    a, b = (read(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (one, two))
    return set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in a)


def test_a_new_run_with_other_values(train: Train) -> None:
    """It is the run that all the words of both would have made, in a folder of the old one's name."""
    first = ("model=mlp", "model.widths=[8]", "data.batch_size=32", "trainer.max_epochs=1", *TINY)
    old = train(*first)
    expected = train(*first, "optim.lr=0.02", "seed=3")
    for where in (old / "config.yaml", old, old / "checkpoints" / "best.ckpt"):
        new = train("--config", str(where), "optim.lr=.02", "seed=3")
        assert new not in (old, expected)
        assert new.parent == old.parent
        assert same(new, expected)
    assert metrics(old)["epochs"] == 1
    config = OmegaConf.load(expected / "config.yaml")
    assert OmegaConf.load(new / "config.yaml") == config


def test_groups_on_top(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    old = train("model=mlp", "model.widths=[8]", "trainer.max_epochs=1", *TINY)
    new = train(f"--config={old}", "model=lenet5", "optim=sgd", "schedule=linear", "data.image_size=32")
    config = OmegaConf.load(new / "config.yaml")
    assert new.parent.name == "lenet5-digits"
    assert (config.model._target_, config.model.image_size) == ("torchatlas.models.lenet5.LeNet5", 32)
    assert config.optim._target_ == "torch.optim.SGD"
    assert config.trainer.max_epochs == 1
    capsys.readouterr()
    with pytest.raises(SystemExit):
        train(f"--config={old}", "optim.lrr=3")
    assert "no key 'optim.lrr': did you mean optim.lr" in capsys.readouterr().err


def test_loggers_augmentation_and_a_path_with_signs(train: Train) -> None:
    words = ("model.widths=[8]", "trainer.max_epochs=1", "trainer=cpu", "augment=affine", "callbacks=default")
    old = train("model=mlp", *words, "hydra.run.dir='runs/one/it\\'s here, (1)'", "logger=tensorboard")
    assert OmegaConf.load(old / "config.yaml").data.augment.rotation > 0
    new = OmegaConf.load(train("--config", str(old), "logger=csv,tensorboard", "trainer=cpu") / "config.yaml")
    assert set(new.logger) == {"csv", "tensorboard"}
    assert new.data.augment == OmegaConf.load(old / "config.yaml").data.augment
    new = OmegaConf.load(train("--config", str(old), "logger=null", "augment=null") / "config.yaml")
    assert not new.logger
    assert new.data.augment.rotation == 0
    for word in (f"resume={old}", "resume='runs/one/it\\'s here, (1)'"):
        assert train(word, "trainer.max_epochs=2") == old


def test_a_config_of_an_earlier_version(train: Train, tmp_path: Path) -> None:
    shutil.copy(OLD / "config.yaml", tmp_path / "old.yaml")
    new = train("--config", "old.yaml", "trainer.max_epochs=1")
    saved, old = OmegaConf.load(new / "config.yaml"), OmegaConf.load(tmp_path / "old.yaml")
    assert saved.name == old.name
    assert metrics(new)["epochs"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["config=none.yaml"], "there is no none.yaml"),
        (["config=."], "has no config.yaml"),
        (["config=other.yaml"], "is no config of a run"),
        (["config=evil.yaml"], "would call os.system, which no run of torchatlas does"),
        (["config=old.yaml", "data=cifar10"], "add model=NAME"),
        (["config=old.yaml", "experiment=lenet5_mnist"], "has no place on top of config=old.yaml"),
        (["config=old.yaml", "~optim.lr"], "has no place on top of config=old.yaml"),
    ],
)
def test_what_cannot_be(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (OLD / "config.yaml").read_text()
    Path("old.yaml").write_text(text)
    Path("other.yaml").write_text("a: 1\n")
    config = OmegaConf.create(text)
    config.model = {"_target_": "os.system", "command": "true"}
    OmegaConf.save(config, "evil.yaml")
    with pytest.raises(UserError) as raised:
        based(words)
    assert said in str(raised.value)


def test_names() -> None:
    assert name_of({"name": "mlp-digits"}, {"model": "lenet5"}) == "lenet5-digits"
    assert name_of({"name": "mlp-digits"}, {"model": "lenet5", "data": "cifar10"}) == "lenet5-cifar10"
    assert name_of({"name": "my-own"}, {"model": "lenet5"}) == "my-own"
