"""Which names a saved config may call."""

import contextlib
import os
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from ..errors import UserError

# A config that came with a checkpoint or a run folder may be somebody else's: only what is defined here may be called.
TRUSTED = (
    "torchatlas.models.", "torchatlas.tasks.", "torchatlas.data.", "torchatlas.callbacks.", "torchatlas.pictures.",
    "torchatlas.training.schedules.",
    "torchatlas.training.optimizers.", "torch.optim.", "lightning.pytorch.trainer.", "lightning.pytorch.profilers.",
    "lightning.pytorch.callbacks.early_stopping.", "lightning.pytorch.callbacks.lr_monitor.",
)  # fmt: skip


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
    own = tuple(f"{name.strip()}." for name in os.environ.get("TORCHATLAS_TRUST", "").split(",") if name.strip())
    trusted = TRUSTED + own
    if isinstance(config, dict):
        if config.get("dirpath") is not None or Path(str(config.get("filename", "x"))).name != str(
            config.get("filename", "x")
        ):
            raise UserError("the saved config would write files outside of its run folder, which is not allowed")
        if "_target_" in config:
            target = str(config["_target_"])
            found: Any = None
            if target.startswith((*trusted, "lightning.")):
                with contextlib.suppress(ImportError, ValueError):
                    found = get_object(target)
            home = f"{getattr(found, '__module__', None)}."
            allowed = (
                isinstance(found, type) or home == "torchatlas.training.schedules." or home.startswith(own or ("-",))
            )
            if not allowed or not home.startswith(trusted):
                raise UserError(
                    f"the saved config would call {target}, which is not allowed or not installed: if it is your own "
                    "package, name it in the environment variable TORCHATLAS_TRUST"
                )
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
