"""Files of weights: wrappers, forms, what is broken or hostile."""

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.weights import assert_whole, changed, copy_of, randomised, refuses
from safetensors.torch import save_file
from torch import nn

from torchatlas.errors import UserError
from torchatlas.models.lstm_lm import LSTMLM
from torchatlas.models.resnet import ResNet
from torchatlas.models.vgg import VGG
from torchatlas.weights import load_weights, save_weights
from torchatlas.weights.report import Preprocessing

# What is around a state dict


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "network.", "model.", "module._orig_mod.network."])
@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "net"])
def test_prefixes_and_wrappers(prefix: str, wrapper: str) -> None:
    theirs, ours = randomised(ResNet()), ResNet()
    state: Any = {prefix + key: value for key, value in theirs.state_dict().items()}
    report = load_weights(ours, {wrapper: state, "epoch": 3} if wrapper else state)
    assert_whole(report, ours, "torchvision")
    assert changed(ours, theirs.state_dict()) == []


def test_a_part_inside_of_data_parallel_and_counters_that_are_missing() -> None:
    theirs, ours = VGG(batch_norm=True), VGG(batch_norm=True)
    state = {
        key.replace("features.", "features.module."): value
        for key, value in theirs.state_dict().items()
        if "num_batches" not in key
    }
    report = load_weights(ours, state)
    assert (report.missing, report.unexpected, report.reshaped) == ([], [], [])
    assert report.loaded == len(state)
    assert changed(ours, copy_of(theirs)) == []


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth", "bin", "ckpt"])
def test_files(suffix: str, tmp_path: Path) -> None:
    theirs, ours, path = ResNet(), ResNet(), tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(theirs.state_dict(), path)
    else:
        torch.save({"state_dict": theirs.state_dict()}, path, _use_new_zipfile_serialization=suffix != "pth")
    assert_whole(load_weights(ours, str(path)), ours, "torchvision")
    assert changed(ours, copy_of(theirs)) == []


def test_plain_values_beside_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth.tar"
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(93.5), "top": np.float32(0.5), "arch": "resnet"}
    torch.save({"state_dict": ResNet().state_dict(), **beside}, path)
    network = ResNet()
    assert_whole(load_weights(network, path), network, "torchvision")


def test_preprocessing_travels(tmp_path: Path) -> None:
    preprocessing = Preprocessing(288, 320, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    path = tmp_path / "weights.safetensors"
    save_weights(ResNet(image_size=64).to(memory_format=torch.channels_last), path, preprocessing)
    report = load_weights(ResNet(image_size=64), path)
    assert report.preprocessing == preprocessing
    assert "288 pixels, cut from 320 (bicubic)" in report.describe()

    data = {"image_size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}  # as torchatlas export writes it
    save_file(ResNet().state_dict(), path, {"torchatlas": "0", "data": json.dumps(data)})
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert load_weights(ResNet(), path).preprocessing == Preprocessing(32, 32, mean, std, "bilinear")


def test_shared_parameters_are_in_a_file_once(tmp_path: Path) -> None:
    def tied() -> LSTMLM:
        network = LSTMLM()
        network.register_module("again", nn.Linear(2, 2))
        network.register_module("and_again", network.again)
        return network

    theirs, ours, path = tied(), tied(), tmp_path / "weights.safetensors"
    save_weights(theirs, path)
    report = load_weights(ours, path)
    assert report.missing == []
    assert changed(ours, copy_of(theirs)) == []


# What is refused


class Code:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_code_in_it(zipped: bool, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "weights.pth"
    content = {"state_dict": ResNet().state_dict(), "callback": Code(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refuses(ResNet(), path, r"holds \w+\.mkdir, which could run code")
    path.write_bytes(pickle.dumps(Code(trap)))
    refuses(ResNet(), path, "could run code|is no file of weights")
    torch.save(ResNet(), path)
    refuses(ResNet(), path, "ResNet, which could run code.*state_dict")
    assert not trap.exists()


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "ckpt"])
def test_broken_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    refuses(ResNet(), path, f"there is no file .*{path.name}")
    path.touch()
    refuses(ResNet(), path, "is empty")
    path.write_text("a page that says that the file is somewhere else\n")
    refuses(ResNet(), path, "download or copy it again")
    if suffix == "safetensors":
        save_weights(ResNet(), path)
    else:
        torch.save(ResNet().state_dict(), path)
    content = path.read_bytes()
    for length in (1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refuses(ResNet(), path, "download or copy it again")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    refuses(ResNet(), tmp_path / "list.pt", "holds no state dict")
    refuses(ResNet(), tmp_path, "there is no checkpoint")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(ResNet(), tmp_path / "file" / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def hostile() -> dict[str, dict[str, Any]]:
    """State dicts that can be read and must not be taken."""
    good = {key: value.clone() for key, value in ResNet().state_dict().items()}
    circle: dict[str, Any] = {}
    circle["state_dict"] = circle
    return {
        "circle": circle,
        "sparse": good | {"fc.weight": good["fc.weight"].to_sparse()},
        "meta": good | {"fc.weight": good["fc.weight"].to("meta")},
        "complex": good | {"fc.weight": good["fc.weight"].to(torch.complex64)},
        "not finite": good | {"fc.weight": good["fc.weight"] * float("nan")},
    }


@pytest.mark.parametrize("kind", list(hostile()))
def test_odd_tensors_are_refused_before_anything_changes(kind: str) -> None:
    network = ResNet()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError):
        load_weights(network, hostile()[kind])
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "text",
    [
        '{"image_size": 1e999, "resize": 8, "mean": [0.5], "std": [0.5], "interpolation": "x"}',
        '{"image_size": 8, "resize": 8, "mean": [0.5], "std": [0.0], "interpolation": "x"}',
        '{"image_size": 8, "resize": 8, "mean": [0.5, 0.5], "std": [0.5, 0.5], "interpolation": "x"}',
        "[" * 200_000,
    ],
)
def test_impossible_preprocessing_is_left_out(text: str) -> None:
    assert Preprocessing.from_json(text) is None
