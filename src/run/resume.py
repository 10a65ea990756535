"""The words of a run that goes on: where it lies, and what may change in it."""

import re
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from ..storage.run_folder import find_checkpoint, folder_of, is_series, require_plain
from ..zoo import GROUPS, config_text
from .build import callbacks_of
from .quoting import path_in
from .saved import saved_config

# What decides which numbers the steps so far have computed: with another of these it is another run. What is so of a
# task, of data or of a callback, its class says in `fixed`; see `declared`.
FIXED = {
    "model": "the network is that of the checkpoint",
    "trainer.accumulate_grad_batches": "it decides how many steps an epoch has",
    "trainer.limit_train_batches": "it decides how many steps an epoch has",
    "augment": "the data are those of the checkpoint",
    "weights": "the weights are those of the checkpoint",
    "optim._target_": "the optimiser's state is that of the checkpoint",
    "seed": "the order of the data follows from the seed",
    "name": "the run has its name",
    "config": "the run has its config",
    "experiment": "an experiment is a run of its own",
    "debug": "a debugging run is a run of its own",
    "seeds": "the seeds are those that the series began with",
    "folds": "the folds are those that the series began with",
    "folds_group": "the folds are those that the series began with",
}
CHANGED = "data.changed"  # the word, and no key of a config, with which a run goes on with other data
CHANGEABLE = "trainer.max_epochs=40, duration=40ep, optim.lr=0.01, schedule=linear, trainer=gpu, data.root=FOLDER"


def declared(config: DictConfig, asked: str) -> tuple[dict[str, str], set[str]]:
    """What is fixed in a run, by key with the reason, and keys that are free all the same.

    The class of a task, of data or of a callback says so in `fixed` and `free` for the keys of its own part of the
    config, beside what its base classes say; the key "" is all of the part. Only the class of the part in which the
    key is that is asked for is looked at.
    """
    parts = {"task": config.task, "data": config.data}
    parts |= {f"callbacks.{name}": callback for name, callback in callbacks_of(config).items()}
    fixed, free = dict(FIXED), set()
    for part in [part for part in parts if f"{asked}.".startswith(f"{part}.")]:
        for cls in reversed(get_class(parts[part]["_target_"]).__mro__):
            fixed |= {f"{part}.{key}".rstrip("."): reason for key, reason in vars(cls).get("fixed", {}).items()}
            free |= {f"{part}.{key}" for key in vars(cls).get("free", ())}
    return fixed, free


def augmented(folder: Path) -> bool:
    """Whether a run changes its training images beyond what its data say."""
    if not (folder / "config.yaml").is_file():
        return True  # which is said elsewhere
    values, none = saved_config(folder).data.get("augment") or {}, OmegaConf.create(config_text("augment", "none"))
    return any(values.get(key, value) != value for key, value in none.items())


def accepts(value: Any) -> bool:
    """Whether a run is to go on with data that have changed, as `data.changed=accept` says.

    Raises:
        UserError: another word.
    """
    if value not in ("accept", "refuse"):
        raise UserError(f"{CHANGED}={value} must be accept or refuse")
    return bool(value == "accept")


def require_changeable(key: str, value: Any, config: DictConfig) -> None:
    """Refuse what cannot change within a run of this config, with the reason."""
    groups = ("trainer", "schedule", "logger")
    all_fixed, free = declared(config, key)
    for fixed, reason in all_fixed.items():
        if key not in free and f"{key}.".startswith(f"{fixed}."):
            raise UserError(
                f"{key}={value} cannot change in a resumed run, since {reason}: leave out resume= for a new run; what "
                f"can change is, for example, {CHANGEABLE}"
            )
    if key in GROUPS and key not in groups:
        raise UserError(
            f"{key}={value} cannot change in a resumed run as a whole: change its values, as in {CHANGEABLE}"
        )


def resume_arguments(arguments: list[str]) -> list[str]:
    """With `resume=RUN`, Hydra is told to use the old run's folder; see `auto` for `resume=auto`."""
    resume = [path_in(a) for a in arguments if a.startswith("resume=")]
    if not resume or resume[-1] in ("", "null"):
        if asked := [a for a in arguments if a.startswith(f"{CHANGED}=")]:
            raise UserError(f"{asked[0]} is for a run that goes on: add resume=RUN_FOLDER, or leave it out")
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise UserError("resume=RUN goes on with one run: leave out -m, or use resume=auto to go on with a multirun")
    rest = [a for a in arguments if not a.startswith("resume=")]
    if refused := [a for a in rest if a.startswith(("~", "hydra.run.dir="))]:
        raise UserError(f"a resumed run keeps its folder and its keys: leave out {' '.join(refused)}")
    where = Path(resume[-1]).expanduser()
    if is_series(where):
        if changed := [a for a in rest if not a.startswith(("hydra.", "-", f"{CHANGED}="))]:
            raise UserError(f"runs with several seeds or folds go on as they began: leave out {' '.join(changed)}")
        rest = [f"++{a}" if a.startswith(f"{CHANGED}=") else a for a in rest]
        return [f"resume={_quote(where.absolute())}", f"hydra.run.dir={_quote(where.absolute())}", *rest]
    checkpoint = find_checkpoint(resume[-1])
    folder = folder_of(checkpoint)
    require_plain(folder)
    config = saved_config(folder)
    for override in OverridesParser.create().parse_overrides(
        [a for a in rest if "=" in a and not a.startswith(("-", "hydra."))]
    ):
        if override.key_or_group == CHANGED:
            accepts(override.value())
        else:
            require_changeable(override.key_or_group, override.get_value_string(), config)
    # Hydra composes the default config beside it, which need not have the key.
    values = re.compile(r"\+*([\w-]+\.[^=]+=.*)")
    rest = [f"++{m[1]}" if (m := values.fullmatch(a)) and not a.startswith("hydra.") else a for a in rest]
    return [f"resume={_quote(checkpoint.absolute())}", f"hydra.run.dir={_quote(folder)}", *rest]


def _quote(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
