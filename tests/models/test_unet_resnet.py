"""The U-Net with a ResNet: torchvision's encoder, a decoder written out, weights."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from helpers.networks import randomised
from torchvision.models.feature_extraction import create_feature_extractor

from torchatlas.models.resnet import ResNet
from torchatlas.models.unet import UNet
from torchatlas.models.unet_resnet import UNetResNet
from torchatlas.models.vgg import VGG
from torchatlas.weights import load_weights


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
