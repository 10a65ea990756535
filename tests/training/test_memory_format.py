"""Where networks are in channels last, and that the choice changes no number."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train, network_class, tiny_network
from torch import Tensor, nn

from torchatlas.storage import checkpoints
from torchatlas.tasks.base import Task
from torchatlas.training.memory_format import format_of, lay_out, lay_out_state, memory_format
from torchatlas.zoo import create_model, options

LAST = (  # published sizes that a CPU computes in channels last: most convolutions are 1x1, grouped or narrow
    "autoencoder_conv", "densenet121", "densenet161", "densenet169", "densenet201", "efficientnet_b0",
    "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6",
    "efficientnet_b7", "googlenet", "mobilenet_v2", "res8", "res15", "resnet20", "resnet32", "resnet44", "resnet50",
    "resnet56", "resnet101", "resnet110", "resnet152", "resnext50_32x4d", "vae_conv", "wide_resnet50_2",
)  # fmt: skip


def convolutional() -> list[str]:
    return [name for name in options("model") if getattr(network_class(name), "convolutional", False)]


def published(name: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name)


@pytest.mark.parametrize("name", convolutional())
def test_choice_for_published_sizes(name: str) -> None:
    network = published(name)
    assert memory_format(network, "cpu") == (torch.channels_last if name in LAST else torch.contiguous_format)
    assert memory_format(network, "cuda") == torch.channels_last


def test_tiny_networks_stay_contiguous(tiny_name: str) -> None:
    network = tiny_network(tiny_name)
    if tiny_name.startswith(("densenet", "wrn")):  # nothing strided is narrow in them
        strided = [c for c in network.modules() if isinstance(c, nn.Conv2d) and max(c.stride) > 1]
        assert all(c.in_channels >= 16 or c.in_channels == 3 for c in strided)
        return
    assert memory_format(network, "cpu") == torch.contiguous_format


def test_networks_of_other_things_stay_as_they_are() -> None:
    for name in sorted(set(options("model")) - set(convolutional())):
        assert memory_format(published(name), "cuda") == torch.contiguous_format


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(16, 8, 1, stride=2), torch.channels_last),
        (nn.Conv2d(15, 60, 3, groups=3), torch.contiguous_format),
        (nn.Conv2d(3, 64, 7, stride=2), torch.channels_last),
        (nn.Conv2d(8, 64, 1, stride=2, groups=8), torch.contiguous_format),
        (nn.Conv2d(4, 32, 1), torch.channels_last),
        (nn.Conv2d(32, 32, 3, groups=32), torch.channels_last),
        (nn.Conv2d(64, 32, 3, dilation=2), torch.channels_last),
        (nn.Conv2d(65, 32, 3, dilation=2), torch.contiguous_format),
        (nn.GroupNorm(2, 32), torch.contiguous_format),
    ],
    ids=repr,
)
def test_rule(layer: nn.Module, expected: torch.memory_format) -> None:
    """Nothing is computed here."""
    products = [nn.Conv2d(32, 32, 1) for _ in range(3)]  # most are 1x1, whatever the layer is
    network: Any = nn.Sequential(nn.Conv2d(3, 32, 3), *products, layer)
    assert memory_format(network, "cpu") == torch.contiguous_format, "it does not say that it is convolutional"
    network.convolutional = True
    assert memory_format(network, "cpu") == expected
    assert memory_format(network, "cuda") == torch.channels_last
    network.extend(nn.Conv2d(64, 32, 3) for _ in range(6))
    assert memory_format(network, "cpu") == expected, "narrow ones gain"
    network.extend(nn.Conv2d(65, 32, 3) for _ in range(12))
    assert memory_format(network, "cpu") == torch.contiguous_format, "most are 3x3 and read more"


def test_a_narrow_network_trains_as_the_contiguous_one_does() -> None:
    sizes: dict[str, Any] = {"width": 4, "num_classes": 10, "image_size": 32}
    one, two = create_model("resnet18", **sizes), create_model("resnet18", **sizes)
    two.load_state_dict(one.state_dict())
    Task(one).setup("fit")
    assert all(p.is_contiguous() for p in one.parameters())
    for network in (one, two):
        network(torch.ones(4, 3, 32, 32)).square().mean().backward()
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_a_wide_network_computes_the_same_in_both_formats() -> None:
    sizes: dict[str, Any] = {"depths": (1, 1, 1, 1), "width": 16, "num_classes": 10, "image_size": 32}
    one, two = create_model("resnet50", **sizes), create_model("resnet50", **sizes)
    two.load_state_dict(one.state_dict())
    Task(one).place("cpu")
    assert not one.conv1.weight.is_contiguous()
    assert one.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 32, 32)
    gradients = []
    for network in (one, two):
        network.double().train()(x.double()).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for p, q in zip(*gradients, strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD], ids=lambda make: make.__name__)
@pytest.mark.parametrize("last", [True, False], ids=["to contiguous", "to channels last"])
def test_a_checkpoint_goes_on_in_another_format(make: Any, last: bool) -> None:
    """Fused kernels go through the moments by address, in the order of the weights."""
    torch.manual_seed(0)
    formats = (torch.channels_last, torch.contiguous_format)[:: 1 if last else -1]
    x = torch.randn(4, 16, 8, 8)
    options = {"lr": 0.1, "fused": True} | ({"momentum": 0.9} if make is torch.optim.SGD else {})

    def made(layout: torch.memory_format) -> tuple[Any, Any]:
        network: Any = nn.Conv2d(16, 20, 3).to(memory_format=layout)  # type: ignore[call-overload]
        return network, make(network.parameters(), **options)

    def step(network: Any, optimizer: Any) -> None:
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()

    one, first = made(formats[0])
    step(one, first)
    file = io.BytesIO()
    torch.save([one.state_dict(), first.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file)
    two, second = made(formats[1])
    two.load_state_dict(weights)
    assert two.weight.stride() != one.weight.stride(), "weights keep the format of where they are loaded"
    second.load_state_dict(state)
    lay_out_state(second)
    for _ in range(2):
        step(one, first)
        step(two, second)
    torch.testing.assert_close(one.weight, two.weight, atol=1e-3, rtol=1e-3)


def test_a_run_in_channels_last_goes_on_contiguous(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a GPU, or an earlier version, has begun: the same weights as of a run that never changed."""
    arguments = [
        "model=resnet50", "model.depths=[1,1,1,1]", "model.width=16", "data=cifar10", "data.fake=true", "trainer=cpu",
        "data.batch_size=8", "callbacks=default", "logger=none", "schedule=constant", "trainer.max_epochs=2",
        "optim.lr=1e-3",
    ]  # fmt: skip
    whole = last(train(*arguments))
    part = train(*arguments, "trainer.max_epochs=1")
    assert any(not v.is_contiguous() for v in last(part).values()), "it was in channels last"
    monkeypatch.setattr("torchatlas.training.memory_format.WIDE", 10**6)
    resumed = last(train(f"resume={part}", "trainer.max_epochs=2"))
    assert all(v.is_contiguous() for v in resumed.values())
    for key, value in whole.items():
        if key.endswith("weight"):  # Adam makes a tenth of a step of the rounding of a gradient near zero
            torch.testing.assert_close(resumed[key], value, atol=1e-4, rtol=1e-3)


def test_a_run_goes_on_in_its_own_format(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a version that chose otherwise: bit for bit what it would have become."""
    arguments = [
        "model=lenet5", "data=digits", "data.image_size=28", "trainer=cpu", "callbacks=default", "logger=none",
        "schedule=constant", "optim=sgd", "trainer.max_epochs=2",
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        for name in ("is_wide", "pays"):
            patch.setattr(f"torchatlas.training.memory_format.{name}", lambda _: True)
        whole = last(train(*arguments))
        part = train(*arguments, "trainer.max_epochs=1")
    assert format_of(last(part)) == torch.channels_last
    resumed = last(train(f"resume={part}", "trainer.max_epochs=2"))
    for key, value in whole.items():
        assert torch.equal(resumed[key], value)
        assert resumed[key].stride() == value.stride()


def test_a_format_that_a_cpu_gets_wrong_is_not_kept() -> None:
    network: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    network.convolutional = True
    for before in (torch.channels_last, torch.contiguous_format):
        network.to(memory_format=before)
        assert format_of(network.state_dict()) == before
        assert memory_format(network, "cpu", before) == before
        assert memory_format(network, "cuda", before) == torch.channels_last
    network.append(nn.Conv2d(8, 8, 1, stride=2))
    assert memory_format(network, "cpu", torch.channels_last) == torch.contiguous_format
    assert format_of(nn.Linear(3, 3).state_dict()) is None


def last(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = checkpoints.read(folder / "checkpoints" / "last.ckpt")["state_dict"]
    return found


def test_layout_is_undone_where_the_network_moves() -> None:
    network: Any = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.convolutional = True
    lay_out(network, "cpu")
    assert network[1].weight.is_contiguous()
