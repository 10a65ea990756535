"""Small networks that write, with logits that differ."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchatlas.models.gpt import GPT
from torchatlas.models.lstm_lm import LSTMLM
from torchatlas.models.tcn import TCN


class Window(nn.Module):
    """A network without a state, whose logits depend on all that it sees and where it stands."""

    causal = True

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(11, 11))

    def forward(self, tokens: Tensor) -> Tensor:
        weights = torch.arange(1.0, tokens.shape[1] + 1)[:, None].sin()
        return (self.table[tokens] * weights).cumsum(1)


def sharp(network: nn.Module) -> nn.Module:
    """In double precision, with weights large enough that logits differ."""
    for p in network.double().parameters():
        p.data = torch.randn_like(p) * (0.7 if p.ndim > 1 else 0.3)
    return network


def lstm() -> nn.Module:
    network = sharp(LSTMLM(vocab_size=11, dim=12, depth=2, dropout=0.3))
    network.state_axis = 1  # type: ignore[assignment]
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lstm,
    "window": lambda: Window().double(),
    "tcn": lambda: sharp(TCN(vocab_size=11, targets="step", dim=8)),
    "gpt": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, dropout=0.3)),
    "rotary": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, positions="rotary")),
    "alibi": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, positions="alibi")),
}
PROMPTS = [torch.randint(11, (n,), generator=torch.Generator().manual_seed(n)) for n in (3, 1, 6, 3, 14)]
