"""The speed of each network that torchvision has, against torchvision's own, in the same loop.

    python scripts/throughput.py [NAME ...] [--seconds 10] [--batch 8] [--size 96]

A step is forward, backward and one of SGD with momentum, in fp32, on the GPU if there is one. Both networks have the
same weights and take turns; the ratio is the median over turns of torchvision's time by ours, so that 1.00 means the
same speed. Without names all are measured, and the table goes to `docs/throughput.md`.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from torchatlas.storage.record import hardware
from torchatlas.zoo import create_model, list_models

DOCUMENT = Path(__file__).parent.parent / "docs" / "throughput.md"


def seconds_of_a_step(network: nn.Module, x: torch.Tensor, labels: torch.Tensor, optimizer: Any) -> float:
    """One update, with what came before it on the device finished."""
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    output: Any = network(x)
    outputs = output if isinstance(output, tuple) else (output,)
    loss = torch.stack([F.cross_entropy(out, labels) for out in outputs]).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(name: str, seconds: float, batch: int, size: int) -> tuple[float, float, float, int]:
    """Images a second of ours and theirs, the ratio, and the number of turns.

    Args:
        name: of a model that torchvision has.
        seconds: that the turns may take, after one of each to warm up.
        batch, size: images of a step, and their side in pixels.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"init_weights": True} if name == "googlenet" else {}
    theirs = getattr(torchvision.models, name)(**options)
    ours = create_model(name)
    ours.load_state_dict(theirs.state_dict())
    x, labels = torch.randn(batch, 3, size, size, device=device), torch.randint(1000, (batch,), device=device)
    pair = [network.to(device).train() for network in (ours, theirs)]
    optimizers = [torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9) for network in pair]
    times: tuple[list[float], list[float]] = ([], [])
    begun, turn = time.perf_counter(), 0
    while turn < 10 or time.perf_counter() - begun < seconds:
        for i in (0, 1) if turn % 2 else (1, 0):  # who begins alternates too
            taken = seconds_of_a_step(pair[i], x, labels, optimizers[i])
            if turn:
                times[i].append(taken)
        turn += 1
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    one, two = (batch / statistics.median(t) for t in times)
    return one, two, ratio, turn - 1


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    machine = hardware()
    where = (
        ", ".join(machine["gpus"])
        or f"{torch.get_num_threads()} threads on {machine['cores']} cores of {machine['cpu']}"
    )
    lines = [
        "# Speed against torchvision",
        "",
        f"Written by `python scripts/throughput.py` on {where}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}: training steps of {options.batch} images of {options.size} pixels in fp32, "
        "forward, backward and SGD with momentum. Both networks take turns in one process; the ratio is the median "
        "over the turns of torchvision's time by ours.",
        "",
        "| `model=` | images a second | torchvision's | ratio | turns |",
        "|---|---|---|---|---|",
    ]
    for name in options.names or [n for n in list_models() if n in torchvision.models.list_models()]:
        ours, theirs, ratio, turns = compare(name, options.seconds, options.batch, options.size)
        lines.append(f"| `{name}` | {ours:.1f} | {theirs:.1f} | {ratio:.2f} | {turns} |")
        print(lines[-1], flush=True)
    if not options.names:
        DOCUMENT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
