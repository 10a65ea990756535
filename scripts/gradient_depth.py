"""The gradient norm by depth of plain and residual nets, drawn to `docs/gradient_depth.png`.

    python scripts/gradient_depth.py

He's nets for small images (He et al. 2015, arXiv:1512.03385, section 4.2) of 20 and 56 layers with new weights, with
shortcuts and without, on one batch of scikit-learn's digits, enlarged to 32 pixels: the mean over five seeds.
"""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from torchatlas.data.images.digits import Digits
from torchatlas.explain.methods import gradient_norms
from torchatlas.zoo import create_model

DOCUMENT = Path(__file__).parent.parent / "docs" / "gradient_depth.png"
SEEDS = 5


def mean_norms(depth: int, shortcut: str) -> list[float]:
    """Of the cross-entropy's gradient in each layer, from the input to the output."""
    data = Digits(in_channels=1, image_size=32, num_classes=10, val_size=144)
    data.setup("fit")
    x, y = data.transform(data.splits["train"][-1, torch.arange(128)])
    total: list[float] = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        network = create_model(f"resnet{depth}", in_channels=1, shortcut=shortcut)
        norms = list(gradient_norms(network, x, y).values())
        total = [a + b / SEEDS for a, b in zip(total or [0.0] * len(norms), norms, strict=True)]
    return total


def main() -> None:
    """Compute, print the first and the last layer's, draw."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, depth in zip(axes, (20, 56), strict=True):
        for shortcut, label in (("none", "plain"), ("identity", "residual")):
            norms = mean_norms(depth, shortcut)
            panel.semilogy(range(1, len(norms) + 1), norms, label=label)
            print(f"{depth} layers, {label}: first {norms[0]:.3g}, last but one {norms[-2]:.3g}, last {norms[-1]:.3g}")
        panel.set(title=f"{depth} layers", xlabel="layer, from the input")
        panel.grid(alpha=0.3)
        panel.legend()
    axes[0].set_ylabel("norm of the gradient, new weights")
    figure.savefig(DOCUMENT, dpi=110)


if __name__ == "__main__":
    main()
