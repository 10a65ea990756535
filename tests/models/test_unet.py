"""The U-Net against one by hand; which sides pass, of it and of all networks for pixels."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import randomised
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from torchatlas.models.fcn import FCN
from torchatlas.models.fcn_resnet import FCNResNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.unet import UNet
from torchatlas.models.unet_resnet import UNetResNet
from torchatlas.zoo import create_model

NETWORKS: dict[str, Any] = {
    "unet": lambda: UNet(),
    "unet bilinear": lambda: UNet(upsampling="bilinear"),
    "unet same": lambda: UNet(depth=3, padding="same"),
    "unet_resnet": lambda: UNetResNet(),
    "unet_resnet small": lambda: UNetResNet(image_size=32),
    "fcn": lambda: FCN(),
    "fcn_resnet": lambda: FCNResNet(),
}


# --- U-Net


class Twice(nn.Module):
    def __init__(self, a: int, b: int, c: int, pad: int, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((a, b), (b, c)):
            layers += [
                nn.Conv2d(i, o, 3, padding=pad, bias=not norm),
                *([nn.BatchNorm2d(o)] if norm else []),
                nn.ReLU(),
            ]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Reference(nn.Module):
    """A U-Net of three levels, put together from torch.nn by hand, with the names of milesial/Pytorch-UNet."""

    def __init__(self, padding: str, norm: bool, bilinear: bool) -> None:
        super().__init__()
        pad, half = int(padding == "same"), 2 if bilinear else 1
        self.cut, self.bilinear = padding == "valid", bilinear
        self.inc = Twice(3, 6, 6, pad, norm)
        self.down1 = Twice(6, 12, 12, pad, norm)
        self.down2 = Twice(12, 24 // half, 24 // half, pad, norm)
        self.up1 = nn.Identity() if bilinear else nn.ConvTranspose2d(24, 12, 2, 2)
        self.conv1 = Twice(24, 12, 12 // half, pad, norm)
        self.up2 = nn.Identity() if bilinear else nn.ConvTranspose2d(12, 6, 2, 2)
        self.conv2 = Twice(12, 6, 6, pad, norm)
        self.outc = nn.Conv2d(6, 5, 1)

    def rise(self, up: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        if self.bilinear:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = x[:, :, 1:-1, 1:-1] if self.cut else x
        else:
            x = up(x)
        return torch.cat([center_crop(skip, list(x.shape[2:])), x], 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.inc(x)
        b = self.down1(F.max_pool2d(a, 2))
        y = self.conv1(self.rise(self.up1, self.down2(F.max_pool2d(b, 2)), b))
        return self.outc(self.conv2(self.rise(self.up2, y, a)))


NAMES = (
    (r"^contract\.0\.", "inc.double_conv."), (r"^contract\.1\.", "down1.double_conv."),
    (r"^bottom\.", "down2.double_conv."), (r"^up\.0\.", "up1."), (r"^up\.1\.", "up2."),
    (r"^expand\.0\.", "conv1.double_conv."), (r"^expand\.1\.", "conv2.double_conv."), (r"^head\.", "outc."),
)  # fmt: skip


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize(("padding", "norm"), [("valid", False), ("same", True)])
def test_unet_is_the_one_written_by_hand(padding: str, norm: bool, upsampling: str) -> None:
    ours = UNet(
        width=6, padding=padding, batch_norm=norm, upsampling=upsampling, dropout=0.5, in_channels=3, num_classes=5
    )
    theirs = Reference(padding, norm, upsampling == "bilinear")
    state = randomised(ours).state_dict()
    for old, new in NAMES:
        state = {re.sub(old, new, key): value for key, value in state.items()}
    theirs.load_state_dict(state)
    x = torch.randn(2, 3, ours.fits(70), ours.fits(60))
    torch.testing.assert_close(ours(x), theirs.eval()(x))


def test_unet_has_the_sizes_of_the_paper() -> None:
    """Figure 1: 572 pixels, of which the levels keep 568, 280, 136 and 64, the bottom 28, and the answer 388."""
    with torch.device("meta"):
        network = create_model("unet")
        sizes = []
        for level in [*network.contract, network.bottom, network.head]:
            level.register_forward_hook(lambda _module, _given, made: sizes.append(made.shape[-1]))
        x = network.example_input(1)[0]
        network(x)
    assert x.shape == (1, 1, 572, 572)
    assert sizes == [568, 280, 136, 64, 28, 388]
    assert network.margin == 92
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
def test_a_tile_of_a_valid_unet_is_a_part_of_the_whole(upsampling: str) -> None:
    """What is answered for a pixel does not depend on where the tile ends."""
    network = randomised(UNet(upsampling=upsampling, in_channels=2, num_classes=3))
    x = torch.randn(1, 2, network.fits(90), network.fits(110))
    whole, tile = network(x), network(x[:, :, 16:, 8:-4])
    torch.testing.assert_close(tile, whole[:, :, 16:, 8:-4])
    changed = x.clone()
    changed[:, :, 0, 0] += 100
    assert not torch.equal(network(changed)[:, :, 0, 0], whole[:, :, 0, 0])
    assert torch.equal(network(changed)[:, :, 40:, 40:], whole[:, :, 40:, 40:])


def test_new_levels_of_a_unet_keep_the_size_of_features() -> None:
    """Section 3: N(0, 2 / N) keeps the second moment where ReLU follows, and N(0, 1 / N) where none does."""
    network = UNet(width=32, depth=3, in_channels=1).eval()
    ratios = []

    def compare(_module: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        ratios.append(float(made.square().mean() / given[0].square().mean()))

    for level in [*network.contract, network.bottom, *network.up, *network.expand, network.head]:
        level.register_forward_hook(compare)
    with torch.no_grad():
        network(torch.randn(2, 1, 92, 92))
    assert len(ratios) == 11
    assert all(0.6 < ratio < 1.6 for ratio in ratios[:-1]), ratios
    weight = network.bottom[0].weight.detach()
    assert abs(float(weight.std()) / (2 / (9 * weight.shape[1])) ** 0.5 - 1) < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_sides_that_do_not_fit_are_refused_by_name(name: str) -> None:
    """`fits` knows exactly which sides pass; a refusal names a layer of the network and two sides that pass."""
    with torch.device("meta"):
        network = NETWORKS[name]().eval()
        modules = dict(network.named_modules())
        for side in range(1, 70) if network.fits(1) > 1 else (1, 33, 60):
            fits = network.fits(side)
            assert fits >= side
            assert network.fits(fits) == fits
            x = torch.empty(1, network.in_channels, fits, side)
            if fits == side:
                assert network(x).shape[2:] == (side - 2 * network.margin,) * 2
                continue
            with pytest.raises(ValueError, match=rf"use a side of \d+ or \d+ pixels in place of {side}$") as refusal:
                network(x)
            layer, kind = re.match(r"(\S+) \((\w+)\) gets a side of", str(refusal.value)).groups()
            assert type(modules[layer]).__name__ == kind
            one, two = map(int, re.search(r"side of (\d+) or (\d+) ", str(refusal.value)).groups())
            assert one < two
            assert (network.fits(one), network.fits(two)) == (one, two)


def test_options_that_are_no_unet_are_refused() -> None:
    for options in ({"padding": "reflect"}, {"upsampling": "nearest"}, {"depth": 0}):
        with pytest.raises((ValueError, TypeError)):  # under pytest the annotations are checked too
            UNet(**options)
    with pytest.raises(ValueError, match="multiple of 4"):
        UNetResNet(width=6)
    with pytest.raises(ValueError, match="32, 16 or 8 pixels, not 4"):
        FCN(stride=4)
    with pytest.raises(ValueError, match="block=bottleneck"):
        ResNet(dilated=1)
    with pytest.raises(ValueError, match="none to three"):
        ResNet(block="bottleneck", dilated=4)
