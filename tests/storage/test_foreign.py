"""Files of other programs are named for what they are, whatever their names say."""

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn

from torchatlas.errors import UserError
from torchatlas.models.mlp import MLP
from torchatlas.storage.foreign import foreign, torch_file
from torchatlas.storage.run_folder import find_checkpoint
from torchatlas.weights import load_weights

TABLE = bytes(40) + bytes.fromhex("57fb808b247547db")


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message with bytes in it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx_file(path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, producer_name="test"), path)


def zipped(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"{}")

    return write


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(data), None)[1]


def arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3), b=np.ones(2))


def array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


NODE = field(1, field(1, b"input") + field(2, b"Placeholder"))
META_GRAPH = field(2, field(1, b"tags") + field(2, NODE * 20))
FLAX = b"\x81\xa6params\x82\xa4Dens" + b"\x81\xa6kernel\xc7\x05\x01abcde"
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "gguf": (content(b"GGUF" + struct.pack("<IQQ", 3, 1, 1)), "is a GGUF file of llama.cpp"),
    "hdf5": (content(b"\x89HDF\r\n\x1a\n" + bytes(100)), "is an HDF5 file, as Keras"),
    "hdf5 behind a block": (content(bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(100)), "is an HDF5 file"),
    "onnx": (onnx_file, "is an ONNX file"),
    "npz": (arrays, "is an archive of NumPy arrays"),
    "npy": (array, "is a NumPy array"),
    "saved model": (content(b"\x08\x01" + META_GRAPH), "is a TensorFlow SavedModel"),
    "graph": (content(NODE * 30), "is a TensorFlow graph"),
    "table": (content(TABLE), "is a TensorFlow checkpoint"),
    "pointer to a checkpoint": (content(b'model_checkpoint_path: "model.ckpt-7"\n'), "is a TensorFlow checkpoint"),
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "is a Keras file"),
    "lite": (content(b"\x1c\x00\x00\x00TFL3" + bytes(50)), "is a TensorFlow Lite file"),
    "flax": (content(FLAX), "is a Flax file"),
    "program": (zipped("model/archive_format", "model/models/model.json"), "is a program of torch.export"),
    "archive": (zipped("weights/readme.txt"), "is an archive: unpack it"),
    "gzip": (content(b"\x1f\x8b\x08" + bytes(50)), "is packed by gzip"),
    "pointer of Git LFS": (content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
    "page": (content(b"\n<!DOCTYPE html>\n<html>not found</html>"), "is a web page"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors", "model.ckpt"])
@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_programs(kind: str, name: str, tmp_path: Path) -> None:
    write, sentence = FILES[kind]
    write(path := tmp_path / name)
    for read in (lambda: load_weights(MLP(), path), lambda: find_checkpoint(str(path))):
        with pytest.raises(UserError, match=sentence) as error:
            read()
        assert str(error.value).startswith(f"{path} ")
        assert str(error.value).count(":") >= 1
        assert "\n" not in str(error.value)


def test_a_checkpoint_of_tensorflow_by_any_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(TABLE)
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(bytes(100))
    for name in ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        for read in (lambda path: load_weights(MLP(), path), lambda path: find_checkpoint(str(path))):
            with pytest.raises(UserError, match=f"{name} is a TensorFlow checkpoint"):
                read(tmp_path / name)


def test_folders(tmp_path: Path) -> None:
    (saved := tmp_path / "saved").mkdir()
    (saved / "saved_model.pb").write_bytes(b"\x08\x01" + META_GRAPH)
    (flax := tmp_path / "flax").mkdir()
    (flax / "config.json").write_text("{}")
    (flax / "flax_model.msgpack").write_bytes(FLAX)
    with pytest.raises(UserError, match="saved is a TensorFlow SavedModel"):
        load_weights(MLP(), saved)
    with pytest.raises(UserError, match=r"flax holds no weights but flax_model.msgpack, which is a Flax file"):
        load_weights(MLP(), flax)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_pytorch_as_a_checkpoint(legacy: bool, tmp_path: Path) -> None:
    """Which are weights, or a whole network in a pickle."""
    path = tmp_path / "file.ckpt"

    def save(value: Any) -> None:
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)

    for value in (state := MLP().state_dict(), {"state_dict": state, "epoch": 3}, dict(state)):
        save(value)
        with pytest.raises(UserError, match="is a PyTorch file that torchatlas did not write: give it as weights=FILE"):
            find_checkpoint(str(path))
    for module, name in ((nn.Linear(2, 2), "torch.nn.modules.linear.Linear"), (MLP(), "torchatlas.models.mlp.MLP")):
        save(module)
        with pytest.raises(UserError, match=rf"is a pickled network \({name}\)"):
            find_checkpoint(str(path))


def test_safetensors_and_pickles_as_a_checkpoint(tmp_path: Path) -> None:
    save_file(MLP().state_dict(), path := tmp_path / "file.ckpt")
    with pytest.raises(UserError, match="is a safetensors file, which holds weights alone"):
        find_checkpoint(str(path))
    path.write_bytes(pickle.dumps(MLP()))
    with pytest.raises(UserError, match=r"is a pickled network \(torchatlas"):
        find_checkpoint(str(path))


@pytest.mark.parametrize("data", [b"", b"\x08", b"PK\x03\x04", b"a text\n" * 500, bytes(5000), b"\x81", b"\x0a\x05"])
def test_what_is_none_of_them(data: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "file").write_bytes(data)
    assert foreign(path) is None
    assert torch_file(path) is None
