"""The command `torchatlas plan`: what a training will take, told before it, and what a run then took."""

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
from omegaconf import OmegaConf

from ..analysis.estimate import Estimate, compared_rows, comparison, rows
from ..errors import UserError
from ..predict.rows import file_for
from ..run.check import check_training, fits
from ..run.compose import composed, register_resolvers, require_config_words
from ..run.console import ConsoleHandler, logged_by, print_table, quiet_libraries
from ..run.measure import estimate
from ..run.reopen import flat
from ..run.saved import saved_config
from ..storage.files import read_metrics
from ..storage.random_state import kept_random_state
from ..storage.run_folder import shown


def plan(*words: Annotated[str, "training"], samples: int = 12, output: str = "", against: str = "") -> Estimate:
    """Memory, FLOP, steps, time and disk of a training, told before it; and what a run then used.

    Nothing is written in runs.

    Args:
        words: those of training.
        samples: steps to measure.
        output: a .json file for the figures.
        against: a run folder to compare with; alone, the plan is that of the run's own config.

    Returns:
        The figures.

    Raises:
        UserError: a mistake in the words.

    Examples:
        torchatlas plan model=resnet18 data=cifar10 trainer.max_epochs=30
        torchatlas plan against=runs/latest
    """
    if samples < 1:
        raise UserError(f"samples={samples} must be a positive whole number of steps, as in samples=12")
    require_config_words(words, "here, where a new network is tried for some steps")
    path = Path(output).expanduser() if output else None
    if path is not None and path.suffix != ".json":
        raise UserError(f"output={path} must end in .json")
    if path is not None:
        path = file_for(output)
    folder = Path(against).expanduser() if against else None
    before = None if folder is None else what_was_used(folder)
    threads = torch.get_num_threads()
    try:
        handler = ConsoleHandler()
        handler.addFilter(logging.Filter("torchatlas.data"))  # a download may take its time
        with warnings.catch_warnings(), logged_by(handler, "%(message)s"), kept_random_state():
            quiet_libraries()
            plain, model, data = configured(words, folder)
            differences = [] if folder is None else changes(saved_config(folder), plain)
            found = estimate(plain, model, data, samples)
    finally:
        torch.set_num_threads(threads)
    print_table(("", "plan", "how it is known"), rows(found), right=(1,))
    for note in found.notes:
        print(f"note: {note}")
    compared = None
    if folder is not None and before is not None:
        compared = comparison(found, before)
        print()
        print_table(("", "plan", "run", "run / plan"), compared_rows(compared), right=(1, 2, 3))
        print(f"{shown(folder)}: {before['device']}, memory is the {before['memory']}")
        for difference in differences:
            print(f"note: {difference}")
    if path is not None:
        content = asdict(found) | ({} if compared is None else {"against": compared})
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")
    return found


def configured(words: Sequence[str], folder: Path | None) -> tuple[dict[str, Any], str, str]:
    """A resolved and checked config, and the names of its network and its data."""
    register_resolvers()
    if folder is not None and not words:
        config = saved_config(folder)
        check_training(config)
        model, data = (str(config[part]._target_).rpartition(".")[2] for part in ("model", "data"))
    else:
        asked = composed(words)
        config, model, data = asked.config, asked.choices["model"], asked.choices["data"]
        fits(asked)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return plain, model, data


def what_was_used(folder: Path) -> dict[str, Any]:
    """What a run has written down of its own use.

    Raises:
        UserError: there is no such folder, or nothing is written there.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError(f"against={folder} is no run folder: there is no {folder / 'config.yaml'}")
    metrics = read_metrics(folder)
    if not metrics.get("used"):
        raise UserError(
            f"against={folder}: its metrics.json does not say what the run used: name a run that has ended an epoch, "
            "with a version of torchatlas that writes it down"
        )
    file = folder / "checkpoints" / "last.ckpt"
    return {
        **metrics["used"],
        "parameters": metrics["parameters"],
        "checkpoint_bytes": file.stat().st_size if file.is_file() else None,
        "finished": metrics["finished"],
    }


def changes(saved: Any, plain: dict[str, Any]) -> list[str]:
    """In what a run's config differs, as far as it decides what is used."""
    keys = (
        "model.", "task._target_", "data._target_", "data.batch_size", "data.context", "data.length", "optim._target_",
        "duration", "compile", "trainer.max_", "trainer.accumulate", "trainer.limit_train",
    )  # fmt: skip
    one, two = flat(OmegaConf.to_container(saved)), flat(plain)
    differing = [key for key in {**one, **two} if key.startswith(keys) and one.get(key) != two.get(key)]
    return [f"{key} is {two.get(key)} in the plan and {one.get(key)} in the run" for key in differing]
