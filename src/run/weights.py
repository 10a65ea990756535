"""Weights with which a new run begins."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.base import DataModule
from ..data.images.base import ImageData
from ..data.text.tokenizer import load_codec
from ..errors import UserError
from ..storage.checkpoints import read
from ..storage.run_folder import find_checkpoint
from ..weights import load_weights


def of_network(weights: str, model: str) -> str:
    """`torchvision:IMAGENET1K_V2` with the network's name in it, which a saved config then tells."""
    source, _, rest = weights.partition(":")
    return f"torchvision:{model}/{rest}" if source == "torchvision" and re.fullmatch(r"[A-Z\d_]+", rest) else weights


def begin_with(weights: str, network: torch.nn.Module, data: DataModule, given: dict[str, Any]) -> str:
    """Load weights into a new network; the data are normalised as the weights expect it, unless the user said how.

    Args:
        weights: see `torchatlas.load_weights`.
        network: it is changed.
        data: images get the mean and spread that come with the weights.
        given: the config of the data.

    Returns:
        What was loaded and what was not, for the log.
    """
    require_tokenizer(weights, data)
    report = load_weights(network, weights)
    lines = [report.describe()]
    if (found := report.preprocessing) is not None and isinstance(data, ImageData):
        if given.get("mean") is None and given.get("std") is None:
            same = data.in_channels == len(found.mean)
            mean, std = (list(v) if same else [sum(v) / len(v)] * data.in_channels for v in (found.mean, found.std))
            data.load_state_dict({"mean": mean, "std": std})
            lines.append(f"images are normalised as for these weights: mean {_short(mean)}, spread {_short(std)}")
        if data.image_size != found.image_size:
            lines.append(
                f"the weights were trained with images of {found.image_size} pixels, and data.image_size is "
                f"{data.image_size}"
            )
    return "\n".join(lines)


def require_tokenizer(weights: str, data: DataModule) -> None:
    """Refuse weights that were trained with other tokens: token 7 has to mean what it meant then.

    Args:
        weights: of a run or a folder of Hugging Face, where a tokeniser stands beside them; with others it is the
            user who knows.
        data: text that is cut by a tokeniser.

    Raises:
        UserError: it names the tokeniser that fits.
    """
    source = Path(weights).expanduser()
    if source.is_file() and (source.parent / "config.json").is_file():
        source = source.parent
    known = getattr(data, "known_codec", None)
    if known is not None and (source / "checkpoints").is_dir():  # of characters, which the class fixes
        theirs, ours = saved_config_data(source), known.describe()
        if {key: theirs.get(key) for key in ours} != ours:
            raise UserError(f"weights={weights} were trained with other characters or words: use data of the same ones")
    if not hasattr(data, "tokenizer") or not (weights.startswith("hf:") or source.exists()):
        return
    try:
        theirs_codec = load_codec(source if source.exists() else weights)
    except UserError:
        return
    given = data.tokenizer
    if given is None or load_codec(given).fingerprint != theirs_codec.fingerprint:
        raise UserError(f"weights={weights} were trained with a tokeniser of their own: add data.tokenizer={weights}")


def saved_config_data(folder: Path) -> dict[str, Any]:
    """What the best checkpoint of a run folder says of its data."""
    found: dict[str, Any] = read(find_checkpoint(str(folder), "best"))["torchatlas"]["data"]
    return found


def _short(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
