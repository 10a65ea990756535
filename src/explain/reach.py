"""How far a network for sequences sees, and whether it looks ahead."""

import copy
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import evaluating, predicting
from ..errors import UserError
from ..models.tcn import TCN
from .base import Drawn
from .sequence_subject import STEPS, Sequences, inputs_of_layers, recurrent_layers

SEQUENCES = 4  # in which a receptive field is looked for


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
