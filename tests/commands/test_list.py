"""The zoo is listed without torch."""

import subprocess
import sys

import pytest

from torchatlas import cli
from torchatlas.commands.list import short
from torchatlas.errors import UserError
from torchatlas.zoo import list_models, model_card


def test_the_zoo_is_listed_without_torch() -> None:
    program = (
        "import sys; sys.argv = ['torchatlas', 'list', 'pretrained=false']; from torchatlas.cli import main; main(); "
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_models()
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["resnet18", "11.7M", "classification", "src/models/resnet.py"] for line in lines)


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    cli.run(["list", *words])
    return capsys.readouterr().out.splitlines()


def test_long_lines_have_all(capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(capsys, "resnet*", "long=true")
    assert [line.split()[0] for line in lines[1:]] == list_models("resnet*")
    assert any("11,689,512" in line and "1512.03385" in line and "classification" in line for line in lines)
    assert lines[1].split()[4:6] == ["torchvision:resnet18/IMAGENET1K_V1", "src/models/resnet.py"]


def test_the_list_is_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    def names(*words: str) -> list[str]:
        return [line.split()[0] for line in listed(capsys, *words)[1:]]

    assert names("vgg*") == list_models("vgg*")
    assert names("task=segmentation") == list_models(task="segmentation")
    assert names("data=digits_rows") == list_models(data="digits_rows")
    assert names("vit", "pretrained=true") == list_models("vit", pretrained=True)
    assert names("--pretrained") == list_models(pretrained=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnt*"], "no network is called like 'resnt*': did you mean resnet"),
        (["vgg", "task=segmentation"], "there is no network with vgg and task=segmentation: use fewer words"),
        (["task=generation", "pretrained=true"], "there is no task 'generation'"),
        (["task=forecasting", "pretrained=true"], "no network with task=forecasting and pretrained=true"),
        (["tsk=vgg"], "there is no key 'tsk': did you mean task?"),
        (["long=maybe"], "long=maybe"),
    ],
)
def test_mistakes(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        cli.run(["list", *words])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_sizes_have_three_digits() -> None:
    assert all(len(short(model_card(name).parameters)) <= 5 for name in list_models())
    assert short(124_439_808) == "124M"
