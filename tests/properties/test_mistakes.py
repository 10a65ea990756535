"""A mistake gets one sentence that names it and what to type instead, exit status 2, and nothing half-written stays."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import REPOSITORY, Train
from PIL import Image

from torchatlas.storage.run_folder import shutil

# What is typed, and what the answer says.
MISTAKES: dict[str, tuple[list[str], str]] = {
    "unknown model": (["model=resnt18"], "there is no model 'resnt18': did you mean resnet18"),
    "unknown data": (["data=cifar"], "there is no data 'cifar': did you mean cifar10"),
    "unknown optimiser": (["optim=adamww"], "there is no optim 'adamww': did you mean adamw"),
    "unknown schedule": (["schedule=cosin"], "there is no schedule 'cosin': did you mean cosine"),
    "unknown trainer": (["trainer=gpus"], "there is no trainer 'gpus': did you mean gpu"),
    "unknown experiment": (["experiment=resnet18cifar10"], "did you mean resnet18_cifar10"),
    "unknown debug": (["debug=one_batches"], "did you mean one_batch"),
    "unknown group": (["modle=mlp"], "the config has no key 'modle': did you mean model"),
    "unknown key": (["optim.learning_rate=1"], "the config has no key 'optim.learning_rate'"),
    "misspelt key": (["trainer.max_epoch=1"], "did you mean trainer.max_epochs"),
    "misspelt top key": (["sed=1"], "did you mean seed"),
    "key of another choice": (["optim=adam", "optim.momentum=1"], "the config has no key 'optim.momentum'"),
    "number for a group": (["optim=0.1"], "there is no optim '0.1'"),
    "text for a number": (["optim.lr=fast"], "optim.lr=fast must be a number, as in optim.lr=0.002"),
    "text for a whole number": (["trainer.max_epochs=many"], "trainer.max_epochs=many must be a whole number"),
    "fraction for a whole number": (["data.batch_size=12.5"], "data.batch_size=12.5 must be a whole number"),
    "text for a list": (["model.widths=512"], "model.widths=512 must be a list, as in model.widths=[512,512]"),
    "number for a switch": (["test=2"], "test=2 must be true or false"),
    "text for a part": (["model=mlp", "optim.betas=0.9"], "optim.betas=0.9 must be a list"),
    "text for a section": (["callbacks.checkpoint=often"], "callbacks.checkpoint=often must be a section"),
    "not a seed": (["seed=abc"], "seed=abc must be a whole number"),
    "negative seed": (["seed=-1"], "seed=-1 must be a whole number from 0"),
    "seed too large": (["seed=5000000000"], "seed=5000000000 must be a whole number from 0 to 4294967295"),
    "no batches": (["trainer.limit_train_batches=0"], "trainer.limit_train_batches=0 must be a positive number"),
    "validation never": (["trainer.check_val_every_n_epoch=0"], "must be a positive whole number"),
    "accumulation of nothing": (["trainer.accumulate_grad_batches=0"], "must be a positive whole number"),
    "log never": (["trainer.log_every_n_steps=0"], "must be a positive whole number"),
    "uphill": (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val=-1 must be a positive number or null"),
    "text network, images": (["model=lstm_lm", "data=digits"], "try data=pydoc"),
    "image network, text": (["model=lenet5", "data=pydoc"], "try data=mnist"),
    "image too small": (["model=lenet5", "data=digits"], "32x32"),
    "size that works": (["model=lenet5", "data=mnist", "data.image_size=20"], "try data.image_size=28"),
    "layer that fails": (["model=resnet18", "data=digits", "data.in_channels=5"], "data.in_channels=5 must be 1"),
    "bad depths": (["model=resnet18", "data=digits", "model.depths=[1,1]"], "four groups of blocks"),
    "width of nothing": (["model.widths=[0]"], "positive sizes"),
    "dropout over one": (["model.dropout=1.5"], "dropout probability"),
    "task of other data": (["task=language_modeling"], "data=digits is for classification"),
    "no folder": (["data=image_folder", "model=resnet18", "data.root=nowhere"], "nowhere does not exist"),
    "batch larger than the data": (["data.batch_size=5000"], "use data.batch_size=1293"),
    "batch of nothing": (["data.batch_size=0"], "data.batch_size=0 must be a positive whole number"),
    "negative workers": (["data.num_workers=-1"], "data.num_workers=-1 must be a whole number from 0"),
    "one sample for batch normalisation": (
        ["model.normalization=batch", "data.batch_size=1"],
        "use data.batch_size=2 or more",
    ),
    "validation of nothing": (["model=lenet5", "data.fake=true", "data.val_size=0"], "must be positive"),
    "validation of everything": (["data.val_size=1437"], "data.val_size=1437"),
    "labels out of range": (["data.num_classes=5"], "run from 0 to 9, outside data.num_classes=5"),
    "context longer than the text": (["model=lstm_lm", "data.context=100000"], "too few for data.context=100000"),
    "unknown monitor": (["task.monitor=acuracy"], "task.monitor=acuracy must be loss, accuracy, balanced_accuracy,"),
    "negative penalty": (["task.l1=-1"], "task.l1=-1 must not be negative"),
    "negative learning rate": (["optim.lr=-1"], "Invalid learning rate: -1"),
    "warm-up without a unit": (["schedule.warmup=5"], "schedule.warmup=5 is no duration: write 20ep"),
    "warm-up of the whole run": (["schedule.warmup=61ep"], "schedule.warmup=61ep is 1220 steps, all of the run's 1200"),
    "peak at the end": (["schedule=one_cycle", "schedule.peak=100%"], "as in peak=30%"),
    "exponential to zero": (["schedule=exponential", "schedule.final=0"], "schedule.final=0 must be positive"),
    "unknown unit": (["duration=3weeks"], "duration=3weeks is no duration"),
    "share of itself": (["duration=50%"], "duration=50% must be a length of its own"),
    "no epochs": (["trainer.max_epochs=0"], "trainer.max_epochs=0 must be a positive number"),
    "checkpoints never": (["callbacks.checkpoint.every=5%"], "must be a time, steps or epochs"),
    "average over one": (["callbacks.ema.decay=1.5"], "callbacks.ema.decay=1.5 must be from 0"),
    "no patience": (["callbacks.early_stopping.patience=0"], "must be a positive whole number or null"),
    "no threads": (["callbacks.threads.number=0"], "must be a positive whole number or null"),
    "unknown clipping": (["trainer.gradient_clip_algorithm=median"], "must be norm or value"),
    "unknown precision": (["trainer.precision=float17"], "'float17' is invalid"),
    "one seed": (["seeds=1"], "seeds=1 must be a whole number from 2"),
    "sweep with processes": (["-m", "trainer=ddp_cpu", "seed=0,1"], "one process each"),
    "seeds with processes": (["trainer=ddp_cpu", "seeds=2"], "one process each"),
    "bad syntax": (["data=[digits"], "data=[digits has a bracket without the other one"),
    "resume in a sweep": (["resume=runs/mlp", "-m"], "leave out -m, or use resume=auto"),
    "no such run": (["resume=runs/none"], "there is no checkpoint"),
    "sequence network, text": (
        ["model=lstm", "data=pydoc"],
        "with the task classification: try task=language_modeling",
    ),
    "future of a forecast": (
        ["model=gru", "data=weather", "task=forecasting", "model.bidirectional=true"],
        "seen the future and cannot forecast: use bidirectional=false",
    ),
    "future of a text": (
        ["model=lstm", "data=pydoc", "task=language_modeling", "model.bidirectional=true"],
        "seen the future and cannot generate or label step by step: use bidirectional=false",
    ),
    "horizon longer than the data": (["model=n_linear", "data=weather", "data.horizon=2000"], "data.horizon="),
    "lookback longer than the data": (["model=n_linear", "data=weather", "data.lookback=5000"], "data.lookback="),
    "one quantile": (["model=n_linear", "data=weather", "task.quantiles=0.5"], "must be a list of numbers"),
    "noise of one number": (["model=res8", "data.fake=true", "data.noise=10"], "as in data.noise=[10,40]"),
    "quantiles in disorder": (["model=n_linear", "data=weather", "task.quantiles=[0.9,0.5]"], "increasing levels"),
    "no table": (["model=n_linear", "data=series_csv"], "data.path="),
    "table that is not there": (["model=n_linear", "data=series_csv", "data.path=no.csv"], "no.csv"),
    "no text": (["model=lstm_lm", "data=text_file"], "data.path=FILE"),
    "unknown set of the archive": (["model=cnn1d", "data=ucr", "data.name=GunPont"], "did you mean GunPoint"),
    "unknown speaker": (["model=res8", "data.fake=true", "data.held_out_speaker=teo"], "did you mean theo"),
    "features of another size": (["model=res8", "data.fake=true", "data.features=waveform"], "data.in_channels"),
    "state of a network without one": (
        ["model=tcn", "data=pydoc", "task=language_modeling", "task.carry=true"],
        "task.carry",
    ),
    "tied to nothing": (["model=lstm", "model.tied=true"], "use tied=false"),
    "step by step with a look ahead": (
        ["model=cnn1d", "data=copy_memory", "task=sequence_labeling"],
        "a target at each step: use tcn",
    ),
    "unknown choice of -m": (["-m", "model=mlp,mpl"], "there is no model 'mpl'"),
}
if not torch.cuda.is_available():
    MISTAKES |= {
        "no GPU": (["trainer=gpu"], "there is no gpu here: use trainer=cpu"),
        "more devices than there are": (["trainer=ddp", "trainer.devices=8"], "there is no gpu here"),
    }


@pytest.fixture
def refused(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program with a mistake; returns the sentence after checking that nothing else has come of it."""

    def run(*arguments: str) -> str:
        before = {p for p in tmp_path.rglob("*") if not p.is_dir()}
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            train(*arguments)
        assert exit_.value.code == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) == 1, err
        assert err.startswith("torchatlas: ")
        assert {p for p in tmp_path.rglob("*") if not p.is_dir()} == before
        return err

    return run


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, refused: Callable[..., str], tmp_path: Path) -> None:
    arguments, expected = MISTAKES[mistake]
    own = ("trainer=cpu",) if not re.search("resume|trainer=", str(arguments)) else ()
    assert expected in refused(*arguments, *own)
    assert not (tmp_path / "runs").exists() or not list(tmp_path.glob("runs/*/*"))


def test_there_are_more_than_forty() -> None:
    assert len(MISTAKES) >= 40


def test_debug_shows_the_traceback(train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("TORCHATLAS_TRACEBACK", "0")  # restored afterwards
    with pytest.raises(SystemExit):
        train("data.batch_size=5000", "trainer=cpu", "debug=true")
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.strip().splitlines()[-1].startswith("torchatlas: data.batch_size=5000")


# --- files


def image_folder(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (8, 8), (i, 2 * i, 0)).save(folder / name / f"{i}.png")


IMAGES = ("model=mlp", "data=image_folder", "data.image_size=8", "data.batch_size=4", "trainer=cpu")


def test_a_corrupt_image_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "dog" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    assert "3.png cannot be read as an image" in refused(*IMAGES, "data.root=pets")
    whole = (tmp_path / "pets" / "dog" / "4.png").read_bytes()
    (tmp_path / "pets" / "dog" / "3.png").write_bytes(whole[:40])  # a worker reads it
    assert "3.png" in refused(*IMAGES, "data.root=pets", "data.memory=0", "data.num_workers=1")


def test_an_empty_class_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "eel").mkdir()
    assert "eel holds no image" in refused(*IMAGES, "data.root=pets")


def test_one_class_is_none(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    assert "at least 2 are needed" in refused(*IMAGES, "data.root=pets")


@pytest.mark.parametrize(("model", "file"), [("lenet5", "train-images-idx3-ubyte"), ("resnet18", "cifar-10-python")])
def test_no_files_and_no_network(model: str, file: str, refused: Callable[..., str], monkeypatch: Any) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    message = refused(f"model={model}", "trainer=cpu", "data.root=nothing")
    assert file in message
    assert "data.root=FOLDER" in message


def test_a_wrong_checksum_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "files" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(b"not these")
    assert "data_batch_1 has a wrong checksum" in refused("model=resnet18", "trainer=cpu", "data.root=files")


def test_too_little_space_to_begin(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    assert "has 1 MB left and the checkpoints of this run need about 13 MB" in refused("debug=one_batch", "trainer=cpu")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to, /proc")
def test_a_folder_that_cannot_be_written(refused: Callable[..., str]) -> None:
    assert "/proc/torchatlas" in refused("debug=one_batch", "trainer=cpu", "hydra.run.dir=/proc/torchatlas")


# --- other commands


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The same from outside, of the file itself, which is what Lightning's further processes run, too."""
    program = REPOSITORY / "src" / "train.py"
    done = subprocess.run(
        [sys.executable, program, "trainer.max_epoch=1"], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
