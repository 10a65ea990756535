"""From words to a config: the one place that composes, checks types, and knows what `debug=` and `GROUP=null` mean."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ..data.contract import declared
from ..errors import UserError, debug_words, nearest
from ..storage.run_folder import new_folder
from ..zoo import GROUPS, config_keys, options
from .mistakes import in_a_sentence
from .quoting import require_readable
from .values import check_values

OF_RUNS = ("-", "~", "hydra.", "hydra/", "resume=", "seeds=")  # how words begin that say how a run is started
OPTIONAL = {"augment", "experiment", "debug"}  # groups of which a run may have none
OFF = {"logger": "none", "callbacks": "none", "schedule": "constant"}  # what null means in others


@dataclass(frozen=True)
class Composed:
    """What was asked for.

    Attributes:
        config: composed, its values of the kinds that they replace; or as a run was started with.
        choices: the name that was chosen of each group.
        words: as they were typed.
        changed: of a run that goes on, what it has otherwise: key, value before, value now.
        accepted: of such a run, whether it does so with data that have changed.
    """

    config: DictConfig
    choices: Mapping[str, str]
    words: Sequence[str]
    changed: Sequence[tuple[str, Any, Any]] = ()
    accepted: bool = False

    def plain(self) -> dict[str, Any]:
        """The config resolved to plain values."""
        found: Any = OmegaConf.to_container(self.config, resolve=True)
        return found  # type: ignore[no-any-return]


def composed(words: Sequence[str]) -> Composed:
    """The config of words such as `model=mlp optim.lr=0.1`, which make no run folder.

    Args:
        words: as `torchatlas train` takes them; `--config-dir FOLDER` adds configs of your own.

    Raises:
        UserError: a word that no config has, or a value of another kind; it names what is meant.
    """
    register_resolvers()
    with in_a_sentence(words), _hydra(list(words)) as overrides:
        config = hydra.compose("train", overrides, return_hydra_config=True)
        return _checked(config, overrides, words)


def require_config_words(words: Sequence[str], where: str, refused: Collection[str] = OF_RUNS) -> None:
    """Refuse words that choose no config but how runs are started.

    Args:
        refused: how such words begin; `--config-dir` is none of them.

    Raises:
        UserError: it names the word, and where it has no place.
    """
    for word in words:
        if word.startswith(tuple(refused)) and not word.startswith("--config-dir"):
            raise UserError(f"{word} has no place {where}: leave it out")


def handed_over(config: DictConfig, words: Sequence[str]) -> Composed:
    """The same of a config that Hydra has composed for the function that it calls.

    Args:
        config: as Hydra hands it over.
        words: what was typed; of a multirun those of all runs.
    """
    own = HydraConfig.get()
    check_values(config, default_config(own.overrides.task))
    return Composed(config, dict(own.runtime.choices), words)


def understood(words: Sequence[str]) -> list[str]:
    """Words as Hydra takes them: `debug=true` asks for tracebacks, `augment=null`, `logger=null`, `~logger` for none.

    Raises:
        UserError: a group or a key that every run has is to be empty or to go, or a group has a number for a name; a
            key of Hydra's is empty; or a word needs quotes.
    """
    off = {word: f"{group}={name}" for group, name in OFF.items() for word in (f"{group}=null", f"~{group}")}
    kept = [off.get(word, word) for word in debug_words(words)]
    require_readable(kept)
    for word in kept:
        group, equals, name = word.removeprefix("~").partition("=")
        gone = word.startswith("~")
        if group.startswith("hydra.") and equals and name in ("", "''", '""'):  # a run in the folder of the terminal
            raise UserError(f"{word} is empty: give it a value, or leave it out")
        if gone and group not in GROUPS and (group in config_keys() or group.startswith("trainer.")):
            raise UserError(f"{word} would leave the run without {group}: give it another value, as in {group}=VALUE")
        if group not in GROUPS or not (equals or gone):
            continue
        name = "" if gone else name
        if name in ("", "null") and group not in OPTIONAL:
            raise UserError(f"{word} would leave the run without {group}: choose one, as in {_example(group)}")
        if re.fullmatch(r"[\d.eE+-]+", name):  # Hydra's answer is a traceback
            raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
    return [word for word in kept if word not in {f"{group}={name}" for group in OPTIONAL for name in ("", "null")}]


def _example(group: str) -> str:
    return f"{group}={'none' if 'none' in options(group) else options(group)[0]}"


@contextlib.contextmanager
def _hydra(words: list[str]) -> Iterator[list[str]]:
    """Hydra with our configs, and those of `--config-dir FOLDER`; gives the other words."""
    rest, folders = [], []
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.append(value if equals else words.pop(0) if words else "")
        else:
            rest.append(word)
    for folder in folders:
        if not Path(folder).expanduser().is_dir():
            raise UserError(f"--config-dir={folder}: there is no such folder")
    paths = ",".join(f"'file://{Path(folder).expanduser().absolute()}'" for folder in folders)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("torchatlas.configs", version_base="1.3"):
        yield understood(rest) + ([f"hydra.searchpath=[{paths}]"] if paths else [])


def _checked(config: DictConfig, overrides: Sequence[str], words: Sequence[str]) -> Composed:
    """The config without Hydra's own part, which would make a run folder when it is resolved."""
    HydraConfig.instance().set_config(config)  # the run's name consists of choices
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        config.name = str(config.name)
        del config["hydra"]
    check_values(config, default_config(overrides))
    return Composed(config, choices, words)


def default_config(overrides: Sequence[str]) -> DictConfig | None:
    """The config with the same choices and without values of the user's own; None where there are no such values."""
    kept = [word for word in overrides if word.split("=")[0].split("@")[0] in (*GROUPS, "hydra.searchpath")]
    if len(kept) == len(overrides):
        return None
    return hydra.compose("train", overrides=kept)


def register_resolvers() -> None:
    """The functions that configs may call: what a class of data declares, and a new run folder."""
    OmegaConf.register_new_resolver("declared", declared, replace=True)
    OmegaConf.register_new_resolver("run_folder", new_folder, replace=True, use_cache=True)
