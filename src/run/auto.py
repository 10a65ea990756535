"""Which run `resume=auto` means, so that one line begins a run and, typed again, goes on with it.

The words that are given say which run it is: all of them but those of how long it is and where it is computed (see
`LENGTH` and `PLACE`), in any order. Meant is the newest run under `runs` that began with the same words, has a
checkpoint, and has not come to its end, else the newest that has; where there is none, a new one begins. A folder that
is named, `hydra.run.dir=FOLDER`, holds the run. Without a word that says which, the newest run of all is meant.
"""

import contextlib
import hashlib
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich
from hydra.core.override_parser.overrides_parser import OverridesParser

from ..errors import UserError
from ..packages import OWN_CLASS, config_folders
from ..storage.files import claimed, read_json, read_metrics
from ..storage.run_folder import RUNS, find_checkpoint, folder_of, held, holds_run, is_series, shown
from .compose import composed, in_one_form
from .from_config import KEY, with_key
from .multirun import MULTIRUN
from .quoting import path_in, quoted
from .resume import CHANGED, augmented, resume_arguments
from .saved import saved_config
from .seeds import finished, finished_series
from .trust import accept

log = logging.getLogger(__name__)
LENGTH = ("duration", "trainer.max_epochs", "trainer.max_steps")
PLACE = (
    "trainer", "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "logger",
    "data.num_workers", "data.memory", "callbacks.checkpoint.every",
)  # fmt: skip
MANY = {"-m", "--multirun"}
ASKED = "resume=auto"


def begun_or_resumed(arguments: Sequence[str], claims: contextlib.ExitStack) -> list[str] | None:
    """Words for Hydra in place of those with `resume=`; None where the run has come to its end, which is said here.

    Args:
        arguments: as Hydra takes them.
        claims: gets what keeps other processes from the same run.

    Raises:
        UserError: there is nothing to go on with, or with other words; another process is at the same run.
    """
    asked = [word for word in arguments if word.startswith("resume=")]
    words = [word for word in arguments if not word.startswith("resume=")]
    if asked[-1:] != [ASKED]:
        if asked and (given := Path(path_in(asked[-1])).expanduser()).exists():
            return resume_arguments([*_new(given if given.is_dir() else given.parent.parent, words), asked[-1]])
        return resume_arguments(list(arguments))
    many = bool(MANY & set(words))
    named = _named(words, "hydra.sweep.dir" if many else "hydra.run.dir")
    if named is None:
        claims.enter_context(_alone(words))
    new = [word for word in words if not word.startswith(f"{CHANGED}=")]  # which is for a run that goes on
    if many:
        found = None if named else _newest_multirun(words)
        return [*new, ASKED, *([f"hydra.sweep.dir={quoted(str(found.absolute()))}"] if found else [])]
    trust_what_is_typed(words)
    folder = meant(words)
    return new if folder is None or not holds_run(folder) else _goes_on(folder, words)


def trust_what_is_typed(words: Sequence[str]) -> None:
    """Classes of one's own that these words name, or configs that they choose, are those of the run that is meant."""
    if not config_folders() and not any(OWN_CLASS.search(word) for word in words):
        return
    chosen = [word for word in words if not word.startswith(("hydra.", "-", f"{KEY}=", f"{CHANGED}="))]
    with contextlib.suppress(UserError):  # of a class that is not there, the run that is meant says it
        accept(composed(chosen).plain())


def meant(words: Sequence[str]) -> Path | None:
    """The folder of the run that `resume=auto` beside these words means; None where a new one begins."""
    named = _named(words, "hydra.run.dir")
    return _newest(words) if named is None else Path(named).expanduser()


def goes_on_in(folder: Path) -> tuple[bool, Path | None]:
    """Of a run in a multirun that goes on: whether it has had its end, and else the checkpoint that it goes on from."""
    if not holds_run(folder) or is_series(folder):
        return False, None
    return has_ended(folder), find_checkpoint(str(folder))


def has_ended(folder: Path) -> bool:
    """Whether a run, or each of a series, has come to its end, its test included."""
    if is_series(folder):
        return finished_series(folder)
    if not read_metrics(folder).get("finished"):
        return False
    config = saved_config(folder)
    return finished(folder, bool(config.test and config.callbacks.get("checkpoint") is not None))


def _goes_on(folder: Path, words: Sequence[str]) -> list[str] | None:
    """Words with which the run of a folder goes on: those that it has not had before."""
    new = _new(folder, [word for word in words if not word.startswith("hydra.run.dir=")])
    if has_ended(folder) and not any(word.partition("=")[0] in LENGTH for word in new):
        said = f"{shown(folder)} has come to its end, and nothing is left to do; a longer duration= goes on with it"
        rich.get_console().print(said, markup=False, highlight=False, soft_wrap=True)
        return None
    return resume_arguments([f"resume={quoted(str(folder))}", *new])


def _new(folder: Path, words: Sequence[str]) -> list[str]:
    """Those words that the run of a folder has not had at its last start, so that unchanged ones are no changes."""
    typed, before = set[str](), dict[str, str]()
    for start in _starts(folder):
        typed |= set(words_of(start))
        before |= keys_of(words_of(start))
    if "augment=none" in words and not augmented(folder):
        before["augment"] = "none"
    new = []
    for word in words:
        keys = keys_of([word])  # none of what stands for nothing in a new run, as experiment=null
        if any(before.get(key) != value for key, value in keys.items()) if keys else word not in typed:
            new.append(word)
    return new


def _newest(words: Sequence[str]) -> Path | None:
    """The run that is meant by words without a folder; None: a new one."""
    if _telling(words):
        same = [folder for folder in _begun_with(words) if holds_run(folder)]
        return max(same, key=lambda f: (not has_ended(f), (f / "record.json").stat().st_mtime), default=None)
    if not any(RUNS.glob("**/checkpoints/*.ckpt")):
        return None
    folder = folder_of(find_checkpoint("auto"))
    if (folder.parent.parent / "sweep.json").exists():
        raise UserError(
            "the newest run is a trial of a sweep: torchatlas sweep "
            f"resume={shown(folder.parent.parent)} goes on with the sweep"
        )
    return folder.parent if is_series(folder.parent) else folder  # a series' newest run is the newest of all


def _begun_with(words: Sequence[str]) -> Iterator[Path]:
    """Folders under `runs` of runs that began with these words; not those inside of a series or a sweep."""
    telling = _telling(words)
    for path in RUNS.glob("**/record.json"):
        inside = is_series(path.parent.parent) or (path.parent.parent.parent / "sweep.json").exists()
        starts = [] if inside else _starts(path.parent)
        if starts and _telling(words_of(starts[0])) == telling:
            yield path.parent


def _newest_multirun(words: Sequence[str]) -> Path | None:
    """The folder in which a multirun of these words has begun."""
    paths = [p for p in RUNS.glob(f"**/{MULTIRUN}") if _telling(read_json(p).get("words", ())) == _telling(words)]
    return max(paths, key=lambda path: path.stat().st_mtime).parent if paths else None


def _starts(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(folder / "record.json").get("starts", [])
    return found


# --- words


def words_of(start: Mapping[str, Any]) -> list[str]:
    """What was typed behind the program's name, of an entry of `record.json`.

    >>> words_of({"command": "python train.py model=mlp"}), words_of({"command": "torchatlas train -m seed=0,1"})
    (['model=mlp'], ['-m', 'seed=0,1'])
    """
    return with_key(shlex.split(str(start.get("command", "")))[2:])


def keys_of(words: Sequence[str]) -> dict[str, str]:
    """Words by key, the last one of each; a number, or a part that is left out, is the same in whatever form.

    >>> keys_of(["optim.lr=.10", "model=mlp", "+a='b'", "--multirun", "~logger"])
    {'optim.lr': '0.1', 'model': 'mlp', 'a': 'b', '-m': '', 'logger': 'none'}
    """
    found: dict[str, str] = {}
    for word in in_one_form(words):
        key, _, value = word.partition("=")
        value = value.strip("'\"")
        with contextlib.suppress(ValueError):
            value = repr(float(value))
        found["-m" if key in MANY else key.lstrip("+")] = value
    return found


def _telling(words: Sequence[str]) -> dict[str, str]:
    """Those words that say which run it is."""
    others = {*LENGTH, *PLACE, "resume", CHANGED}
    return {key: value for key, value in keys_of(words).items() if key not in others and not key.startswith("hydra.")}


def _named(words: Sequence[str], key: str) -> str | None:
    """The value of a key of Hydra's, without quotes."""
    given = [word for word in words if word.startswith(f"{key}=")]
    return str(OverridesParser.create().parse_override(given[-1]).value()) if given else None


# --- two processes at once


@contextlib.contextmanager
def _alone(words: Sequence[str]) -> Iterator[None]:
    """Keep other processes with the same words, here or on another machine of the disk, from the same run meanwhile.

    Raises:
        UserError: one is at it.
    """
    if os.name != "posix" or any(os.environ.get(key, "0") != "0" for key in ("SLURM_PROCID", "RANK", "LOCAL_RANK")):
        yield  # the first of several processes speaks for all
        return
    name = hashlib.sha256(repr(sorted(_telling(words).items())).encode()).hexdigest()[:16]
    path = RUNS / ".auto" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    held.add(handle)
    try:
        with claimed(handle) as alone:
            if not alone:
                raise UserError("another process is at the run of these words: let it end, or stop it, first")
            yield
    finally:
        held.discard(handle)
        os.close(handle)
