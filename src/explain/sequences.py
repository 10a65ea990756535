"""What a network for sequences computes: the mathematics and pictures of `explain`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import evaluating, predicting
from ..data.decoding import read_text
from ..data.text.base import TextData
from ..errors import UserError
from ..models.contract import Exemplified, claims
from ..models.tcn import TCN
from ..predict.registry import answers
from ..run.restore import exemplify, reader, training_data
from ..tasks.base import Task
from .base import Drawn
from .reach import draw_causality, draw_receptive_field
from .sequence_subject import CELLS, STEPS, Sequences, inputs_of_layers, recurrent_layers

TRACED = {"RNN_TANH": ("h",), "LSTM": ("i", "f", "o", "c", "h"), "GRU": ("r", "z", "h")}
GATE_NAMES = {
    "i": "input gate i", "f": "forget gate f", "o": "output gate o", "c": "cell c", "h": "state h", "r": "reset gate r",
    "z": "update gate z (1 keeps)",
}  # fmt: skip
UNITS = 48  # of a gate trace
MATRICES = {"RNN_TANH": ("U",), "LSTM": ("U of i", "U of f", "U of g", "U of o"), "GRU": ("U of r", "U of z", "U of n")}
BATCH = 128  # training samples
PROJECTIONS = 4  # random directions in which answers are differentiated


@answers(
    tasks=(
        "classification", "regression", "forecasting", "language_modeling", "sequence_labeling", "polyphonic",
        "token_classification", "span",
    ),
)  # fmt: skip
def look(task: Task, about: dict[str, Any], given: str) -> Sequences:
    """Sequences for a network that answers for itself: a user's text, or validation samples, or else made ones.

    Args:
        task: with the trained network.
        about: what the checkpoint says of config and data.
        given: a file, of a language model; "": the data of training.

    Raises:
        UserError: there is no such file, or the network reads no texts.
    """
    network, config, device = task.network, about["config"]["model"], task.device
    data: Any = reader(about)
    codec = data.codec if isinstance(data, TextData) else None

    def words(tokens: Tensor) -> list[str]:
        return [] if codec is None else [codec.decode(token[None]) for token in tokens.cpu()]

    if given:
        if codec is None:
            raise UserError("input= names a text for a language model: leave it out")
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path}: name a text with input=FILE")
        tokens = codec.encode(read_text(path))[: data.context]
        if len(tokens) < 2:
            raise UserError(f"{path} has {len(tokens)} tokens where at least 2 are needed")
        return Sequences(network, config, tokens[None].to(device), path.name, words(tokens))
    try:
        module: Any = training_data(about["config"], about["data"])
    except UserError as error:
        print(f"noise is taken: {error}")
        exemplify(task, data)
        assert isinstance(network, Exemplified)
        x, *_ = network.example_input(BATCH)
        return Sequences(network, config, x.to(device), "noise", words(x[0]) if not x.is_floating_point() else [])
    split = module.splits["val"]
    if codec is not None:
        count = min(BATCH, len(split.tokens) // module.context)
        x = split.tokens[: count * module.context].view(count, -1)
    else:
        x, *rest = module.transform(split[-1, torch.arange(min(BATCH, len(split)))])
        lengths = next((part for part in rest if part.ndim == 1 and part is not rest[-1]), None)
        if lengths is None and about["data"]["kind"] == "piano_roll":
            lengths = rest[-1]
        if lengths is not None:  # the steps that half of the sequences have
            length = int(lengths.median())
            x = x[lengths >= length][:, :length]
    return Sequences(network, config, x.to(device), f"{len(x)} validation samples", words(x[0]) if codec else [])


def readable_cells(layers: nn.RNNBase) -> list[nn.Module]:
    """A readable cell for each layer (of the direction forwards), which shares its weights."""
    found = []
    for layer in range(layers.num_layers):
        weights = {n: getattr(layers, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        cell = CELLS[layers.mode](weights["weight_ih"].shape[1], layers.hidden_size)
        for name, weight in weights.items():
            setattr(cell, name, weight)
        found.append(cell)
    return found


def gradient_by_distance(network: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    """How strongly the last answer depends on each earlier step, `t` numbers, the last step first.

    The norm of the gradient of a random projection of the last answer with respect to the input (or embedding) of a
    step, a root mean square over sequences and projections. In an Elman network it is a product of one Jacobian a step,
    diag(1 - h²) U, so that it shrinks or grows geometrically (Hochreiter 1991; Bengio, Simard and Frasconi 1994;
    Pascanu, Mikolov and Bengio 2012, arXiv:1211.5063, equation 5).

    Args:
        network: it is left as it was.
        x: sequences without padding, `b t c` or tokens `b t`.
        seed: of the projections.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    captured: list[Tensor] = []

    def capture(module: nn.Module, given: Any, made: Tensor) -> Tensor:
        captured.append(made.detach().requires_grad_())
        return captured[-1]

    handles = [embeddings[0].register_forward_hook(capture)] if embeddings else []
    if not embeddings:
        captured.append(x.detach().clone().requires_grad_())
    try:
        with evaluating(network), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            answers = network(captured[0] if not embeddings else x)
            if claims(network).targets in (None, "step"):
                answers = answers[:, -1]
            answers = answers.flatten(1)
            squares = torch.zeros(x.shape[1])
            for _ in range(PROJECTIONS):
                direction = torch.randn(answers.shape[1], generator=generator).to(answers)
                score = (answers @ (direction / direction.norm())).sum()
                (gradient,) = torch.autograd.grad(score, captured[0], retain_graph=True)
                squares += gradient.square().sum(2).mean(0).cpu() / PROJECTIONS
    finally:
        for handle in handles:
            handle.remove()
    return squares.sqrt().flip(0)


def draw_gradients(subject: Sequences) -> Drawn:
    """Trained weights beside new ones."""
    found = {
        "trained weights": gradient_by_distance(subject.network, subject.x),
        "new weights": gradient_by_distance(subject.fresh(), subject.x),
    }
    yield "gradients", {"samples": subject.source, "norms": {key: norms.tolist() for key, norms in found.items()}}
    yield "gradients", draw_distances({key: [norms] for key, norms in found.items()}, subject.source)


def draw_distances(curves: dict[str, list[Tensor]], title: str) -> Figure:
    """Norms against distance on a logarithmic axis; of several runs the geometric mean."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for label, runs in curves.items():
        positive = torch.stack(runs).clamp(min=torch.finfo(torch.float32).tiny).log().mean(0).exp()
        axes.plot(range(len(positive)), positive.numpy(), label=label, linewidth=1.4)
    axes.set_yscale("log")
    axes.set(xlabel="steps before the last one", ylabel="norm of the gradient of the last answer")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


@torch.no_grad()
def gate_traces(layers: nn.RNNBase, inputs: Tensor) -> list[dict[str, Tensor]]:
    """Gates, cell and state of each layer at each step of one sequence.

    Args:
        layers: torch's.
        inputs: `t c`.

    Returns:
        For each layer, tensors `t d` under the symbols of the equations.
    """
    found = []
    for cell in readable_cells(layers):
        zeros = inputs.new_zeros(1, layers.hidden_size)
        state: Any = (zeros, zeros) if layers.mode == "LSTM" else zeros
        steps: list[dict[str, Tensor]] = []
        for x in inputs:
            if layers.mode == "RNN_TANH":
                state = cell(x[None], state)
                step = {"h": state}
            else:
                step = cell.gates(x[None], state)  # type: ignore[operator]
                state = (step["h"], step["c"]) if layers.mode == "LSTM" else step["h"]
            steps.append(step)
        found.append({key: torch.cat([step[key] for step in steps]) for key in TRACED[layers.mode]})
        inputs = found[-1]["h"]
    return found


def draw_gates(subject: Sequences) -> Drawn:
    """A map of steps and units for each gate, layer by layer, over the first sequence."""
    layers = recurrent_layers(subject.network)
    if layers.bidirectional and layers.num_layers > 1:
        raise UserError("gates are drawn of networks with one direction or one layer")
    with predicting(subject.network):
        inputs = inputs_of_layers(subject.network, subject.x[:1])[0, :STEPS]
    for number, traces in enumerate(gate_traces(layers, inputs), start=1):
        figure = Figure(figsize=(max(6, 0.16 * len(inputs)), 1.5 * len(traces) + 0.6), layout="constrained")
        for row, (key, values) in enumerate(traces.items()):
            axes = figure.add_subplot(len(traces), 1, row + 1)
            gate = key not in ("c", "h")
            bound = 1.0 if key != "c" else max(1.0, float(values.abs().max()))
            picture = axes.imshow(
                values[:, :UNITS].T.float().cpu().numpy(), "viridis" if gate else "RdBu_r", aspect="auto",
                vmin=0 if gate else -bound, vmax=bound, interpolation="nearest",
            )  # fmt: skip
            figure.colorbar(picture, ax=axes, pad=0.01)
            axes.set_ylabel(GATE_NAMES[key], fontsize=8)
            axes.set_yticks([])
            axes.set_xticks([])
            if row == len(traces) - 1 and subject.words:
                words = [repr(w)[1:-1] if not w.isprintable() else w for w in subject.words[: len(inputs)]]
                axes.set_xticks(range(len(words)), words, fontsize=8, parse_math=False,
                                rotation=0 if max(map(len, words)) < 3 else 90)  # fmt: skip
        figure.suptitle(
            f"layer {number}, the first {min(UNITS, layers.hidden_size)} units; {subject.source}", fontsize=9
        )
        yield f"gates-{number}", figure


@torch.no_grad()
def singular_values(layers: nn.RNNBase) -> dict[str, Tensor]:
    """Of the matrices through time, gate by gate, largest first."""
    found = {}
    for layer in range(layers.num_layers):
        for suffix in ("", "_reverse") if layers.bidirectional else ("",):
            matrix: Tensor = getattr(layers, f"weight_hh_l{layer}{suffix}").float().cpu()
            for name, part in zip(MATRICES[layers.mode], matrix.split(layers.hidden_size), strict=True):
                back = " backwards" if suffix else ""
                found[f"layer {layer + 1}{back}, {name}"] = torch.linalg.svdvals(part)
    return found


def draw_singular_values(subject: Sequences) -> Drawn:
    """Trained beside new ones. A largest one over 1 is needed for gradients to explode, and does not suffice."""
    trained = singular_values(recurrent_layers(subject.network))
    fresh = singular_values(recurrent_layers(subject.fresh()))
    yield (
        "singular_values",
        {key: {"trained": trained[key].tolist(), "new": fresh[key].tolist()} for key in trained},
    )
    columns = min(4, len(trained))
    rows = -(-len(trained) // columns)
    figure = Figure(figsize=(3 * columns + 0.5, 2.4 * rows + 0.3), layout="constrained")
    for i, key in enumerate(trained):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.plot(trained[key].numpy(), label=f"trained, largest {float(trained[key][0]):.2f}")
        axes.plot(fresh[key].numpy(), "--", label=f"new, largest {float(fresh[key][0]):.2f}", linewidth=1)
        axes.axhline(1, color="grey", linewidth=0.6)
        axes.set_title(key, fontsize=8)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
        axes.tick_params(labelsize=7)
    figure.supxlabel("singular values of the matrix through time, in order", fontsize=8)
    yield "singular_values", figure


METHODS: dict[str, Callable[[Sequences], Drawn]] = {
    "gradients": draw_gradients,
    "gates": draw_gates,
    "singular_values": draw_singular_values,
    "receptive_field": draw_receptive_field,
    "causality": draw_causality,
}


def applies(network: nn.Module) -> bool:
    """Whether a network is one for sequences that these methods can read."""
    try:
        recurrent_layers(network)
    except UserError:
        return isinstance(network, TCN)
    return True
