"""Values of a config: each of the kind that it replaces."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from ..errors import UserError

ANSWERED = ("trainer.accelerator", "trainer.devices", "trainer.strategy")  # null of which is understood elsewhere
KINDS: tuple[tuple[Any, Any, str], ...] = (
    (bool, bool, "true or false"),
    (int, int, "a whole number"),
    (float, int | float, "a number"),
    (str, str | int | float, "text"),
    (ListConfig, ListConfig, "a list"),
    (DictConfig, DictConfig, "a section with keys of its own"),
)


def check_values(config: DictConfig, default: DictConfig | None) -> None:
    """Refuse values of another kind than those they replace.

    Args:
        config: as composed.
        default: the same without values of the user's own; None where there are none.

    Raises:
        UserError: a text where a number is meant, a number where a list is, nothing at all, null where something is
            needed, and so on; it shows the old value.
    """
    if default is not None:
        _compare(default, config, "")
        _refuse_empty(default, config, "")
        _refuse_null(default, config, "")


def _refuse_empty(old: DictConfig, new: DictConfig, prefix: str) -> None:
    """`data.root=`, as of a variable of the shell that is not set, is no value where one stood that is not a text."""
    for name in map(str, new):
        before, now = (part._get_node(name) if name in part else None for part in (old, new))
        if isinstance(before, DictConfig) and isinstance(now, DictConfig) and not (before._is_none() or now._is_none()):
            _refuse_empty(before, now, f"{prefix}{name}.")
        elif isinstance(now, Node) and now._value() == "":
            said = before._value() if isinstance(before, Node) else None
            if not isinstance(said, str) or OmegaConf.is_interpolation(old, name):
                raise UserError(f"{prefix}{name}= is empty: give it a value, or leave it out")


def _refuse_null(old: DictConfig, new: DictConfig, prefix: str) -> None:
    """Null where a value stood, unless the class or function of the section says that the argument may be None."""
    target = new.get("_target_")
    for name in map(str, old):
        before, now = (part._get_node(name) if name in part else None for part in (old, new))
        if isinstance(before, DictConfig):
            if isinstance(now, DictConfig) and not (before._is_none() or now._is_none()):
                _refuse_null(before, now, f"{prefix}{name}.")
            continue
        if not (isinstance(before, Node) and isinstance(now, Node)) or before._is_none() or not now._is_none():
            continue
        if f"{prefix}{name}" in ANSWERED:
            continue
        if target is None or accepts_none(get_object(target), name) is False:
            known = not OmegaConf.is_interpolation(old, name) and not OmegaConf.is_missing(old, name)
            example = f", as in {_example(f'{prefix}{name}', old[name])}" if known else ""
            raise UserError(f"{prefix}{name}=null cannot be null: leave it out, or give it a value{example}")


def accepts_none(target: Callable[..., Any], name: str) -> bool | None:
    """Whether an argument of a class or a function may be None by its annotation; None where there is none.

    Args:
        target: a class's keywords that it hands on are those of its bases.
        name: of the argument.
    """
    for owner in target.__mro__ if isinstance(target, type) else (target,):
        function = vars(owner).get("__init__") if isinstance(owner, type) else owner
        parameter = inspect.signature(function).parameters.get(name) if inspect.isfunction(function) else None
        if parameter is None:
            continue
        try:
            hint = typing.get_type_hints(function)[name]
        except Exception:  # of any kind: a name that is not there, no annotation at all
            return None
        return hint in (Any, object, None) or type(None) in typing.get_args(hint)
    return None


def _compare(old: Any, new: Any, key: str) -> None:
    if old is None or new is None or key == "trainer.devices":
        return
    if key == "compile":  # of two kinds
        if not isinstance(new, bool) and new != "blocks":
            raise UserError(f"compile={new} must be true, false or blocks, as in compile=false")
        return
    if isinstance(old, DictConfig) and isinstance(new, DictConfig):
        for name in map(str, old):
            if name in new and not OmegaConf.is_interpolation(old, name) and not OmegaConf.is_missing(new, name):
                _compare(old[name], new[name], f"{key}.{name}" if key else name)
        return
    for kinds, accepted, meant in KINDS:
        if isinstance(old, kinds):
            if not isinstance(new, accepted) or (isinstance(new, bool) and kinds is not bool):
                raise UserError(f"{key}={new} must be {meant}, as in {_example(key, old)}")
            return


def _example(key: str, old: Any) -> str:
    if isinstance(old, DictConfig):
        return f"{key}.{next(map(str, old))}="
    shown = str(OmegaConf.to_container(old)) if isinstance(old, ListConfig) else str(old).lower()
    return f"{key}={shown.replace(' ', '')}"
