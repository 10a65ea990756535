"""Each network that torchvision has, held against torchvision's own: parameters, logits, gradients.

    python scripts/parity.py [NAME ...]

torchvision's network gets random weights, its batch statistics too; its state dict is loaded into ours, ViT's under the
names that `torchatlas.weights` has for it. Printed and written to `docs/parity.md` are the number of parameters of
both, the difference of the logits in eval mode and that of the gradients in training mode with dropout and stochastic
depth off, each as a norm relative to torchvision's. With names only those are computed, and nothing is written.
"""

import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from torchatlas.weights import torchvision_weights
from torchatlas.zoo import create_model, list_models, model_card

DOCUMENT = Path(__file__).parent.parent / "docs" / "parity.md"
GRADIENTS_AT = 128  # pixels: the smallest at which every network still has something to pool


def names() -> list[str]:
    """Models that torchvision has under the same name."""
    return [name for name in list_models() if name in torchvision.models.list_models(module=torchvision.models)]


def theirs(name: str, **options: Any) -> nn.Module:
    """The network of torchvision with weights and statistics as after training, where nothing is 0 or 1."""
    if name.startswith("vit_"):
        return vision_transformer(name, **options)
    options |= {"init_weights": False} if name == "googlenet" else {}
    network: nn.Module = getattr(torchvision.models, name)(**options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            assert module.running_var is not None
            assert module.running_mean is not None
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.1)
    return network


def vision_transformer(name: str, **options: Any) -> nn.Module:
    """The same for ViT, whose weights are pieces of one long row of numbers, since the largest has 632 million."""
    with torch.device("meta"):
        network: nn.Module = getattr(torchvision.models, name)(**options)
    network.to_empty(device="cpu")
    numbers = 0.02 * torch.randn(2**24)
    for key, parameter in network.named_parameters():
        start = int(torch.randint(len(numbers) - parameter.numel(), ()))
        piece = numbers[start : start + parameter.numel()].view_as(parameter)
        parameter.data = 1 + 5 * piece if ".ln" in key and key.endswith("weight") else piece
    return network


def without_chance(network: nn.Module) -> nn.Module:
    """In training mode, with dropout and stochastic depth off."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) or type(module).__name__ == "StochasticDepth":
            module.eval()
    return network


def difference(ours: Tensor, expected: Tensor) -> float:
    """Norm of the difference relative to that of the expected."""
    return float((ours - expected).norm() / expected.norm().clamp(min=1e-12))


def gradients(network: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of the cross-entropy of all outputs, by parameter."""
    outputs: Any = without_chance(network)(x)
    network.zero_grad()
    all_outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    torch.stack([F.cross_entropy(out, labels) for out in all_outputs]).sum().backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def renamed(tensors: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """With our names: other ones than torchvision's where ours differ and a table has them."""
    if set(tensors) == set(own):
        return tensors
    found = next((naming for naming in torchvision_weights.NAMINGS if naming.recognises(tensors)), None)
    return tensors if found is None else {found.rename(key): tensor for key, tensor in tensors.items()}


def compare(name: str, *, image_size: int = 224, with_gradients: bool = True) -> dict[str, Any]:
    """Parameters of both, and the largest differences of logits and gradients.

    Args:
        name: of a model that torchvision has.
        image_size: pixels of the two images whose logits are compared; ViT's have whole patches, at least 4x4.
        with_gradients: whether to compare the gradients too, at `GRADIENTS_AT` pixels, or those of a ViT.
    """
    torch.manual_seed(0)
    options, smaller = {}, min(image_size, GRADIENTS_AT)
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        image_size = smaller = max(image_size // patch, 4) * patch
        options = {"image_size": image_size}
    expected = theirs(name, **options)
    with torch.device("meta"):  # its weights come with the state dict
        ours = create_model(name, **options)
    counts = [sum(p.numel() for p in network.parameters()) for network in (ours, expected)]
    ours.load_state_dict(renamed(expected.state_dict(), ours.state_dict()), assign=True)
    x = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        logits = difference(ours.eval()(x), expected.eval()(x))
    found: dict[str, Any] = {"name": name, "parameters": counts[0], "theirs": counts[1], "logits": logits}
    if with_gradients:
        x, labels = torch.randn(4, 3, smaller, smaller), torch.tensor([3, 5, 7, 9])
        one, two = gradients(ours, x, labels), gradients(expected, x, labels)
        two = renamed(two, one)
        assert set(one) == set(two)
        whole = torch.stack([g.norm() for g in two.values()]).norm()
        found["gradients"] = float(torch.stack([(one[k] - two[k]).norm() for k in two]).norm() / whole)
    return found


def main(wanted: list[str]) -> None:
    """Compute, print, and write the table."""
    lines = [
        "# Held against torchvision",
        "",
        f"Written by `python scripts/parity.py` with torchvision {torchvision.__version__}, torch {torch.__version__}, "
        f"fp32, {platform.machine()}. torchvision's network with random weights and batch statistics; its state dict "
        "loaded into ours by `load_state_dict`, without renaming but for ViT's. Logits: two images of 224 pixels, eval "
        f"mode. Gradients: four images of {GRADIENTS_AT} pixels (ViT: 224), training mode, dropout and stochastic "
        "depth off, auxiliary heads included. Both differences are norms relative to torchvision's; the tests repeat "
        "them on every machine. What the other networks are held against: [models.md](models.md).",
        "",
        "| `model=` | parameters | torchvision's | difference of the logits | difference of the gradients | paper |",
        "|---|---|---|---|---|---|",
    ]
    for name in wanted or names():
        found = compare(name)
        lines.append(
            f"| `{name}` | {found['parameters']:,} | {found['theirs']:,} | {found['logits']:.1e} "
            f"| {found['gradients']:.1e} | {model_card(name).paper} |"
        )
        print(lines[-1], flush=True)
    if not wanted:
        DOCUMENT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
