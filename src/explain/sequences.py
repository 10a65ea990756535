"""What a network for sequences computes, and how far it sees: the mathematics and pictures of `explain`."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import evaluating, predicting
from ..errors import UserError
from ..models.gru import GRUCell
from ..models.lstm import LSTMCell
from ..models.rnn import ElmanCell
from ..models.tcn import TCN
from ..run.build import build_network

Drawn = Iterator[tuple[str, Figure | dict[str, Any]]]  # a picture, or a table for a JSON file, and its name

CELLS: dict[str, type[nn.Module]] = {"RNN_TANH": ElmanCell, "LSTM": LSTMCell, "GRU": GRUCell}
TRACED = {"RNN_TANH": ("h",), "LSTM": ("i", "f", "o", "c", "h"), "GRU": ("r", "z", "h")}
GATE_NAMES = {
    "i": "input gate i", "f": "forget gate f", "o": "output gate o", "c": "cell c", "h": "state h", "r": "reset gate r",
    "z": "update gate z (1 keeps)",
}  # fmt: skip
STEPS, UNITS = 60, 48  # of a gate trace
MATRICES = {"RNN_TANH": ("U",), "LSTM": ("U of i", "U of f", "U of g", "U of o"), "GRU": ("U of r", "U of z", "U of n")}
SEQUENCES = 4  # in which a receptive field is looked for
PROJECTIONS = 4  # random directions in which answers are differentiated


@dataclass
class Sequences:
    """What is explained.

    Attributes:
        network: in eval mode.
        config: of the run's model.
        x: sequences, `b t c` or tokens `b t`.
        source: where they come from, in words.
        words: what stands at each step of the first sequence, where it is text.
    """

    network: nn.Module
    config: dict[str, Any]
    x: Tensor
    source: str
    words: list[str]

    def fresh(self) -> nn.Module:
        """The same network with new weights."""
        return build_network(self.config).to(self.x.device)


def recurrent_layers(network: nn.Module) -> nn.RNNBase:
    """The network's torch layers.

    Raises:
        UserError: it has none.
    """
    for module in network.modules():
        if isinstance(module, nn.RNNBase) and module.mode in CELLS:
            return module
    raise UserError("the network has no recurrent layers")


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


def inputs_of_layers(network: nn.Module, x: Tensor) -> Tensor:
    """What the first layer behind an embedding gets, `b t c`: embedded tokens, or x itself."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            return module(x)  # type: ignore[no-any-return]
    return x


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
            if getattr(network, "targets", "step") == "step":
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


def in_double_precision(network: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of a network, and its input, float64 where it is no tokens; on the CPU where an Apple GPU lacks it."""
    copied = copy.deepcopy(network)
    if x.device.type == "mps":
        copied, x = copied.cpu(), x.cpu()
    return copied.double(), x.double() if x.is_floating_point() else x


class Reach:
    """Which steps of the input one answer depends on, measured by gradients in double precision.

    A step that has no way to the answer has a gradient of exactly zero.

    Args:
        network: it is left as it was.
        x: sequences `b t c` or tokens `b t`; several, since a ReLU may be at zero in one of them.
        place: the step of the answer.

    Attributes:
        first, last: the first and the last step with an influence.
    """

    def __init__(self, network: nn.Module, x: Tensor, place: int) -> None:
        network, x = in_double_precision(network, x)
        with evaluating(network), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            inputs = inputs_of_layers(network, x).detach().requires_grad_()
            states = states_from(network, inputs)[:, place]
            weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            (gradient,) = torch.autograd.grad((states * weights.to(states)).sum(), inputs)
        reached = gradient.abs().amax((0, 2)).nonzero()[:, 0].cpu()
        self.first, self.last = (int(reached.min()), int(reached.max())) if len(reached) else (place + 1, place)


def changed_alone(network: nn.Module, x: Tensor, steps: Tensor) -> Tensor:
    """Copies of a sequence, in each of which one step is another, and behind them the sequence itself."""
    copies, rows = x.expand(len(steps) + 1, *x.shape).clone(), torch.arange(len(steps))
    if x.is_floating_point():
        copies[rows, steps] += 1.0
    else:
        size = next(module for module in network.modules() if isinstance(module, nn.Embedding)).num_embeddings
        copies[rows, steps] = (copies[rows, steps] + 1) % size
    return copies


def differs(answers: Tensor, reference: Tensor) -> Tensor:
    """Whether vectors `n ... d` are others than the reference, beyond the last digits of double precision."""
    return ((answers - reference).abs() > 1e-14 * (1 + reference.abs())).any(-1)


def states_from(network: nn.Module, inputs: Tensor) -> Tensor:
    """What the network has at each step before its read-out, `b t d`, of what stands behind an embedding, `b t c`."""
    if isinstance(network, TCN):
        return network.blocks(inputs.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]
    states: Tensor = recurrent_layers(network)(inputs)[0]
    return states


def draw_receptive_field(subject: Sequences) -> Drawn:
    """The taps of a TCN's convolutions that lead to one step, and the steps that were found to matter."""
    network = subject.network
    if not isinstance(network, TCN):
        raise UserError("the picture of dilated convolutions is for a TCN")
    claimed = network.receptive_field
    length, place = claimed + 8, claimed + 3
    generator = torch.Generator().manual_seed(0)
    if network.vocab_size:
        x = torch.randint(network.vocab_size, (SEQUENCES, length), generator=generator)
    else:
        x = torch.randn(SEQUENCES, length, network.in_channels, generator=generator)
    reach = Reach(network, x.to(subject.x.device), place)
    measured = place - reach.first + 1
    causal = reach.last <= place
    found = {
        "claimed_steps": claimed, "measured_steps": measured, "sequence_length": length, "answer_at": place,
        "last_step_with_influence": reach.last, "causal": causal,
    }  # fmt: skip
    yield "receptive_field", found
    yield "receptive_field", draw_taps(network, found)


def draw_taps(network: TCN, found: dict[str, Any]) -> Figure:
    """Rows are the input and each convolution; a line for each tap on the way to the last step, right."""
    convolutions: list[Any] = [conv for block in network.blocks for conv in (block.conv1, block.conv2)]
    figure = Figure(figsize=(10, 0.5 * len(convolutions) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    places = {0}  # steps before the last one
    for row in range(len(convolutions), 0, -1):
        dilation, taps = convolutions[row - 1].dilation[0], convolutions[row - 1].kernel_size[0]
        below = {place + i * dilation for place in places for i in range(taps)}
        if len(places) * taps <= 4000:
            for place in places:
                for i in range(taps):
                    axes.plot(
                        (-place, -place - i * dilation), (row, row - 1), color="tab:blue", linewidth=0.4, alpha=0.5
                    )
        axes.scatter([-place for place in places], [row] * len(places), s=6, color="tab:blue", zorder=3)
        places = below
    axes.scatter([-place for place in places], [0] * len(places), s=6, color="black", zorder=3)
    labels = ["input", *(f"block {i // 2 + 1}, dilation {c.dilation[0]}" for i, c in enumerate(convolutions))]
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xlabel("steps before the answer")
    shown = "no later step changes it" if found["causal"] else f"step {found['last_step_with_influence']} changes it"
    beyond = "" if found["measured_steps"] == found["claimed_steps"] else " (the rest is behind ReLUs at zero)"
    axes.set_title(
        f"receptive field: {found['claimed_steps']:,} steps by the formula, {found['measured_steps']:,} measured"
        f"{beyond}; causal: {shown}", fontsize=9,
    )  # fmt: skip
    return figure


def draw_causality(subject: Sequences) -> Drawn:
    """Each step of a sequence is changed alone; a mark where the state at another step changed."""
    network = subject.network
    x = subject.x[0, : min(STEPS, subject.x.shape[1])]
    network, x = in_double_precision(network, x)
    with predicting(network):
        inputs = inputs_of_layers(network, changed_alone(network, x, torch.arange(len(x))))
        states = states_from(network, inputs)
    table = (states[:-1] - states[-1]).norm(dim=2).cpu()
    table = table * differs(states[:-1], states[-1]).cpu()
    future = float(table.tril(-1).max()) if len(x) > 1 else 0.0
    yield "causality", {"largest_change_of_an_earlier_state": future, "causal": future == 0.0, "steps": len(x)}
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow((table + 1e-12).log10().numpy(), "magma", vmin=-8, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="log10 of the change of the state")
    axes.set(xlabel="state at step", ylabel="changed step")
    verdict = "no earlier state changes" if future == 0 else f"earlier states change by up to {future:.2g}"
    axes.set_title(f"causal: {verdict}" if future == 0 else f"not causal: {verdict}", fontsize=9)
    yield "causality", figure


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
