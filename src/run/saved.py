"""The config in a run folder."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from ..errors import UserError
from .renamed import renamed
from .trust import require_trusted

PARTS = (
    "name", "seed", "duration", "test", "compile", "model", "task", "data", "optim", "schedule", "trainer", "callbacks",
    "logger",
)  # fmt: skip


def saved_config(folder: Path) -> DictConfig:
    """The resolved config of a run folder.

    Raises:
        UserError: it is damaged, or would call something that is not allowed.
    """
    return config_at(folder / "config.yaml")


def config_at(path: Path) -> DictConfig:
    """The same of a file."""
    try:
        config = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    return checked(OmegaConf.to_container(config) if isinstance(config, DictConfig) else None, path)


def checked(found: Any, path: Path) -> DictConfig:
    """A config that came from a file, with the names of today."""
    if not isinstance(found, dict) or not set(PARTS) <= set(found):
        raise UserError(f"{path} is no config of a run: it has to have {', '.join(PARTS)}")
    plain = renamed(found)
    require_trusted(plain)
    return DictConfig(plain)
