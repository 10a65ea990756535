"""Which names a saved config may call."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from ..errors import UserError
from ..packages import look_here
from ..tasks.losses import is_known

# A config that came with a checkpoint or a run folder may be somebody else's: only what is defined here may be called.
TRUSTED = (
    "torchatlas.models.", "torchatlas.tasks.", "torchatlas.data.", "torchatlas.callbacks.", "torchatlas.pictures.",
    "torchatlas.loggers.",
    "torchatlas.training.schedules.",
    "torchatlas.training.optimizers.", "torch.optim.", "lightning.pytorch.trainer.", "lightning.pytorch.profilers.",
    "lightning.pytorch.callbacks.early_stopping.", "lightning.pytorch.callbacks.lr_monitor.",
)  # fmt: skip
LOSSES = "torch.nn."
VARIABLE = "TORCHATLAS_TRUST"


def own_packages() -> tuple[str, ...]:
    """The packages, or names in them, each with a dot behind it, that the user trusts."""
    return tuple(f"{name.strip()}." for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


@contextlib.contextmanager
def with_what_is_typed() -> Iterator[None]:
    """Around a run: what `accept` takes is trusted up to its end."""
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        os.environ.update({} if before is None else {VARIABLE: before})


def accept(config: Any) -> None:
    """Trust these very names, here and in further processes of the run: a config that was composed calls them anyway.

    Args:
        config: plain, of words that were typed, not one that was saved.
    """
    if names := [target for target in foreign_targets(config) if f"{target}." not in own_packages()]:
        os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), *names]))


def allowed(target: str, own: tuple[str, ...]) -> bool:
    """Whether a name may be called, by where what it means was defined."""
    trusted = TRUSTED + own
    found: Any = None
    if f"{target}." in own:  # this very name
        with contextlib.suppress(Exception):
            found = get_object(target)
        return callable(found)
    if target.startswith((*trusted, "lightning.", LOSSES)):
        with contextlib.suppress(Exception):  # a user's own module may raise anything
            found = get_object(target)
    home = f"{getattr(found, '__module__', None)}."
    if target.startswith(LOSSES) and not home.startswith(own or ("-",)):
        return is_known(found)
    known = isinstance(found, type) or home == "torchatlas.training.schedules." or home.startswith(own or ("-",))
    return known and home.startswith(trusted)


def refused(target: str, own: tuple[str, ...]) -> str:
    """Why a saved config may not call something, and what one types who knows better."""
    package = target.partition(".")[0]
    said = f"the saved config would call {target}"
    if own and f"{target}.".startswith(own):
        return f"{said}, which is not there: install {package}, or go to the folder in which it is"
    if package in (*sys.stdlib_module_names, "torchatlas") or package == target:
        return f"{said}, which no run of torchatlas does: it is not used"
    return (
        f"{said}, which is no part of torchatlas: if the run is yours, or you trust who made it, type "
        f"TORCHATLAS_TRUST={home_of(target)} before the command"
    )


def home_of(target: str) -> str:
    """What has to be trusted for a name: its package; of the large ones that come with this package a module."""
    return target.rpartition(".")[0] if target.startswith(("torch.", "lightning.")) else target.partition(".")[0]


def prefix(config: Any) -> str:
    """What is typed before a command that uses a run of this config: `TORCHATLAS_TRUST=mine `, or nothing."""
    found = dict.fromkeys(map(home_of, foreign_targets(config)))
    return f"{VARIABLE}={','.join(found)} " if found else ""


def foreign_targets(config: Any) -> list[str]:
    """Names in a plain config that nobody may call without a word of the user's."""
    found: dict[str, None] = {}

    def visit(node: Any) -> None:
        if isinstance(node, dict) and "_target_" in node and not allowed(target := str(node["_target_"]), ()):
            found[target] = None
        for part in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
            visit(part)

    visit(config)
    return list(found)


def require_trusted(config: Any) -> None:
    """Refuse a config that could call anything but this package's classes, torch's optimisers and Lightning's trainer.

    Names are resolved and judged by where the object was defined, so that a path through a module's own
    imports (`torchatlas.models.mlp.torch.hub.load`) does not pass. Interpolations, which could build a config after
    this check, are refused too: what was saved is resolved. Packages of your own are trusted when the
    environment variable TORCHATLAS_TRUST names them, separated by commas.

    Args:
        config: nested mappings, sequences and plain values.

    Raises:
        UserError: it names the target.
    """
    own = own_packages()
    if own:
        look_here()
    if isinstance(config, dict):
        if config.get("dirpath") is not None or Path(str(config.get("filename", "x"))).name != str(
            config.get("filename", "x")
        ):
            raise UserError("the saved config would write files outside of its run folder, which is not allowed")
        if "_target_" in config and not allowed(target := str(config["_target_"]), own):
            raise UserError(refused(target, own))
        for value in config.values():
            require_trusted(value)
    elif isinstance(config, list | tuple):
        for value in config:
            require_trusted(value)
    elif isinstance(config, str):
        if "${" in config:
            raise UserError(f"the saved config has an interpolation, {config}, where only values are allowed")
    elif not isinstance(config, int | float | bool | None):
        raise UserError(f"the saved config holds a {type(config).__name__}, where only plain values are allowed")
