"""The gradient norm by temporal distance of RNN, LSTM and GRU, drawn to `docs/gradient_distance.png`.

    python scripts/gradient_distance.py

How strongly the last answer of a network of 64 units depends on the input of each of 200 earlier steps, with normal
numbers as input: geometric means over five seeds. Left the zoo's new weights (orthogonal through time, forget gates
open), right those that torch starts with, U(±1/√64), where the gradient vanishes sooner in all three.
"""

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from torchatlas.explain.sequences import gradient_by_distance
from torchatlas.zoo import create_model

DOCUMENT = Path(__file__).parent.parent / "docs" / "gradient_distance.png"
SEEDS, STEPS, DIM, SEQUENCES = 5, 200, 64, 32
FLOOR = 1e-12


def norms(name: str, seed: int, *, torchs: bool) -> Tensor:
    """By distance, `STEPS` numbers, relative to the last step's."""
    torch.manual_seed(seed)
    network = create_model(name, in_channels=1, dim=DIM, num_classes=10)
    if torchs:
        for layer in network.modules():
            if isinstance(layer, nn.RNNBase | nn.Linear):
                layer.reset_parameters()
    found = gradient_by_distance(network, torch.randn(SEQUENCES, STEPS, 1))
    relative: Tensor = found / found[0]
    return relative


def main() -> None:
    """Compute, print where each curve has fallen to a hundredth, draw."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, torchs, title in zip(
        panels, (False, True), ("the zoo's new weights", "torch's new weights"), strict=True
    ):
        for name in ("rnn", "lstm", "gru"):
            runs = torch.stack([norms(name, seed, torchs=torchs) for seed in range(SEEDS)]).clamp(min=FLOOR)
            curve = runs.log().mean(0).exp()
            axes.semilogy(range(STEPS), curve.numpy(), label=name)
            gone = (curve < 0.01).nonzero()
            where = int(gone[0]) if len(gone) else math.inf
            print(f"{title}, {name}: a hundredth after {where} steps, {float(curve[-1]):.2g} after {STEPS - 1}")
        axes.set(title=title, xlabel="steps before the last one", ylim=(FLOOR, 10))
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("norm of the gradient, relative to the last step")
    figure.savefig(DOCUMENT, dpi=110)


if __name__ == "__main__":
    main()
