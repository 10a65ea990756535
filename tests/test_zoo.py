"""Networks by their names."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from torchatlas.zoo import create_model, list_models


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
