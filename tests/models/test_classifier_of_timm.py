"""With timm's weights, timm's features, values before the last layer, and maps."""

from typing import Any

import pytest
import torch
from helpers.weights import randomised

from torchatlas.models.classifier import Classifier, FeatureNet
from torchatlas.weights import load_weights
from torchatlas.weights.timm_weights import EQUAL
from torchatlas.zoo import create_model

timm: Any = pytest.importorskip("timm")
PAIRS = {
    "resnet18": "resnet18", "resnext50_32x4d": "resnext50_32x4d", "vgg11_bn": "vgg11_bn",
    "densenet121": "densenet121", "efficientnet_b0": "efficientnet_b0", "mobilenetv2_100": "mobilenet_v2",
    "vit_base_patch16_224": "vit_b_16", "deit_tiny_distilled_patch16_224": "deit_tiny",
}  # fmt: skip
SMALL = {
    "vgg11_bn": {}, "vit_base_patch16_224": {"depth": 4, "embed_dim": 48, "num_heads": 12},
    "deit_tiny_distilled_patch16_224": {"depth": 4},
}  # fmt: skip
OURS: dict[str, dict[str, int]] = {
    "vit_base_patch16_224": {"depth": 4, "dim": 48, "hidden": 192}, "deit_tiny_distilled_patch16_224": {"depth": 4},
}  # fmt: skip


def pair(name: str, *, features_only: bool = False) -> tuple[Any, Any, torch.Tensor]:
    """Timm's and ours, with the same weights, and images."""
    size = 224 if "patch" in name else 64
    theirs = randomised(timm.create_model(name, num_classes=5, **SMALL.get(name, {})))
    ours = create_model(PAIRS[name], in_chans=3, num_classes=5, image_size=size, **OURS.get(name, {})).eval()
    load_weights(ours, theirs.state_dict())
    if features_only:
        maps = timm.create_model(name, features_only=True, **SMALL.get(name, {})).eval()
        state = {key.removeprefix("model."): value for key, value in theirs.state_dict().items()}
        names = {key.replace(".", "_", 1) if key.startswith("features.") else key: key for key in state}
        wanted = {key: state[names[key.removeprefix("model.")]] for key in maps.state_dict()}
        maps.load_state_dict(wanted)
        theirs = maps
    return theirs, ours, torch.randn(2, 3, size, size)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", PAIRS)
@torch.no_grad()
def test_features_and_values_before_the_last_layer(name: str) -> None:
    assert EQUAL.fullmatch(name)
    theirs, ours, x = pair(name)
    assert isinstance(ours, Classifier)
    features = theirs.forward_features(x)
    close(ours.forward_features(x), features)
    if "vgg" in name:  # timm's convolves over 7x7 pixels before it averages, and ours averages to them
        features = torch.randn(2, 512, 7, 7)
        close(ours.forward_head(features), theirs.forward_head(features))
    else:
        close(ours(x), theirs(x))
    expected = theirs.forward_head(features, pre_logits=True)
    close(ours.forward_head(features, pre_logits=True), expected)
    assert (ours.num_features, ours.head_hidden_size) == (theirs.num_features, theirs.head_hidden_size)
    assert ours.num_classes == theirs.num_classes
    assert isinstance(ours.get_classifier(), tuple) == isinstance(theirs.get_classifier(), tuple)
    for network in (ours, theirs):
        network.reset_classifier(0)
    close(ours.forward_head(features), expected)
    close(theirs.eval().forward_head(features), expected)


@pytest.mark.parametrize("name", PAIRS)
@torch.no_grad()
def test_maps(name: str) -> None:
    theirs, ours, x = pair(name, features_only=True)
    found = FeatureNet(ours)
    assert found.feature_info.out_indices == tuple(theirs.feature_info.out_indices)
    assert found.feature_info.channels() == theirs.feature_info.channels()
    assert found.feature_info.reduction() == theirs.feature_info.reduction()
    assert len(found.feature_info) == len(theirs.feature_info)
    for one, two in zip(found(x), theirs(x), strict=True):
        close(one, two)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_a_first_convolution_for_other_channels_is_timms(channels: int) -> None:
    from timm.models._manipulate import adapt_input_conv

    from torchatlas.weights import adapt_channels

    kernel = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(adapt_channels(kernel, channels), adapt_input_conv(channels, kernel))
