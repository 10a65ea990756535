"""Run folders: their names, what is recorded in them, and how one is found again."""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, some
from .checkpoints import Damaged, damage
from .files import claimed
from .foreign import foreign, torch_file

log = logging.getLogger(__name__)
RUNS = Path("runs")
SEVERAL = ("seeds.json", "folds.json", "multirun.json", "sweep.json")  # what a folder of runs that belong together has
OF_A_RUN = ("config.yaml", "metrics.jsonl", "metrics.json")  # what a run writes that may be somebody's too
made: set[Path] = set()  # folders that this process has made
held: set[int] = set()  # open folders into which it trains, see `trained_in`


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


def note_folder(word: str) -> None:
    """A folder that the user names with `hydra.run.dir=` and that is not there yet is one that this process makes."""
    key, _, value = word.partition("=")
    folder = Path(value.strip("'\""))
    if key == "hydra.run.dir" and not folder.exists():
        made.add(folder.absolute())


def discard() -> None:
    """Remove the folders that this process has made and in which no run has come to a figure or a checkpoint."""
    for folder in made:  # a sweep's runs lie in the folder that was made
        if any(folder.glob("checkpoints/*.ckpt")) or (folder / "metrics.jsonl").exists():
            continue  # a run, with what its loggers keep in folders
        for run in [*(path for path in folder.glob("*") if path.is_dir()), folder]:
            if not any(run.rglob("*.ckpt")) and not any(run.rglob("metrics.jsonl")):
                shutil.rmtree(run, ignore_errors=True)
        with contextlib.suppress(OSError):  # other runs are in it
            for parent in (folder.parent, folder.parent.parent):
                if RUNS.absolute() in (parent, *parent.parents):  # of another place, nobody has asked for its end
                    parent.rmdir()
    made.clear()


def find_checkpoint(where: str, name: str = "last") -> Path:
    """The checkpoint that `resume=` or `ckpt=` means; of a run folder an intact one.

    Args:
        where: a checkpoint, a run folder, or "auto" for the newest run with a checkpoint.
        name: which one of a run folder: "last" (else "previous", where that is damaged) or "best" (else the last one,
            where no validation has chosen any).

    Raises:
        UserError: there is none, or none that is intact; the sentence names what is damaged.
    """
    if where == "auto":
        found = sorted(RUNS.glob("**/checkpoints/*.ckpt"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise UserError(f"there is no checkpoint under {RUNS.absolute()} that auto could mean: start a run first")
        where = str(found[-1].parent.parent)
    path = Path(where).expanduser()
    if not path.is_dir():
        if said := foreign(path):
            raise UserError(f"{path} {said}")
        if not path.is_file():
            raise UserError(f"there is no checkpoint {path}: name a run folder or a file that ends in .ckpt")
        if reason := damage(path):
            if said := torch_file(path):
                raise UserError(f"{path} {said}")
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
    if name == "best" and has_checkpoint(path):
        last = find_checkpoint(where)
        log.warning("%s has no best weights, since none were validated yet: %s is taken", shown(path), last.name)
        return last
    if said := foreign(path):
        raise UserError(f"{path} {said}")
    said = f"there is no checkpoint {candidates[0]}: name a run folder or a file that ends in .ckpt"
    inside = runs_inside(path)  # runs/NAME, with runs in it
    raise UserError(said + (f", as in {inside[-1]}" if inside else ""))


def runs_inside(folder: Path) -> list[Path]:
    """Run folders with checkpoints in a folder, the one that has been written last at the end.

    Looked at are a folder `runs`, and else the folders directly in it, and of these the ones whose runs belong
    together: any other folder may be somebody's whole disk.
    """
    if folder.name == RUNS.name or _of_several(folder):
        found = list(folder.glob("**/checkpoints/*.ckpt"))
    else:
        try:
            inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
        except OSError:  # it is not there, or not to be read
            return []
        found = [
            path for own in inside if os.path.isdir(own / "checkpoints") for path in own.glob("checkpoints/*.ckpt")
        ]
        found += [path for own in inside if _of_several(own) for path in own.glob("**/checkpoints/*.ckpt")]
    written: dict[Path, float] = {}
    for path in found:
        run = path.parent.parent
        written[run] = max(written.get(run, 0.0), path.stat().st_mtime)
    return sorted(written, key=written.__getitem__)


def _of_several(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in SEVERAL)


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


def has_checkpoint(folder: Path) -> bool:
    """Whether a folder has one from which a run could go on, intact or not."""
    return any((folder / "checkpoints" / f"{name}.ckpt").exists() for name in ("last", "previous"))


def require_new(folder: Path) -> None:
    """Refuse to begin a run where there is one, or where it would write over files of somebody's.

    What a run has left that came to no checkpoint is written anew.

    Raises:
        UserError: the folder has checkpoints, or such files.
    """
    if has_checkpoint(folder):
        raise UserError(f"{folder} holds a run: resume={folder} goes on with it; for a new run name another folder")
    if not _was_of_a_run(folder) and (taken := [name for name in OF_A_RUN if (folder / name).exists()]):
        raise UserError(f"{folder} has a {taken[0]} that is of no run and would be lost: name another folder")


def tell_others(folder: Path) -> None:
    """Say what is in the folder of a new run that is not of it."""
    others = {path.name for path in folder.iterdir()} - {"train.log"}
    if others and folder.absolute() not in made and not _was_of_a_run(folder):
        log.info("%s is not empty: %s stays there beside the run", shown(folder), some(sorted(others), 3))


def _was_of_a_run(folder: Path) -> bool:
    return (folder / "record.json").exists() or _of_several(folder)


def require_plain(folder: Path) -> None:
    """Refuse a run folder with links in it: what goes on there would write where they point.

    Raises:
        UserError: it names the link.
    """
    for path in (*folder.iterdir(), *folder.glob("checkpoints/*")):
        if path.is_symlink():
            raise UserError(f"{path} is a link, and a run folder has none: copy what it points to in its place")


@contextlib.contextmanager
def trained_in(folder: Path) -> Iterator[None]:
    """A run folder into which no other process trains meanwhile: each would overwrite what the other one keeps.

    Raises:
        UserError: another one does.
    """
    if os.name != "posix":  # folders cannot be opened
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    held.add(handle)
    try:
        with claimed(handle) as alone:
            if not alone:
                raise UserError(
                    f"{shown(folder)} is being trained in by another process: let it end, or stop it, first"
                )
            yield
    finally:
        held.discard(handle)
        os.close(handle)


def _let_go() -> None:
    """In a worker, which outlives a killed run by seconds, in which the run cannot go on else."""
    for handle in held:
        os.close(handle)
    held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def require_space(
    folder: Path, size: int, what: str = "the checkpoints of this run need", option: str = "hydra.run.dir"
) -> None:  # fmt: skip
    """Refuse to begin what could not be kept.

    Args:
        folder: where it is to be.
        size: in bytes.
        what: needs so much, for the message.
        option: by which another folder is named.

    Raises:
        UserError: the disk has less than `size` bytes.
    """
    if (free := shutil.disk_usage(folder).free) < size:
        raise UserError(
            f"{folder} has {_megabytes(free)} MB left and {what} about {_megabytes(size)} MB: free some, or name "
            f"another folder with {option}=FOLDER"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}" if size >= 1e7 else f"{size / 1e6:.2g}"


def is_series(folder: Path) -> bool:
    """Whether a run folder holds runs with several seeds, or on several folds."""
    return (folder / "seeds.json").is_file() or (folder / "folds.json").is_file()


def holds_run(folder: Path) -> bool:
    """Whether a folder has a run, or a series of them, that could go on."""
    return is_series(folder) or has_checkpoint(folder)
