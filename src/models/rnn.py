"""Elman network.

Elman 1990, "Finding Structure in Time", Cognitive Science 14, figure 2: the hidden units of the last step are inputs
of this one. With x_t the input and h_0 = 0,

    h_t = tanh(W x_t + b + U h_{t-1} + b'),        y = V h_T + a

where y is read from the last step (one answer to a sequence, or numbers for the steps after it), or from each step.

Differs from the paper: gradients go back through all steps (Werbos 1990, "Backpropagation through time"); several
layers may be stacked, each reading the one below (Schmidhuber 1992); U starts orthogonal (Saxe, McClelland and Ganguli
2013, arXiv:1312.6120), W as in Glorot and Bengio 2010. torch's two biases are kept.

>>> import torch
>>> with torch.device("meta"):
...     network = RNN(in_channels=28, num_classes=10, dim=128)  # MNIST row by row
>>> sum(p.numel() for p in network.parameters())
21514
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .classifier import Classifier

State = Any  # a tensor `layers b d`, or of an LSTM two of them


class ElmanCell(nn.Module):
    """One step of the equation above, with the names of `torch.nn.RNNCell`.

    Args:
        in_channels: values of x_t.
        dim: values of h_t.
    """

    def __init__(self, in_channels: int = 4, dim: int = 8) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh = (
            nn.Parameter(torch.empty(dim, in_channels)),
            nn.Parameter(torch.empty(dim, dim)),
        )
        self.bias_ih, self.bias_hh = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.orthogonal_(self.weight_hh)

    def forward(self, x: Float[Tensor, "b c"], h: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        W, U, b, b_ = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return torch.tanh(x @ W.T + b + h @ U.T + b_)


def output_shape(
    *, vocab_size: int, num_classes: int, targets: str, horizon: int, out_channels: int,
    quantiles: Sequence[float] | None,
) -> tuple[int, ...]:  # fmt: skip
    """The numbers that a sequence network answers with, at one place of the sequence.

    Raises:
        ValueError: unknown targets, or a size that is not positive.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "sequence": (num_classes,),
        "step": (vocab_size or num_classes,),
        "horizon": (horizon, out_channels, *(() if quantiles is None else (len(quantiles),))),
    }
    if targets not in shapes:
        raise ValueError(f"targets={targets} must be sequence, step or horizon")
    if min(shapes[targets]) < 1:
        raise ValueError(f"the network has to answer with positive numbers of values, not {shapes[targets]}")
    return shapes[targets]


class RNN(Classifier):
    """Embedding or real-valued input, stacked recurrent layers, and a linear read-out.

    The layers are torch's fused ones, and compute what the readable cell does.

    Args:
        in_channels: real values of each step, where `vocab_size` is 0.
        vocab_size: number of tokens, where the inputs are tokens; 0: they are real values.
        num_classes: values of an answer; at each step of a text they are the `vocab_size` logits of the next token.
        targets: "sequence": one answer, read from the last step (of two directions: from both ends); "step": one at
            each step; "horizon": numbers for `horizon` steps after the last, of `out_channels` channels each.
        horizon, out_channels: see `targets`.
        quantiles: levels, each of which gets a number of its own in a forecast; None: one number.
        dim: hidden units of each layer in each direction, and values of an embedding.
        depth: number of layers.
        bidirectional: whether each layer also reads from the end (Schuster and Paliwal 1997).
        dropout: probability with which an output of a layer is dropped on its way to the next layer or to the
            read-out, never through time (Zaremba et al. 2014, arXiv:1409.2329, section 3.2).
        tied: whether the embedding is the read-out's matrix too (Press and Wolf 2016, arXiv:1608.05859).
        length: steps of an example input; the network itself takes any number.

    Raises:
        ValueError: both directions where the future must not be seen, tied weights without tokens in and out, or a
            size that is not positive.
    """

    core: Any = nn.RNN
    heads = ("decoder",)
    variable_length = True
    state_axis = 1  # of the batch in a state

    def __init__(
        self,
        *,
        in_channels: int = 3,
        vocab_size: int = 0,
        num_classes: int = 10,
        targets: str = "sequence",
        horizon: int = 1,
        out_channels: int = 1,
        quantiles: Sequence[float] | None = None,
        dim: int = 16,
        depth: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        tied: bool = False,
        length: int = 8,
    ) -> None:
        super().__init__()
        if bidirectional and targets != "sequence":
            what = "generate or label step by step" if targets == "step" else "forecast"
            raise ValueError(f"a bidirectional network has seen the future and cannot {what}: use bidirectional=false")
        if tied and not (vocab_size and targets == "step"):
            raise ValueError("tied=true needs tokens in and out, as of a language model: use tied=false")
        if dim < 1 or depth < 1 or not 0 <= dropout < 1:
            raise ValueError(f"dim={dim} and depth={depth} must be positive and dropout={dropout} from 0 to below 1")
        self.causal = not bidirectional
        self.in_channels, self.vocab_size, self.targets, self.length = in_channels, vocab_size, targets, length
        self.shape = output_shape(
            vocab_size=vocab_size, num_classes=num_classes, targets=targets, horizon=horizon, out_channels=out_channels,
            quantiles=quantiles,
        )  # fmt: skip
        self.embedding = nn.Embedding(vocab_size, dim) if vocab_size else None
        self.layers: nn.RNNBase = self.core(
            dim if vocab_size else in_channels, dim, depth, batch_first=True, bidirectional=bidirectional,
            dropout=dropout if depth > 1 else 0.0,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.num_features = dim * (2 if bidirectional else 1)
        self.decoder = nn.Linear(self.num_features, math.prod(self.shape))
        self.initialize()
        if tied:
            assert self.embedding is not None
            self.decoder.weight = self.embedding.weight

    def initialize(self) -> None:
        """Orthogonal matrices through time and Glorot's otherwise, gate by gate; biases zero."""
        for name, parameter in self.layers.named_parameters():
            for gate in parameter.data.split(self.layers.hidden_size):
                if name.startswith("bias"):
                    nn.init.zeros_(gate)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.xavier_uniform_(gate)
        self.init_head(self.decoder)
        if self.embedding is not None:
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.xavier_uniform_(head.weight)
        nn.init.zeros_(head.bias)

    def reset_classifier(self, num_classes: int) -> None:
        super().reset_classifier(num_classes)
        self.shape = (self.decoder.out_features,)

    def forward(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b ..."]:
        """Answers, of shape `b k`, `b t k`, `b h c` or `b h c q`.

        Args:
            x: sequences, padded behind.
            lengths: steps of each that are no padding; None: all. Answers at steps of padding mean nothing.
        """
        return self.forward_head(self.forward_features(x, lengths), lengths=lengths)

    def forward_features(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b t d"]:
        """Of the uppermost layer h at each step, that of two directions side by side."""
        inputs = x if self.embedding is None else self.embedding(x)
        if self.layers.bidirectional and lengths is not None and not lengths.is_meta:
            packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(self.layers(packed)[0], batch_first=True, total_length=x.shape[1])
        else:
            h, _ = self.layers(inputs)
        return h

    def forward_head(
        self, x: Float[Tensor, "b t d"], pre_logits: bool = False, lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b ..."]:
        """Answers, read from the last step; of the direction to the left that is the first one."""
        if self.targets != "step":
            last = x[:, -1] if lengths is None else x[torch.arange(len(x), device=x.device), lengths - 1]
            if self.layers.bidirectional:
                dim = self.layers.hidden_size
                last = torch.cat([last[:, :dim], x[:, 0, dim:]], 1)
            x = last
        x = self.dropout(x)
        if pre_logits:
            return x
        answers: Tensor = self.decoder(x)
        return answers if self.targets == "step" else answers.unflatten(1, self.shape)

    def advance(
        self, x: Float[Tensor, "b t c"] | Int[Tensor, "b t"], state: State = None
    ) -> tuple[Float[Tensor, "b t k"], State]:
        """Answers at each step, and the state after the last one, from which the next call can go on."""
        h, state = self.layers(x if self.embedding is None else self.embedding(x), state)
        answers: Tensor = self.decoder(self.dropout(h))
        return answers, state

    def example_input(self, batch: int = 2) -> tuple[Tensor]:
        """Normal numbers or random tokens, for tests, tables and graphs."""
        if self.vocab_size:
            return (torch.randint(self.vocab_size, (batch, self.length)),)
        return (torch.randn(batch, self.length, self.in_channels),)
