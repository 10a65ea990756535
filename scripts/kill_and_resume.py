"""Kill runs at random moments and resume them: do they end as if never stopped?

    python scripts/kill_and_resume.py [--kills 100] [--seed 0] [--only CASE ...] [--output FILE.json]

For each case the run is made once without interruption. Then it is started, killed with SIGKILL (the whole process
group) after a random time, resumed in the same folder, killed again, and so on until it has come to its end, as often
as the kills last. At the end every tensor of `last.ckpt` and `best.ckpt`, the figures of every epoch, those of the test
and the curves in TensorBoard's events have to be equal bit for bit. Exit status 1 where they are not.

Processes are forked after the imports, so that a kill comes in the run and not in the start of Python.
"""

import argparse
import importlib
import json
import logging
import os
import pkgutil
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import torchatlas.train
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs, read_metrics

for room in ("callbacks", "data", "models", "pictures", "tasks"):  # before the forks, which need not import them then
    for module in pkgutil.walk_packages([str(Path(torchatlas.train.__file__).parent / room)], f"torchatlas.{room}."):
        importlib.import_module(module.name)

# Threads that this process has started would be missing in a fork, which would wait for them forever.
torch.set_num_threads(1)
ALL = ("trainer.log_every_n_steps=3",)
CASES: dict[str, list[str]] = {
    "mlp, EMA, one-cycle": [
        "model=mlp", "model.widths=[64]", "trainer=cpu", "trainer.max_epochs=6", "callbacks=default",
        "callbacks.ema.decay=0.99", "schedule=one_cycle", "callbacks.checkpoint.every=1st",
    ],
    "lenet5, accumulation, clipping, plateau": [
        "model=lenet5", "data=digits", "data.image_size=28", "data.batch_size=32", "trainer=cpu",
        "trainer.max_epochs=4", "trainer.accumulate_grad_batches=3", "trainer.gradient_clip_val=1", "callbacks=default",
        "optim=nesterov", "optim.lr=0.01", "schedule=plateau", "schedule.patience=0", "callbacks.checkpoint.every=2st",
    ],
    "resnet, images on disk, 2 workers": [
        "model=resnet18", "data=image_folder", "data.root=FOLDER", "data.memory=0", "data.num_workers=2",
        "data.image_size=16", "data.batch_size=16", "model.depths=[1,1,1,1]", "model.width=8", "trainer=cpu",
        "trainer.max_epochs=3", "callbacks=default", "callbacks.checkpoint.every=3st",
    ],
    "lstm_lm, Muon, stopped by steps": [
        "model=lstm_lm", "model.dim=64", "trainer=cpu", "duration=75st", "trainer.limit_train_batches=30",
        "trainer.limit_val_batches=4", "trainer.limit_test_batches=4", "optim=muon", "callbacks.samples.length=20",
        "callbacks.checkpoint.every=1st",
    ],
    "mlp, bf16, checkpoints by time": [
        "model=mlp", "model.widths=[64]", "trainer=cpu", "trainer.max_epochs=12", "trainer.precision=bf16-mixed",
        "callbacks.checkpoint.every=0.05s", "callbacks.early_stopping.patience=3",
    ],
    "gru, carried state": [
        "model=gru", "model.dim=32", "model.depth=2", "model.dropout=0.2", "data=pydoc", "task=language_modeling",
        "task.carry=true", "trainer=cpu", "duration=75st", "trainer.limit_train_batches=30",
        "trainer.limit_val_batches=4", "trainer.limit_test_batches=4", "callbacks.samples.length=20",
        "callbacks.checkpoint.every=1st",
    ],
    "res8, sounds, SpecAugment": [
        "model=res8", "model.width=4", "data=fsdd", "data.fake=true", "data.batch_size=16", "data.speed=0.1",
        "data.shift=30.0", "data.noise=[10,30]", "data.frequency_masks=1", "data.time_masks=1", "trainer=cpu",
        "trainer.max_epochs=15", "callbacks=default", "callbacks.checkpoint.every=1st",
    ],
    "mlp, two processes": [
        "model=mlp", "model.widths=[64]", "trainer=ddp_cpu", "trainer.max_epochs=6", "callbacks=default",
        "callbacks.checkpoint.every=4st",
    ],
}  # fmt: skip
EARLY = 0.1  # share of the kills whose time is counted from the start; of the others, from the first checkpoint


def start(arguments: list[str], log: Path) -> int:
    """A process of its own group that trains; returns its number."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = [str(Path(torchatlas.train.__file__).absolute()), *arguments]
    status = 1
    try:
        torchatlas.train.main()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(child: int, seconds: float = float("inf"), folder: Path | None = None) -> int | None:
    """The exit status, or None where the process still runs after a time; of a folder, after its next change."""

    def changed() -> int:
        return folder.stat().st_mtime_ns if folder is not None and folder.exists() else 0

    old, end = changed(), None if folder is not None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is None and changed() != old:
            end = time.monotonic() + seconds
        time.sleep(0.002)
    return None


def write_images(folder: Path) -> None:
    """scikit-learn's digits 0 to 3 as files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        if label < 4 and i < 800:
            path = folder / str(label) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image.reshape(8, 8) * 15).astype("uint8")).save(path)


def result(folder: Path) -> dict[str, Any]:
    """All that has to be equal: tensors and figures, by name."""
    found: dict[str, Any] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                collect(f"{name}/{key}", part)
        elif isinstance(value, list | tuple):
            for i, part in enumerate(value):
                collect(f"{name}/{i}", part)
        else:
            found[name] = value

    for name in ("last", "best"):
        checkpoint = read(folder / "checkpoints" / f"{name}.ckpt")
        checkpoint["callbacks"] = {k: v for k, v in checkpoint.get("callbacks", {}).items() if k != "Record"}
        checkpoint["torchatlas"].pop("config")  # names the folder
        collect(name, checkpoint)
    collect("epochs", [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in read_epochs(folder)])
    collect("metrics", {k: v for k, v in read_metrics(folder).items() if k not in ("seconds", "used")})
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # each start writes the graph
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        if "samples_per_second" not in tag:
            collect(f"events/{tag}", [[event.step, event.value] for event in events.Scalars(tag)])
    return found


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of what is not equal bit for bit."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        return type(a) is type(b) and (a == b or (a != a and b != b))  # NaN is the same as NaN

    return [key for key in {**one, **two} if not same(one.get(key), two.get(key))]


def place(path: Path) -> tuple[int, int] | None:
    """Steps behind a checkpoint, and batches of its unfinished epoch; None where there is no checkpoint."""
    if not path.exists():
        return None
    checkpoint = read(path)
    return checkpoint["global_step"], checkpoint["torchatlas"]["batches"]


def try_case(name: str, arguments: list[str], kills: int, work: Path, chance: random.Random) -> dict[str, Any]:
    """Kill and resume one case."""
    arguments = [a.replace("FOLDER", str(work / "images")) for a in arguments] + list(ALL)
    work.mkdir(parents=True)
    if "image_folder" in str(arguments):
        write_images(work / "images")
    whole, log = work / "whole", work / "log.txt"
    child = start([*arguments, f"hydra.run.dir={whole}"], log)
    wait(child, 0.0, whole / "checkpoints")
    started = time.monotonic()
    status = wait(child)
    if status:
        sys.exit(f"{name}: the run that nobody kills failed\n{log.read_text()[-3000:]}")
    seconds = time.monotonic() - started
    expected = result(whole)
    found: Counter[str] = Counter()
    wrong: list[str] = []
    while found["kills"] < kills:
        folder = work / f"killed-{found['runs']}"
        while True:
            last = folder / "checkpoints" / "last.ckpt"
            before = place(last)
            resumed = [f"resume={folder}"] if last.exists() else [*arguments, f"hydra.run.dir={folder}"]
            child = start(resumed, log)
            patience = chance.uniform(0, seconds / 2) if found["kills"] < kills else float("inf")
            status = wait(child, patience, None if chance.random() < EARLY else folder / "checkpoints")
            if status is not None:
                break
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:
                os.kill(child, signal.SIGKILL)
            wait(child)
            found["kills"] += 1
            found["while a checkpoint was written"] += any(folder.glob("checkpoints/*.part"))
            after = place(last)
            found["before the first checkpoint"] += after is None
            found["resumed within an epoch"] += after is not None and after[1] > 0
            found["without a new checkpoint"] += after == before
        if status:
            sys.exit(f"{name}: a resumed run failed with status {status}\n{log.read_text()[-3000:]}")
        found["runs"] += 1
        wrong += differences(expected, result(folder))
    row = {"case": name, "seconds of training": round(seconds, 1), **found, "compared": len(expected)}
    row["different"] = sorted(set(wrong))
    return row


def main() -> int:
    """Try all cases and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="over all cases together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="cases whose name begins so")
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    options = parser.parse_args()
    chosen = {n: a for n, a in CASES.items() if not options.only or n.startswith(tuple(options.only))}
    chance, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as work:
        for i, (name, arguments) in enumerate(chosen.items()):
            share = options.kills * (i + 1) // len(chosen) - options.kills * i // len(chosen)
            rows.append(try_case(name, arguments, share, Path(work) / str(i), chance))
            print(json.dumps(rows[-1]), flush=True)
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n")
    bad = [row["case"] for row in rows if row["different"]]
    kills = sum(row["kills"] for row in rows)
    print(f"{kills} kills in {len(rows)} cases: " + (f"DIFFERENT in {', '.join(bad)}" if bad else "all bit for bit"))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
