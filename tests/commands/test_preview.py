"""The pictures of `preview`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread

from torchatlas import cli
from torchatlas.commands.preview import name_label
from torchatlas.data.images.cifar import CIFAR10
from torchatlas.errors import UserError
from torchatlas.zoo import config_text

# --- in the data module


def made(**options: Any) -> Any:
    sizes = {"in_channels": 3, "image_size": 16, "num_classes": 4, "batch_size": 32, "fake": True, "crop_padding": 2}
    data = CIFAR10(**{**sizes, "flip": True, **options})
    data.setup()
    return data


# --- preview


def test_preview_draws_a_row_for_each_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "grid.png"
    overrides = ["data=digits", "data.augment.rotation=30", "data.augment.cutmix=1.0"]
    assert cli.run(["preview", *overrides, f"output={path}", "n=3", "epochs=2"]) == path
    assert str(path) in capsys.readouterr().out
    height, width, _ = imread(path).shape
    larger = cli.run(["preview", *overrides, f"output={tmp_path / 'b.png'}", "n=6", "epochs=5"])
    assert imread(larger).shape[0] > 1.5 * height
    assert imread(larger).shape[1] > 1.5 * width


def test_soft_labels_are_told_as_shares() -> None:
    data = made()
    data.classes = ["cat", "dog", "emu", "fox"]
    labels = [torch.tensor(2), torch.tensor([0.3, 0.0, 0.7, 0.0]), torch.tensor([0.001, 0.999, 0.0, 0.0])]
    assert [name_label(label, data) for label in labels] == ["emu", "0.70 emu + 0.30 cat", "dog"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model=lstm_lm"], "no images"),
        (["n=0"], "n=0 must be a whole number from 1 to"),
        (["epochs=many"], "epochs=many must be a whole number, as in epochs=6"),
        (["-m"], "-m has no place here, where no network is trained"),
        (["resume=auto"], "resume=auto has no place here"),
        (["seed=abc"], "seed=abc must be a whole number"),
        (["data.flip=maybe"], "data.flip=maybe must be true or false"),
        (["data=null"], "data"),
        (["output=grid.jpg"], r"output=grid.jpg must end in .png"),
    ],
)
def test_preview_tells_mistakes(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        cli.run(["preview", *arguments])


@pytest.mark.parametrize("before", [True, False])
def test_configs_of_the_users_own(before: bool, tmp_path: Path) -> None:
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "own.yaml").write_text(config_text("data", "digits"))
    folder, words = ["--config-dir", str(tmp_path / "mine")], ["data=own", "n=1", "epochs=1"]
    path = tmp_path / "own.png"
    typed = [*folder, *words] if before else [*words, *folder]
    assert cli.run(["preview", *typed, f"output={path}"]) == path
    with pytest.raises(UserError, match="there is no such folder"):
        cli.run(["preview", *words, f"--config-dir={tmp_path / 'nowhere'}"])
