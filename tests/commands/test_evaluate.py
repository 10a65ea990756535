"""`evaluate` needs nothing but the checkpoint."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from helpers.runs import FOLDER, make_folder
from helpers.weights import randomised
from PIL import Image

from torchatlas import cli
from torchatlas.data.images.cifar import CIFAR10
from torchatlas.errors import UserError
from torchatlas.models.resnet_cifar import ResNetCIFAR
from torchatlas.run.build import build_network
from torchatlas.run.compose import composed
from torchatlas.storage.checkpoints import read


def test_evaluate_repeats_the_runs_test_figures(trained_digits: Path, command: Any, tmp_path: Path) -> None:
    (trained_digits / "config.yaml").unlink()  # the checkpoint is enough
    command("evaluate", f"ckpt={trained_digits}", f"output={tmp_path / 'figures.json'}")
    figures = json.loads((tmp_path / "figures.json").read_text())
    expected = json.loads((trained_digits / "metrics.json").read_text())
    assert {k: figures[k] for k in expected["test"]} == expected["test"]
    command(
        "evaluate",
        f"ckpt={trained_digits / 'checkpoints' / 'best.ckpt'}",
        "split=val",
        f"output={tmp_path / 'val.json'}",
    )
    val = json.loads((tmp_path / "val.json").read_text())
    assert val["val/loss"] == pytest.approx(expected["best"]["val/loss"], rel=1e-5)


def test_an_image_folder_run_carries_its_classes_and_statistics(
    train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=10")
    assert re.search(r"samples of train, val, test: dark \d+, \d+, \d+; light ", (folder / "train.log").read_text())
    about = read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["data"]
    assert about["classes"] == ["dark", "light"]
    assert about["mean"] != [0.5] * 3
    moved = tmp_path / "moved"
    (tmp_path / "set").rename(moved)
    command("evaluate", f"ckpt={folder}", f"data.root={moved}", f"output={tmp_path / 'figures.json'}")
    assert json.loads((tmp_path / "figures.json").read_text())["test/accuracy"] == 1

    def judged(*words: str) -> dict[str, float]:
        command("evaluate", f"ckpt={folder}", *words, f"output={tmp_path / 'made' / 'new.json'}")
        figures: dict[str, float] = json.loads((tmp_path / "made" / "new.json").read_text())
        return figures

    new = tmp_path / "new"
    shutil.copytree(moved, new)
    for file in new.rglob("*.png"):  # other images of the same names, and more dark ones than light
        if file.parent.name == "light" and int(file.stem) >= 10:
            file.unlink()
        else:
            with Image.open(file) as image:
                image.transpose(Image.Transpose.ROTATE_90).save(file)
    capsys.readouterr()
    assert judged(f"data.root={new}")["all/accuracy"] == 1
    assert "on 50 samples of all" in capsys.readouterr().out
    assert judged(f"data.root={new}", "split=test")["test/accuracy"] == 1
    for file in (new / "light").iterdir():  # what is light and lies in dark is taken for light, every time
        file.rename(new / "dark" / f"light{file.name}")
    assert judged(f"data.root={new}")["all/accuracy"] == pytest.approx(0.8)
    assert "on 50 samples of all" in capsys.readouterr().out
    assert judged(f"data.root={moved}", "split=all")["all/accuracy"] == 1
    printed = capsys.readouterr()
    assert "on 80 samples of all" in printed.out
    assert f"{moved} has files that were trained on" in printed.err
    command("predict", f"ckpt={folder}", f"input={moved / 'light' / '3.png'}", f"output={tmp_path / 'out.csv'}")
    assert next(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))["class"] == "light"


# --- weights from elsewhere

RESNET = ("model=resnet20", "model.depth=8", "model.width=4", "data=cifar10", "data.fake=true", "data.batch_size=8")


def saved(path: Path, **options: Any) -> ResNetCIFAR:
    """A network with statistics of its own, and its weights with akamaster's names in a file."""
    network = randomised(ResNetCIFAR(depth=8, width=4, **options))
    torch.save({key.replace("fc.", "linear."): value for key, value in network.state_dict().items()}, path)
    return network  # type: ignore[return-value]


def evaluated(*words: str, **options: Any) -> dict[str, float]:
    return cli.run(["evaluate", *words, *(f"{key}={value}" for key, value in options.items())])  # type: ignore[no-any-return]


@torch.no_grad()
def test_weights_are_evaluated_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are those of the network in a plain loop, with the mean and spread of the weights' training."""
    monkeypatch.chdir(tmp_path)
    network = saved(tmp_path / "akamaster.th")
    figures = evaluated(*RESNET, "weights=akamaster.th", output="figures.json")
    out = capsys.readouterr().out
    assert "images are normalised as for these weights: mean 0.485, 0.456, 0.406" in out
    assert "resnet20-cifar10: akamaster.th on 8 samples of test" in out

    data = CIFAR10(
        in_channels=3, image_size=32, num_classes=10, fake=True, batch_size=8, mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    data.setup()
    (x, labels), *others = [data.transform(batch) for batch in data.test_dataloader()]
    assert not others
    logits = network(x)
    assert figures["test/loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert figures["test/accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written == {"weights": "akamaster.th", "name": "resnet20-cifar10", **figures}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["akamaster.th", "figures.json"]
    own = evaluated(*RESNET, "weights=akamaster.th", "data.mean=[0.5,0.5,0.5]", "data.std=[0.25,0.25,0.25]")
    assert own["test/loss"] != figures["test/loss"]
    assert evaluated(*RESNET, "weights=akamaster.th", split="val").keys() == {k.replace("test", "val") for k in figures}


def test_weights_of_a_run_have_its_figures(trained_digits: Path) -> None:
    expected = json.loads((trained_digits / "metrics.json").read_text())["test"]
    figures = evaluated("model=mlp", "data=digits", f"weights={trained_digits}")
    assert {key: figures[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "ckpt=... is missing, as in torchatlas evaluate ckpt=.*; weights from elsewhere need model="),
        (RESNET, "weights=... is missing"),
        ((*RESNET, "weights=of_seven.th"), "leave fc.weight, fc.bias as initialised"),
        ((*RESNET, "weights=akamaster.th", "ckpt=nowhere"), "model=resnet20 has no place beside ckpt="),
        ((*RESNET, "weights=akamaster.th", "resume=auto"), "resume=auto has no place here"),
        ((*RESNET, "weights=nowhere.th"), "there is no file nowhere.th"),
        ((*RESNET, "weights=akamaster.th", "data=pydoc"), "data=pydoc"),
        ((*RESNET, "weights=akamaster.th", "model.shortcuts=none"), "did you mean model.shortcut"),
        ((*RESNET, "weights=akamaster.th", "split=tset"), "split=tset is unknown: did you mean test"),
        ((*RESNET, "weights=akamaster.th", "mc_samples=3"), "needs dropout"),
    ],
)
def test_mistakes_leave_nothing(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "akamaster.th")
    saved(tmp_path / "of_seven.th", num_classes=7)
    with pytest.raises(UserError, match=sentence) as error:
        evaluated(*words, output="figures.json")
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["akamaster.th", "of_seven.th"]


def test_what_only_training_uses_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The auxiliary classifiers of a GoogLeNet, of which published files have none."""
    monkeypatch.chdir(tmp_path)
    words = ("model=googlenet", "data=cifar10", "data.fake=true", "data.batch_size=4", "model.auxiliary=true")
    network = build_network(composed(words).config.model)
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("aux")}
    torch.save(state, "weights.pth")
    assert "test/accuracy" in evaluated(*words, weights="weights.pth")
