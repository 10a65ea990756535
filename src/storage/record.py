"""The record of a run: command, versions, hardware, commit."""

import contextlib
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .files import read_json, write_json, write_text

PACKAGES = (
    "torchatlas", "torch", "torchvision", "torchaudio", "lightning", "hydra-core", "tensorboard", "torchmetrics",
    "numpy", "scikit-learn",
)  # fmt: skip


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and GPUs of this machine."""
    import torch

    found: dict[str, Any] = {"platform": platform.platform(), "cpu": _cpu_name(), "cores": os.cpu_count()}
    with contextlib.suppress(ValueError, OSError, AttributeError):  # not on every system
        found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages on which a figure depends."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode(errors="replace")


def _changes() -> str:
    """What differs from the commit: changes of tracked files, and the new ones whole."""
    parts = [_git("diff", "HEAD") or ""]
    for name in (_git("ls-files", "--others", "--exclude-standard", "--full-name", ":/*.py", ":/*.yaml") or "").split(
        "\n"
    ):
        path = Path((_git("rev-parse", "--show-toplevel") or "").strip()) / name
        if name and path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            parts.append(f"+++ {name} (not tracked)\n" + "".join(f"+{line}\n" for line in lines))
    return "".join(parts)


def command_line(words: Sequence[str]) -> str:
    """What was typed, `python train.py ...` or `torchatlas train ...`; of a sweep's trial what would make its run."""
    program = Path(sys.argv[0])
    if program.name == "train.py" and program.parent.name not in ("src", "torchatlas"):
        return shlex.join(["python", "train.py", *words])
    return shlex.join(["torchatlas", "train", *words])


def source() -> tuple[str | None, str]:
    """The commit of this package, where it is a checkout, and what differs from it."""
    found = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", __file__) else None
    return (found.strip(), _changes()) if found else (None, "")


def this_start(config: Mapping[str, Any], words: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What a reader needs to believe the run's figures and to run it again, and the uncommitted changes.

    Args:
        config: of the run.
        words: what was typed behind the program's name.
    """
    commit, changes = source()
    start = {
        "command": command_line(words),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": config["seed"],
        "commit": commit,
        "uncommitted_changes": bool(changes),
        "versions": versions(),
        "hardware": hardware(),
    }
    return start, changes


def begin(folder: Path, config: Mapping[str, Any], words: Sequence[str]) -> None:
    """Write what a run folder has from its first start on: `config.yaml` and `record.json`.

    A resumed run appends to the list of starts. Uncommitted changes go to `changes.diff` (`changes-2.diff` at the
    second start, and so on), new files included.

    Args:
        folder: the run folder.
        config: of the run, resolved; a resumed run reads it again.
        words: see `this_start`.
    """
    from omegaconf import OmegaConf

    start, changes = this_start(config, words)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))), sync=True)
    record = read_json(folder / "record.json") or {"name": config["name"], "starts": []}
    record["starts"].append(start)
    if changes:
        number = len(record["starts"])
        write_text(folder / ("changes.diff" if number == 1 else f"changes-{number}.diff"), changes)
    write_json(folder / "record.json", record)
