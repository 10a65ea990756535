"""Mistakes of a user: answered in one sentence, with status 2; and Ctrl-C, with status 130."""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, ending_in, nearest, tell
from ..storage.run_folder import discard
from ..zoo import GROUPS, chosen, config_text, options
from .quoting import together

MISTAKES = (UserError, HydraException, OmegaConfBaseException, MisconfigurationException, OSError)

ONE_VALUE = "Expected more than 1 value per channel"  # torch's words, see `is_mistake`


@contextlib.contextmanager
def answered(words: Sequence[str]) -> Iterator[None]:
    """Around a program: a user's mistake or Ctrl-C ends it, and what was made for a run that came to nothing goes.

    `debug=true`, or TORCHATLAS_TRACEBACK=1 in the environment, shows the traceback too.

    Args:
        words: what was typed, where a right word is looked for.
    """
    try:
        yield
    except KeyboardInterrupt:
        interrupted()
    except SystemExit as error:
        if error.code == 1 and isinstance(error.__context__, KeyboardInterrupt):  # Lightning has made it an exit
            interrupted()
        raise
    except Exception as error:
        logged = "Unable to configure handler" in str(error)  # Hydra's log file cannot be opened
        if not is_mistake(error) and not logged:
            raise
        logging.shutdown()
        discard()
        refuse(error.__cause__ if logged and isinstance(error.__cause__, OSError) else error, words)


@contextlib.contextmanager
def in_a_sentence(words: Sequence[str]) -> Iterator[None]:
    """What the libraries say of a mistake becomes a `UserError`.

    Args:
        words: what was typed, where a right word is looked for.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_mistake(error):
            raise
        raise UserError(explain(error, words)) from error


def is_mistake(error: Exception) -> bool:
    """Whether a user can mend it; so batch normalisation in training, of a batch that gives it one value a channel."""
    return isinstance(error, MISTAKES) or (isinstance(error, ValueError) and ONE_VALUE in str(error))


def interrupted() -> NoReturn:
    """The one answer to Ctrl-C."""
    logging.shutdown()
    discard()
    print("torchatlas: interrupted", file=sys.stderr)
    sys.exit(130)


def refuse(error: Exception, words: Sequence[str]) -> NoReturn:
    """End the program with one sentence."""
    tell(error, explain(error, words))
    sys.exit(2)


def explain(error: Exception, words: Sequence[str] = ()) -> str:
    """One sentence for a mistake: what is wrong, and the nearest right word."""
    message = str(error)
    if "Original Traceback" in message:  # from a worker: torch puts its whole traceback into the message
        return message.strip().splitlines()[-1].split(": ", 1)[-1]
    if ONE_VALUE in message:
        return (
            "batch normalisation has no spread of the one value a channel that a batch of one sample gives: use "
            "data.batch_size=2 or more for each device, or a network without it"
        )
    if match := re.search(r"Could not (?:find|load) '(?P<group>[\w/]+)/(?P<name>[^']+)'", message):
        group, name = match["group"], match["name"]
        return f"there is no {group} {name!r}{nearest(name, options(group))}" if group in GROUPS else message
    if match := re.search(r"Could not override '([^']+)'", message):
        return unknown_key(match[1], words)
    if match := re.search(r"No supported (\w+) backend found|`(\w+)Accelerator` can not run", message):
        device = match[1] or match[2]
        return f"there is no {device} here: use trainer=cpu, or trainer=auto for the best device that is there"
    if match := re.search(r"No match in the defaults list\.|Could not find group", message):
        return message.splitlines()[0]
    if isinstance(error, OmegaConfBaseException) and error.__cause__ and isinstance(error.__cause__, UserError):
        return str(error.__cause__)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} cannot be read or written: {error.strerror}"
    cause: BaseException = error
    while isinstance(cause.__cause__, Exception) and not isinstance(cause, UserError):
        cause = cause.__cause__
    nulls = [word for word in words if word.endswith("=null")]
    if nulls and not isinstance(cause, UserError) and "NoneType" in str(cause):
        return f"{' or '.join(nulls)} cannot be null: leave it out, or give it a value"
    said = str(cause).removeprefix("UserError raised while resolving interpolation: ")
    return " ".join(said.split("\n    full_key:")[0].split())


def unknown_key(key: str, words: Sequence[str]) -> str:
    """What may have been meant by a key that no config has: `lr` by optim.lr, `optim.lrr` too.

    Args:
        key: dotted.
        words: what was typed; keys are looked for in the config of its choices.
    """
    if key == "task.loss":
        others = [name for name in options("task") if "\n  loss:" in config_text("task", name)]
        return (
            f"task={chosen(words)['task']} is its loss, which cannot be another one: task.loss is for "
            f"{', '.join(others)}; for others write a task of your own"
        )
    known = _known_keys(words)
    group = key.split(".")[0]
    inside = [k for k in known if k.startswith(group + ".")]
    name = key.split(".")[1] if group == "logger" and "." in key else ""
    if name in options("logger") and f"logger.{name}" not in known:
        return f"logger.{name} is of a logger that is not chosen: add it, as in logger=tensorboard,{name}"
    if "." in key and inside:
        return f"the config has no key {key!r}{nearest(key, inside)}"
    value = next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")
    if "." not in key and (meant := ending_in(key, known)):
        return f"the config has no key {key!r}: did you mean {' or '.join(f'{k}={value}' for k in meant)}?"
    first = dict.fromkeys([*GROUPS, *(k for k in known if "." not in k)])
    return f"the config has no key {key!r}{nearest(group, list(first))}"


def _known_keys(words: Sequence[str]) -> list[str]:
    GlobalHydra.instance().clear()
    pairs = [together(word).partition("=") for word in words]
    chosen = [f"{g}={name}" for g, _, name in pairs if g in GROUPS and (name in options(g) or name.startswith("["))]
    with hydra.initialize_config_module("torchatlas.configs", version_base="1.3"):
        config = hydra.compose("train", overrides=chosen)
    return [key for key in _keys(config) if not key.endswith("_")]


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    found = []
    for name in map(str, node):
        found.append(f"{prefix}{name}")
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            found += _keys(child, f"{prefix}{name}.")
    return found
