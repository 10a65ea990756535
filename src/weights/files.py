"""Files of weights, read without running what is in them."""

import argparse
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import UserError
from ..storage.foreign import foreign
from .report import Preprocessing

# The keys under which training programs put the state dict, in the order in which they are looked for.
WRAPPERS = ("state_dict", "model", "net", "network", "model_state_dict", "model_state", "weights", "params")
PREFIXES = ("network.", "model.", "net.", "backbone.")  # of programs that train a network inside of another module
WRAPPED = re.compile(
    r"(?:^|(?<=\.))(?:(?:module|_orig_mod)\.)+"
)  # DataParallel and torch.compile, of the whole or a part
# Values that checkpoints of other programs hold beside the tensors; none of them runs anything when it is made.
PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "bool")),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # of numpy 1
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]
]


@dataclass(frozen=True)
class Found:
    """A state dict as it was given, and what is known of it.

    Attributes:
        state: by the names of its source.
        where: the file or the name, for messages.
        source: whose names they are, where that is known without looking at the names.
        preprocessing: of the images, where it is known.
        config: of Hugging Face's network, where it lies beside the file.
    """

    state: dict[str, Tensor]
    where: str
    source: str | None = None
    preprocessing: Preprocessing | None = None
    config: Mapping[str, Any] | None = None  # config.json beside files of Hugging Face


HUB = "hf:"
PREPROCESSOR = "preprocessor_config.json"
FILES = ("model.safetensors", "pytorch_model.bin")  # of Hugging Face; large ones are in parts, with an index


def read(given: str | Path) -> Found:
    """The weights in a file, or of a run folder the best.

    Raises:
        UserError: there is none, or it is no whole file of weights, or it holds more than tensors and plain values.
    """
    path = Path(given).expanduser()
    if path.is_dir() and (path / "config.json").is_file():
        return _read_folder(path)
    if path.is_dir():
        from ..storage.run_folder import find_checkpoint  # and with it Lightning, which takes its time

        path = find_checkpoint(str(path), "best")
    try:
        with path.open("rb") as file:
            begin = file.read(9)
    except FileNotFoundError:
        if said := foreign(path):  # of several files, of which this is how their names begin
            raise UserError(f"{path} {said}") from None
        raise UserError(
            f"there is no file {path}: weights= takes a file, a run folder, torchvision:NAME, timm:NAME or hf:NAME"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if not begin:
        raise UserError(f"{path} is empty: download or copy it again")
    if begin[8:] != b"{" and (said := foreign(path)):
        raise UserError(f"{path} {said}")
    if path.suffix == ".safetensors" or begin[8:] == b"{":
        return _read_safetensors(path)
    content = _load(path)
    if not (isinstance(content, Mapping) and isinstance(content.get("torchatlas"), Mapping)):
        return Found(unwrap(content, str(path)), str(path))

    from ..storage import checkpoints

    checkpoint = checkpoints.read(path)
    own = {key: value for key, value in checkpoint["state_dict"].items() if key.startswith("network.")}
    return Found(
        {key.removeprefix("network."): value for key, value in own.items()},
        str(path),
        "torchatlas",
        Preprocessing.of_data(checkpoint["torchatlas"]["data"]),
    )


def fetch(weights: str) -> Found:
    """Download, or take from the hub's cache, what `hf:NAME` names.

    Raises:
        UserError: it is not there, or cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    name = weights.removeprefix(HUB)
    try:
        for file in FILES:  # safetensors first; the other only where there are none
            stem, _, ending = file.rpartition(".")
            parts = [file, f"{file}.index.json", f"{stem}-*.{ending}", "config.json", PREPROCESSOR]
            folder = snapshot_download(name, allow_patterns=parts)
            if any(Path(folder).glob(f"{stem}*.{ending}")):
                break
    except Exception as error:  # of the network, the disk, the name: the hub's client has many
        raise UserError(
            f"{name} cannot be had from huggingface.co ({_reason(error)}): fetch the folder elsewhere and give it as "
            "weights=FOLDER"
        ) from error
    return _read_folder(Path(folder))


def _read_folder(path: Path) -> Found:
    """A folder of Hugging Face: config.json and the weights, in one file or in parts."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path / 'config.json'} is damaged ({_reason(error)}): download or copy it again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path / 'config.json'} is damaged (it is no object): download or copy it again")
    for name in FILES:
        index = path / f"{name}.index.json"
        if index.is_file():
            try:
                parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
                state = {key: tensor for part in parts for key, tensor in read(_beside(index, part)).state.items()}
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                if isinstance(error, UserError):
                    raise
                raise UserError(f"{index} is damaged ({_reason(error)}): download or copy it again") from error
            return Found(state, str(path), None, _preprocessing(path), config)
        if (path / name).is_file():
            found = read(path / name)
            return Found(found.state, str(path), found.source, found.preprocessing or _preprocessing(path), config)
    if said := foreign(path):
        raise UserError(f"{path} {said}")
    raise UserError(f"{path} has a config.json and none of {', '.join(FILES)}: download or copy the weights too")


def _preprocessing(folder: Path) -> Preprocessing | None:
    """What Hugging Face's preprocessor_config.json says of images; None where it is not there, or says it otherwise."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        about = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
        size = about["size"]
        size = int(size["height"] if isinstance(size, dict) else size)
        mean, std = (tuple(map(float, about[key])) for key in ("image_mean", "image_std"))
        made = Preprocessing(size, size, mean, std, "bicubic" if about.get("resample") == 3 else "bilinear")
        return Preprocessing.from_json(made.to_json())  # with its checks
    return None


def _beside(index: Path, part: Any) -> Path:
    if (
        not isinstance(part, str)
        or part in ("", ".", "..")
        or Path(part).name != part
        or index.with_name(part).is_dir()
    ):
        raise UserError(f"{index} names a file outside of its folder, which is not allowed")
    return index.with_name(part)


def _read_safetensors(path: Path) -> Found:
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is no whole safetensors file ({_reason(error)}): download or copy it again") from error
    preprocessing = Preprocessing.from_json(metadata.get("preprocessing", ""))
    if preprocessing is None and "data" in metadata:  # of torchatlas export
        with contextlib.suppress(ValueError, TypeError, KeyError):
            preprocessing = Preprocessing.of_data(dict(json.loads(metadata["data"])))
    own = "torchatlas" in metadata  # then a prefix is the name of a part
    return Found(
        unwrap(state, str(path), () if own else PREFIXES), str(path), "torchatlas" if own else None, preprocessing
    )


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(PLAIN):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: what a file of other bytes makes of the reader
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path} holds {code[1]}, which could run code and is not loaded: save its state dict alone, by "
                "torch.save(network.state_dict(), PATH) or as safetensors"
            ) from error
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} is a TorchScript program, which is not loaded: save its state dict alone"
            ) from error
        raise UserError(f"{path} is no file of weights, or is cut off: download or copy it again") from error


LAYERS = 8  # of wrappers, one in another


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def unwrap(content: Any, where: str, prefixes: Sequence[str] = PREFIXES) -> dict[str, Tensor]:
    """The state dict inside of what was saved, without the prefixes of modules that were around the network.

    Raises:
        UserError: there is none, or it is quantised.
    """
    for _ in range(LAYERS):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = content.items() if isinstance(content, Mapping) else ()
    state = {WRAPPED.sub("", str(key)): value for key, value in tensors if isinstance(value, Tensor)}
    if not state:
        raise UserError(
            f"{where} holds no state dict: a mapping of names to tensors, under any of {', '.join(WRAPPERS)}"
        )
    if any(value.is_quantized for value in state.values()):
        raise UserError(f"{where} holds quantised weights: give those of the network before it was quantised")
    for key, value in state.items():
        if value.layout != torch.strided or value.is_meta or value.is_complex() or not bool(value.isfinite().all()):
            raise UserError(f"{where} holds {key!a:.60}, which is no tensor of finite real numbers: give other weights")
    for prefix in prefixes:
        if 2 * sum(key.startswith(prefix) for key in state) > len(state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
