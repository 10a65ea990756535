"""Files of other programs, known by their content: what they are, and what to give instead.

Nothing in them is run, and no more is read than shows what they are. Layouts: GGUF, `ggml/docs/gguf.md` of llama.cpp;
HDF5, "HDF5 File Format Specification", II.A; ONNX, `onnx/onnx.proto`; TensorFlow, `saved_model.proto`, `graph.proto`
and the tables of `tensorflow/core/lib/io/format.h`; NumPy, NEP 1; msgpack, its specification, "Formats"; pickles,
`pickletools` of the standard library.
"""

import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

BEGIN = 1024  # bytes that are looked at
HDF5 = b"\x89HDF\r\n\x1a\n"
TABLE = bytes.fromhex("57fb808b247547db")  # the end of a TensorFlow table, as of LevelDB's
STATE = "save network.state_dict() there and give that file as weights=FILE beside model= and data="
SAME = "give the PyTorch or safetensors file of the same network"
PLAIN_BEGIN = ("collections", "torch._utils", "builtins")  # of the modules that the pickle of a state dict begins with
OPCODES = 64  # of a pickle, that are looked at
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # torch before version 1.6
FIELDS = 10_000  # of a message, that are looked at
EXPORTED = ("archive_format", "serialized_exported_program.json")


def foreign(path: Path) -> str | None:
    """«is a GGUF file of llama.cpp: give ...», of a file or a folder; None where it may be one of ours or of PyTorch.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (path := Path(folder) / "model.bin").write_bytes(b"GGUF" + bytes(20))
    ...     foreign(path)[:27]
    'is a GGUF file of llama.cpp'
    """
    with suppress(OSError):
        if path.is_dir():
            return _folder(path)
        if not path.is_file():
            index = path.with_name(f"{path.name}.index")
            return _tensorflow_checkpoint() if index.is_file() and _ends_in_table(index) else None
        with path.open("rb") as file:
            begin = file.read(BEGIN)
            return _by_begin(begin) or _by_structure(path, file, begin)
    return None


def torch_file(path: Path) -> str | None:
    """What a file is that PyTorch or safetensors wrote, where a checkpoint of torchatlas is wanted; else None."""
    with suppress(OSError):
        with path.open("rb") as file:
            begin = file.read(9)
        if begin[8:] == b"{":
            return "is a safetensors file, which holds weights alone: give it as weights=FILE beside model= and data="
        pickle = _pickle(path)
        if pickle is not None and (found := first_class(pickle)):
            return f"is a pickled network ({found}), whose class could run code and is not loaded: {STATE}"
        if pickle is not None and b"torchatlas" not in pickle:  # else it is one of ours, and damaged
            return "is a PyTorch file that torchatlas did not write: give it as weights=FILE beside model= and data="
    return None


def _pickle(path: Path) -> bytes | None:
    """The beginning of the pickle in a file of PyTorch's, of an archive all of it."""
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile, NotImplementedError, EOFError), zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    return archive.read(name)
        return None
    with path.open("rb") as file:
        content = file.read(1 << 20)
    if content.startswith(LEGACY):  # then a version, a description, and the object
        for _ in range(3):
            end = next((at for opcode, _, at in _opcodes(content) if opcode.name == "STOP"), None)
            content = content[(end or 0) + 1 :]
        return content
    return content if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") else None


def first_class(pickle: bytes) -> str | None:
    """The class of the object that a pickle makes, if that is the first thing in it; None for a mapping or a list."""
    strings: list[str] = []
    for (opcode, argument, _), _ in zip(_opcodes(pickle), range(OPCODES), strict=False):
        if opcode.name in ("PROTO", "FRAME", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT"):
            continue
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            strings.append(str(argument))
            continue
        if opcode.name == "GLOBAL":
            strings = str(argument).split(" ")
        elif opcode.name != "STACK_GLOBAL":
            return None
        return None if len(strings) < 2 or strings[-2].startswith(PLAIN_BEGIN) else ".".join(strings[-2:])
    return None


def _opcodes(pickle: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, object, int | None]]:
    with suppress(ValueError):  # it is cut off
        yield from pickletools.genops(pickle)


def _by_begin(begin: bytes) -> str | None:
    """What the first bytes alone show."""
    if begin.startswith(b"GGUF"):
        return f"is a GGUF file of llama.cpp: {SAME}, from which it was made"
    if any(begin[place:].startswith(HDF5) for place in (0, 512)):
        return f"is an HDF5 file, as Keras and TensorFlow save weights (.h5): {SAME}"
    if begin.startswith(b"\x93NUMPY"):
        return "is a NumPy array: save the arrays under the network's names as safetensors, by safetensors.numpy"
    if begin[4:8] == b"TFL3":
        return f"is a TensorFlow Lite file: {SAME}, from which it was made"
    if begin.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is the pointer of Git LFS to a file that was not downloaded: type git lfs pull in its folder"
    if begin.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page and not the file that it offers: download it again, from the address of the file itself"
    if begin.startswith(b"model_checkpoint_path:"):
        return _tensorflow_checkpoint()
    if begin.startswith(b"\x1f\x8b"):
        return "is packed by gzip: unpack it and give what was in it"
    return None


def _by_structure(path: Path, file: BinaryIO, begin: bytes) -> str | None:
    """What more than the first bytes shows."""
    if len(begin) < 8:
        return None
    if begin.startswith(b"PK\x03\x04"):
        return _zip(path)
    if _ends_in_table(path) or _ends_in_table(_index_of(path)):
        return _tensorflow_checkpoint()
    if _is_msgpack(begin):
        return f"is a Flax file (msgpack): {SAME}; on Hugging Face it lies beside it, as in weights=hf:OWNER/NAME"
    fields = dict(_protobuf(file, path.stat().st_size))
    if begin[:1] == b"\x08" and 7 in fields and begin[1] < 64:
        return f"is an ONNX file: {SAME}, from which it was exported"
    if begin[:3] == b"\x08\x01\x12" and set(fields) <= {1, 2}:
        return f"is a TensorFlow SavedModel: {SAME}"
    if begin[:1] == b"\x0a" and _is_node(begin) and set(fields) <= {1, 2, 3, 4}:
        return f"is a TensorFlow graph (.pb): {SAME}"
    return None


def _folder(path: Path) -> str | None:
    if (path / "saved_model.pb").is_file():
        return f"is a TensorFlow SavedModel: {SAME}"
    for file in sorted(path.iterdir()) if (path / "config.json").is_file() else ():
        if file.is_file() and (found := foreign(file)):
            return f"holds no weights but {file.name}, which {found}"
    if (path / "checkpoint").is_file() and foreign(path / "checkpoint"):
        return _tensorflow_checkpoint()
    return None


def _tensorflow_checkpoint() -> str:
    return f"is a TensorFlow checkpoint: {SAME}"


def _names(path: Path) -> list[str]:
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        return archive.namelist()
    return []


def _zip(path: Path) -> str | None:
    """What the names in an archive show; None for one of PyTorch's, or one that is cut off."""
    names = _names(path)
    last = {name.rpartition("/")[2] for name in names}
    if not names:
        return None
    if all(name.endswith(".npy") for name in names):
        return (
            "is an archive of NumPy arrays (.npz), as networks of JAX are passed on: give timm:NAME or hf:NAME where "
            "they have it, or save the arrays under the network's names as safetensors"
        )
    if "model.weights.h5" in last:
        return f"is a Keras file: {SAME}"
    if last & set(EXPORTED):
        return (
            "is a program of torch.export, which is not loaded: give the model.safetensors that torchatlas export "
            "writes beside it, or the state dict"
        )
    if "data.pkl" in last or "version" in last:
        return None
    return "is an archive: unpack it and give what was in it"


def _index_of(path: Path) -> Path:
    """`model.ckpt.index` beside `model.ckpt.data-00000-of-00001`."""
    return path.with_name(path.name.partition(".data-")[0] + ".index")


def _ends_in_table(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size < 48:
        return False
    with path.open("rb") as file:
        file.seek(-len(TABLE), 2)
        return file.read() == TABLE


def _is_msgpack(begin: bytes) -> bool:
    """Whether it begins as a map whose first key is a text and whose first value is a map or an array of Flax."""
    first = begin[0] if begin else 0
    at = {0xDE: 3, 0xDF: 5}.get(first, 1 if 0x81 <= first <= 0x8F else 0)
    if not at or len(begin) < at + 3:
        return False
    kind = begin[at]
    size, at = (begin[at + 1], at + 2) if kind == 0xD9 else (kind & 31, at + 1)
    if (kind != 0xD9 and kind >> 5 != 0b101) or len(begin) <= at + size:
        return False
    value = begin[at + size]
    return (
        size > 0
        and begin[at : at + size].isascii()
        and (0x80 <= value <= 0x8F or value in (0xC7, 0xC8, 0xC9, 0xDE, 0xDF))
    )


def _protobuf(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Number and length of the fields at the top of a protobuf message; none of what is no message."""
    file.seek(0)
    for _ in range(FIELDS):
        if file.tell() >= size:
            return
        tag = _varint(file)
        kind = -1 if tag is None else tag & 7
        length = _varint(file) if kind in (0, 2) else {1: 8, 5: 4}.get(kind)
        if tag is None or length is None or not tag >> 3:
            return
        if kind == 2 and file.tell() + length > size:
            return
        yield tag >> 3, length
        if kind != 0:
            file.seek(length, 1)


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    return None


def _is_node(begin: bytes) -> bool:
    """Whether the first field is a node with a name and an operation, as in `0a 1c 0a 05 input 12 0b Placeholder`."""
    body = begin[2:] if begin[1] < 128 else begin[3:]
    if not body.startswith(b"\x0a") or len(body) < 4:
        return False
    name, rest = body[2 : 2 + body[1]], body[2 + body[1] :]
    return name.isascii() and bool(name) and rest[:1] == b"\x12"
