"""Values of a config: each of the kind that it replaces."""

from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from ..errors import UserError

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
        UserError: a text where a number is meant, a number where a list is, nothing at all, and so on; it shows the old
            value.
    """
    if default is not None:
        _compare(default, config, "")
        _refuse_empty(default, config, "")


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


def _compare(old: Any, new: Any, key: str) -> None:
    if old is None or new is None or key == "trainer.devices":
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
