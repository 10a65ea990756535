"""Networks of all kinds of layers, and by experiment what their outputs depend on."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.analysis.layers import Row, layer_table


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


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
