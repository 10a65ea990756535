"""Features, heads and maps of every classifier, as timm's users know them."""

import inspect
from typing import Any

import pytest
import torch
from helpers import all_outputs, one_of_each, tiny_network
from helpers.networks import randomised
from torch import nn

from torchatlas.models.classifier import Classifier, FeatureNet, NoHead
from torchatlas.models.contract import Classifying
from torchatlas.models.googlenet import GoogLeNet
from torchatlas.models.resnet import ResNet
from torchatlas.models.rnn import RNN
from torchatlas.zoo import list_models, model_card

OF_LABELS = ("classification", "perceptron", "masked_lm")  # BERT classifies with other targets
NAMES = [name for name in one_of_each() if model_card(name).task in OF_LABELS]
WITH_MAPS = [name for name in NAMES if name not in ("gru", "lstm", "mlp", "perceptron", "rnn")]


def tiny(name: str, **options: Any) -> Classifier:
    targets = {"targets": "sequence"} if name.startswith("bert") else {}
    network = tiny_network(name, **targets, **options)
    assert isinstance(network, Classifier)
    randomised(network)
    return network


def test_every_classifier_is_one() -> None:
    for name in list_models():
        if model_card(name).task in OF_LABELS:
            with torch.device("meta"):
                assert isinstance(tiny_network(name), Classifying), name


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_the_heads_answer_to_the_features(name: str) -> None:
    network = tiny(name)
    inputs = network.example_input(3)
    features = network.forward_features(*inputs)
    assert network.num_features in (features.shape[1], features.shape[-1])
    options = {"lengths": inputs[1]} if len(inputs) > 1 and "lengths" in signature(network.forward_head) else {}
    assert torch.equal(network.forward_head(features, **options), network(*inputs))
    values = network.forward_head(features, pre_logits=True, **options)
    assert values.shape == (3, network.head_hidden_size)
    last = network.get_classifier()
    if isinstance(last, tuple):  # DeiT's two answers have one mean
        tokens, logits = features[:, :2], network(*inputs)
        assert torch.equal(values, (tokens[:, 0] + tokens[:, 1]) / 2)
        torch.testing.assert_close(logits, sum(layer(tokens[:, i]) for i, layer in enumerate(last)) / 2)
    else:
        torch.testing.assert_close(last(values).flatten(), network(*inputs).flatten())


def signature(function: Any) -> Any:
    return inspect.signature(function).parameters


@pytest.mark.parametrize("name", NAMES)
def test_another_last_layer(name: str) -> None:
    network = tiny(name)
    inputs, names, before = network.example_input(3), list(network.state_dict()), network.num_classes
    values = network.forward_head(network.forward_features(*inputs), pre_logits=True)
    network.reset_classifier(0)
    assert network.num_classes == 0
    assert torch.equal(network(*inputs), values)
    assert not [key for key in network.state_dict() if key.startswith(network.heads)]
    network.reset_classifier(before + 4)
    assert (network.num_classes, network.head_hidden_size) == (before + 4, values.shape[1])
    kept = [key for key in names if not key.startswith("aux")]  # which went with GoogLeNet's last layer
    assert list(network.state_dict()) == kept, "the place of a last layer is that of the old one"
    assert network(*inputs).shape == (3, before + 4)
    network.train()
    assert all(out.shape[-1] == before + 4 for out in all_outputs(network(*inputs)))
    with pytest.raises(ValueError, match="num_classes=-1 must be 0"):
        network.reset_classifier(-1)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_last_layer_starts_as_in_a_new_network(name: str) -> None:
    one, two = tiny_network(name), tiny_network(name)
    if name.startswith("bert"):
        return  # which has others for its own targets
    two.reset_classifier(two.num_classes)
    for head in one.heads:
        drawn, again = (network.get_submodule(head) for network in (one, two))
        spread = drawn.weight.std().item()
        assert again.weight.std().item() == pytest.approx(spread, rel=0.5, abs=1e-3)
        assert again.bias.any() == drawn.bias.any()


def test_a_last_layer_keeps_its_type_and_its_device() -> None:
    network = ResNet().double()
    network.reset_classifier(3)
    assert network.fc.weight.dtype == torch.float64
    with torch.device("meta"):
        there = ResNet()
    there.reset_classifier(3)
    assert there.fc.weight.is_meta


def test_an_inception_network_without_last_layer_has_no_auxiliary_ones() -> None:
    network = GoogLeNet(auxiliary=True)
    network.reset_classifier(7)
    assert [x.shape[1] for x in network(*network.example_input(2))] == [7, 7, 7]
    network.reset_classifier(0)
    assert network(*network.example_input(2)).shape == (2, network.num_features)
    assert not [key for key in network.state_dict() if key.startswith("aux")]


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
def test_features_of_steps_and_padding(options: Any) -> None:
    """Padding has no part in the values that the last layer gets."""
    network = RNN(**options).eval()
    x, lengths = torch.randn(3, 8, 3), torch.tensor([8, 5, 2])
    features = network.forward_features(x, lengths)
    values = network.forward_head(features, pre_logits=True, lengths=lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = network.forward_features(x[i : i + 1, :length])
        torch.testing.assert_close(values[i : i + 1], network.forward_head(alone, pre_logits=True))
    torch.testing.assert_close(network.decoder(values), network(x, lengths))


# --- maps


@pytest.mark.parametrize("name", WITH_MAPS)
def test_maps_are_as_they_say(name: str) -> None:
    network = tiny(name)
    inputs = network.example_input(2)
    info = network.feature_info
    maps = list(network.stages(*inputs))
    assert len(maps) == len(info) > 1
    for i, (found, channels, stride) in enumerate(zip(maps, info.channels(), info.reduction(), strict=True)):
        assert channels == found.shape[2 if name.startswith("bert") else 1]
        assert info[i] == {"module": info.module_name()[i], "num_chs": channels, "reduction": stride}
        network.get_submodule(info.module_name()[i])
        if inputs[0].ndim == 4 and name != "lenet5":  # whose convolutions lose the border
            side = inputs[0].shape[2]
            assert abs(found.shape[2] - side / stride) < 2
            assert found.shape[2] == found.shape[3]
    again = FeatureNet(network, range(len(info)))(*inputs)
    assert all(torch.equal(one, two) for one, two in zip(maps, again, strict=True)), "nothing behind them changes them"


@pytest.mark.parametrize("name", WITH_MAPS)
def test_what_lies_behind_the_last_map_is_taken_out(name: str) -> None:
    network = tiny(name)
    inputs, number = network.example_input(2), len(network.feature_info)
    whole = list(network.stages(*inputs))
    every = set(dict(network.named_parameters()))
    cut = FeatureNet(network, [-2, 0] if number > 2 else [0])
    maps = cut(*inputs)
    wanted = [whole[-2], whole[0]] if number > 2 else [whole[0]]
    assert all(torch.equal(one, two) for one, two in zip(maps, wanted, strict=True))
    sum(x.square().sum() for x in maps).backward()
    left = dict(cut.network.named_parameters())
    assert {key for key, p in left.items() if p.grad is None} == set(), "all that is left has a part in the maps"
    assert set(left) < every
    assert cut.feature_info.out_indices == ((number - 2, 0) if number > 2 else (0,))


def test_which_maps_by_default_and_by_number() -> None:
    assert FeatureNet(ResNet()).feature_info.module_name() == ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert FeatureNet(tiny("vit_b_16", depth=5)).feature_info.module_name() == ["layers.2", "layers.3", "layers.4"]
    assert FeatureNet(ResNet(), 2).feature_info.module_name() == ["layer3", "layer4"]
    for wrong in (0, 6, (5,), (), (-6,)):
        with pytest.raises(ValueError, match=r"ResNet has 5 stages: out_indices=.* must be of 0 to 4"):
            FeatureNet(ResNet(), wrong)
    with pytest.raises(ValueError, match=r"RNN has no maps of several stages: take .* forward_features"):
        FeatureNet(RNN())


def test_maps_of_any_size_are_those_of_the_same_modules() -> None:
    """So that indices mean the same for small and for large images."""
    for name in WITH_MAPS:
        if "image_size" in signature(type(tiny(name)).__init__) and name not in ("lenet5", "densenet121"):
            small, large = (tiny(name, image_size=size).feature_info.module_name() for size in (32, 64))
            assert small == large, name


@pytest.mark.filterwarnings("ignore")  # the compiler's own advice
def test_maps_compile_and_export() -> None:
    network = FeatureNet(ResNet()).eval()
    inputs = network.example_input(2)
    expected = network(*inputs)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(network, backend="aot_eager")(*inputs), expected)
    torch.testing.assert_close(torch.export.export(network, inputs).module()(*inputs), expected)


def test_no_head_says_its_size() -> None:
    assert (NoHead(5).in_features, NoHead(5).out_features) == (5, 5)
    assert isinstance(NoHead(5), nn.Identity)
