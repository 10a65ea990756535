"""evaluate and predict need nothing but the checkpoint."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.run.restore import restore
from torchatlas.storage.checkpoints import read, write

Train = Callable[..., Path]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
        cli.main()

    return run


@pytest.fixture
def digits(train: Train) -> Path:
    return train("trainer.max_epochs=10", "trainer=cpu", "logger=none", "callbacks=default")


def test_evaluate_repeats_the_runs_test_figures(digits: Path, command: Any, tmp_path: Path) -> None:
    (digits / "config.yaml").unlink()  # the checkpoint is enough
    command("evaluate", f"ckpt={digits}", f"output={tmp_path / 'figures.json'}")
    figures = json.loads((tmp_path / "figures.json").read_text())
    expected = json.loads((digits / "metrics.json").read_text())
    assert {k: figures[k] for k in expected["test"]} == expected["test"]
    command("evaluate", f"ckpt={digits / 'checkpoints' / 'best.ckpt'}", "split=val", f"output={tmp_path / 'val.json'}")
    val = json.loads((tmp_path / "val.json").read_text())
    assert val["val/loss"] == pytest.approx(expected["best"]["val/loss"], rel=1e-5)


def test_predict_images(digits: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real digits as picture files, some enlarged and in colour: most are read right."""
    pictures, labels = load_digits(return_X_y=True)
    (tmp_path / "images").mkdir()
    for i in range(30):
        image = Image.fromarray(np.round(pictures[i].reshape(8, 8) * 255 / 16).astype(np.uint8))
        if i % 2:
            image = image.resize((24, 24), Image.Resampling.BICUBIC).convert("RGB")
        image.save(tmp_path / "images" / f"{i:02}.png")
    capsys.readouterr()
    command("predict", f"ckpt={digits}", f"input={tmp_path / 'images'}", f"output={tmp_path / 'out.csv'}", "top=2")
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [r["class_1"] for r in rows] == [r["class_1"] for r in printed]
    assert sum(int(r["class_1"]) == y for r, y in zip(rows, labels[:30], strict=True)) >= 25
    assert all(float(r["probability_1"]) >= float(r["probability_2"]) for r in rows)


def test_predict_text(train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("model=lstm_lm", "debug=one_batch", "trainer=cpu", "model.dim=8", "logger=none", "callbacks=default")
    (tmp_path / "a.txt").write_text("The quick brown fox jumps over the lazy dog. " * 10)
    capsys.readouterr()
    command("predict", f"ckpt={folder}", f"input={tmp_path / 'a.txt'}", "length=30")
    row = json.loads(capsys.readouterr().out)
    assert row["characters"] == 450
    assert len(row["continuation"]) == 30
    assert 5 < row["bits_per_character"] < 8  # one batch of training: near log2 104


FOLDER = (
    "data=image_folder", "data.image_size=8", "data.batch_size=8", "data.flip=false", "data.share=0.2", "trainer=cpu",
    "logger=none", "callbacks=default",
)  # fmt: skip


def make_folder(root: Path) -> None:
    """Dark and light noise, 40 images each."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (root / name).mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 120, (20, 20, 3)) + 120 * k
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i}.png")


def test_predictions_in_a_terminal_keep_their_brackets(
    digits: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.get_console", lambda: Console(force_terminal=True, width=200))
    Image.new("L", (8, 8)).save(tmp_path / "a[bold][red].png")
    command("predict", f"ckpt={digits}", f"input={tmp_path / 'a[bold][red].png'}")
    assert "a[bold][red].png" in capsys.readouterr().out


def test_an_image_folder_run_carries_its_classes_and_statistics(train: Train, command: Any, tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=10")
    about = read(folder / "checkpoints" / "best.ckpt")["torchatlas"]["data"]
    assert about["classes"] == ["dark", "light"]
    assert about["mean"] != [0.5] * 3
    moved = tmp_path / "moved"
    (tmp_path / "set").rename(moved)
    command("evaluate", f"ckpt={folder}", f"data.root={moved}", f"output={tmp_path / 'figures.json'}")
    assert json.loads((tmp_path / "figures.json").read_text())["test/accuracy"] == 1
    command("predict", f"ckpt={folder}", f"input={moved / 'light' / '3.png'}", f"output={tmp_path / 'out.csv'}")
    assert next(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))["class"] == "light"


MISTAKES = {
    "unknown command": (["trian"], "did you mean train"),
    "missing key": (["evaluate"], "ckpt=... is missing"),
    "unknown key": (["predict", "ckpt=x", "inptu=y"], "did you mean input"),
    "no equals sign": (["evaluate", "runs/x"], "not of the form KEY=VALUE"),
    "no checkpoint": (["evaluate", "ckpt=nowhere"], "there is no checkpoint nowhere"),
    "list takes nothing": (["list", "x=1"], "there is no key 'x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = MISTAKES[mistake]
    with pytest.raises(SystemExit) as exit_:
        command(*arguments)
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err


def test_mistakes_with_a_checkpoint(
    digits: Path, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    for arguments, expected in (
        (["evaluate", f"ckpt={digits}", "split=tset"], "did you mean test"),
        (["predict", f"ckpt={digits}", "input=nowhere"], "there is no file or folder nowhere"),
        (["predict", f"ckpt={digits}", f"input={tmp_path / 'empty'}"], "holds no file that ends in"),
        (["predict", f"ckpt={digits}", f"input={tmp_path / 'text.png'}"], "text.png cannot be read as an image"),
        (["predict", f"ckpt={digits}", f"input={tmp_path}", "top=11"], "top=11 must be from 1 to the 10 classes"),
        (["predict", f"ckpt={digits}", f"input={tmp_path}", "top=many"], "top=many is not a whole number"),
    ):
        with pytest.raises(SystemExit):
            command(*arguments)
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.hub.load", "torchatlas.models.mlp.torch.hub.load", "torchatlas.data.images.base.UserError",
     "torch.optim.lr_scheduler.types.FunctionType", "torchatlas.data.download.fetch", "torchatlas.models.nothing.Here"],
)  # fmt: skip
def test_a_checkpoints_config_may_not_call_anything_else(target: str, digits: Path) -> None:
    path = digits / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["torchatlas"]["config"]["model"]["_target_"] = target
    write(checkpoint, path)
    with pytest.raises(UserError, match="would call"):
        restore(str(path))


def test_a_checkpoints_classes_may_not_hide_a_call(
    train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a checkpoint says of its data goes into the config of a resumed run and of evaluate."""
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=1")
    for name in ("best", "last"):
        path = folder / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        call = {"_target_": "os.mkdir", "path": str(tmp_path / "broken_in")}
        checkpoint["torchatlas"]["data"]["classes"] = [call, call]
        write(checkpoint, path)
    for run in (
        lambda: command("evaluate", f"ckpt={folder}"),
        lambda: train(f"resume={folder}", "trainer.max_epochs=2"),
    ):
        with pytest.raises(SystemExit):
            run()
        assert "the saved config would call os.mkdir" in capsys.readouterr().err
    assert not (tmp_path / "broken_in").exists()


def test_a_resumed_run_finds_its_data_elsewhere(train: Train, tmp_path: Path) -> None:
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=1")
    (tmp_path / "set").rename(tmp_path / "moved")
    assert train(f"resume={folder}", f"data.root={tmp_path / 'moved'}", "trainer.max_epochs=2") == folder
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 2


@pytest.mark.parametrize("kind", ["interpolation", "tuple", "tensor"])
def test_a_checkpoints_config_may_not_hide_a_call(kind: str, digits: Path, tmp_path: Path) -> None:
    call = {"_target_": "os.mkdir", "path": str(tmp_path / "broken_in")}
    widths: Any = {
        "interpolation": f"${{oc.create:{{_target_:os.mkdir,path:{tmp_path}/broken_in}}}}",
        "tuple": (call,),
        "tensor": torch.zeros(1),
    }[kind]
    path = digits / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["torchatlas"]["config"]["model"]["widths"] = widths
    write(checkpoint, path)
    with pytest.raises(UserError, match="the saved config"):
        restore(str(path))
    assert not (tmp_path / "broken_in").exists()
