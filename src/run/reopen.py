"""From a run folder to the config with which the run goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError

from ..errors import UserError, nearest
from ..storage.checkpoints import read
from ..training.memory_format import format_of
from ..training.planning import Behind
from ..zoo import GROUPS, config_text
from .compose import Composed
from .resume import CHANGED, accepts, require_changeable
from .saved import saved_config
from .trust import require_trusted
from .values import check_values


def reopened(folder: Path, path: Path, overrides: Sequence[str] = (), words: Sequence[str] = ()) -> Composed:
    """The config with which a run was started, with what is given anew.

    What was found in the data when the run began (classes and statistics of a user's folder) is taken from the
    checkpoint, so that a folder that has changed since cannot change the meaning of the labels.

    Args:
        folder: the run folder.
        path: the checkpoint.
        overrides: what is given anew, as Hydra has it.
        words: what was typed.

    Raises:
        UserError: the config would call something that is not allowed, an override is of no known key, or of one
            that cannot change within a run.
    """
    config = saved_config(folder)
    found = read(path)["torchatlas"]["data"]
    require_trusted(found)
    before: Any = OmegaConf.to_container(config)
    OmegaConf.set_struct(config, True)
    limits_given = accepted = False
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if key == "resume":
            continue
        if key == CHANGED:
            accepted = accepts(value)
            continue
        require_changeable(key, value, config)
        if key in GROUPS:
            change_group(config, key, value if isinstance(value, list) else [value])
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
    check_values(config, saved_config(folder))
    changed = [(k, one.get(k), two.get(k)) for k in {**one, **two} if one.get(k) != two.get(k)]
    return Composed(config, {}, words, changed, accepted)


def progress(checkpoint: dict[str, Any], path: Path) -> Behind:
    """What the run of a checkpoint has behind it.

    Raises:
        UserError: the checkpoint holds weights only.
    """
    about = checkpoint["torchatlas"]
    if "processes" not in about:
        raise UserError(f"{path} holds weights only, from which no run can go on: use resume={path.parent.parent}")
    return Behind(
        checkpoint["epoch"] + (about["batches"] == 0), checkpoint["global_step"], ended=about["ended"],
        layout=format_of(checkpoint["state_dict"]),
        steps_per_epoch=about.get("steps_per_epoch"), shift=about.get("shift", 0),
    )  # fmt: skip


def change_group(config: DictConfig, group: str, names: Sequence[Any]) -> None:
    """A trainer's choice changes the devices; a schedule or loggers take the place of the old ones."""
    chosen: Any = OmegaConf.merge(*(OmegaConf.create(config_text(group, str(name))) for name in names))
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
