"""Blocks that are computed twice or compiled: found in each network, and the same numbers."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train, network_class, one_of_each_class
from torch import Tensor, nn

from torchatlas.analysis.flops import count_saved
from torchatlas.errors import UserError
from torchatlas.models.densenet import DenseNet
from torchatlas.models.gpt import GPT
from torchatlas.models.resnet import ResNet
from torchatlas.run.build import compile_network, shutil
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs
from torchatlas.training.blocks import blocks_of, compile_alike, recompute

DEEP = [name for name in one_of_each_class() if len(blocks_of(network_class(name)())) > 1]
DROPPING = ("dropout", "attention_dropout", "stochastic_depth")


def with_dropout(name: str) -> nn.Module:
    network = network_class(name)()
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.3
    return network


def figures(folder: Path) -> list[dict[str, float]]:
    return [{key: value for key, value in epoch.items() if "/" in key} for epoch in read_epochs(folder)]


def numbers(out: Any) -> Tensor:
    return sum(numbers(x) for x in out) if isinstance(out, tuple | list) else (out**2).mean()


def steps(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """Two steps of plain descent: losses, the last gradients, parameters, buffers, the random state behind."""
    torch.manual_seed(1)
    network.train()
    losses = []
    for _ in range(2):
        network.zero_grad()
        losses.append(numbers(network(*inputs)))
        losses[-1].backward()
        with torch.no_grad():
            for p in network.parameters():
                if p.grad is not None:
                    p -= 0.01 * p.grad
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return [*losses, *grads, *network.state_dict().values(), torch.get_rng_state()]


def test_the_deep_networks_have_blocks() -> None:
    expected = {"resnet18", "densenet121", "vit_b_16", "gpt2", "bert_base", "unet", "ddpm", "transformer", "tcn"}
    assert expected <= set(DEEP)
    assert not {"mlp", "lenet5", "lstm", "perceptron"} & set(DEEP)


@pytest.mark.parametrize("name", DEEP)
def test_recomputing_changes_no_bit(name: str) -> None:
    torch.manual_seed(0)
    network = with_dropout(name)
    inputs = network.example_input(3)  # type: ignore[operator]
    twin = copy.deepcopy(network)
    recompute(twin)
    assert list(twin.state_dict()) == list(network.state_dict())
    kept = [count_saved(lambda n=n: n(*inputs), n) for n in (copy.deepcopy(network), copy.deepcopy(twin))]
    assert kept[1] < kept[0]
    one, two = steps(network, inputs), steps(copy.deepcopy(twin), inputs)  # a copy computes with its own weights
    assert len(one) == len(two)
    assert all(map(torch.equal, one, two))
    network.eval(), twin.eval()
    twin.load_state_dict(network.state_dict())
    torch.manual_seed(2)
    expected = numbers(network(*inputs))
    torch.manual_seed(2)
    assert torch.equal(numbers(twin(*inputs)), expected)


def test_each_block_is_computed_twice_in_training_alone() -> None:
    network, number = ResNet(depths=(2, 1, 1, 1)), []
    recompute(network)
    for block in blocks_of(network):
        block.conv1.register_forward_hook(lambda *_: number.append(1))  # type: ignore[union-attr]
    loss = network(torch.randn(2, 3, 32, 32)).sum()
    assert len(number) == 5
    loss.backward()
    assert len(number) == 10
    with torch.no_grad():
        network(torch.randn(2, 3, 32, 32))
    network.eval()(torch.randn(2, 3, 32, 32)).sum().backward()
    assert len(number) == 20


@pytest.mark.parametrize(("cls", "given"), [(DenseNet, {"depths": (6, 6)}), (GPT, {"depth": 8})])
def test_memory_that_is_kept_falls_by_half(cls: type[nn.Module], given: dict[str, Any]) -> None:
    network = cls(**given)
    inputs, before = network.example_input(4), []  # type: ignore[operator]
    for _ in range(2):
        before.append(count_saved(lambda: network(*inputs), network))
        if len(before) == 1:
            recompute(network)
    assert 2 * before[1] < before[0]


@pytest.mark.parametrize("word", ["recompute=true", "compile=blocks"])
def test_a_network_without_blocks_is_refused(word: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        train("model=lenet5", "trainer=cpu", "logger=none", word)
    assert exit_.value.code == 2
    assert f"{word} is for networks of several blocks, and LeNet5 has none" in capsys.readouterr().err


def test_a_run_that_recomputes_has_the_figures_of_one_that_does_not(train: Train) -> None:
    words = (
        "model=resnet20",
        "data=digits",
        "data.image_size=16",
        "model.width=4",
        "trainer=cpu",
        "logger=none",
        "callbacks=default",
        "trainer.max_steps=4",
    )
    found = []
    for word in ("recompute=false", "recompute=true"):
        folder = train(*words, word)
        found.append((figures(folder), read(folder / "checkpoints" / "last.ckpt")["state_dict"]))
    (one, first), (two, second) = found
    assert one == two
    assert {"train/loss", "val/loss", "val/accuracy"} <= set(one[-1])
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert list(first) == list(second)


# --- compilation


@pytest.mark.parametrize("given", ["1", "block"])
def test_what_compile_can_be(given: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        train("trainer=cpu", "logger=none", f"compile={given}")
    assert exit_.value.code == 2
    assert f"compile={given} must be true, false or blocks" in capsys.readouterr().err


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="compile=blocks needs a C\\+\\+ compiler"):
        compile_network(ResNet(), blocks=True)


def test_a_copy_is_compiled_where_the_original_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    network = ResNet()
    names = list(network.state_dict())
    compile_network(network, blocks=True)
    twin = copy.deepcopy(network)
    compile_alike(network, twin)
    for one in (network, twin):
        compiled = [layer for layer in one.modules() if layer._compiled_call_impl is not None]
        assert compiled == blocks_of(one)
        assert list(one.state_dict()) == names


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler")
def test_a_compiled_run_goes_on_without_and_is_exported(train: Train, tmp_path: Path, command: Any) -> None:
    """In a process of its own, without the checks of shapes, which cannot be compiled."""
    tiny = ["model=gpt_char", "data=pydoc", "trainer=cpu", "callbacks=default", "logger=none", "model.dim=8"]
    tiny += ["model.depth=2", "model.heads=2", "data.context=8", "data.batch_size=8", "trainer.max_steps=2"]
    words = [sys.executable, "-m", "torchatlas.train", "compile=blocks", "hydra.run.dir=runs/compiled/1", *tiny]
    subprocess.run([*words, "trainer.limit_val_batches=2", "test=false"], cwd=tmp_path, check=True, timeout=500)
    folder = tmp_path / "runs" / "compiled" / "1"
    assert not any("_orig_mod" in key for key in read(folder / "checkpoints" / "last.ckpt")["state_dict"])
    train(f"resume={folder}", "compile=false", "duration=3st")
    command("export", f"ckpt={folder}", "formats=safetensors")
