"""What does not go together is refused before anything is built."""

import re
from pathlib import Path

import pytest
from helpers import Train

# --- the commands


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=ddpm_small", "data=weather"], "makes images, and data=weather has none"),
        (["model=ddpm_small", "data=digits", "data.mean=[0.3]"], "needs pixels from -1 to 1"),
        (["model=ddpm_small", "data=digits", "data.image_size=10"], "downsample.1 gets 5x5 pixels"),
        (["model=resnet20", "data=digits", "task=diffusion"], "model=resnet20"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], words: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(*arguments)
    assert stopped.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


RESNET = ("model=resnet18", "model.width=4", "model.depths=[1,1,1,1]", "data=cifar10", "data.fake=true", "trainer=cpu")
FAST = ("data.batch_size=8", "callbacks=default", "logger=none")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["task=distillation"], "task.teacher=runs/NAME/TIME"),
        (["task=distillation", "task.teacher=nowhere"], "there is no checkpoint nowhere"),
        (["task=distillation", "task.temperature=0"], "task.temperature=0.* must be positive"),
        (["task.layer_decay=0"], "task.layer_decay=0.* must be over 0"),
        (["trainer.devices=null"], "trainer.devices=null leaves the run without a device: use trainer.devices=auto"),
        (["trainer.accelerator=null"], "without a device: use trainer.accelerator=auto"),
        (["trainer.max_epochs=null"], "trainer.max_epochs=null must be a positive number"),
        (["task.freeze=3"], "task.freeze=3 is no duration"),
        (["task.freeze=soon"], "task.freeze=soon is no duration"),
        (["weights=nowhere.pth"], "nowhere.pth"),
        (["weights=torchvision:NONE"], "IMAGENET1K"),
        (["weights=timm:nothing"], "timm"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], sentence: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(*RESNET, *FAST, *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert error.count("\n") == 1
    assert not list(Path.cwd().glob("runs/*/*"))
