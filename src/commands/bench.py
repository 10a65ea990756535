"""The command `torchatlas bench`: our trainer beside plain loops and other programs, step by step."""

import json
import logging
import warnings
from pathlib import Path
from typing import Annotated, Any

from ..analysis.hot_spots import sentence
from ..errors import UserError
from ..metrics.figures import amount
from ..predict.rows import file_for
from ..run.bench import COLUMNS, Comparison, compare, rows
from ..run.check import fits
from ..run.compose import composed, register_resolvers, require_config_words
from ..run.console import ConsoleHandler, logged_by, print_table, quiet_libraries
from ..storage.random_state import kept_random_state


def bench(
    *words: Annotated[str, "training"],
    against: tuple[str, ...] = ("alone", "loop"),
    peer: str = "",
    rounds: int = 5,
    steps: int = 200,
    threads: int | None = None,
    output: str = "",
) -> Comparison:
    """How fast a training is, beside plain loops and other people's programs with the same network and data.

    Each runs in a process of its own; they take turns, a round of steps each. Nothing is written in runs.

    Args:
        words: those of training.
        against: alone (our trainer without callbacks), loop (a plain loop around our data and step), naive (as in
            tutorials), lightning, huggingface.
        peer: the folder of nanoGPT, of timm, or of torchvision's repository; or "FILE.py ARGUMENTS", any training
            script; several with ; between.
        rounds: turns that each has.
        steps: optimiser steps of a turn, after a tenth of them that warms up.
        threads: of each process; null: callbacks.threads.number, or all cores.
        output: a .json file for the figures, with hardware, versions and commit.

    Returns:
        The figures.

    Raises:
        UserError: a mistake in the words, or our trainer fails.

    Examples:
        torchatlas bench model=lenet5 data=mnist data.fake=true against=loop,naive,huggingface
        torchatlas bench experiment=gpt_char_cpu_shakespeare peer=../nanoGPT threads=1
    """
    for key, value in (("rounds", rounds), ("steps", steps), ("threads", 1 if threads is None else threads)):
        if value < 1:
            raise UserError(f"{key}={value} must be a positive whole number, as in {key}=5")
    require_config_words(words, "here, where nothing is kept of a training")
    path = Path(output).expanduser() if output else None
    if path is not None and path.suffix != ".json":
        raise UserError(f"output={path} must end in .json")
    if path is not None:
        path = file_for(output)
    handler = ConsoleHandler()
    handler.addFilter(logging.Filter("torchatlas"))
    with warnings.catch_warnings(), logged_by(handler, "%(message)s"), kept_random_state():
        quiet_libraries()
        register_resolvers()
        asked = composed(words)
        fits(asked)
        peers = [part.strip() for part in peer.split(";") if part.strip()]
        found = compare(
            asked.plain(), asked.choices["model"], asked.choices["data"], words, against, peers, rounds, steps, threads
        )
    tell(found)
    if path is not None:
        path.write_text(json.dumps(found.record(), indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")
    return found


def tell(found: Comparison) -> None:
    """Print the table, and below it what it is about."""
    print_table(COLUMNS, rows(found), right=range(1, len(COLUMNS)))
    unit = "sample" if found.tokens_per_step is None else "token"
    where: Any = found.hardware["cpu"] if found.device == "cpu" else found.device
    peak = f"{amount(found.peak_flops_per_second, 'FLOP')}/s"
    known = f"{peak}, measured at matrix products" if found.peak_is_measured else f"{peak} by the data sheet"
    lines = [
        f"{found.model} on {found.data}: {found.parameters:,} parameters, batches of {found.samples_per_step}, "
        f"{found.precision}, {found.layout}; per s are {unit}s",
        f"{where}, {found.threads} thread{'s' * (found.threads > 1)}; {len(found.results[0].rounds)} rounds of "
        f"{found.steps} steps; ratio: its time by that of torchatlas, medians",
        f"a step has {amount(found.flops_per_step, 'FLOP')}, three forward passes; MFU is of {known}",
        f"the time of a step of torchatlas: {sentence(found.hot_spots)}",
    ]
    for spot in found.hot_spots[:2]:
        if spot.layers:
            lines.append(f"  {spot.words}: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in spot.layers))
    for line in [*lines, *(f"note: {note}" for note in found.notes)]:
        print(line)
