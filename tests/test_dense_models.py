"""Networks that answer for each pixel: sizes, independent implementations, weights of classifiers, refusals."""

import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models import segmentation
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.functional import center_crop

from torchatlas.models.fcn import FCN, Upsampling
from torchatlas.models.fcn_resnet import FCNResNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.unet import UNet
from torchatlas.models.unet_resnet import UNetResNet
from torchatlas.models.vgg import VGG
from torchatlas.weights import load_weights, torchvision_weights
from torchatlas.zoo import create_model, model_card

NETWORKS: dict[str, Any] = {
    "unet": lambda: UNet(),
    "unet bilinear": lambda: UNet(upsampling="bilinear"),
    "unet same": lambda: UNet(depth=3, padding="same"),
    "unet_resnet": lambda: UNetResNet(),
    "unet_resnet small": lambda: UNetResNet(image_size=32),
    "fcn": lambda: FCN(),
    "fcn_resnet": lambda: FCNResNet(),
}


def randomised(network: nn.Module) -> nn.Module:
    """As after training: statistics and weights by which a mistake would be seen."""
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(1 if name.endswith("weight") else 0, 0.2)
        elif value.is_floating_point() and not value.any():
            value.normal_(0, value[0].numel() ** -0.5)
    return network.eval()


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


# --- U-Net with a ResNet


def test_unet_resnet_is_torchvisions_encoder_and_a_decoder_written_out() -> None:
    theirs = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 2, 1, 1]).eval()
    ours = UNetResNet(depths=(1, 2, 1, 1), width=64, num_classes=3)
    randomised(theirs)
    randomised(ours)
    report = load_weights(ours, theirs.state_dict())
    assert report.unexpected == ["fc.weight", "fc.bias"]
    assert all(key.startswith(("decoder.", "segmentation_head.")) for key in report.missing)
    assert report.loaded == len(theirs.state_dict()) - 2
    nodes = {"relu": 1, "layer1": 2, "layer2": 3, "layer3": 4, "layer4": 5}
    x = torch.randn(1, 3, 64, 96)
    levels = create_feature_extractor(theirs, {key: str(i) for key, i in nodes.items()})(x)
    y = levels["5"]
    for i, block in zip((4, 3, 2, 1, 0), ours.decoder.blocks, strict=True):
        y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        y = torch.cat([y, levels[str(i)]], 1) if i else y
        for conv, norm, _ in (block.conv1, block.conv2):
            y = F.conv2d(y, conv.weight, padding=1)
            y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
    torch.testing.assert_close(ours(x), ours.segmentation_head(y))


def test_unet_resnet_has_a_small_stem_for_small_images() -> None:
    """One 3x3 convolution, and three blocks, the last of which gets the first group's features at the image's size."""
    network = UNetResNet(image_size=32, num_classes=4)
    classifier = ResNet(image_size=32)
    assert not load_weights(network, classifier.state_dict()).reshaped
    assert network(torch.randn(2, 3, 32, 40)).shape == (2, 4, 32, 40)
    assert len(network.decoder.blocks) == 3
    assert network.encoder.layer1[0].conv1.weight.equal(classifier.layer1[0].conv1.weight)
    with pytest.raises(ValueError, match=r"large images .* data\.image_size=64 or more"):
        load_weights(network, ResNet(image_size=64).state_dict())


def test_weights_of_such_a_network_are_taken_whole_and_others_refused() -> None:
    network, trained = UNetResNet(num_classes=3), randomised(UNetResNet(num_classes=3))
    report = load_weights(network, trained.state_dict())
    assert not report.missing
    assert not report.adapted
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(network.eval()(x), trained(x))
    fewer = load_weights(UNetResNet(num_classes=2), trained.state_dict())
    assert fewer.adapted == ["segmentation_head.0.weight: 3 classes in the weights, 2 here: the head is new"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for other in (VGG(), UNet()):
        with pytest.raises(ValueError, match="another network"):
            load_weights(network, other.state_dict())
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())


# --- FCN on VGG-16


def test_bilinear_kernels_interpolate() -> None:
    """A constant, a ramp and noise, at the border too; inside, that is what the authors' fixed last kernel does."""
    noise, ramp = torch.randn(1, 3, 5, 7), torch.arange(7.0).expand(1, 3, 5, 7)
    for factor in (2, 4):
        layer = Upsampling(3, factor)
        for x in (torch.full((1, 3, 5, 7), 2.5), ramp, noise):
            torch.testing.assert_close(layer(x), F.interpolate(x, scale_factor=factor, mode="bilinear"))
    kernel = torch.outer(*[torch.tensor([1.0, 3, 5, 7, 7, 5, 3, 1]) / 8] * 2)
    theirs = F.conv_transpose2d(noise, kernel.expand(3, 1, 8, 8), stride=4, groups=3)[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(Upsampling(3, 4)(noise)[:, :, 2:-2, 2:-2], theirs[:, :, 2:-2, 2:-2])


def test_a_new_fcn_knows_nothing() -> None:
    network = FCN(num_classes=7)
    loss = F.cross_entropy(network(*network.example_input(2)), torch.randint(7, (2, 32, 32)))
    assert abs(float(loss.detach()) - math.log(7)) < 1e-6
    loss.backward()  # and learns: the scores first
    assert all(getattr(network, name).weight.grad.any() for name in ("score_fr", "score_pool4", "score_pool3"))


def test_fcn_is_a_classifier_that_slides() -> None:
    """With VGG's weights, the score where fc6 sees all of a 224-pixel image is VGG's answer for that image."""
    vgg = randomised(VGG(hidden=24, num_classes=6, image_size=224))
    network = FCN(stride=32, hidden=24, num_classes=6).eval()
    report = load_weights(network, vgg.state_dict())
    assert report.missing == ["score_fr.weight", "score_fr.bias"]
    assert report.unexpected == ["classifier.6.weight", "classifier.6.bias"]
    with torch.no_grad():
        network.score_fr.weight.copy_(vgg.classifier[6].weight[:, :, None, None])
        network.score_fr.bias.copy_(vgg.classifier[6].bias)
        scores = []
        network.score_fr.register_forward_hook(lambda _module, _given, made: scores.append(made))
        x = torch.randn(2, 3, 224, 224)
        answer = network(x)
        torch.testing.assert_close(scores[0][:, :, 3, 3], vgg(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(answer, F.interpolate(scores[0], (224, 224), mode="bilinear"))


def test_finer_strides_add_scores_of_earlier_poolings() -> None:
    """FCN-8s from the weights of an FCN-16s from those of an FCN-32s: nothing changes until the new scores learn."""
    coarse = randomised(FCN(stride=32, num_classes=4))
    x = torch.randn(1, 3, 64, 96)
    before = coarse(x)
    middle, fine = FCN(stride=16, num_classes=4).eval(), FCN(stride=8, num_classes=4).eval()
    assert set(load_weights(middle, coarse.state_dict()).missing) == {
        "upscore2.weight", "score_pool4.weight", "score_pool4.bias"
    }  # fmt: skip
    load_weights(fine, middle.state_dict())
    assert (middle(x)[:, :, 24:-24, 24:-24] - before[:, :, 24:-24, 24:-24]).abs().max() < before.abs().max()
    pools = []
    for layer in fine.features:
        layer.register_forward_hook(
            lambda module, _given, made: pools.append(made) if isinstance(module, nn.MaxPool2d) else None
        )
    randomised(fine)
    answer = fine(x)
    f32 = fine.score_fr(fine.fc7(fine.fc6(pools[4]).relu()).relu())
    f16 = F.interpolate(f32, scale_factor=2, mode="bilinear") + fine.score_pool4(pools[3])
    f8 = F.interpolate(f16, scale_factor=2, mode="bilinear") + fine.score_pool3(pools[2])
    torch.testing.assert_close(answer, F.interpolate(f8, x.shape[2:], mode="bilinear"))


def test_fcn_takes_the_tensors_of_torchvisions_vgg16() -> None:
    with torch.device("meta"):
        theirs, ours = torchvision.models.vgg16(), create_model("fcn8s").state_dict()
    naming = next(n for n in torchvision_weights.NAMINGS if n.recognises(theirs.state_dict()))
    found = {naming.rename(key): value.numel() for key, value in theirs.state_dict().items()}
    assert {key: value.numel() for key, value in ours.items() if "score" not in key} == {
        key: number for key, number in found.items() if not key.startswith("classifier")
    }


# --- FCN on ResNet


def test_fcn_resnet_is_torchvisions() -> None:
    """The same names and shapes at the published size, and at a smaller one the same bits, in training mode too."""
    with torch.device("meta"):
        ours = create_model("fcn_resnet50")
        theirs = segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in theirs.parameters()) == model_card("fcn_resnet50").parameters

    with torch.device("meta"):  # the weights come later
        body = torchvision.models.ResNet(
            torchvision.models.resnet.Bottleneck, [1, 1, 1, 2], replace_stride_with_dilation=[False, True, True]
        )
        del body.fc
        theirs = segmentation.fcn._fcn_resnet(body, 4, True)
        ours = FCNResNet(depths=(1, 1, 1, 2), width=64, auxiliary=True, num_classes=4)
    ours = ours.to_empty(device="cpu").eval()
    theirs = theirs.to_empty(device="cpu")
    numbers = torch.randn(2**18)
    for value in theirs.state_dict().values():  # pieces of one row of numbers, since there are many
        if value.ndim == 4:
            value.view(-1).copy_(numbers.repeat(-(-value.numel() // len(numbers)))[: value.numel()])
            value.mul_((2 / value[0].numel()) ** 0.5)
        else:
            value.zero_()
    randomised(theirs)
    report = load_weights(ours, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    x = torch.randn(2, 3, 40, 65)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x)["out"])
    for network in (ours, theirs):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
    found, expected = ours(x), theirs(x)
    assert torch.equal(found[0], expected["out"])
    assert torch.equal(found[1], expected["aux"])
    assert ours.auxiliary_weight == 0.5
    classifier = load_weights(
        ours, torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 2, 2]).state_dict()
    )
    assert {key.split(".")[0] for key in classifier.missing} == {"classifier", "aux_classifier"}


@pytest.mark.parametrize("dilated", [1, 2, 3])
def test_dilated_groups_are_torchvisions(dilated: int) -> None:
    with torch.device("meta"):
        ours = ResNet(block="bottleneck", depths=(3, 4, 6, 3), width=64, dilated=dilated, image_size=224)
        theirs = torchvision.models.resnet50(replace_stride_with_dilation=[i >= 3 - dilated for i in range(3)])

    def geometry(network: nn.Module) -> dict[str, Any]:
        found = {}
        for name, m in network.named_modules():
            if isinstance(m, nn.Conv2d):
                found[name] = (m.stride, m.padding, m.dilation, m.groups)
        return found

    assert geometry(ours) == geometry(theirs)


def test_weights_of_torchvisions_dense_networks_say_their_images() -> None:
    found = torchvision_weights.preprocessing(segmentation.FCN_ResNet50_Weights.DEFAULT)
    assert (found.image_size, found.resize, found.mean) == (520, 520, (0.485, 0.456, 0.406))
    file_name = segmentation.FCN_ResNet50_Weights.DEFAULT.url.rpartition("/")[2]
    assert torchvision_weights.preprocessing_of_file(file_name) == found
