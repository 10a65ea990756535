"""From a run folder to the config with which the run goes on, and what may change in it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError
from yaml import YAMLError

from ..errors import UserError, nearest
from ..storage import run_folder
from ..storage.checkpoints import read
from ..storage.run_folder import find_checkpoint, folder_of, is_series, require_plain
from ..zoo import GROUPS, config_text
from .trust import require_trusted

PARTS = (
    "name", "seed", "duration", "test", "compile", "model", "task", "data", "optim", "schedule", "trainer", "callbacks",
    "logger",
)  # fmt: skip


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
    "experiment": "an experiment is a run of its own",
    "debug": "a debugging run is a run of its own",
    "seeds": "the seeds are those that the series began with",
}
CHANGEABLE = "trainer.max_epochs=40, duration=40ep, optim.lr=0.01, schedule=linear, trainer=gpu, data.root=FOLDER"


def saved_config(folder: Path) -> DictConfig:
    """The resolved config of a run folder.

    Raises:
        UserError: it is damaged, or would call something that is not allowed.
    """
    path = folder / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, DictConfig) or not set(PARTS) <= set(config):
        raise UserError(f"{path} is no config of a run: it has to have {', '.join(PARTS)}")
    require_trusted(OmegaConf.to_container(config))
    return config


def resumed_config(folder: Path, overrides: Sequence[str], path: Path) -> tuple[DictConfig, list[tuple[str, Any, Any]]]:
    """The config with which a run was started, with what is given anew.

    What was found in the data when the run began (classes and statistics of a user's folder) is taken from the
    checkpoint, so that a folder that has changed since cannot change the meaning of the labels.

    Args:
        folder: the run folder.
        overrides: words of the command line.
        path: the checkpoint.

    Returns:
        The config, and what was changed: key, value before, value now.

    Raises:
        UserError: the config would call something that is not allowed, an override is of no known key, or of one
            that cannot change within a run.
    """
    config = saved_config(folder)
    found = read(path)["torchatlas"]["data"]
    require_trusted(found)
    before: Any = OmegaConf.to_container(config)
    OmegaConf.set_struct(config, True)
    limits_given = False
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if key == "resume":
            continue
        require_changeable(key, value, config)
        if key in GROUPS:
            change_group(config, key, str(value))
            continue
        if key in ("trainer.max_epochs", "trainer.max_steps"):  # the limits given anew replace the old ones
            config.duration = None
            if not limits_given:
                config.trainer.max_epochs = config.trainer.max_steps = -1
            limits_given = True
        known = list(flat(before))
        try:
            OmegaConf.update(config, key, value)
        except ConfigAttributeError as error:
            raise UserError(f"the run's config has no key {key!r}{nearest(key, known)}") from error
    after: Any = OmegaConf.to_container(config)
    for key in {"classes", "mean", "std"} & set(config.data) & set(found):
        config.data[key] = found[key]
    one, two = flat(before), flat(after)
    return config, [(k, one.get(k), two.get(k)) for k in {**one, **two} if one.get(k) != two.get(k)]


def progress(path: Path) -> tuple[int, int, bool]:
    """Whole epochs and steps that a checkpoint has behind it, and whether it was the end of its run.

    Raises:
        UserError: the checkpoint holds weights only.
    """
    checkpoint = read(path)
    about = checkpoint["torchatlas"]
    if "processes" not in about:
        raise UserError(f"{path} holds weights only, from which no run can go on: use resume={path.parent.parent}")
    return checkpoint["epoch"] + (about["batches"] == 0), checkpoint["global_step"], about["ended"]


def declared(config: DictConfig) -> tuple[dict[str, str], set[str]]:
    """What is fixed in a run, by key with the reason, and keys that are free all the same.

    Each class of a task, of data or of a callback says so in `fixed` and `free` for the keys of its own part of the
    config, beside what its base classes say; the key "" is all of the part.
    """
    parts = {"task": config.task, "data": config.data}
    parts |= {f"callbacks.{name}": callback for name, callback in config.callbacks.items()}
    fixed, free = dict(FIXED), set()
    for part, values in parts.items():
        for cls in get_class(values._target_).__mro__:
            fixed |= {f"{part}.{key}".rstrip("."): reason for key, reason in vars(cls).get("fixed", {}).items()}
            free |= {f"{part}.{key}" for key in vars(cls).get("free", ())}
    return fixed, free


def require_changeable(key: str, value: Any, config: DictConfig) -> None:
    """Refuse what cannot change within a run of this config, with the reason."""
    groups = ("trainer", "schedule", "logger")
    all_fixed, free = declared(config)
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


def change_group(config: DictConfig, group: str, name: str) -> None:
    """A trainer's choice changes the devices; a schedule or a logger takes the place of the old one."""
    chosen: Any = OmegaConf.create(config_text(group, name))
    chosen.pop("defaults", None)
    default: Any = OmegaConf.create(config_text("trainer", "default"))
    devices = {key: default[key] for key in ("accelerator", "devices", "strategy")} | {"sync_batchnorm": False}
    with open_dict(config):
        config[group] = OmegaConf.merge(config[group], devices, chosen) if group == "trainer" else chosen


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def resume_arguments(arguments: list[str]) -> list[str]:
    """With `resume=...`, Hydra is told to use the old run's folder."""
    resume = [a.split("=", 1)[1] for a in arguments if a.startswith("resume=")]
    if not resume or resume[-1] in ("", "null"):
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise UserError("resume= goes on with one run: leave out -m")
    rest = [a for a in arguments if not a.startswith("resume=")]
    if refused := [a for a in rest if a.startswith(("~", "hydra.run.dir="))]:
        raise UserError(f"a resumed run keeps its folder and its keys: leave out {' '.join(refused)}")
    where = Path(resume[-1]).expanduser()
    if is_series(where):
        if changed := [a for a in rest if not a.startswith(("hydra.", "-"))]:
            raise UserError(f"runs with several seeds go on as they began: leave out {' '.join(changed)}")
        return [f"resume={_quote(where.absolute())}", f"hydra.run.dir={_quote(where.absolute())}", *rest]
    checkpoint = find_checkpoint(resume[-1])
    folder = folder_of(checkpoint)
    require_plain(folder)
    if is_series(folder.parent) and resume[-1] == "auto":  # its newest run is the newest of all
        return resume_arguments([f"resume={folder.parent}", *rest])
    if (folder.parent.parent / "sweep.json").exists() and resume[-1] == "auto":
        raise UserError(
            "the newest run is a trial of a sweep: torchatlas sweep "
            f"resume={run_folder.shown(folder.parent.parent)} goes on with the sweep"
        )
    config = saved_config(folder)
    for override in OverridesParser.create().parse_overrides(
        [a for a in rest if "=" in a and not a.startswith(("-", "hydra."))]
    ):
        require_changeable(override.key_or_group, override.get_value_string(), config)
    # Hydra composes the default config beside it, which need not have the key.
    values = re.compile(r"\+*([\w-]+\.[^=]+=.*)")
    rest = [f"++{m[1]}" if (m := values.fullmatch(a)) and not a.startswith("hydra.") else a for a in rest]
    return [f"resume={_quote(checkpoint.absolute())}", f"hydra.run.dir={_quote(folder)}", *rest]


def _quote(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"
