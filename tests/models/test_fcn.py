"""FCN on VGG-16: a classifier that slides."""

import math

import torch
import torch.nn.functional as F
import torchvision
from helpers.networks import randomised
from torch import nn

from torchatlas.models.fcn import FCN, Upsampling
from torchatlas.models.vgg import VGG
from torchatlas.weights import load_weights, torchvision_weights
from torchatlas.zoo import create_model


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
