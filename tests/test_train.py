"""The training program as it is used, on made or embedded data."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY, Train
from helpers.runs import events, metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from torchatlas.storage.checkpoints import read


@pytest.fixture
def digits(train: Train) -> Path:
    return train(
        "trainer.max_epochs=3", "trainer=cpu", "callbacks.pictures.every_n_epochs=2", "callbacks.pictures.share=null"
    )


def test_run_folder(digits: Path) -> None:
    """What the next reader needs is there, and the figures agree with one another."""
    found = metrics(digits)
    epochs = [json.loads(line) for line in (digits / "metrics.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs] == [1, 2, 3]
    assert found["final"] == {k: v for k, v in epochs[-1].items() if "/" in k}
    best = min(epochs, key=lambda e: e["val/loss"])
    assert found["best_epoch"] == best["epoch"]
    assert found["best"]["val/loss"] == best["val/loss"]
    assert 0.5 < found["test"]["test/accuracy"] <= 1
    log = (digits / "train.log").read_text()
    assert re.search(r"epoch 3/3 \| train loss [\d.]+ \| val loss .* val accuracy .* samples/s \| .* left", log)
    record = json.loads((digits / "record.json").read_text())["starts"][0]
    assert record["seed"] == 0
    assert json.loads((digits / "data.json").read_text())["mean"] == [0.3058]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["hardware"]["cores"] == os.cpu_count()
    assert record["command"].startswith("python train.py trainer.max_epochs=3")
    for name in ("best", "last"):
        checkpoint = torch.load(digits / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["torchatlas"]["config"]["name"] == "mlp-digits"
    assert sorted(p.name for p in (digits / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_dashboard_of_a_classifier(digits: Path) -> None:
    found = events(digits)
    for figure in ("loss", "learning_rate", "gradient_norm", "samples_per_second"):
        steps = [e.step for e in found[f"step/{figure}"]]
        assert steps == list(range(10, 61, 10)), figure  # 20 batches an epoch, 3 epochs, every 10 steps
    for figure in ("loss", "accuracy"):
        for stage in ("train", "val"):
            assert [e.step for e in found[f"epoch/{figure}/{stage}"]] == [1, 2, 3]
    pictures = [
        "inputs/training samples as the network gets them", "predictions validation/right", "predictions test/right",
        "predictions validation/wrong", "predictions validation/most confident mistakes", "validation/confusion matrix",
        "validation/per class", "validation/ROC", "validation/precision and recall", "test/confusion matrix",
        "test/per class", "test/ROC", "test/precision and recall", "network/first-layer filters",
        "validation/reliability", "test/reliability",
    ]  # fmt: skip
    assert set(pictures) <= set(found)
    assert [e.step for e in found["validation/confusion matrix"]] == [2, 3]
    assert [e.step for e in found["test/confusion matrix"]] == [3]
    assert "graph" in found
    assert "custom_scalars__config__" in found
    compared = events(digits / "hparams")
    assert compared["summary/final accuracy"][-1].value == pytest.approx(metrics(digits)["final"]["val/accuracy"])
    assert compared["summary/best loss"][-1].value == pytest.approx(metrics(digits)["best"]["val/loss"])
    assert compared["summary/test accuracy"][0].value == pytest.approx(metrics(digits)["test"]["test/accuracy"])
    accumulator = EventAccumulator(str(digits / "hparams"))
    accumulator.Reload()
    hparams = accumulator.summary_metadata
    start = HParamsPluginData.FromString(hparams["_hparams_/session_start_info"].plugin_data.content)
    shown = start.session_start_info.hparams
    assert shown["   optim.lr"].number_value == 0.002
    assert shown["model.widths"].string_value == "[512, 512]"
    assert "_hparams_/session_end_info" in hparams


def test_dashboard_of_a_language_model(train: Train) -> None:
    folder = train(
        "model=lstm_lm", "trainer.max_epochs=1", "trainer.limit_train_batches=10", "trainer=cpu", "model.dim=16",
        "callbacks.samples.length=20", "trainer.limit_val_batches=2",
    )  # fmt: skip
    found = events(folder)
    for figure in ("loss", "perplexity", "bits_per_character"):
        assert {f"epoch/{figure}/train", f"epoch/{figure}/val"} <= set(found)
    assert "epoch/trigram_bits_per_character/val" in found
    for temperature in (0.5, 0.8, 1.0):
        text = found[f"validation text/temperature {temperature}/text_summary"][0].tensor_proto.string_val[0].decode()
        assert "⟦" in text
    assert "trigram baseline: 2." in (folder / "train.log").read_text()
    values = metrics(folder)["final"]
    assert values["val/bits_per_character"] == pytest.approx(values["val/loss"] / 0.693147, rel=1e-4)


def test_multirun(train: Train, tmp_path: Path) -> None:
    train("-m", "seed=0,1", "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default", "model.widths=[8]")
    folders = sorted(tmp_path.glob("runs/sweeps/*/*/metrics.json"))
    assert [p.parent.name for p in folders] == ["0-mlp-digits", "1-mlp-digits"]
    assert len({p.parent.parent for p in folders}) == 1
    one, two = (json.loads(p.read_text())["final"]["val/loss"] for p in folders)
    assert one != two


@pytest.mark.slow
def test_two_processes_report_the_figures_of_one(tmp_path: Path) -> None:
    """The same samples in each step and each test sample once: equal up to the order of sums."""
    arguments = ["trainer.max_epochs=2", "model.dropout=0", "optim=sgd", "optim.lr=0.05", "callbacks=default"]
    found = []
    for trainer in ("cpu", "ddp_cpu"):
        command = [sys.executable, "-m", "torchatlas.train", f"trainer={trainer}", f"hydra.run.dir={trainer}"]
        subprocess.run([*command, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=300)
        found.append(metrics(tmp_path / trainer))
    assert [f["steps"] for f in found] == [40, 40]
    for kind in ("final", "test"):
        assert found[1][kind] == pytest.approx(found[0][kind], rel=1e-4)
    assert not (tmp_path / "runs").exists()
    command = [sys.executable, "-m", "torchatlas.train", "resume=ddp_cpu", "trainer.max_epochs=3"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert metrics(tmp_path / "ddp_cpu")["steps"] == 60
    assert "resume=ddp_cpu" in json.loads((tmp_path / "ddp_cpu" / "record.json").read_text())["starts"][1]["command"]


def test_help_shows_the_zoo(train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from torchatlas.train import main

    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    main()
    out = capsys.readouterr().out
    assert re.search(r"^ +resnet18 +ResNet-18\. He, Zhang", out, re.MULTILINE)
    assert re.search(r"^ +overfit +One batch again", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("override", "validated"),
    [("trainer.limit_val_batches=0", []), ("trainer.check_val_every_n_epoch=2", [2]),
     ("trainer.accumulate_grad_batches=3", [1, 2, 3]), ("data.num_workers=1", [1, 2, 3])],
)  # fmt: skip
def test_unusual_loops(override: str, validated: list[int], train: Train) -> None:
    """An epoch without validation has no validation figures, and best is the last where there never were any."""
    folder = train("trainer=cpu", "trainer.max_epochs=3", "model.widths=[8]", override)
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in epochs if "val/loss" in e] == validated
    found = metrics(folder)
    assert found["best_epoch"] == (validated or [3])[-1]
    drawn = events(folder)
    assert abs(drawn["step/loss"][0].value - 2.3) < 0.5  # accumulation does not change what is shown
    assert ("validation/confusion matrix" in drawn) is bool(validated)
    assert "test/accuracy" in found["test"]
    assert found["steps"] == (3 * 7 if "accumulate" in override else 3 * 20)


def test_a_refused_run_deletes_nothing_of_the_users(train: Train, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(SystemExit):
        train("hydra.run.dir=mine", "data.batch_size=5000", "trainer=cpu")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_profiler_writes_its_table(train: Train) -> None:
    folder = train("debug=profiler", "trainer=cpu", "callbacks=default")
    assert "run_training_batch" in (folder / "fit-profile.txt").read_text()


def test_a_wheel_trains_outside_of_the_checkout(tmp_path: Path) -> None:
    """Build it, unpack it alone, and run it from another folder: the configs are inside."""
    source = tmp_path / "source"
    for name in ("src", "configs"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    (tmp_path / "elsewhere").mkdir()
    program = "import torchatlas, sys; from torchatlas.train import main; print(torchatlas.__file__); main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "debug=one_batch", "trainer=cpu", "hydra.run.dir=run"],
        cwd=tmp_path / "elsewhere", env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert "test/loss" in metrics(tmp_path / "elsewhere" / "run")["test"]


@pytest.mark.slow
def test_all_ways_to_start_are_the_same_program(tmp_path: Path) -> None:
    arguments = ["debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default"]
    figures = []
    for i, program in enumerate(
        (["train.py"], ["src/train.py"], ["-m", "torchatlas.train"], ["-m", "torchatlas.cli", "train"])
    ):
        if program[0].endswith(".py"):
            program = [str(REPOSITORY / program[0])]
        subprocess.run([sys.executable, *program, *arguments, f"hydra.run.dir={i}"], cwd=tmp_path, check=True)
        figures.append(metrics(tmp_path / str(i))["test"])
    assert figures.count(figures[0]) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_trains_in_mixed_precision(train: Train) -> None:
    folder = train("trainer=gpu", "trainer.max_epochs=5")
    config = (folder / "config.yaml").read_text()
    assert "precision: bf16-mixed" in config
    assert metrics(folder)["test"]["test/accuracy"] > 0.8


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_clipping_bounds_the_update(train: Train) -> None:
    """With plain SGD the weights move by at most the rate times the bound; by value each of them does."""
    base = ["trainer.max_steps=1", "optim=sgd", "optim.lr=1", "schedule=constant", *TINY]
    start = weights(train(*base, "trainer.gradient_clip_val=1e-12"))
    for algorithm, size in (("norm", lambda d: d.norm()), ("value", lambda d: d.abs().max())):
        clipped = weights(
            train(*base, "trainer.gradient_clip_val=0.01", f"trainer.gradient_clip_algorithm={algorithm}")
        )
        moved = torch.cat([(clipped[key] - start[key]).flatten() for key in start])
        assert float(size(moved)) == pytest.approx(0.01, rel=1e-3)


def test_clipping_works_with_fused_kernels_in_mixed_precision(train: Train) -> None:
    train("trainer.max_steps=3", "trainer.gradient_clip_val=1", "trainer.precision=bf16-mixed", *TINY)


def test_accumulated_batches_are_one_large_one(train: Train) -> None:
    base = ["trainer.max_epochs=1", "model.dropout=0.0", "optim=sgd", "schedule=constant", "data.crop_padding=0", *TINY]
    large = weights(train(*base, "data.batch_size=64", "trainer.max_steps=5"))
    small = weights(train(*base, "data.batch_size=32", "trainer.accumulate_grad_batches=2", "trainer.max_steps=5"))
    for key, value in large.items():
        assert torch.allclose(value, small[key], atol=1e-5), key
