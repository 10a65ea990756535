"""Networks by whose features images are compared."""

from pathlib import Path

import pytest
import torch

from torchatlas.commands.quality import score
from torchatlas.models.lenet5 import LeNet5
from torchatlas.predict import image_features
from torchatlas.predict.image_features import classifier_extractor
from torchatlas.tasks.classification import Classification


def test_features_of_a_classifier_are_the_input_of_its_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LeNet5().eval()
    about = {"kind": "image", "in_channels": 1, "image_size": network.image_size, "mean": [0.2], "std": [0.5]}
    said = {"data": about, "config": {"name": "lenet5_mnist"}}
    monkeypatch.setattr(image_features, "restore", lambda _: (Path("best.ckpt"), Classification(network), said))
    images = torch.randint(256, (4, 1, network.image_size, network.image_size), dtype=torch.uint8)
    found = classifier_extractor("run", torch.device("cpu"))
    head = network.get_submodule(network.heads[-1])
    with torch.no_grad():
        torch.testing.assert_close(head(found.network(images)[0]), network((images / 255 - 0.2) / 0.5))
        features = found.network(images)
    figures = score(found, features, features, [], 0)
    assert figures["classifier"] == "LeNet5 of lenet5_mnist"
    assert {"frechet_distance", "kernel_distance"} < figures.keys()
    assert not {"fid", "kid"} & figures.keys()
