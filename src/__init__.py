"""torchatlas: the reference architectures of deep learning, readable, trained and reused by one command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .version import __version__
from .zoo import create_model, list_models, model_card

if TYPE_CHECKING:
    from .api.parts import create_data, create_task
    from .api.runs import Run
    from .api.trained import load
    from .api.training import train
    from .weights import load_weights, save_weights

__all__ = [
    "Run", "UserError", "__version__", "create_data", "create_model", "create_task", "list_models", "load",
    "load_weights", "model_card", "save_weights", "train",
]  # fmt: skip
# By the module that has them; `train` is the module train.py, which can be called.
LATE = {
    "Run": "api.runs", "create_data": "api.parts", "create_task": "api.parts", "load": "api.trained",
    "load_weights": "weights", "save_weights": "weights",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for, so that `torchatlas list` is quick."""
    if name == "train":
        return import_module(".train", __name__)
    if name in LATE:
        return getattr(import_module(f".{LATE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
