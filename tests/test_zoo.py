"""Networks by their names."""

import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from helpers import REPOSITORY
from helpers.weights import IMAGENET, copy_of, randomised
from torch import Tensor, nn

from torchatlas import UserError
from torchatlas.models.classifier import Classifier, FeatureNet
from torchatlas.weights import load_weights, save_weights
from torchatlas.zoo import config_text, create_model, list_models, mathematics, model_card, options


def test_create_model_takes_overrides_and_refuses_unknown_ones() -> None:
    assert set(list_models()) >= {"mlp", "lenet5", "resnet18", "resnet152", "lstm_lm"}
    network = create_model("resnet18", num_classes=7, image_size=32)
    assert isinstance(network, nn.Module)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(ValueError, match="no argument 'num_class': did you mean num_classes"):
        create_model("resnet18", num_class=7)
    with pytest.raises(ValueError, match="no model 'resnet19': did you mean resnet"):
        create_model("resnet19")


def test_networks_are_made_without_lightning() -> None:
    program = (
        "import sys, torchatlas; torchatlas.create_model('mlp'); torchatlas.list_models(); "
        "assert not {'lightning', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# --- the words of timm's users

SMALL: dict[str, Any] = {"width": 8, "image_size": 64}


def test_without_last_layer_and_for_other_channels() -> None:
    network = create_model("resnet18", in_chans=5, num_classes=0, **SMALL)
    assert isinstance(network, Classifier)
    assert network(torch.randn(2, 5, 64, 64)).shape == (2, network.num_features) == (2, 64)
    assert create_model("m5", in_chans=2, num_classes=0)(torch.randn(1, 800, 2)).shape == (1, 512)


def test_numbers_of_numpy_and_capital_letters_are_as_good() -> None:
    network = create_model("resnet18", in_chans=np.int64(5), num_classes=np.int32(0), **SMALL)
    assert network(torch.randn(2, 5, 64, 64)).shape == (2, 64)
    assert create_model("resnet18", num_classes=np.uint8(3), **SMALL).num_classes == 3
    maps = create_model("resnet18", features_only=True, out_indices=np.int64(2), **SMALL)
    assert len(maps(torch.randn(1, 3, 64, 64))) == 2
    assert list_models("ResNet*") == list_models("resnet*") != []
    assert list_models("RESNET18", exclude_filters="Aa") == list_models("resnet18", exclude_filters="aa")
    assert list_models(None) == list_models()


def test_maps_of_strides() -> None:
    network = create_model("resnet18", features_only=True, out_indices=(1, 3), **SMALL)
    assert isinstance(network, FeatureNet)
    assert network.feature_info.channels() == [8, 32]
    assert network.feature_info.reduction() == [4, 16]
    assert [x.shape[1:] for x in network(torch.randn(2, 3, 64, 64))] == [(8, 16, 16), (32, 4, 4)]
    assert not [key for key in network.state_dict() if "layer4" in key or "fc" in key]


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("resnet18", {"drop_path_rate": 0.1}, "no argument 'drop_path_rate': it is called stochastic_depth here"),
        ("vgg16", {"drop_rate": 0.1}, "no argument 'drop_rate': it is called dropout here"),
        ("resnet18", {"drop_rate": 0.1}, "resnet18 has no argument 'drop_rate'"),
        ("vit_b_16", {"img_size": 32}, "it is called image_size here"),
        ("resnet18", {"checkpoint_path": "x"}, "it is called pretrained here"),
        ("resnet18", {"in_chans": 1, "in_channels": 1}, "no argument 'in_chans': it is called in_channels here"),
        ("gpt2", {"in_chans": 1}, "gpt2 has no argument 'in_chans'"),
        ("gpt2", {"features_only": True}, "gpt2 is no classifier, which features_only=True is for"),
        ("fcn8s", {"num_classes": 0}, "fcn8s is no classifier, which num_classes=0 is for"),
        ("lstm", {"features_only": True}, "LSTM has no maps of several stages"),
        ("bert_tiny", {"num_classes": 0}, "make it with targets=sequence"),
        ("resnet18", {"out_indices": 1}, "out_indices=1 is for maps: add features_only=True"),
        ("resnet18", {"features_only": True, "out_indices": [7], **SMALL}, "out_indices=.* must be of 0 to 4"),
        ("resnet50.a1_in1k", {}, "timm's resnet50.a1_in1k is called resnet50 here, .*'timm:resnet50.a1_in1k'"),
        ("vit_base_patch16_224", {}, "is called vit_b_16 here"),
        ("lenet5", {"pretrained": True}, "no weights of lenet5 are known"),
        ("lenet5", {"pretrained": "nowhere.pt"}, "there is no file nowhere.pt: pretrained= takes a file"),
        ("lenet5", {"pretrained": 3}, "pretrained=3: use True"),
        ("lenet5", {"num_classes": -1}, "num_classes=-1 must be a whole number, at least 0"),
        ("lenet5", {"num_classes": "10"}, "num_classes='10' must be a whole number"),
        ("lenet5", {"num_classes": False}, "num_classes=False must be a whole number"),
        ("lenet5", {"num_classes": None}, "num_classes=None must be a whole number"),
        ("lenet5", {"num_classes": np.float64(3)}, "num_classes=.*3.* must be a whole number"),
        ("resnet18", {"in_chans": 0}, "in_chans=0 must be a whole number, at least 1"),
        ("resnet18", {"in_channels": -1}, "in_channels=-1 must be a whole number, at least 1"),
        ("unet", {"in_channels": 0}, "in_channels=0 must be a whole number, at least 1"),
        (None, {}, "a NoneType is no name of a model"),
    ],
)
def test_a_wrong_word_names_the_right_one(name: Any, words: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        create_model(name, **words)
    assert "\n" not in str(error.value)


# --- weights


@pytest.fixture
def torchvisions_resnet18(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Torchvision's, whose weights lie where torch.hub would have put them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    theirs = randomised(torchvision.models.resnet18())
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    torch.save(theirs.state_dict(), folder / url.rpartition("/")[2])
    return theirs


@torch.no_grad()
def test_known_weights(torchvisions_resnet18: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    x = torch.randn(2, 3, 64, 64)
    theirs = torchvisions_resnet18(x)
    for pretrained in (True, "torchvision:IMAGENET1K_V1", "torchvision:resnet18/IMAGENET1K_V1"):
        ours = create_model("resnet18", pretrained).eval()
        assert isinstance(ours, Classifier)
        torch.testing.assert_close(ours(x), theirs)
        assert ours.preprocessing == IMAGENET
    assert "resnet18: 122 tensors loaded, with the names of torchvision" in caplog.text
    values = create_model("resnet18", pretrained=True, num_classes=0).eval()(x)
    torch.testing.assert_close(torchvisions_resnet18.fc(values), theirs)
    maps = create_model("resnet18", pretrained=True, features_only=True).eval()
    torch.testing.assert_close(torchvisions_resnet18.fc(maps(x)[-1].mean((2, 3))), theirs)
    assert maps.preprocessing == IMAGENET


@torch.no_grad()
def test_known_weights_for_other_classes_and_channels(torchvisions_resnet18: nn.Module) -> None:
    torch.manual_seed(3)
    ours = create_model("resnet18", pretrained=True, num_classes=7, in_chans=1).eval()
    torch.manual_seed(3)
    new = create_model("resnet18", num_classes=7, in_chans=1)
    assert isinstance(ours, Classifier)
    assert isinstance(new, Classifier)
    assert torch.equal(ours.get_classifier().weight, new.get_classifier().weight), "the last layer is new"
    grey = torch.randn(2, 1, 64, 64)
    values = torch.nn.Sequential(*list(torchvisions_resnet18.children())[:-1])(grey.expand(-1, 3, -1, -1)).flatten(1)
    torch.testing.assert_close(ours.forward_head(ours.forward_features(grey), pre_logits=True), values)


def test_weights_of_files_mappings_and_timms_names(tmp_path: Path) -> None:
    given = randomised(create_model("resnet18", num_classes=5, **SMALL))
    save_weights(given, tmp_path / "one.safetensors")
    torch.save({"state_dict": given.state_dict()}, tmp_path / "two.pt")
    sources: list[Any] = [tmp_path / "one.safetensors", str(tmp_path / "two.pt"), given.state_dict()]
    for source in sources:
        network = create_model("resnet18", source, num_classes=5, **SMALL)
        assert copy_of(network).keys() == given.state_dict().keys()
        assert all(torch.equal(value, given.state_dict()[key]) for key, value in network.state_dict().items())
    maps = create_model("resnet18", features_only=True, **SMALL)
    report = load_weights(maps, tmp_path / "two.pt")
    assert report.missing == []
    assert set(report.unexpected) == {"fc.weight", "fc.bias"}
    values: Tensor = given.layer1(given.maxpool(given.relu(given.bn1(given.conv1(torch.ones(1, 3, 64, 64))))))  # type: ignore[operator]
    torch.testing.assert_close(maps.eval()(torch.ones(1, 3, 64, 64))[1], values)
    headless = create_model("resnet18", tmp_path / "two.pt", num_classes=0, **SMALL)
    whole = create_model("resnet18", headless.state_dict(), num_classes=5, **SMALL)
    assert torch.equal(whole.conv1.weight, given.conv1.weight)  # type: ignore[union-attr, arg-type]


def test_known_weights_are_there_and_of_the_published_network() -> None:
    """Their names, without a download; that tensors fit is tested with the weights of each source."""
    timm: Any = pytest.importorskip("timm")
    known = list_models(pretrained=True)
    assert {"resnet50", "vit_b_16", "deit_tiny", "bert_base", "gpt2", "ddpm"} <= set(known)
    assert not {"lenet5", "resnet20", "unet"} & set(known)
    for name in known:
        weights = model_card(name).weights or ""
        source, _, rest = weights.partition(":")
        if source == "torchvision":
            builder, _, version = rest.partition("/")
            found = torchvision.models.get_model_weights(builder)[version]
            assert builder == name
            if "num_params" in found.meta and name != "googlenet":  # which counts what training alone has
                assert found.meta["num_params"] == model_card(name).parameters
            size = f"image_size,{found.transforms().crop_size[0]}" if "fcn" not in name else "image_size,520"
            assert size in config_text("model", name), "the published size is that of the weights"
        elif source == "timm":
            assert timm.is_model_pretrained(rest)
        else:
            assert source == "hf"


def test_a_refusal_has_the_words_of_python(torchvisions_resnet18: nn.Module) -> None:
    with pytest.raises(UserError, match=r": use image_size=64 or more, best 224$"):
        create_model("resnet18", pretrained=True, image_size=32)


# --- the list


def test_the_list_is_filtered() -> None:
    assert list_models() == options("model")
    assert list_models("resnet*")[:3] == ["resnet18", "resnet20", "resnet32"]
    assert list_models("resnet[15]?") == ["resnet18", "resnet50", "resnet56"]
    assert list_models("unet") == ["unet", "unet_resnet34", "unet_same"], "a part of the name"
    assert list_models(["vgg1?", "lenet*"]) == ["lenet5", "vgg11", "vgg13", "vgg16", "vgg19"]
    assert list_models("vgg*", exclude_filters="*_bn") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert list_models("fcn", task="segmentation") == ["fcn8s", "fcn16s", "fcn32s", "fcn_resnet50"]
    assert list_models(task="forecasting") == ["d_linear", "n_linear"]
    assert list_models(task="segmentation", pretrained=True) == ["fcn_resnet50"]
    assert list_models(data="digits_rows") == ["gru", "lstm", "rnn"]
    assert list_models("nothing") == list_models("resnet*", task="segmentation") == []
    with pytest.raises(UserError, match="no task 'segmentaton': did you mean segmentation"):
        list_models(task="segmentaton")
    with pytest.raises(UserError, match="no data 'cifar': did you mean cifar10"):
        list_models(data="cifar")


# --- the file with the mathematics


@pytest.mark.parametrize("name", options("model"))
def test_the_file_with_the_mathematics(name: str) -> None:
    path = REPOSITORY / model_card(name).file
    target = config_text("model", name).partition("_target_: ")[2].splitlines()[0]
    assert f"class {target.rpartition('.')[2]}(" in path.read_text()


def test_the_file_of_a_users_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ownpkg" / "nets").mkdir(parents=True)
    (tmp_path / "ownpkg" / "__init__.py").write_text("from .wide import (\n    Other,\n    Wide,\n)\n")
    for name in ("wide", "nets/__init__", "nets/deep"):
        (tmp_path / "ownpkg" / f"{name}.py").write_text("raise RuntimeError('nothing is imported for that')\n")
    (tmp_path / "ownfile.py").write_text(textwrap.dedent("class Net: ..."))
    assert mathematics("ownpkg.wide.Wide") == mathematics("ownpkg.Wide") == "ownpkg/wide.py"
    assert mathematics("ownpkg.nets.deep.Deep") == "ownpkg/nets/deep.py"
    assert mathematics("ownpkg.nets.Deep") == "ownpkg/nets/__init__.py"
    assert mathematics("ownfile.Net") == "ownfile.py"
    assert mathematics("ownpkg.gone.Net") == "ownpkg.gone"
