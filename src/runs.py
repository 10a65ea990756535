"""Run folders: their names, what is recorded in them, and how one is found again."""

import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import UserError

RUNS = Path("runs")
typed: list[str] = []  # the arguments of the command line, before `resume=` is resolved
made: set[Path] = set()  # folders that this process has made
PACKAGES = (
    "torchatlas", "torch", "torchvision", "torchaudio", "lightning", "hydra-core", "tensorboard", "torchmetrics",
    "numpy", "scikit-learn",
)  # fmt: skip


def new_folder(name: str) -> str:
    """Make `runs/<name>/<timestamp>`, with a number behind it if another run has just taken that name.

    Making a folder is atomic, so that of two runs in the same second each gets its own.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in range(1, 10_000):
        folder = RUNS / name / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            made.add(folder.absolute())
            return str(folder)
    raise UserError(f"{RUNS / name} already has {attempt} runs of this second")


def discard(folder: Path) -> None:
    """Remove the folder of a run that was refused before its first step, if this process has made it."""
    ours = made & {folder.absolute(), folder.absolute().parent}  # a sweep's runs are in the folder that was made
    if ours and not any(folder.glob("checkpoints/*")) and not (folder / "metrics.jsonl").exists():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # other runs are in it
            folder.parent.rmdir()
            folder.parent.parent.rmdir()


def find_checkpoint(where: str, name: str = "last") -> Path:
    """The checkpoint that `resume=` or `ckpt=` means.

    Args:
        where: a checkpoint, a run folder, or "auto" for the newest run with a checkpoint.
        name: which one of a run folder: "last" or "best".

    Raises:
        UserError: there is none; the sentence says what was looked for.
    """
    if where == "auto":
        found = sorted(RUNS.glob(f"**/checkpoints/{name}.ckpt"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise UserError(f"resume=auto found no checkpoint under {RUNS.absolute()}: start a run first")
        return found[-1]
    path = Path(where).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / f"{name}.ckpt"
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: name a run folder or a file that ends in .ckpt")
    return path


def folder_of(checkpoint: Path) -> Path:
    """The run folder of a checkpoint in it.

    Raises:
        UserError: the checkpoint lies alone, without the folder in which it could go on.
    """
    folder = checkpoint.absolute().parent.parent
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{checkpoint} is in no run folder (there is no {folder / 'config.yaml'}): resume needs one")
    return folder


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


def command_line() -> str:
    """What was typed, without the folder of the program."""
    program = Path(sys.argv[0]).name
    if Path(sys.argv[0]).parent.name in ("src", "torchatlas") and program == "train.py":
        return shlex.join(["torchatlas", "train", *typed])
    return shlex.join(["python", program, *typed])


def write_record(folder: Path, config: dict[str, Any]) -> None:
    """Write `record.json`: what a reader needs to believe the run's figures, and to run it again.

    A resumed run appends to the list of starts. Uncommitted changes go to `changes.diff` (`changes-2.diff` at the
    second start, and so on), new files included.
    """
    path = folder / "record.json"
    record = json.loads(path.read_text()) if path.exists() else {"name": config["name"], "starts": []}
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", __file__) else None
    changes = _changes() if commit else ""
    record["starts"].append(
        {
            "command": command_line(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seed": config["seed"],
            "commit": commit.strip() if commit else None,
            "uncommitted_changes": bool(changes),
            "versions": versions(),
            "hardware": hardware(),
        }
    )
    if changes:
        number = len(record["starts"])
        name = "changes.diff" if number == 1 else f"changes-{number}.diff"
        (folder / name).write_text(changes, encoding="utf-8")
    write_json(path, record)


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all: to a neighbour first, which then takes the name."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2) + "\n")
    part.replace(path)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """The resolved config, which a resumed run reads again."""
    from omegaconf import OmegaConf

    part = folder / "config.yaml.part"
    OmegaConf.save(OmegaConf.create(config), part)
    part.replace(folder / "config.yaml")


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; one that a killed run left unfinished is left out."""
    path = folder / "metrics.jsonl"
    epochs = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            epochs.append(json.loads(line))
    return epochs


def read_metrics(folder: Path) -> dict[str, Any]:
    """`metrics.json` of a run, or nothing where it has none yet."""
    path = folder / "metrics.json"
    metrics: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return metrics
