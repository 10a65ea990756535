"""torchatlas: the reference architectures of deep learning, readable, trained and reused by one command."""

from typing import TYPE_CHECKING, Any

from .errors import UserError
from .version import __version__
from .zoo import create_model, list_models, model_card

if TYPE_CHECKING:
    from .weights import load_weights, save_weights

__all__ = [
    "__version__", "UserError", "create_model", "list_models", "load_weights", "model_card", "save_weights",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for, so that `torchatlas list` is quick."""
    if name in ("load_weights", "save_weights"):
        from . import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
