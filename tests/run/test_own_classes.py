"""Classes of a user's own, named by `_target_`: a plain network trains, and is used, as one of the zoo."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas.errors import UserError
from torchatlas.packages import taken
from torchatlas.run.check import fits
from torchatlas.run.compose import composed, understood
from torchatlas.run.own_classes import with_own_classes
from torchatlas.run.trust import allowed, prefix
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_metrics

SOURCE = '''
import lightning
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))

    def forward(self, x):
        return self.layers(x)


class Sized(Net):
    def __init__(self, hidden, num_classes=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, num_classes))


class Few(Net):
    def forward(self, x):
        return super().forward(x)[:, :3]


class Standing(Net):
    def forward(self, x):
        return super().forward(x)[:, :, None]


class Named(Net):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Branching(Net):
    """Asks for a value, which there is none of on the meta device."""

    def forward(self, x):
        return super().forward(x) if x.sum().item() > -1e9 else x


class Narrow(Net):
    def forward(self, x):
        return super().forward(x[:, :, 1:])


def made(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def nothing():
    return 3


class Note:
    pass


class Descent(torch.optim.SGD):
    pass


class Count(lightning.Callback):
    steps = 0

    def __init__(self, by=1):
        self.by = by

    def on_train_batch_end(self, *_):
        type(self).steps += self.by


answer = 42
'''
QUICK = ("trainer=cpu", "duration=2st", "callbacks=default", "logger=none")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of a user's in the present folder, which is on no path yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "torn.py").write_text("def f(:\n")
    (tmp_path / "lacking.py").write_text("import this_is_not_there\n")
    yield "mine"
    for name in ("mine", "torn", "lacking"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def test_a_plain_network_trains_and_is_used(
    mine: str, train: Train, command: Callable[..., None], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = train("model._target_=mine.Net", "trainer=cpu", "duration=2st", "callbacks=default")
    assert folder.parent.name == "net-digits"  # with the graph in TensorBoard, from a batch of the data
    printed = capsys.readouterr()
    assert "mine.Net gets no arguments" in printed.out
    assert "graph is left out" not in printed.err
    used = [line for line in printed.out.splitlines() if line.startswith(("go on", "use it"))]
    assert len(used) == 2
    assert all(" TORCHATLAS_TRUST=mine " in line for line in used)
    with pytest.raises(SystemExit):
        command("evaluate", f"ckpt={folder}")
    said = capsys.readouterr().err
    assert "would call mine.Net" in said
    assert "type TORCHATLAS_TRUST=mine before the command" in said
    monkeypatch.setenv("TORCHATLAS_TRUST", "mine")
    command("evaluate", f"ckpt={folder}")
    assert "accuracy" in capsys.readouterr().out
    command("export", f"ckpt={folder}", "formats=safetensors,torch")
    assert (folder / "export" / "model.safetensors").is_file()
    assert train(f"resume={folder}", "duration=3st") == folder
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == 3


def test_words_that_name_a_class_are_trusted_to_go_on_with_it(
    mine: str, train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as they are typed; another class of the same module is not."""
    line = ["model._target_=mine.Net", "trainer=cpu", "callbacks=default", "logger=none", "resume=auto"]
    folder = train(*line, "duration=2st")
    assert train(*line, "duration=3st") == folder
    assert read(folder / "checkpoints" / "last.ckpt")["global_step"] == 3
    assert "TORCHATLAS_TRUST" not in os.environ
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("mine.Net", "mine.Note"))
    with pytest.raises(SystemExit):
        train(*line, "duration=4st")
    assert "would call mine.Note" in capsys.readouterr().err


def test_a_configs_class_goes_on_on_folds_and_in_a_multirun(mine: str, train: Train, tmp_path: Path) -> None:
    (tmp_path / "settings" / "model").mkdir(parents=True)
    text = "# @package _global_\nmodel:\n  _target_: mine.Net\n"
    (tmp_path / "settings" / "model" / "small.yaml").write_text(text)
    line = ["--config-dir", "settings", "model=small", "folds=2", *QUICK, "resume=auto"]
    for _ in range(2):
        train(*line)
    assert len(list(tmp_path.rglob("folds.json"))) == 1
    line = ["-m", "model._target_=mine.Net", "seed=1,2", *QUICK, "resume=auto"]
    for _ in range(2):
        train(*line)
    assert sorted(path.name for path in tmp_path.glob("runs/sweeps/*/*/")) == ["0-net-digits", "1-net-digits"]


def test_arguments_go_to_the_class_as_far_as_it_takes_them(mine: str) -> None:
    plain = composed(["model._target_=mine.Sized", "model.hidden=7"]).plain()
    assert plain["model"] == {"_target_": "mine.Sized", "hidden": 7, "num_classes": 10}
    assert plain["name"] == "sized-digits"
    plain = composed(["optim._target_=mine.Descent", "optim.lr=0.5", "optim.momentum=0.9"]).plain()
    assert {"lr": 0.5, "momentum": 0.9}.items() <= plain["optim"].items()
    assert "betas" not in plain["optim"]


@pytest.mark.parametrize("network", ["Net", "made", "Branching"])
def test_what_fits_is_not_refused(mine: str, network: str) -> None:
    fits(composed([f"model._target_=mine.{network}"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model._target_=mine.Sized"], "mine.Sized needs hidden: type model.hidden=VALUE"),
        (["model._target_=mine.Sized", "model.hiden=3"], "no argument 'hiden': did you mean hidden?"),
        (["model._target_=mine.Few"], "gives 3 logits where the data have 10 classes"),
        (["model._target_=mine.Standing"], r"gives \[2, 10, 1\] for 2 samples"),
        (["model._target_=mine.Named"], "gives dict where logits have to be"),
        (["model._target_=mine.Narrow"], r"_target_=mine.Narrow cannot take .*layers.1 \(Linear\) gets 56"),
        (["model._target_=mine.Note"], "has to derive from torch.nn.Module"),
        (["model._target_=mine.nothing"], "makes int where a torch.nn.Module has to be"),
        (["model._target_=mine.answer"], "is of the type int where a class or a function has to be"),
        (["model._target_=mine.Nett"], "mine has no 'Nett': did you mean Net?"),
        (["model._target_=mien.Net"], "there is no module 'mien', neither installed nor in this folder"),
        (["model._target_=Net"], "put its module before it"),
        (["model._target_=torn.Net"], r"torn cannot be imported \(SyntaxError: .*line 1"),
        (["model._target_=lacking.Net"], r"lacking cannot be imported .*this_is_not_there.*in line 1 of .*lacking.py"),
        (["modle._target_=mine.Net"], "no key 'modle._target_': did you mean model?"),
        (["data._target_=mine.Note"], "has to derive from torchatlas.data.base.DataModule"),
        (["task._target_=mine.Net"], "has to derive from torchatlas.tasks.base.Task"),
        (["callbacks.count._target_=mine.Count", "callbacks.count.bye=2"], "'bye': did you mean by?"),
    ],
)
def test_mistakes_are_one_sentence(mine: str, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        fits(composed(words))
    assert "\n" not in str(refused.value)


def test_words_of_a_class_are_read_twice_as_once(mine: str) -> None:
    """Further processes of a run get what the first one has made of the words."""
    words = with_own_classes(understood(["model._target_=mine.Sized", "model.hidden=3"]))
    assert with_own_classes(understood(words)) == words


def test_a_callback_and_an_optimiser_of_ones_own(mine: str, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "callbacks.count._target_=mine.Count",
        "callbacks.count.by=5",
        "optim._target_=mine.Descent",
        "optim.lr=0.1",
    ]
    folder = train("model.widths=[8]", *words, *QUICK)
    assert sys.modules["mine"].Count.steps == 10
    monkeypatch.setenv("TORCHATLAS_TRUST", "mine")
    train(f"resume={folder}", "duration=3st")
    assert sys.modules["mine"].Count.steps == 15


def test_a_loss_of_ones_own_goes_on_and_is_evaluated(
    mine: str, train: Train, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("model.widths=[8]", "task.loss=torch.nn.functional.multi_margin_loss", *QUICK)
    figures: dict[str, Any] = read_metrics(folder)["final"]
    assert figures["val/loss"] != figures["val/cross_entropy"]
    assert 0 < figures["val/cross_entropy"] < 5
    train(f"resume={folder}", "duration=3st")
    capsys.readouterr()
    command("evaluate", f"ckpt={folder}")
    assert "cross" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "task.loss=null", "duration=4st")
    assert "the curves and the best weights so far are of it" in capsys.readouterr().err


def test_only_losses_of_torch_are_allowed(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowed("torch.nn.CrossEntropyLoss", ())
    assert allowed("torch.nn.functional.l1_loss", ())
    for target in ("torch.nn.Linear", "torch.nn.functional.torch.hub.load", "torch.nn.functional.relu", "mine.Net"):
        assert not allowed(target, ())
    config = {"a": [{"_target_": "mine.Net"}], "b": {"_target_": "lightning.pytorch.callbacks.Timer"}}
    assert prefix(config) == "TORCHATLAS_TRUST=mine,lightning.pytorch.callbacks "
    assert prefix({"optim": {"_target_": "torch.optim.SGD"}}) == ""


def test_the_graph_is_of_the_datas_example(mine: str) -> None:
    """What stands in for `example_input` is what the task gives the network of a batch."""
    from torchatlas.run.build import build_data, build_network, build_task
    from torchatlas.run.restore import exemplify

    plain = composed(["model._target_=mine.Net"]).plain()
    task = build_task(plain["task"], build_network(plain["model"]))
    exemplify(task, build_data(plain["data"]))
    (x,) = task.network.example_input(3)  # type: ignore[operator]
    assert x.shape == (3, 1, 8, 8)
    assert task.network(x).shape == torch.Size([3, 10])


def test_lazy_layers_find_their_sizes(mine: str) -> None:
    from torchatlas.run.assemble import assemble

    parts = assemble(composed(["model._target_=mine.made"]).plain())
    assert sum(p.numel() for p in parts.network.parameters()) == 650
    assert parts.network.training


@pytest.mark.parametrize("word", ["model._target_=mine.Net", "task.loss=mine.loss", "task.loss={_target_:mine.loss}"])
def test_the_present_folder_is_looked_in_last(mine: str, word: str, tmp_path: Path) -> None:
    assert str(tmp_path) not in sys.path
    taken(["model=mlp"])
    assert str(tmp_path) not in sys.path
    taken([word])
    assert sys.path[-1] == str(tmp_path)
