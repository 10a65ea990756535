"""torchatlas: the reference architectures of deep learning, readable, trained and reused by one command."""

from .errors import UserError
from .version import __version__
from .zoo import create_model, list_models, model_card

__all__ = ["__version__", "UserError", "create_model", "list_models", "model_card"]
