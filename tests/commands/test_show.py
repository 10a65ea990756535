"""What `show` prints."""

from typing import Any

import pytest
import rich
import torch
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.errors import UserError


def last_lines(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines()[-5:])


def test_show_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    cli.run(["show", "resnet18", "image_size=32", "num_classes=10"])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split() == [
        "layer",
        "kind",
        "output",
        "parameters",
        "multiply-accumulates",
        "receptive",
        "field",
        "stride",
    ]
    assert lines[1].split() == ["conv1", "Conv2d", "64x32x32", "1,728", "1,769,472", "3", "1"]
    assert "fc Linear 10 5,130 5,120 all" in " ".join(text.split())
    assert last_lines(text)["parameters"] == "11,173,962"
    assert last_lines(text)["forward"] == "pass      0.5554 GMAC"
    assert "109 pixels" in last_lines(text)["receptive"]
    cli.run(["show", "resnet18", "data=cifar10"])
    assert capsys.readouterr().out == text, "the sizes that the data declare"
    cli.run(["show", "model=resnet18", "data.image_size=32"])
    assert capsys.readouterr().out == text, "the network's own data"
    assert torch.equal(torch.get_rng_state(), state)


def test_show_of_a_language_model(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["show", "lstm_lm"])
    text = capsys.readouterr().out
    assert "parameters        19,780,400" in text
    assert "receptive field  " not in text.splitlines()[-1]
    lstm = next(line for line in text.splitlines() if line.startswith("lstm "))
    assert lstm.split() == ["lstm", "LSTM", "35x650", "6,770,400", f"{35 * 16 * 650**2:,}"], "no receptive field"


def test_show_in_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, width=140))
    cli.run(["show", "lenet5"])
    text = capsys.readouterr().out
    assert "┃" in text
    assert "features.6" in text
    assert last_lines(text)["parameters"] == "61,706"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["resnet81"], "there is no model 'resnet81': did you mean resnet18"),
        ([], "MODEL is missing, as in torchatlas show resnet18 data=cifar10"),
        (["mlp", "lenet5"], "'lenet5' is not of the form KEY=VALUE: did you mean model=lenet5?"),
        (["resnet18", "imagesize=32"], "resnet18 has no argument 'imagesize': did you mean image_size"),
        (["resnet18", "data=cifar"], "there is no data 'cifar': did you mean cifar10"),
        (["resnet18", "data=pydoc"], "data=pydoc has no sizes for resnet18: try data=cifar10"),
        (["resnet18", "data.imagesize=3"], "data=cifar10 has no key 'imagesize': did you mean image_size"),
        (["resnet18", "image_size=large"], "image_size=large must be a whole number, as in image_size="),
        (["resnet18", "depths=[2,"], "depths=[2, cannot be read"),
        (["resnet18", "depths=[1,1]"], "resnet18 cannot have these sizes: ResNet has four groups"),
        (["lenet5", "image_size=20"], "lenet5 cannot have these sizes: LeNet-5 takes images of 32x32 pixels"),
    ],
)
def test_mistakes(words: list[str], answer: str) -> None:
    with pytest.raises(UserError) as error:
        cli.run(["show", *words])
    assert answer in str(error.value)


def test_mistake_that_a_layer_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(nn.Sequential):
        def __init__(self, **_: Any) -> None:
            super().__init__(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4))

        def example_input(self, batch: int) -> tuple[Tensor]:
            return (torch.empty(batch, 3, 5, 5),)

    monkeypatch.setattr("torchatlas.commands.show.create_model", lambda name, **values: Small(**values))
    with pytest.raises(UserError) as error:
        cli.run(["show", "resnet18"])
    assert str(error.value).startswith("resnet18 cannot take inputs of 3x5x5: 1 (MaxPool2d) gets 4x3x3, which fails (")
    assert str(error.value).endswith("sizes that work are those of data=cifar10")
