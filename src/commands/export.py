"""A trained network as files that other programs load: safetensors, torch.export, ONNX, layouts of other libraries."""

import contextlib
import importlib
import inspect
import io
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..errors import UserError
from ..models.contract import Exemplified, claims
from ..predict.rows import made_folder
from ..run.build import build_network
from ..run.restore import exemplify, reader, restore
from ..storage.files import write_json
from ..storage.record import versions
from ..storage.run_folder import require_space
from ..version import __version__
from ..weights import load_weights
from ..weights.writing import torchvision_state, write_folder
from .recurrent import translations, whole_layers

FILES = {
    "safetensors": "model.safetensors", "torch": "model.pt2", "onnx": "model.onnx", "huggingface": "huggingface",
    "torchvision": "torchvision.pth",
}  # fmt: skip
DEFAULTS = ("safetensors", "torch", "onnx")
TOLERANCE = {
    "safetensors": 0.0,
    "torch": 1e-6,
    "onnx": 1e-4,
    "huggingface": 0.0,
    "torchvision": 0.0,
}  # shares of the output's largest magnitude
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
BATCHES = (2, 1, 3)  # of the examples: the first is exported, the others show that the size is free
WHOLE = (None, None, None)  # lengths of sequences likewise, where None is that of the example

Tensors = tuple[Tensor, ...]
Signature = dict[str, list[dict[str, Any]]]  # name, dtype and shape of the "inputs" and "outputs"
Run = Callable[..., Any]  # computes what a file holds
Trace = Callable[[], ExportedProgram]  # the network as a graph
Lengths = tuple[int | None, ...]


@torch.no_grad()
def export(
    ckpt: str, output: str = "",
    formats: tuple[Literal["safetensors", "torch", "onnx", "huggingface", "torchvision"], ...] = (
        "safetensors", "torch", "onnx",
    ),
) -> dict[str, Path]:  # fmt: skip
    """The network of a checkpoint as files for other programs, each of which is loaded again and compared.

    BERT, GPT-2 and ViT have huggingface, a folder that transformers reads; networks that torchvision has too have
    torchvision, a state dict with its names.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        output: a folder; else export in the run folder.
        formats: any of these.

    Returns:
        The file of each format.

    Raises:
        UserError: a missing package, a folder that cannot be written; or, after all other formats, one in which the
            network cannot be expressed or computes something else.

    Examples:
        torchatlas export ckpt=runs/resnet18-cifar10 formats=onnx
    """
    wanted = list(dict.fromkeys(formats))
    if "onnx" in wanted:
        _require_onnx()
    path, task, about = restore(ckpt)
    home = path.absolute().parent
    home = home.parent if (home.parent / "config.yaml").is_file() else home
    folder = Path(output).expanduser() if output else home / "export"
    made_folder(folder)

    network = task.network.float().cpu()
    if not isinstance(network, Exemplified):  # with whose answers a file is compared
        exemplify(task, reader(about))
    name, model, data = about["config"]["name"], about["config"]["model"], about["data"]
    metadata = {"name": name, "model": json.dumps(model), "data": json.dumps(data), "torchatlas": __version__}
    metadata["task"] = json.dumps(about["config"]["task"])  # whether outputs are logits, which noise there was
    lengths, reason = free_lengths(network)
    programs: dict[Lengths, ExportedProgram] = {}  # traced once for all formats
    done: dict[str, dict[str, Any]] = {}
    reasons: dict[str, str] = {}
    for format_ in wanted:
        why = reason
        for tried in dict.fromkeys((lengths, WHOLE)):
            try:
                done[format_] = entry = _write(format_, network, metadata, folder, tried, programs)
            except Exception as error:  # of any kind: what a library cannot express, a difference, a full disk
                why = reasons[format_] = _reason(error)
                continue
            fixed = f"; of {entry['length']} steps alone ({why})" if isinstance(entry.get("length"), int) else ""
            print(
                f"{folder / entry['file']}  {entry['bytes'] / 2**20:.2f} MiB  largest difference "
                f"{entry['largest_difference']:.2g} of outputs up to {entry['largest_output']:.2g}{fixed}"
            )
            break
    if done:
        packages = ("safetensors", *(ONNX_PACKAGES if "onnx" in done else ()))
        made = {"name": name, "checkpoint": str(path), "model": model, "data": data, "formats": done}
        write_json(folder / "export.json", made | {"versions": versions() | {p: version(p) for p in packages}})
    if failed := [f"{FILES[f]} was not written ({reasons[f]})" for f in wanted if f not in done]:
        rest = ",".join(f for f in FILES if f in done or (f in DEFAULTS and f not in wanted))
        raise UserError("; ".join(failed) + (f": leave it out with formats={rest}" if rest else ""))
    return {f: folder / FILES[f] for f in done}


def _require_onnx() -> None:
    try:
        with _quiet():
            for package in ONNX_PACKAGES:
                importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            "onnx needs more packages: pip install 'torchatlas[onnx]', or leave it out with formats=safetensors,torch"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The libraries' warnings, logs and prints stay out of the terminal; what matters is an exception."""
    disabled = logging.root.manager.disable
    logging.disable()
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            yield
    finally:
        logging.disable(disabled)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def free_lengths(network: nn.Module) -> tuple[Lengths, str]:
    """Lengths of sequences at which a file is checked, of each of `BATCHES`; or `WHOLE`, and why it cannot be another.

    A network with convolutions takes no single step, and may take three quarters and half of its example's.
    """
    assert isinstance(network, Exemplified)
    steps = _steps(network.example_input())
    if steps is None:
        return WHOLE, ""
    reason = ""
    for lengths in ((None, 5, 1), (None, steps - steps // 4, steps // 2)):
        try:
            for inputs in _examples(network, lengths):
                network(*inputs)
        except Exception as error:  # of any kind: what a network that takes one length makes of another
            reason = _reason(error)
        else:
            return lengths, ""
    return WHOLE, f"the network takes no other number: {reason}"


def _examples(network: Exemplified, lengths: Lengths) -> list[Tensors]:
    """Inputs for each of `BATCHES`."""
    return [
        tuple(x[:, :length] if _has_steps(x) else x for x in network.example_input(batch))
        for batch, length in zip(BATCHES, lengths, strict=True)
    ]


def _steps(inputs: Tensors) -> int | None:
    """Of sequences among the inputs the length; None: there is none."""
    return next((x.shape[1] for x in inputs if _has_steps(x)), None)


def _write(
    format_: str, network: nn.Module, metadata: dict[str, str], folder: Path, lengths: Lengths,
    programs: dict[Lengths, ExportedProgram],
) -> dict[str, Any]:  # fmt: skip
    """Write the file of a format, check it and give it its name; returns what `export.json` says of it.

    Where inputs are sequences, "length" is there and in the file's metadata: "free", or the only number of steps.
    """
    # torch ends the whole process where a disk is full; a file has the weights, and little beside.
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    require_space(folder, size + size // 10 + 2**20, "an exported file needs", "output")
    with (
        _quiet(),
        torch.random.fork_rng(devices=[]),
        tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as part,
    ):
        assert isinstance(network, Exemplified)
        torch.manual_seed(0)
        examples = _examples(network, lengths)
        steps = _steps(examples[0])
        about: dict[str, Any] = {} if steps is None else {"length": steps if lengths == WHOLE else "free"}
        metadata = metadata | {key: str(value) for key, value in about.items()}
        expected = [_outputs(network(*inputs)) for inputs in examples]
        names = ["output", *(f"output_{i}" for i in range(1, len(expected[0])))]
        signature = {
            "inputs": _describe(list(inspect.signature(network.forward).parameters), examples, lengths),
            "outputs": _describe(names, expected, lengths),
        }

        def trace() -> ExportedProgram:
            if lengths not in programs:
                programs[lengths] = _trace(network, examples[0], signature)
            return programs[lengths]

        path = Path(part) / FILES[format_]
        run = WRITERS[format_](network, trace, signature, metadata, path)
        difference = largest = 0.0
        for inputs, right in zip(examples, expected, strict=True):
            for x, y in zip(_outputs(run(*inputs)), right, strict=True):
                found = float((x - y).abs().max()) if x.shape == y.shape else math.inf
                allowed = TOLERANCE[format_] * float(y.abs().max())
                if not found <= allowed:  # nan too
                    raise ValueError(f"its outputs differ by {found:.2g}, where {allowed:.2g} is allowed")
                difference, largest = max(difference, found), max(largest, float(y.abs().max()))
        written = list(Path(part).iterdir())  # the weights of an ONNX file of gigabytes are beside it
        size = sum(file.stat().st_size for place in written for file in (place, *place.rglob("*")) if file.is_file())
        for file in (file for place in written for file in (place, *place.rglob("*")) if file.is_file()):
            goal = folder / file.relative_to(part)
            goal.parent.mkdir(parents=True, exist_ok=True)
            file.replace(goal)
    figures = {"bytes": size, "largest_difference": difference, "largest_output": largest}
    return {"file": path.name, **figures, **about, **signature}


def _has_steps(x: Tensor) -> bool:
    """Whether it is a sequence: tokens `b t` or values `b t c`, long enough to be cut."""
    return x.ndim == (3 if x.is_floating_point() else 2) and x.shape[1] > 5


def _outputs(returned: Any) -> Tensors:
    return returned if isinstance(returned, tuple) else (returned,)


def _describe(names: list[str], examples: list[Tensors], lengths: Lengths) -> list[dict[str, Any]]:
    """Name, dtype and shape of each tensor; a size that differs among the examples is a word."""

    def size(sizes: tuple[int, ...], otherwise: str) -> int | str:
        if len(set(sizes)) == 1:
            return sizes[0]
        return "batch" if sizes == BATCHES else "length" if sizes[1:] == lengths[1:] else otherwise

    found = []
    for name, tensors in zip(names, zip(*examples, strict=True), strict=False):  # forward may have optional arguments
        axes = enumerate(zip(*(x.shape for x in tensors), strict=True))
        shape = [size(sizes, f"{name}_{i}") for i, sizes in axes]
        found.append({"name": name, "dtype": str(tensors[0].dtype).removeprefix("torch."), "shape": shape})
    return found


def _trace(network: nn.Module, inputs: Tensors, signature: Signature) -> ExportedProgram:
    if reason := claims(network).no_graph:
        raise ValueError(reason)
    free = [[i for i, size in enumerate(entry["shape"]) if isinstance(size, str)] for entry in signature["inputs"]]
    dynamic = tuple(dict.fromkeys(axes, Dim.DYNAMIC) for axes in free)
    with whole_layers() if [0, 1] in free else contextlib.nullcontext():
        return torch.export.export(network, inputs, dynamic_shapes=dynamic)


def _safetensors(network: nn.Module, _: Trace, __: Signature, metadata: dict[str, str], path: Path) -> Run:
    save_model(network, str(path), dict(metadata))
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)  # safetensors makes it readable for its owner alone
    with safe_open(path, "pt") as file:
        fresh = build_network(json.loads(file.metadata()["model"]))
    load_model(fresh, path)
    return fresh.eval()


def _torch(_: nn.Module, trace: Trace, __: Signature, metadata: dict[str, str], path: Path) -> Run:
    torch.export.save(trace(), path, extra_files=dict(metadata))
    return torch.export.load(path).module()


def _onnx(_: nn.Module, trace: Trace, signature: Signature, metadata: dict[str, str], path: Path) -> Run:
    onnx, ir, onnxruntime = map(importlib.import_module, ("onnx", "onnx_ir", "onnxruntime"))
    names = {kind: [entry["name"] for entry in signature[kind]] for kind in ("inputs", "outputs")}
    program: Any = torch.onnx.export(
        trace(), dynamo=True, verbose=False, input_names=names["inputs"], output_names=names["outputs"],
        custom_translation_table=translations(),
    )  # fmt: skip
    graph = program.model.graph
    # The exporter has its own names for free sizes, and takes the length of a recurrent layer for that of the example.
    for node in graph:
        for value in node.outputs:
            value.shape = None
    for value, entry in zip((*graph.inputs, *graph.outputs), signature["inputs"] + signature["outputs"], strict=True):
        value.shape = ir.Shape(entry["shape"])
    program.model.metadata_props.update(metadata)
    program.save(path)
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> Tensors:
        feed = {name: x.numpy() for name, x in zip(names["inputs"], inputs, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, feed)))

    return run


def _huggingface(network: nn.Module, _: Trace, __: Signature, metadata: dict[str, str], path: Path) -> Run:
    write_folder(network, path, json.loads(metadata["data"]))
    return _read_back(network, path, metadata)


def _torchvision(network: nn.Module, _: Trace, __: Signature, metadata: dict[str, str], path: Path) -> Run:
    torch.save(torchvision_state(network), path)
    return _read_back(network, path, metadata)


def _read_back(network: nn.Module, path: Path, metadata: dict[str, str]) -> Run:
    """What the weights compute when they are read as those of another source."""
    fresh = build_network(json.loads(metadata["model"]))
    load_weights(fresh, path)
    return fresh.eval()


# They return what the file computes.
WRITERS = {
    "safetensors": _safetensors, "torch": _torch, "onnx": _onnx, "huggingface": _huggingface,
    "torchvision": _torchvision,
}  # fmt: skip
