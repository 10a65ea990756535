"""The trainer against a bare loop: the same network, data, optimiser and schedule, side by side.

    python scripts/benchmark.py [model=mlp ...] [--rounds 5] [--steps 200]

Arguments are those of train.py. Rounds alternate between the two; each runs the same number of optimiser steps after
a warm-up of a tenth. Printed are the median times per step and their ratio (bare / trainer: 1.00 means that the trainer
adds nothing), once with Lightning alone and once with the callbacks and the logger of the config.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf

from torchatlas.callbacks.base import NoProfiler
from torchatlas.run.build import build_callbacks, build_data, build_network, build_task
from torchatlas.run.compose import register_resolvers
from torchatlas.run.console import quiet_libraries
from torchatlas.storage.checkpoints import CheckpointFiles
from torchatlas.training.durations import Plan
from torchatlas.training.hooks import leave_out
from torchatlas.training.precision import precision


class Stopwatch(lightning.Callback):
    """Times the steps of a fit after its warm-up."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.warmup:
            self.start = now()

    def on_train_end(self, *_: Any) -> None:
        self.end = now()


def now() -> float:
    """Seconds, when the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def build(config: Any) -> tuple[Any, Any]:
    """Data and task as train.py builds them."""
    lightning.seed_everything(config["seed"], verbose=False)
    data = build_data(config["data"])
    data.prepare_data()
    data.setup("fit")
    task = build_task(config["task"], build_network(config["model"]), config["optim"], config["schedule"])
    return data, task


def bare(config: Any, steps: int, warmup: int) -> float:
    """Seconds per step of a plain PyTorch loop."""
    data, task = build(config)
    on_gpu = torch.cuda.is_available() and config["trainer"]["accelerator"] != "cpu"
    device = torch.device("cuda" if on_gpu else "cpu")
    task.to(device).train()
    task.setup("fit")
    optimizer = task.build_optimizer()
    schedule = task.make_schedule(optimizer, Plan(steps, config["data"]["batch_size"], steps + warmup))
    loader, done, start = data.train_dataloader(), 0, 0.0
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config["trainer"]["precision"] == "bf16-mixed")
    while True:
        for batch in loader:
            moved = tuple(x.to(device) if isinstance(x, torch.Tensor) else x for x in batch)
            with autocast:
                loss = task.step(data.transform(moved))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == warmup:
                start = now()
            if done == steps + warmup:
                return (now() - start) / steps


def trained(config: Any, steps: int, warmup: int, *, full: bool) -> float:
    """Seconds per step of the trainer, alone or with all callbacks and the logger; validation is left out."""
    data, task = build(config)
    watch = Stopwatch(warmup)
    with tempfile.TemporaryDirectory() as folder:
        callbacks = build_callbacks(config) if full else []
        callbacks = [callback for callback in callbacks if getattr(callback, "enabled", True)]
        for callback in callbacks:
            leave_out(callback, lightning.Callback)
        loggers = [instantiate(logger, Path(folder)) for logger in config["logger"].values()] if full else False
        task.limits = [f"{steps + warmup}st"]
        changed = {"max_epochs": -1, "limit_val_batches": 0, "plugins": [CheckpointFiles()], "profiler": NoProfiler()}
        if not full:
            changed["enable_checkpointing"] = False
        trainer = instantiate(
            config["trainer"] | changed, callbacks=[*callbacks, watch], logger=loggers, default_root_dir=folder
        )
        trainer.fit(task, datamodule=data)
    return (watch.end - watch.start) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    options, overrides = parser.parse_known_args()
    register_resolvers()
    quiet_libraries()
    with initialize_config_module("torchatlas.configs", version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("train", ["name=benchmark", *overrides]), resolve=True)
    trainer = config["trainer"]
    trainer["devices"] = 1
    trainer["precision"] = precision(trainer["precision"], trainer["accelerator"])
    warmup = max(1, options.steps // 10)
    times: dict[str, list[float]] = {"bare loop": [], "trainer": [], "with callbacks": []}
    for _ in range(options.rounds):
        times["bare loop"].append(bare(config, options.steps, warmup))
        times["trainer"].append(trained(config, options.steps, warmup, full=False))
        times["with callbacks"].append(trained(config, options.steps, warmup, full=True))
    base = statistics.median(times["bare loop"])
    print(f"{' '.join(overrides) or 'the default'}: {options.rounds} rounds of {options.steps} steps")
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"  {name:<15} {1e3 * middle:9.3f} ms a step   ratio {base / middle:.2f}")


if __name__ == "__main__":
    main()
