"""Several passes: mirrored images, dropout that stays on."""

import re

import pytest
import torch
from helpers import Train
from torch import nn

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.predict.passes import passes, views

FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


def test_several_passes_in_evaluate_and_predict(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("trainer.max_epochs=4", "trainer=cpu", *FAST[1:])
    capsys.readouterr()

    def accuracy(*words: str) -> str:
        cli.run(["evaluate", f"ckpt={folder}", *words])
        return re.findall(r"accuracy +(\S+)", capsys.readouterr().out)[0]

    assert accuracy("mc_samples=3") == accuracy("mc_samples=3")  # seeded
    assert float(accuracy("mc_samples=3")) > 80
    assert accuracy("tta=flip") != accuracy()  # mirrored digits are other digits
    for words, sentence in (
        (["tta=mirror"], "tta=mirror is unknown"),
        (["mc_samples=-1"], "must not be negative"),
        (["mc_samples=x"], "whole number"),
    ):
        with pytest.raises(UserError, match=sentence):
            cli.run(["evaluate", f"ckpt={folder}", *words])


class Mean(nn.Module):
    """Logits that depend on where in the image something is; with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout(x.flatten(1)))


def test_test_time_augmentation() -> None:
    """Mirrored and shifted images, with zeros from outside."""
    x = torch.arange(64.0).view(1, 1, 8, 8)
    network = Mean().eval()
    (plain,) = passes("none", 0)(network, x)
    torch.testing.assert_close(plain, network(x).softmax(1))
    both = passes("flip", 0)(network, x)
    torch.testing.assert_close(both[1], network(x.flip(3)).softmax(1))
    ten = [view(x) for view in views("ten")]
    assert len(ten) == 10
    corner = torch.zeros_like(x)
    corner[..., :7, 1:] = x[..., 1:, :7]  # up and to the right
    assert sum(torch.equal(corner, one) for one in ten) == 1


def test_monte_carlo_dropout() -> None:
    """The mean over passes tends to the expected probability, and the layers are left as they were."""
    network, x = Mean().eval(), torch.randn(4, 1, 8, 8)
    found = passes("none", 400)(network, x)
    assert found.shape == (400, 4, 3)
    assert found.std(0).min() > 0
    assert not network.dropout.training
    network.dropout.train()
    by_hand = torch.stack([network(x).softmax(1) for _ in range(400)])
    assert (found.mean(0) - by_hand.mean(0)).abs().max() < 0.1
