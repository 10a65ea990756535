"""Which word of the source each word of a translation attended to."""

from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..models.contract import Attention, EncoderDecoder
from ..tasks.seq2seq import BEGIN
from .text import plain

MOST_LABELS = 60  # tokens of a side that a picture names


def labels(codec: Any, tokens: Tensor) -> list[str]:
    """Each token as a text that shows, for pictures."""
    return [plain(piece.strip() or "␣") for piece in codec.pieces(tokens)]


def alignments(network: nn.Module, source: Tensor, output: Tensor) -> list[Tensor]:
    """How much each token of an output, and its end, looks at each token of its source.

    Args:
        network: encoder and decoder, of which some modules are `Attention`.
        source: tokens `s`.
        output: tokens `t` without <bos> and <eos>.

    Returns:
        `t+1 s` for each module of the decoder that attends to the source, the mean over its heads, on the CPU.
    """
    assert isinstance(network, EncoderDecoder)
    attending = [module for module in network.modules() if isinstance(module, Attention)]
    target = F.pad(output.to(source.device), (1, 0), value=BEGIN)[None]
    # What attends to the source is known by the width of its weights: with a step of padding, where both are as long.
    width = len(source) + (len(source) == target.shape[1])
    padded = F.pad(source, (0, width - len(source)))[None]
    found = []
    with predicting(network):
        state = network.read(padded, torch.tensor([len(source)], device=source.device))
        try:
            for module in attending:
                module.written_out, module.weights = True, None
            network.advance(target, state)
            for module in attending:
                if module.weights is not None and module.weights.shape[-1] == width:
                    found.append(module.weights[0].float().mean(0)[:, : len(source)].cpu())
        finally:
            for module in attending:
                module.written_out, module.weights = False, None
    return found


def draw_alignments(maps: list[Tensor], source: list[str], output: list[str]) -> Figure:
    """Output tokens from top to bottom, source tokens from left to right, a panel for each map `t s`."""
    size = (0.9 + 0.17 * len(source), 0.9 + 0.17 * len(output))
    figure = Figure(figsize=(min(size[0], 12) * len(maps), min(size[1], 12)), layout="constrained")
    for i, weights in enumerate(maps):
        axes = figure.add_subplot(1, len(maps), i + 1)
        axes.imshow(weights.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        if len(maps) > 1:
            axes.set_title(f"layer {i + 1}", fontsize=8)
        if len(source) <= MOST_LABELS:
            axes.set_xticks(range(len(source)), source, rotation=90, fontsize=7)
        if len(output) <= MOST_LABELS:
            axes.set_yticks(range(len(output)), output if i == 0 else [""] * len(output), fontsize=7)
    return figure
