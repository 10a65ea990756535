"""A new run from an old one's config: `--config RUN/config.yaml`, and other words on top."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError

from ..errors import UserError, nearest
from ..storage.checkpoints import read
from ..storage.run_folder import find_checkpoint
from ..zoo import GROUPS, options
from .compose import Composed
from .quoting import path_in, quoted
from .reopen import change_group, flat
from .saved import checked, config_at
from .values import check_values

KEY = "config"
PARTLY = ("trainer", "schedule", "logger")  # groups of which a choice is laid over the old one, as in a resumed run


def with_key(words: Sequence[str]) -> list[str]:
    """`--config FILE` as the word `config=FILE`.

    >>> with_key(["--config", "a.yaml", "seed=1"]), with_key(["--config=a.yaml"])
    (['config=a.yaml', 'seed=1'], ['config=a.yaml'])

    Raises:
        UserError: there is no file behind it.
    """
    found, left = [], list(words)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=")
        if flag != f"--{KEY}":
            found.append(word)
            continue
        if not equals and not left:
            raise UserError(f"--{KEY} has no value: name a config, as in --{KEY} RUN_FOLDER/config.yaml")
        found.append(f"{KEY}={value if equals else left.pop(0)}")
    return found


def based(words: Sequence[str]) -> list[str]:
    """Words for Hydra, which composes a config of its own: it may lack the keys, and the run has the old one's name.

    Raises:
        UserError: a word that has no place on top of a config; the config cannot be read, see `saved_at`.
    """
    given = [word for word in words if word.startswith(f"{KEY}=")]
    where = path_in(given[-1]) if given else ""
    if where in ("", "null"):
        return list(words)
    rest = [word for word in words if not word.startswith(f"{KEY}=")]
    for word in rest:
        key = word.partition("=")[0].lstrip("+~")
        if word.startswith("~") or key in ("experiment", "debug"):
            raise UserError(f"{word} has no place on top of {KEY}={where}: leave it out, or change single values")
    chosen = {key: value for key, _, value in (word.partition("=") for word in rest) if key in GROUPS}
    if "data" in chosen and "model" not in chosen:
        raise UserError(
            f"data={chosen['data']} on top of {KEY}={where} needs a network of its sizes: add model=NAME, or leave out "
            f"--{KEY}"
        )
    saved = saved_at(Path(where).expanduser())
    name = [] if any(word.startswith("name=") for word in rest) else [f"name={quoted(name_of(saved, chosen))}"]
    values = re.compile(r"\+*([\w-]+\.[^=]+=.*)")
    rest = [f"++{m[1]}" if (m := values.fullmatch(a)) and not a.startswith(("hydra.", "-")) else a for a in rest]
    return [*rest, f"{KEY}={quoted(where)}", *name]  # at the end: Hydra takes no flag between other words


def name_of(saved: Mapping[str, Any], chosen: Mapping[str, str]) -> str:
    """The old run's name, in which a network or data that are chosen anew take the place of theirs."""
    name = str(saved["name"])
    for group in ("model", "data"):
        for old in sorted(options(group), key=len, reverse=True) if group in chosen else ():
            match = re.fullmatch(rf"(.*-)?{re.escape(old)}" if group == "data" else rf"{re.escape(old)}(-.*)?", name)
            if match:
                name = f"{match[1] or ''}{chosen[group]}" if group == "data" else f"{chosen[group]}{match[1] or ''}"
                break
    return name


def saved_at(where: Path) -> DictConfig:
    """The config of a run folder, of a file, or of a checkpoint; what it names may be called.

    Raises:
        UserError: there is none, it is damaged, or would call something that is not allowed.
    """
    if where.is_dir():
        if not (where / "config.yaml").is_file():
            raise UserError(f"{where} has no config.yaml: name a run folder, as in --{KEY} runs/mlp-digits/NAME")
        return config_at(where / "config.yaml")
    if not where.is_file():
        raise UserError(f"there is no {where}: name the config.yaml of a run, its folder, or a checkpoint of it")
    if where.suffix == ".ckpt":
        return checked(read(find_checkpoint(str(where)))["torchatlas"]["config"], where)
    return config_at(where)


def begun_from(
    config: DictConfig, overrides: Sequence[str], choices: Mapping[str, str], words: Sequence[str]
) -> Composed:
    """The config of a run that begins with an old one's.

    Groups are replaced whole (a trainer, a schedule and a logger as in a run that goes on), and values then changed. A
    network that is chosen anew takes its sizes from the data; one that stays follows the data where it has a value of
    theirs, as in data.image_size=64.

    Args:
        config: what Hydra has composed, of which the chosen groups are taken.
        overrides: Hydra's.
        choices: of groups.
        words: what was typed.

    Raises:
        UserError: see `based`; a key that the old config does not have.
    """
    saved = saved_at(Path(str(config[KEY])).expanduser())
    with open_dict(saved):
        for key in map(str, config):
            if key not in saved and key not in GROUPS:  # of an earlier version
                saved[key] = config[key]
        saved.resume = saved[KEY] = None
    before: dict[str, Any] = OmegaConf.to_container(saved)  # type: ignore[assignment]
    given = [(each.key_or_group, each.value()) for each in OverridesParser.create().parse_overrides(list(overrides))]
    groups = {key: value if isinstance(value, list) else [str(value)] for key, value in given if key in GROUPS}
    values = {key: value for key, value in given if key not in GROUPS and key != KEY and not key.startswith("hydra.")}
    for group, names in groups.items():
        replace_group(saved, config, group, names)
    OmegaConf.set_struct(saved, True)
    if {"trainer.max_epochs", "trainer.max_steps"} & set(values):  # the limits given anew replace the old ones
        values = {"duration": None, "trainer.max_epochs": -1, "trainer.max_steps": -1} | values
    if "seed" in values and "data.seed" not in values and saved.data.get("seed") == saved.seed:
        values["data.seed"] = values["seed"]
    for key, value in values.items():
        try:
            OmegaConf.update(saved, key, value)
        except ConfigAttributeError as error:
            raise UserError(f"the old config has no key {key!r}{nearest(key, list(flat(before)))}") from error
    follow_the_data(saved, before, [key for key in values if key.startswith("data.")])
    if not groups:
        check_values(saved, DictConfig(before))
    known = {"model": _first(saved.name), "data": _last(saved.name)}
    known |= {group: names[0] for group, names in groups.items() if group in known}
    return Composed(saved, {**choices, **known}, words)


def replace_group(saved: DictConfig, config: DictConfig, group: str, names: Sequence[str]) -> None:
    """Put a choice, or several loggers, in the place of the old one."""
    if group in PARTLY:
        return change_group(saved, group, names)
    with open_dict(saved):
        if group != "augment":
            saved[group] = OmegaConf.create(OmegaConf.to_container(config[group], resolve=False))
        elif "augment" in saved.data:
            saved.data.augment = OmegaConf.to_container(config.data.augment, resolve=True)
        elif names != ["none"]:
            raise UserError(f"augment={names[0]} is for images, and the data of the old config are none: leave it out")


def follow_the_data(saved: DictConfig, before: Mapping[str, Any], changed: Sequence[str]) -> None:
    """What the network has from the data changes with them: a value of the same name that was the same."""
    for key in changed:
        name = key.removeprefix("data.")
        old = before["data"].get(name)
        if old is not None and name in saved.model and saved.model[name] == old == before["model"].get(name):
            saved.model[name] = saved.data[name]


def _first(name: str) -> str:
    """The network in a run's name, or the name itself."""
    fitting = [option for option in options("model") if f"{name}-".startswith(f"{option}-")]
    return max(fitting, key=len, default=name)


def _last(name: str) -> str:
    """The data in a run's name, or the name itself."""
    fitting = [option for option in options("data") if f"-{name}".endswith(f"-{option}")]
    return max(fitting, key=len, default=name)
