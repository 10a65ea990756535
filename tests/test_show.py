"""The table of layers: sizes against torch and torchvision, receptive fields against what outputs depend on."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rich
import torch
import torch.nn.functional as F
import torchvision
from conftest import tiny_network
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from torchatlas.analysis.layers import Row, failing_layer, layer_table
from torchatlas.commands.show import show
from torchatlas.errors import UserError
from torchatlas.zoo import create_model, list_models

PUBLISHED = (
    "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg11", "vgg16_bn", "alexnet", "densenet121",
    "googlenet", "mobilenet_v2", "efficientnet_b0",
)  # fmt: skip


def of_zoo(name: str, **sizes: Any) -> list[Row]:
    with torch.device("meta"):
        network: Any = create_model(name, **sizes)
        return layer_table(network, network.example_input(1))


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in list_models()])
def test_totals_are_those_of_torchvision(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta  # type: ignore[attr-defined]
    rows = of_zoo(name)
    assert sum(row.macs for row in rows) / 1e9 == pytest.approx(meta["_ops"], abs=0.005)
    if name != "googlenet":  # whose auxiliary heads torchvision does not count
        assert sum(row.parameters for row in rows) == meta["num_params"]


def test_multiply_accumulates_are_half_of_torchs_flops(model_name: str) -> None:
    network = tiny_network(model_name).eval()
    inputs = network.example_input(2)
    if hasattr(network, "no_graph"):  # it leaves padding out where there are values: sentences without any
        inputs = inputs[:-1]
    rows = layer_table(network, inputs)
    with torch.device("meta"):
        twin = tiny_network(model_name).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(*twin.example_input(2)[: len(inputs)])
    assert 2 * sum(row.macs for row in rows) == counter.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in network.parameters())


class Ops(nn.Module):
    """Products without layers, and layers that torch computes in one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, stride=2, groups=1)
        self.conv = nn.Conv1d(4, 6, 3, groups=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.bilinear = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        y = self.conv(self.up(x).flatten(2)[..., :16])
        tokens = self.encoder(self.attention(tokens, tokens, tokens)[0])
        tokens = F.scaled_dot_product_attention(tokens, tokens @ self.bilinear, tokens)
        return torch.einsum("btc,bds->bd", tokens, y)


def test_products_without_a_layer_are_counted() -> None:
    network = Ops().eval()
    rows = layer_table(network, (torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8)))
    with torch.device("meta"):
        twin = Ops().eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8))
    assert 2 * sum(row.macs for row in rows) == counter.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 3}])
def test_recurrent_layers(make: Any, options: dict[str, Any]) -> None:
    if "proj_size" in options and make is not nn.LSTM:
        pytest.skip("only LSTMs have projections")
    x = torch.randn(5, 2, 4, device="meta" if "proj_size" in options else "cpu")  # oneDNN has no projections
    (row,) = layer_table(make(4, 6, **options, device=x.device), (x,))
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        make(4, 6, **options).eval()(torch.randn(5, 2, 4))
    assert 2 * row.macs == counter.get_total_flops() > 0


def test_known_receptive_fields() -> None:
    lenet = by_name(of_zoo("lenet5"))
    assert [lenet[f"features.{i}"].field for i in (0, 2, 3, 5, 6)] == [(n, n) for n in (5, 6, 14, 16, 32)]
    assert lenet["features.5"].stride == (4, 4)
    assert lenet["classifier.3"].whole
    resnet = by_name(of_zoo("resnet18"))
    assert (resnet["layer4.1.conv2"].field, resnet["layer4.1.conv2"].stride) == ((435, 435), (32, 32))
    assert resnet["fc"].whole
    five = layer_table(nn.Sequential(*[nn.Conv2d(1, 1, 3) for _ in range(5)]), (torch.zeros(1, 1, 16, 16),))
    assert [row.field for row in five] == [(n, n) for n in (3, 5, 7, 9, 11)]
    assert not five[-1].whole


@pytest.mark.skipif("vgg16" not in list_models(), reason="the zoo has no VGG")
def test_receptive_field_of_vgg() -> None:
    """Araujo, Norris and Sim 2019 (doi:10.23915/distill.00021), the table of networks: 212 pixels, stride 32."""
    last = [row for row in of_zoo("vgg16") if row.kind == "MaxPool2d"][-1]
    assert (last.field, last.stride) == ((212, 212), (32, 32))


def parallel(*branches: nn.Module, join: Callable[[list[Tensor]], Tensor] = lambda xs: torch.cat(xs, 1)) -> nn.Module:
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x: Tensor) -> Tensor:
            return join([branch(x) for branch in self.branches])

    return Parallel()


class Do(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Attention(nn.Module):
    """Among the tokens `b n c` of each window."""

    def __init__(self, dim: int, fused: bool) -> None:
        super().__init__()
        self.qkv, self.norm, self.fused = nn.Linear(dim, 3 * dim), nn.LayerNorm(dim), fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if self.fused:
            return x + F.scaled_dot_product_attention(q, k, v)
        return x + (q @ k.transpose(-2, -1)).softmax(-1) @ v


class Windows(nn.Module):
    """Attention in windows, which are moved by `shift` (Liu et al. 2021, arXiv:2103.14030)."""

    def __init__(self, dim: int, size: int, shift: int, fused: bool) -> None:
        super().__init__()
        self.attention, self.size, self.shift = Attention(dim, fused), size, shift

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        n = self.size
        x = x.permute(0, 2, 3, 1).roll((-self.shift, -self.shift), (1, 2))
        x = x.view(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        x = self.attention(x)
        x = x.view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x.roll((self.shift, self.shift), (1, 2)).permute(0, 3, 1, 2)


def squeeze_excitation(c: int) -> nn.Module:
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 2, 1), nn.ReLU(), nn.Conv2d(2, c, 1), nn.Sigmoid())
    return parallel(nn.Identity(), gate, join=lambda xs: xs[0] * xs[1])


def conv(c: int, d: int, kernel: Any, **options: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c, d, kernel, **options), nn.BatchNorm2d(d), nn.ReLU())


# For images 1 x 48 x 48.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "branches": lambda: nn.Sequential(
        conv(1, 3, 3, padding=1),
        parallel(
            conv(3, 2, 1),
            nn.Sequential(conv(3, 2, 1), conv(2, 2, 5, padding=2)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(3, 2, 1)),
            nn.Sequential(conv(3, 2, (1, 7), padding=(0, 3)), conv(2, 2, (3, 1), padding=(1, 0))),
        ),
        conv(8, 2, 2, stride=2),
    ),
    "branches off the middle": lambda: parallel(
        nn.Sequential(Do(lambda x: x[..., 4:, 4:]), conv(1, 1, 3)), conv(1, 1, 7), join=lambda xs: xs[0] + xs[1]
    ),
    "moved by padding": lambda: nn.Sequential(
        parallel(nn.Identity(), nn.Sequential(nn.ZeroPad2d((3, 0, 3, 0)), Do(lambda x: x[..., :-3, :-3]))),
        conv(2, 2, 3),
    ),
    "residual": lambda: nn.Sequential(
        conv(1, 4, 3, stride=2, padding=1),
        parallel(
            nn.Sequential(conv(4, 8, 3, stride=2, padding=1), conv(8, 8, 3, padding=1)),
            nn.Conv2d(4, 8, 1, stride=2),
            join=lambda xs: (xs[0] + xs[1]).relu_(),
        ),
        conv(8, 2, 3, padding=1),
    ),
    "dilated and grouped": lambda: nn.Sequential(
        conv(1, 4, 3, dilation=2), conv(4, 4, 3, dilation=3, groups=2), nn.LPPool2d(2, 2), nn.LocalResponseNorm(3)
    ),
    "channels last": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 4, stride=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        Do(lambda x: x.permute(0, 2, 3, 1)), nn.LayerNorm(4), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4),
        Do(lambda x: x.permute(0, 3, 1, 2)),
        nn.Conv2d(4, 4, 3, padding=1),
    ),
    "shuffled channels": lambda: nn.Sequential(
        conv(1, 4, 3), nn.ChannelShuffle(2), conv(4, 4, 3, groups=2),
        Do(lambda x: x.view(len(x), 2, 2, *x.shape[2:]).max(2)[0]), conv(2, 2, 3),
    ),
    "squeeze and excitation": lambda: nn.Sequential(conv(1, 3, 3), squeeze_excitation(3), conv(3, 2, 3)),
    "transposed": lambda: nn.Sequential(
        conv(1, 2, 3, stride=2, padding=1), nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1), conv(2, 2, 3, padding=1)
    ),
    **{
        f"U-Net, {mode}": lambda mode=mode: nn.Sequential(
            conv(1, 2, 3, padding=1),
            parallel(
                nn.Identity(),
                nn.Sequential(
                    nn.AvgPool2d(2), conv(2, 2, 3, padding=1),
                    parallel(
                        nn.Identity(),
                        nn.Sequential(
                            nn.MaxPool2d(2), conv(2, 2, 3, padding=1), nn.Upsample(scale_factor=2, mode=mode)
                        ),
                    ),
                    conv(4, 2, 3, padding=1), nn.Upsample(scale_factor=2, mode=mode),
                ),
            ),
            conv(4, 2, 3, padding=1),
        )
        for mode in ("nearest", "bilinear", "bicubic")
    },
    "corners": lambda: nn.Sequential(
        conv(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(size=(31, 31), mode="bilinear", align_corners=True)
    ),
    "uneven pooling": lambda: nn.Sequential(
        conv(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(18), nn.AdaptiveMaxPool2d(9), conv(2, 2, 3)
    ),
    "pixel shuffle": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), conv(4, 8, 3, padding=1), nn.PixelShuffle(2), nn.ReflectionPad2d(2), conv(2, 2, 5)
    ),
    "patches": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 8, stride=8), Do(lambda x: x.flatten(2).transpose(1, 2)), nn.LayerNorm(4), nn.Linear(4, 4),
        Attention(4, fused=False), nn.Linear(4, 4), Do(lambda x: x.mean(1)), nn.Linear(4, 2),
    ),
    "class token": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 8, stride=8), Do(lambda x: x.flatten(2).transpose(1, 2)),
        Do(lambda x: torch.cat([x.new_zeros(len(x), 1, 4), x], 1)), Attention(4, fused=True), Do(lambda x: x[:, 0]),
        nn.Linear(4, 2),
    ),
    **{
        f"windows, {'fused' if fused else 'plain'}": lambda fused=fused: nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2), Windows(4, 4, 0, fused), nn.Conv2d(4, 4, 1), Windows(4, 4, 2, fused),
            nn.Conv2d(4, 4, 1), Do(lambda x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
            nn.Conv2d(16, 4, 1),
        )
        for fused in (False, True)
    },
    "grid": lambda: nn.Sequential(  # Tu et al. 2022, arXiv:2204.01697: attention among every sixth position
        nn.Conv2d(1, 4, 2, stride=2),
        Do(lambda x: x.view(len(x), 4, 4, 6, 4, 6).permute(0, 3, 5, 2, 4, 1).reshape(-1, 16, 4)),
        Attention(4, fused=False),
        Do(lambda x: x.view(-1, 6, 6, 4, 4, 4).permute(0, 5, 3, 1, 4, 2).reshape(-1, 4, 24, 24)),
        nn.Conv2d(4, 4, 1),
    ),
    "mixed positions": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 8, stride=8), Do(lambda x: x.flatten(2)), nn.Linear(36, 36), nn.ReLU(),
    ),
    "an operation that is not known": lambda: nn.Sequential(
        conv(1, 2, 3), Do(lambda x: x.cumsum(-1)), conv(2, 2, 3)
    ),
}  # fmt: skip


def reached(network: nn.Module, inputs: Tensor, axis: int, channels: int | None) -> Iterator[tuple[str, Tensor, int]]:
    """For each call of a layer, by experiment: first and last pixel that a position depends on, and the output's axes.

    Sample i has NaN in row (axis 0) or column (axis 1) i, which all that depends on it takes over.
    """
    size = inputs.shape[2 + axis]
    poisoned = inputs[:1].repeat(size, 1, 1, 1)
    for i in range(size):
        poisoned[i].select(1 + axis, i).fill_(math.nan)
    found: list[tuple[str, Tensor]] = []
    names = {module: name for name, module in network.named_modules()}
    for module in network.modules():
        module.register_forward_hook(
            lambda module, _, out: found.append((names[module], out[0] if isinstance(out, tuple) else out))
        )
    with torch.no_grad():
        network.eval()(poisoned)
    for name, out in found:
        if len(out) == size:  # windows are samples within their attention
            bad = out.isnan()
            bad = (bad.any(channels) if channels and out.ndim == 4 else bad).flatten(1)
            bad = bad[:, bad.any(0)].int()
            ends = torch.stack([bad.argmax(0), size - 1 - bad.flip(0).argmax(0)], 1)
            yield name, ends, out.ndim


CAUTIOUS = ("class token", "grid", "an operation that is not known")  # where the table may say more than is seen
ROUND = ("windows, plain", "windows, fused")  # where the image is rolled, and its edges meet


def compare(name: str, network: nn.Module, inputs: Tensor) -> int:
    """Hold the table against the experiment; returns in how many layers the inside of the image shows it exactly."""
    rows = layer_table(network, (inputs,))
    calls = Counter(row.name for row in rows)
    table = by_name(rows)
    exact = 0
    for axis in (0, 1):
        size = inputs.shape[2 + axis]
        for layer, ends, axes in reached(network, inputs, axis, None if name == "channels last" else 1):
            if calls[layer] != 1 or not len(ends):
                continue
            row = table[layer]
            assert row.field is not None, layer
            sizes = ends[:, 1] - ends[:, 0] + 1
            if row.whole:
                assert name in CAUTIOUS or hasattr(network, "special_tokens") or bool((sizes == size).all()), layer
                exact += bool((sizes == size).all())
                continue
            assert name in ROUND or int(sizes.max()) <= row.field[axis], layer
            # In small maps a position may see less for the padding around it, though it does not see the image's edge.
            more = 0 if name in NETWORKS else row.field[axis] - sizes
            inside = sizes[(ends[:, 0] - more > 0) & (ends[:, 1] + more < size - 1)]
            if len(inside) and axes == 4:
                assert int(inside.max()) == row.field[axis], layer
                exact += 1
    return exact


@pytest.mark.parametrize("name", list(NETWORKS))
def test_receptive_fields_are_what_outputs_depend_on(name: str) -> None:
    assert compare(name, NETWORKS[name](), torch.randn(1, 1, 48, 48)) >= 2


def test_receptive_fields_of_the_zoo(model_name: str) -> None:
    network = tiny_network(model_name)
    inputs = network.example_input(1)
    if inputs[0].ndim != 4 or len(inputs) > 1:
        pytest.skip("its inputs are no images, or more than images")
    compare(model_name, network, inputs[0])


@pytest.mark.parametrize("name", ["branches", "residual", "transposed", "U-Net, bilinear", "windows, plain"])
def test_receptive_field_is_where_the_gradient_is_not_zero(name: str) -> None:
    """Positive weights, so that nothing cancels; maxima become means, which see all; one position in the middle."""
    network = NETWORKS[name]().eval()
    for module in network.modules():
        for p in module.parameters(recurse=False):
            nn.init.uniform_(p, 0.1, 1)
        for key, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, key, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    x = torch.rand(1, 1, 96, 96).requires_grad_()
    rows = layer_table(network, (x.detach(),))
    out = network(x)
    sizes = []
    for h in range(out.shape[2] // 2 - 2, out.shape[2] // 2 + 2):  # all phases of what enlarges maps
        for w in range(out.shape[3] // 2 - 2, out.shape[3] // 2 + 2):
            (gradient,) = torch.autograd.grad(out[0, :, h, w].sum(), x, retain_graph=True)
            seen = (gradient[0, 0] != 0).nonzero()
            sizes.append((seen.amax(0) - seen.amin(0) + 1).tolist())
    row = next(row for row in reversed(rows) if row.field is not None and row.output is not None)
    assert row.field == tuple(max(size) for size in zip(*sizes, strict=True))


def test_shared_and_unused_layers() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.decoder = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
            self.decoder.weight = self.embedding.weight
            self.cell, self.unused = nn.LSTMCell(5, 5), nn.Linear(5, 2)

        def forward(self, tokens: Tensor) -> Tensor:
            state = None
            for x in self.embedding(tokens).unbind(1):
                state = self.cell(x, state)
            return self.decoder(state[0])

    network = Tied()
    rows = layer_table(network, (torch.randint(7, (1, 4)),))
    assert [(row.name, row.parameters) for row in rows] == [
        ("embedding", 35), ("cell", 240), ("decoder", 0), ("unused", 12)
    ]  # fmt: skip
    assert by_name(rows)["cell"].macs == 4 * 200, "four calls are one row"
    assert by_name(rows)["decoder"].macs == 35
    assert by_name(rows)["unused"].output is None
    assert all(row.field is None and row.stride is None for row in rows), "tokens have no pixels"


def test_table_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(conv(1, 2, 3), nn.Dropout(0.5), conv(2, 2, 3)).train()
    network[2].eval()
    modes = [module.training for module in network.modules()]
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    layer_table(network, (torch.zeros(2, 1, 8, 8),))
    with pytest.raises(RuntimeError):
        layer_table(network, (torch.zeros(2, 2, 8, 8),))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_failing_layer() -> None:
    with torch.device("meta"):
        features = nn.Sequential(*[nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)) for _ in range(3)])
        network = nn.Sequential(features, nn.Flatten(), nn.Linear(1, 2))
        assert failing_layer(network, (torch.empty(1, 1, 8, 8),)) is None
        assert failing_layer(network, (torch.empty(1, 1, 4, 4),)) == "0.2.1 (MaxPool2d) gets 1x1x1"
        assert failing_layer(network, (torch.empty(1, 1, 16, 16),)) == "2 (Linear) gets 4"
        assert failing_layer(network, (torch.empty(1, 3, 8, 8),)) == "0.0.0 (Conv2d) gets 3x8x8"
        assert failing_layer(parallel(nn.Identity(), join=lambda xs: xs[0] @ xs[0]), (torch.empty(1, 2, 3),)) == (
            "Parallel gets 2x3"
        )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def last_lines(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines()[-5:])


def test_show_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    show(["resnet18", "image_size=32", "num_classes=10"])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split() == [
        "layer",
        "kind",
        "output",
        "parameters",
        "multiply-accumulates",
        "receptive",
        "field",
        "stride",
    ]
    assert lines[1].split() == ["conv1", "Conv2d", "64x32x32", "1,728", "1,769,472", "3", "1"]
    assert "fc Linear 10 5,130 5,120 all" in " ".join(text.split())
    assert last_lines(text)["parameters"] == "11,173,962"
    assert last_lines(text)["forward"] == "pass      0.5554 GMAC"
    assert "109 pixels" in last_lines(text)["receptive"]
    show(["resnet18", "data=cifar10"])
    assert capsys.readouterr().out == text, "the sizes that the data declare"
    show(["model=resnet18", "data.image_size=32"])
    assert capsys.readouterr().out == text, "the network's own data"
    assert torch.equal(torch.get_rng_state(), state)


def test_show_of_a_language_model(capsys: pytest.CaptureFixture[str]) -> None:
    show(["lstm_lm"])
    text = capsys.readouterr().out
    assert "parameters        19,780,400" in text
    assert "receptive field  " not in text.splitlines()[-1]
    lstm = next(line for line in text.splitlines() if line.startswith("lstm "))
    assert lstm.split() == ["lstm", "LSTM", "35x650", "6,770,400", f"{35 * 16 * 650**2:,}"], "no receptive field"


def test_show_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=140))
    show(["lenet5"])
    text = capsys.readouterr().out
    assert "┃" in text
    assert "features.6" in text
    assert last_lines(text)["parameters"] == "61,706"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["resnet81"], "there is no model 'resnet81': did you mean resnet18"),
        ([], "name a network: type one, as in torchatlas show resnet18 data=cifar10"),
        (["mlp", "lenet5"], "there are two names"),
        (["resnet18", "imagesize=32"], "resnet18 has no argument 'imagesize': did you mean image_size"),
        (["resnet18", "data=cifar"], "there is no data 'cifar': did you mean cifar10"),
        (["resnet18", "data=pydoc"], "data=pydoc has no sizes for resnet18: try data=cifar10"),
        (["resnet18", "data.imagesize=3"], "data=cifar10 has no key 'imagesize': did you mean image_size"),
        (["resnet18", "image_size=large"], "image_size=large must be a whole number, as in image_size="),
        (["resnet18", "depths=[2,"], "depths=[2, cannot be read"),
        (["resnet18", "depths=[1,1]"], "resnet18 cannot have these sizes: ResNet has four groups"),
        (["lenet5", "image_size=20"], "lenet5 cannot have these sizes: LeNet-5 takes images of 32x32 pixels"),
    ],
)
def test_mistakes(words: list[str], answer: str) -> None:
    with pytest.raises(UserError) as error:
        show(words)
    assert answer in str(error.value)


def test_mistake_that_a_layer_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(nn.Sequential):
        def __init__(self, **_: Any) -> None:
            super().__init__(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4))

        def example_input(self, batch: int) -> tuple[Tensor]:
            return (torch.empty(batch, 3, 5, 5),)

    monkeypatch.setattr("torchatlas.commands.show.create_model", lambda name, **values: Small(**values))
    with pytest.raises(UserError) as error:
        show(["resnet18"])
    assert str(error.value).startswith("resnet18 cannot take inputs of 3x5x5: 1 (MaxPool2d) gets 4x3x3, which fails (")
    assert str(error.value).endswith("sizes that work are those of data=cifar10")
