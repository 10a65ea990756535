"""Run folders: their names, what is recorded in them, and how one is found again."""

import contextlib
import json
import logging
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

from .checkpoints import Damaged, damage
from .errors import UserError

log = logging.getLogger(__name__)
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


def discard() -> None:
    """Remove the folders that this process has made and in which no run has come to a figure or a checkpoint."""
    for folder in made:  # a sweep's runs lie in the folder that was made
        for run in [*(path for path in folder.glob("*") if path.is_dir()), folder]:
            if not any(run.rglob("*.ckpt")) and not any(run.rglob("metrics.jsonl")):
                shutil.rmtree(run, ignore_errors=True)
        with contextlib.suppress(OSError):  # other runs are in it
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
    made.clear()


def find_checkpoint(where: str, name: str = "last") -> Path:
    """The checkpoint that `resume=` or `ckpt=` means; of a run folder an intact one.

    Args:
        where: a checkpoint, a run folder, or "auto" for the newest run with a checkpoint.
        name: which one of a run folder: "last" (else "previous", where that is damaged) or "best".

    Raises:
        UserError: there is none, or none that is intact; the sentence names what is damaged.
    """
    if where == "auto":
        found = sorted(RUNS.glob("**/checkpoints/*.ckpt"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise UserError(f"resume=auto found no checkpoint under {RUNS.absolute()}: start a run first")
        where = str(found[-1].parent.parent)
    path = Path(where).expanduser()
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"there is no checkpoint {path}: name a run folder or a file that ends in .ckpt")
        if reason := damage(path):
            raise Damaged(f"{path} is damaged: {reason}{_intact_neighbour(path)}")
        return path
    names = [name, "previous"] if name == "last" else [name]
    candidates = [path / "checkpoints" / f"{n}.ckpt" for n in names]
    damaged: list[str] = []
    for candidate in candidates:
        if not candidate.is_file():
            continue
        reason = damage(candidate)
        if reason is None:
            for broken in damaged:
                log.warning("%s; %s is taken", broken, candidate)
            return candidate
        damaged.append(f"{candidate} is damaged: {reason}")
    if damaged:
        raise Damaged(f"{'; '.join(damaged)}{_intact_neighbour(candidates[0])}")
    raise UserError(f"there is no checkpoint {candidates[0]}: name a run folder or a file that ends in .ckpt")


def _intact_neighbour(path: Path) -> str:
    for name in ("last", "previous") if path.name != "best.ckpt" else ("last",):
        other = path.with_name(f"{name}.ckpt")
        if other != path and other.is_file() and damage(other) is None:
            return f"; {other} is intact"
    return ""


def shown(path: Path) -> Path:
    """As short as it can be typed here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def folder_of(checkpoint: Path) -> Path:
    """The run folder of a checkpoint in it.

    Raises:
        UserError: the checkpoint lies alone, without the folder in which it could go on.
    """
    folder = checkpoint.absolute().parent.parent
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{checkpoint} is in no run folder (there is no {folder / 'config.yaml'}): resume needs one")
    return folder


def require_new(folder: Path) -> None:
    """Refuse to begin a run where there is one.

    Raises:
        UserError: the folder has checkpoints.
    """
    if any((folder / "checkpoints" / f"{name}.ckpt").exists() for name in ("last", "previous")):
        raise UserError(f"{folder} holds a run: resume={folder} goes on with it; for a new run name another folder")


def require_plain(folder: Path) -> None:
    """Refuse a run folder with links in it: what goes on there would write where they point.

    Raises:
        UserError: it names the link.
    """
    for path in (*folder.iterdir(), *folder.glob("checkpoints/*")):
        if path.is_symlink():
            raise UserError(f"{path} is a link, and a run folder has none: copy what it points to in its place")


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
    record = read_json(path) or {"name": config["name"], "starts": []}
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
        write_text(folder / name, changes)
    write_json(path, record)


def require_space(folder: Path, size: int) -> None:
    """Refuse to begin what could not be kept.

    Raises:
        UserError: the disk has less than `size` bytes.
    """
    if (free := shutil.disk_usage(folder).free) < size:
        raise UserError(
            f"{folder} has {free / 1e6:,.0f} MB left and the checkpoints of this run need about {size / 1e6:,.0f} MB: "
            "free some, or name another folder with hydra.run.dir=FOLDER"
        )


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Write whole or not at all: to a neighbour first, which then takes the name.

    Args:
        path: the file.
        text: its content.
        sync: whether it has to outlast a power failure from now on.

    Raises:
        UserError: it cannot be written, for lack of space or permission.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with part.open("x", encoding="utf-8") as file:  # a link in somebody else's folder is not followed
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def write_json(path: Path, value: Any) -> None:
    """See `write_text`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """The resolved config, which a resumed run reads again."""
    from omegaconf import OmegaConf

    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)), sync=True)


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; one that a killed run left unfinished is left out."""
    path = folder / "metrics.jsonl"
    epochs = []
    for line in path.read_bytes().decode(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            epochs.append(json.loads(line))
    return epochs


def read_metrics(folder: Path) -> dict[str, Any]:
    """`metrics.json` of a run, or nothing where it has none yet."""
    return read_json(folder / "metrics.json")


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; an empty one where there is no file, or a power failure has left half of it."""
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {}
