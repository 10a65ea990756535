"""The Inception network of FID, from either of the two files in which its weights are passed on.

The network is the Inception-v3 that was published with TensorFlow on 2015-12-05 (Szegedy et al. 2015,
arXiv:1512.00567), in which Heusel et al. 2017 (arXiv:1706.08500) defined the FID: 2048 features after the last average
pool, and 1008 logits. torchvision's Inception-v3 has other weights, and figures in its features are not FID. Here
torch-fidelity gives the network and its preprocessing: uint8 images of any size are scaled to 299 x 299 as TensorFlow 1
does it (bilinear, without antialiasing, corners not aligned, no half pixel) and become (x - 128) / 128.

The files:

- torch-fidelity's and pytorch-fid's state dict, `WEIGHTS`;
- NVIDIA's TorchScript program `inception-2015-12-05.pt`, `PROGRAM`, and copies of it with or without the output layer.
  A program would run when it is loaded or called. `read_program` takes its tensors out of the archive and nothing else:
  the pickle in it is read with stand-ins for its classes, and the code beside it is never opened. NVIDIA's own
  preprocessing, (x - 127.5) / 127.5, is part of that code and not used.
"""

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .files import read
from .report import shorten

WEIGHTS = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
PROGRAM = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
)
FEATURES = 2048
LARGEST = 2**30  # bytes of an archive; NVIDIA's has 96 million
RESIZE = "299 x 299, bilinear as in TensorFlow 1, without antialiasing, from uint8"

# NVIDIA's names of the layers, and torch-fidelity's
STEM = {
    "conv": "Conv2d_1a_3x3", "conv_1": "Conv2d_2a_3x3", "conv_2": "Conv2d_2b_3x3", "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}  # fmt: skip
MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
KINDS = "AAABCCCCDEE"  # of block, as torch-fidelity and torchvision call them


def tower(name: str, *branches: str) -> dict[str, str]:
    """The convolutions of one tower, in their order."""
    return {f"{name}.conv_{i}" if i else f"{name}.conv": branch for i, branch in enumerate(branches)}


BLOCKS = {
    "A": {"conv": "branch1x1"}
    | tower("tower", "branch5x5_1", "branch5x5_2")
    | tower("tower_1", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    | tower("tower_2", "branch_pool"),
    "B": {"conv": "branch3x3"} | tower("tower", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    "C": {"conv": "branch1x1"}
    | tower("tower", *(f"branch7x7_{i}" for i in range(1, 4)))
    | tower("tower_1", *(f"branch7x7dbl_{i}" for i in range(1, 6)))
    | tower("tower_2", "branch_pool"),
    "D": tower("tower", "branch3x3_1", "branch3x3_2")
    | tower("tower_1", *(f"branch7x7x3_{i}" for i in range(1, 5))),
    "E": {
        "conv": "branch1x1", "tower_conv": "branch3x3_1", "tower_mixed_conv": "branch3x3_2a",
        "tower_mixed_conv_1": "branch3x3_2b", "tower_1_conv": "branch3x3dbl_1", "tower_1_conv_1": "branch3x3dbl_2",
        "tower_1_mixed_conv": "branch3x3dbl_3a", "tower_1_mixed_conv_1": "branch3x3dbl_3b",
        "tower_2_conv": "branch_pool",
    },
}  # fmt: skip
TENSORS = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}
OUTPUT = {"output.weight": "fc.weight", "output.bias": "fc.bias"}


def names() -> dict[str, str]:
    """NVIDIA's name of each tensor, and torch-fidelity's; the output layer's two at the end."""
    layers = dict(STEM)
    for i, (name, kind) in enumerate(zip(MIXED, KINDS, strict=True)):
        block = f"mixed_{i}" if i else "mixed"
        layers |= {f"{block}.{theirs}": f"Mixed_{name}.{ours}" for theirs, ours in BLOCKS[kind].items()}
    found = {
        f"layers.{layer}.{tensor}": f"{ours}.{part}"
        for layer, ours in layers.items()
        for tensor, part in TENSORS.items()
    }
    return found | OUTPUT


@dataclass(frozen=True)
class Inception:
    """The network of FID and where its weights came from.

    Attributes:
        network: uint8 images `b 3 h w` to a tuple of features `b 2048` and, where `classifies`, the logits `b 1008`
            without the bias of the output layer, as the inception score takes them; in eval mode, float32.
        classifies: whether the file had the output layer.
        sha256: of the file, so that a figure can be traced.
        origin: whose file it is: known by its SHA-256, else by the names in it.
    """

    network: nn.Module
    classifies: bool
    sha256: str
    origin: str


def load_inception(path: Path) -> Inception:
    """The network with the weights in a file; no code in the file is run.

    Raises:
        UserError: there is no such file, it is cut off, it holds another network, or torch-fidelity is not installed.
    """
    if not path.is_file():
        raise UserError(f"inception={path} is no file: fetch {WEIGHTS[0]} and name it")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    state = from_program(read_program(path)) if is_program(path) else dict(read(path).state)
    classifies = "fc.weight" in state
    network = blank([str(FEATURES), "logits_unbiased"] if classifies else [str(FEATURES)])
    nn.Module.load_state_dict(network, complete(state, network.state_dict(), path))
    known = {WEIGHTS[1]: WEIGHTS[0], PROGRAM[1]: PROGRAM[0]}
    other = f"{'TorchScript' if is_program(path) else 'a state dict'} with another SHA-256 than the published files"
    return Inception(network, classifies, digest, known.get(digest, other))


def complete(state: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The state dict with what is never read: counters of batches, and an output layer of zeros where there is none.

    Raises:
        UserError: a name or a shape differs from the network's, which is `wanted`.
    """
    unread = {key for key in wanted if key.endswith("num_batches_tracked")}
    if "fc.weight" not in state:
        unread |= set(OUTPUT.values())
    state = {key: torch.zeros_like(wanted[key]) for key in unread} | state
    wrong = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    wrong += sorted(state.keys() - wanted.keys())
    if wrong:
        raise UserError(
            f"{path} is not the Inception network of FID (it differs in {shorten(wrong)}): fetch {WEIGHTS[0]}, with "
            f"the SHA-256 {WEIGHTS[1]}"
        )
    return state


def blank(features: list[str]) -> nn.Module:
    """torch-fidelity's network as initialised, in eval mode.

    Args:
        features: names of its outputs.

    Raises:
        UserError: torch-fidelity is not installed.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (
            FeatureExtractorInceptionV3,
        )
    except ModuleNotFoundError as error:
        raise UserError(
            "FID, KID and the inception score need torch-fidelity: pip install 'torchatlas[fid]'"
        ) from error

    class Blank(FeatureExtractorInceptionV3):
        """Its constructor unpickles a file without protection and loads it: it gets an empty one, and loads nothing."""

        def load_state_dict(self, *_: Any, **__: Any) -> None:
            return None

    nothing = BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network: nn.Module = Blank("inception", features, feature_extractor_weights_path=nothing)
    return network


def from_program(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by NVIDIA's names, as torch-fidelity calls them; others keep their names.

    Batch norm has no scale there, which is a scale of 1. A copy inside of another module has a prefix, which goes.
    """
    prefix = next((key.removesuffix("layers.conv.weight") for key in state if key.endswith("layers.conv.weight")), "")
    table = names()
    found = {}
    for key, tensor in state.items():
        ours = table.get(key.removeprefix(prefix), key)
        found[ours] = tensor
        if ours.endswith("bn.bias"):
            found[ours.removesuffix("bias") + "weight"] = torch.ones_like(tensor)
    return found


def is_program(path: Path) -> bool:
    """Whether a file is an archive with code, as TorchScript's are."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


class Record:
    """Stands for any object of a program: what was saved of it, and nothing that it could do."""

    content: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.content = dict(state)


def itself(value: Any) -> Any:
    """In place of TorchScript's functions that mark the type of a list."""
    return value


DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


def rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """A tensor from its storage; torch refuses one that would reach outside of it."""
    return storage.as_strided(size, stride, offset).clone()


class Unpickler(pickle.Unpickler):
    """Reads `data.pkl` of a TorchScript archive: tensors, plain values, and `Record` in place of every object.

    Names of classes and functions are looked up in a table of this module, so that nothing is imported or called that
    is not in it.
    """

    def __init__(self, archive: zipfile.ZipFile, top: str) -> None:
        super().__init__(BytesIO(archive.read(f"{top}/data.pkl")))
        self.archive, self.top = archive, top

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return Record
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return itself
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): rebuild, ("collections", "OrderedDict"): OrderedDict,
        }  # fmt: skip
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it holds a {kind}")
        if count == 0:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(self.archive.read(f"{self.top}/data/{key}")), dtype=dtype, count=count)


def read_program(path: Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by their names, as its `state_dict` would give them, without running it.

    Raises:
        UserError: the archive is damaged, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise UserError(f"{path} is larger than the Inception network of FID: fetch {WEIGHTS[0]}")
            top = archive.namelist()[0].partition("/")[0]
            return tensors_of(Unpickler(archive, top).load())
    except UserError:
        raise
    except Exception as error:  # of any kind: what other bytes make of a reader of pickles
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path} is no whole TorchScript archive ({reason}): download or copy it again") from error


def tensors_of(value: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors under an object of a program, with the names of the attributes on the way, joined by dots."""
    if isinstance(value, Tensor):
        return {name: value}
    if not isinstance(value, Record):
        return {}
    found: dict[str, Tensor] = {}
    for key, part in value.content.items():
        found |= tensors_of(part, f"{name}.{key}" if name else key)
    return found
