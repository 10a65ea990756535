"""The config in a run folder."""

from pathlib import Path

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
    path = folder / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, DictConfig) or not set(PARTS) <= set(config):
        raise UserError(f"{path} is no config of a run: it has to have {', '.join(PARTS)}")
    plain = renamed(OmegaConf.to_container(config))
    require_trusted(plain)
    return DictConfig(plain)
