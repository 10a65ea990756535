"""Encoder-decoder networks of all kinds, small and awake."""

from typing import Any

import torch
from torch import nn

from torchatlas.models.seq2seq import Seq2Seq
from torchatlas.models.seq2seq_attention import Seq2SeqAttention

NETWORKS: dict[str, Any] = {
    "lstm": lambda: Seq2Seq(depth=2),
    "gru, context": lambda: Seq2Seq(cell="gru", depth=2, context=True),
    "lstm, reversed": lambda: Seq2Seq(reverse=True),
    "lstm, both directions": lambda: Seq2Seq(bidirectional=True, depth=2),
    "gru, both directions, reversed": lambda: Seq2Seq(cell="gru", bidirectional=True, reverse=True, context=True),
    "additive": lambda: Seq2SeqAttention(),
    "additive, lstm, deep": lambda: Seq2SeqAttention(cell="lstm", depth=2, bidirectional=False),
    "dot": lambda: Seq2SeqAttention(score="dot", bidirectional=False, depth=2),
    "general": lambda: Seq2SeqAttention(score="general", cell="lstm"),
}
ATTENDING = ("additive", "additive, lstm, deep", "dot", "general")


def awake(network: nn.Module) -> Any:
    """With weights so large that everything matters, and in eval mode."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


# --- the loss

TINY = {
    "source_vocab_size": 16, "target_vocab_size": 16, "dim": 16, "depth": 2, "heads": 2, "hidden": 32, "dropout": 0.0,
    "shared": False,
}  # fmt: skip
