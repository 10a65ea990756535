"""Explanations against definitions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import disturbed
from torch import Tensor, nn

from torchatlas.analysis.modes import evaluating
from torchatlas.errors import UserError
from torchatlas.explain import methods as ex
from torchatlas.explain.lesions import lesion_study, lesions
from torchatlas.models.googlenet import GoogLeNet
from torchatlas.models.lenet5 import LeNet5
from torchatlas.models.mlp import MLP
from torchatlas.models.resnet import ResNet
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.models.vgg import VGG


class Pooled(nn.Module):
    """Convolution, ReLU in place, global average pooling, linear: where Grad-CAM is CAM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(x)).mean((2, 3)))


class Smooth(nn.Module):
    """Differentiable everywhere, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 3, 3, dtype=torch.double), nn.Linear(3 * 9, 4, dtype=torch.double)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).tanh().flatten(1))


class Corner(nn.Module):
    """Sees the upper left 4x4 pixels alone."""

    def forward(self, x: Tensor) -> Tensor:
        seen = x[:, :, :4, :4].sum((1, 2, 3))
        return torch.stack([seen, -seen], 1)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("frozen", [False, True])
def test_grad_cam_behind_global_pooling_is_the_class_activation_map(memory_format: Any, frozen: bool) -> None:
    """Selvaraju et al. 2016, section 3.1: with y = Σ_k w_k mean(A_k), α_k = w_k / Z."""
    network = Pooled().requires_grad_(not frozen).to(memory_format=memory_format)
    x = torch.randn(3, 3, 6, 6).to(memory_format=memory_format)
    target = torch.tensor([2, 0, 3])
    with torch.no_grad():
        before = network.conv(x)
        a, weights = before.relu(), network.fc.weight[target] / 36
        expected = (weights[:, :, None, None] * a).sum(1).relu()
        # Before the ReLU, in place though it works, a slope is 0 where A is negative.
        slopes = weights * (before > 0).float().mean((2, 3))
        expected_before = (slopes[:, :, None, None] * before).sum(1).relu()
    assert expected.amax((1, 2)).gt(0).any()
    torch.testing.assert_close(ex.grad_cam(network, network.relu, x, target), expected)
    torch.testing.assert_close(ex.grad_cam(network, network.conv, x, target), expected_before)


def test_saliency_is_the_largest_slope_by_finite_differences() -> None:
    network, x, target, h = Smooth(), torch.randn(2, 2, 5, 5, dtype=torch.double), torch.tensor([1, 3]), 1e-5
    found = ex.saliency(network, x, target)
    for row in range(5):
        for column in range(5):
            slopes = []
            for channel in range(2):
                step = torch.zeros_like(x)
                step[:, channel, row, column] = h
                with torch.no_grad():
                    difference = (network(x + step) - network(x - step)) / (2 * h)
                slopes.append(difference.gather(1, target[:, None])[:, 0].abs())
            torch.testing.assert_close(found[:, row, column], torch.stack(slopes).amax(0), atol=1e-8, rtol=1e-6)


def test_integrated_gradients_add_up_to_the_difference_of_the_logits() -> None:
    network, x, target = Smooth(), torch.randn(2, 2, 5, 5, dtype=torch.double), torch.tensor([1, 3])
    baseline = torch.full_like(x, -0.3)
    found = ex.integrated_gradients(network, x, target, baseline)
    difference = (network(x) - network(baseline)).gather(1, target[:, None])[:, 0].detach()
    torch.testing.assert_close(found.sum((1, 2)), difference)


def test_occlusion_of_what_the_network_does_not_see_is_nothing() -> None:
    x, target = torch.rand(2, 3, 8, 8) / 20 + 0.01, torch.tensor([0, 0])
    drop = ex.occlusion(Corner(), x, target, 2, 1)
    assert drop.shape == (2, 8, 8)
    assert (drop[:, 5:] == 0).all()
    assert (drop[:, :, 5:] == 0).all()
    assert (drop[:, :4, :4] > 0).all()


def test_occlusion_is_the_drop_in_probability() -> None:
    network, x, target = Pooled(), torch.randn(2, 3, 6, 6), torch.tensor([1, 2])
    drop = ex.occlusion(network, x, target, 3, 3)
    with torch.no_grad():
        whole = network(x).softmax(1).gather(1, target[:, None])[:, 0]
        for row in (0, 3):
            for column in (0, 3):
                hidden = x.clone()
                hidden[:, :, row : row + 3, column : column + 3] = 0
                expected = whole - network(hidden).softmax(1).gather(1, target[:, None])[:, 0]
                found = drop[:, row : row + 3, column : column + 3]
                torch.testing.assert_close(found, expected[:, None, None].expand(2, 3, 3))


def test_maximisation_raises_the_logits_within_the_limits() -> None:
    """Free of penalties, above those of any of a hundred random images."""
    network = disturbed(ResNet(in_channels=1, image_size=16, num_classes=3))
    low, high = torch.tensor([[[-1.0]]]), torch.tensor([[[1.5]]])
    start = torch.randn(3, 1, 16, 16) / 10

    def climb(steps: int, **penalties: float) -> Tensor:
        return ex.maximise(lambda z: network(z).diag(), start, low, high, steps=steps, **penalties)

    x = climb(60)
    with torch.no_grad():
        reached, random = network(x).diag(), network(torch.rand(100, 1, 16, 16) * 2.5 - 1)
        assert (reached > network(start).diag()).all()
        assert (network(climb(60, l2=0, variation=0)).diag() > random.amax(0)).all()
    assert -1 <= x.min() < x.max() <= 1.5
    torch.testing.assert_close(climb(60), x, rtol=0, atol=0)
    torch.testing.assert_close(climb(0), start, rtol=0, atol=0)
    smooth, rough = (climb(60, variation=v).diff(dim=3).abs().mean() for v in (1.0, 0.0))
    assert smooth < rough / 2


def test_gradient_norms_are_those_of_the_gradients() -> None:
    network, x, y = ResNet(), torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    found = ex.gradient_norms(network.eval(), x, y)
    F.cross_entropy(network.train()(x), y).backward()
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert list(found) == list(layers)
    for name, layer in layers.items():
        assert found[name] == pytest.approx(float(layer.weight.grad.norm()), rel=1e-4)


def test_gradient_norms_of_one_image_are_refused_where_a_batch_is_normalised() -> None:
    """One value a channel has no spread; a map has one."""
    x, y = torch.randn(1, 3, 16, 16), torch.tensor([0])
    normalised = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(768), nn.Linear(768, 2))
    with pytest.raises(UserError, match="two images or more are needed, and there is one"):
        ex.gradient_norms(normalised, x, y)
    assert ex.gradient_norms(normalised, x.expand(2, 3, 16, 16), y.expand(2))
    assert ex.gradient_norms(nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(768, 2)), x, y)


def test_gradient_norms_of_auxiliary_heads_are_left_out() -> None:
    found = ex.gradient_norms(GoogLeNet(), torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    assert all(value > 0 for value in found.values())
    assert "fc" in found
    assert not any(name.startswith("aux") for name in found)


def test_shortcuts_keep_the_gradient_from_growing_with_depth() -> None:
    """With batch normalisation, a plain network's gradient grows exponentially towards the input (Yang et al. 2019)."""
    x, y = torch.randn(16, 3, 16, 16), torch.randint(10, (16,))

    def growth(shortcut: Any) -> float:
        network = ResNetCIFAR(depth=44, width=4, image_size=16, shortcut=shortcut)
        norms = [v for name, v in ex.gradient_norms(network, x, y).items() if name.startswith("layer")]
        return norms[0] / norms[-1]

    assert growth("none") > 5 * growth("identity")


def test_stages_are_the_maps_by_depth() -> None:
    def found(network: Any) -> list[str]:
        return ex.stages(network, ex.trace(network, *network.example_input()))

    assert found(ResNet())[-4:] == ["layer1", "layer2", "layer3", "layer4"]
    assert found(ResNet(image_size=8)) == ["maxpool", "layer1", "layer2", "layer3"]  # layer4 has one place
    assert found(LeNet5()) == ["features.1", "features.4"]  # behind the scaled tanh, before the pooling
    vgg = VGG()
    before = [n for n, m in vgg.named_modules() if isinstance(m, nn.ReLU) and n.startswith("features")]
    assert set(found(vgg)) <= set(before)
    assert found(MLP()) == []


def test_outputs_are_copies_from_before_what_works_in_place() -> None:
    network, x = Pooled(), torch.randn(2, 3, 6, 6)
    maps, logits = ex.outputs(network, x, ["conv", "relu"])
    torch.testing.assert_close(maps["conv"], network.conv(x))
    torch.testing.assert_close(maps["relu"], network.conv(x).relu())
    torch.testing.assert_close(logits, network(x))


def state(network: nn.Module) -> dict[str, Any]:
    return {
        "values": {key: value.clone() for key, value in network.state_dict().items()},
        "modes": {name: module.training for name, module in network.named_modules()},
        "gradients": {name: (p.requires_grad, p.grad is None) for name, p in network.named_parameters()},
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()],
        "own": {name: sorted(vars(module)) for name, module in network.named_modules()},
        "random": torch.get_rng_state(),
    }


def test_each_method_leaves_the_network_as_it_was() -> None:
    network = ResNet()
    network.layer2.eval()
    next(network.parameters()).requires_grad_(False)
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    before = state(network)
    limit = torch.full((3, 1, 1), 2.0)

    def study() -> None:
        lesion_study(network, lesions(network, x)[0], x, y)

    methods: list[Callable[[], Any]] = [
        lambda: ex.trace(network, x),
        lambda: ex.outputs(network, x, ["layer1"]),
        lambda: ex.grad_cam(network, network.layer3, x, y),
        lambda: ex.saliency(network, x, y),
        lambda: ex.integrated_gradients(network, x, y, torch.zeros_like(x), steps=3),
        lambda: ex.occlusion(network, x, y, 16, 16),
        lambda: ex.maximise(lambda z: network.eval()(z)[:, 0], x, -limit, limit, steps=2),
        study,
        lambda: ex.gradient_norms(network, x, y),
    ]
    for method in methods:
        with evaluating(network):
            method()
        after = state(network)
        for key, value in before["values"].items():
            assert torch.equal(after["values"][key], value), key
        assert torch.equal(after["random"], before["random"])
        for key in ("modes", "gradients", "hooks", "own"):
            assert after[key] == before[key], key
        assert not x.requires_grad
