"""From words to a config: the one place that composes, checks types, and knows what `debug=` and `GROUP=null` mean."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ..data.contract import declared
from ..errors import UserError, debug_words, nearest
from ..packages import named, taken
from ..storage.run_folder import new_folder
from ..zoo import GROUPS, chosen, config_keys, options, require_one
from . import own_configs as own_configs  # which tells Hydra of them
from .mistakes import in_a_sentence
from .own_classes import adopt, with_own_classes
from .quoting import require_readable, together
from .values import check_values

OF_RUNS = (
    "-",
    "~",
    "hydra.",
    "hydra/",
    "resume=",
    "config=",
    "seeds=",
    "folds=",
    "folds_group=",
)  # how words begin that say how a run is started
OPTIONAL = {"augment", "experiment", "debug"}  # groups of which a run may have none
NOT_RESUMED = ("resume=", "resume=null", "resume=auto")  # with which no run is named that goes on
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
    with in_a_sentence(words), _hydra(words) as overrides:
        config = hydra.compose("train", overrides, return_hydra_config=True)
        return _checked(config, overrides, words)


def require_config_words(words: Sequence[str], where: str, refused: Collection[str] = OF_RUNS) -> None:
    """Refuse words that choose no config but how runs are started.

    Args:
        refused: how such words begin; those that name configs of one's own, see `packages.taken`, are none of them.

    Raises:
        UserError: it names the word, and where it has no place.
    """
    for word in taken(words):
        if word.startswith(tuple(refused)):
            raise UserError(f"{word} has no place {where}: leave it out")


def handed_over(config: DictConfig, words: Sequence[str]) -> Composed:
    """The same of a config that Hydra has composed for the function that it calls.

    Args:
        config: as Hydra hands it over.
        words: what was typed; of a multirun those of all runs.
    """
    own = HydraConfig.get()
    _own_values(config, own.overrides.task)
    return Composed(config, dict(own.runtime.choices), words)


def understood(words: Sequence[str]) -> list[str]:
    """Words as Hydra takes them: `debug=true` asks for tracebacks, `augment=null`, `logger=null`, `~logger` for none.

    Raises:
        UserError: a group or a key that every run has is to be empty or to go, or a group has a number for a name; a
            key of Hydra's is empty; or a word needs quotes.
    """
    kept = [together(word) for word in in_one_form(debug_words(words))]
    require_readable(kept)
    for path in (path for folder in named for path in folder.glob("*/*.yaml")):
        require_one(path.parent.name, path.stem)
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
        if name in options(group):
            require_one(group, name)
        if re.fullmatch(r"[\d.eE+-]+", name):  # Hydra's answer is a traceback
            raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
    return kept


def in_one_form(words: Sequence[str]) -> list[str]:
    """Words of which several mean the same as one of them.

    What is off already needs no word. It may not be off where an old config is taken over, where a run goes on, or by
    an experiment's choice.

    >>> in_one_form(["~logger", "schedule=null", "augment=null", "debug=true", "seed=1"])
    ['logger=none', 'schedule=constant', 'seed=1']
    >>> in_one_form(["experiment=vit_cifar_cifar10", "augment=null"]), in_one_form(["resume=RUN", "experiment=null"])
    (['experiment=vit_cifar_cifar10', 'augment=none'], ['resume=RUN', 'experiment=null'])
    """
    off = {word: f"{group}={name}" for group, name in OFF.items() for word in (f"{group}=null", f"~{group}")}
    none = {f"{group}={name}" for group in OPTIONAL for name in ("", "null")} | {
        "debug=true",
        "debug=false",
        "~augment",
    }
    rest = [word for word in words if word not in none]
    resumed = any(word.startswith("resume=") and word not in NOT_RESUMED for word in words)
    if resumed or any(word.startswith("config=") for word in words) or chosen(rest).get("augment", "none") != "none":
        off |= dict.fromkeys(("augment=", "augment=null", "~augment"), "augment=none")
    if resumed:
        none = {"debug=true", "debug=false"}
    return [off.get(word, word) for word in words if word not in none or word in off]


def _example(group: str) -> str:
    return f"{group}={'none' if 'none' in options(group) else options(group)[0]}"


@contextlib.contextmanager
def _hydra(words: Sequence[str]) -> Iterator[list[str]]:
    """Hydra with all configs, see `own_configs`; gives the words that are not about where they lie."""
    rest = taken(words)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_module("torchatlas.configs", version_base="1.3"):
        yield with_own_classes(understood(rest))


def _checked(config: DictConfig, overrides: Sequence[str], words: Sequence[str]) -> Composed:
    """The config without Hydra's own part, which would make a run folder when it is resolved."""
    HydraConfig.instance().set_config(config)  # the run's name consists of choices
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        config.name = str(config.name)
        del config["hydra"]
    _own_values(config, overrides)
    return Composed(config, choices, words)


def _own_values(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse values that cannot be; a class that a word has put in the place of another one has values of its own."""
    sections = adopt(config, overrides)
    default = default_config(overrides)
    if default is not None:
        for section in sections:
            above, _, name = section.rpartition(".")
            part = OmegaConf.select(default, above) if above else default
            if part is not None and name in part:
                with open_dict(part):
                    part.pop(name)
    check_values(config, default)


def default_config(overrides: Sequence[str]) -> DictConfig | None:
    """The config with the same choices and without values of the user's own; None where there are no such values."""
    kept = [word for word in overrides if word.split("=")[0].split("@")[0] in GROUPS]
    if len(kept) == len(overrides):
        return None
    return hydra.compose("train", overrides=kept)


def register_resolvers() -> None:
    """The functions that configs may call: what a class of data declares, and a new run folder."""
    OmegaConf.register_new_resolver("declared", declared, replace=True)
    OmegaConf.register_new_resolver("run_folder", new_folder, replace=True, use_cache=True)
