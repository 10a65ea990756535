"""Values of a config: each of the kind that it replaces."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

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
        UserError: a text where a number is meant, a number where a list is, and so on; it shows the old value.
    """
    if default is not None:
        _compare(default, config, "")


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
