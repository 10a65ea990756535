"""What surrounds the program on the command line: help, resume, and mistakes answered in one sentence."""

import functools
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from hydra.errors import HydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, nearest
from ..storage.run_folder import discard
from ..zoo import GROUPS, options

MISTAKES = (UserError, HydraException, OmegaConfBaseException, MisconfigurationException, OSError)


def answer_mistakes(run: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Around the function that Hydra calls: a user's mistake ends the program before Hydra reports a failed job."""

    @functools.wraps(run)
    def wrapped(config: DictConfig) -> Any:
        try:
            return run(config)
        except (*MISTAKES, KeyboardInterrupt) as error:
            logging.shutdown()
            if isinstance(error, KeyboardInterrupt):
                raise
            discard()
            _refuse(error)
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # which Lightning has made an exit with status 1
                raise KeyboardInterrupt from error
            raise

    return wrapped


def refuse_or_raise(error: Exception) -> NoReturn:
    """End the program with one sentence if the error is a mistake in the config, and go on with it otherwise."""
    if isinstance(error, MISTAKES):
        _refuse(error)
    raise error


def _refuse(error: Exception) -> NoReturn:
    if os.environ.get("TORCHATLAS_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"torchatlas: {explain(error)}", file=sys.stderr)
    sys.exit(2)


def explain(error: Exception) -> str:
    """One sentence for a mistake: what is wrong, and the nearest right word."""
    message = str(error)
    if "Original Traceback" in message:  # from a worker: torch puts its whole traceback into the message
        return message.strip().splitlines()[-1].split(": ", 1)[-1]
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^']+)'", message):
        group, name = match["group"], match["name"]
        return f"there is no {group} {name!r}{nearest(name, options(group))}" if group in GROUPS else message
    if match := re.search(r"Could not override '([^']+)'", message):
        return _unknown_key(match[1])
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
    said = str(cause).removeprefix("UserError raised while resolving interpolation: ")
    return " ".join(said.split("\n    full_key:")[0].split())


def _unknown_key(key: str) -> str:
    """The nearest key to one that no config has; keys are looked for in the config that was composed."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    group = key.split(".")[0]
    GlobalHydra.instance().clear()
    chosen = [a for a in sys.argv[1:] if re.match(rf"({'|'.join(GROUPS)})=", a)]
    with initialize_config_module("torchatlas.configs", version_base="1.3"):
        config = compose("train", overrides=chosen)

    def keys(node: DictConfig, prefix: str = "") -> list[str]:
        found = []
        for name in map(str, node):
            found.append(f"{prefix}{name}")
            child = node._get_node(name)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                found += keys(child, f"{prefix}{name}.")
        return found

    known = [k for k in keys(config) if "_target_" not in k and "_partial_" not in k]
    inside = [k for k in known if k.startswith(group + ".")]
    if "." in key and inside:
        return f"the config has no key {key!r}{nearest(key, inside)}"
    words = list(dict.fromkeys([*GROUPS, *(k for k in known if "." not in k)]))
    return f"the config has no key {key!r}{nearest(key, words)}"
