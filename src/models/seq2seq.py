"""Sequence to sequence: an encoder and a decoder.

Sutskever, Vinyals and Le 2014, "Sequence to Sequence Learning with Neural Networks", arXiv:1409.3215, and Cho et al.
2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation", arXiv:1406.1078.
One recurrent network reads the source x_1 ... x_S into its last state, and another one, which starts in that state,
writes the target (section 2 of the former):

    h_i = f(h_{i-1}, E x_i),        s_0 = h_S
    s_t = f'(s_{t-1}, E' y_{t-1}),  p(y_t | y_<t, x) = softmax(W s_t + a)

Whatever the length of the source, the decoder knows of it what s_0 holds. `reverse` reads the source from its end
(section 3.3), and `context` gives s_0 to each step of the decoder, as c in s_t = f'(s_{t-1}, y_{t-1}, c) (Cho et al.,
section 2.2).

Differs from the papers: dropout; one way to write the end of a sequence, a token. An encoder in both directions has a
bridge, s_0 = tanh(W [h_S; g_1] + b) for each layer, with g_1 the last state of the one that reads from the end, after
appendix A.2.2 of arXiv:1409.0473. Cho et al. make c from h_S by a further layer, and let the logits see c and y_{t-1}.

>>> import torch
>>> with torch.device("meta"):  # section 3.4: four layers of 1000 cells; the paper counts 384 million
...     sizes = dict(embedding_dim=1000, dim=1000, depth=4)
...     network = Seq2Seq(source_vocab_size=160_000, target_vocab_size=80_000, **sizes)
>>> sum(p.numel() for p in network.parameters())
384144000
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CELLS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
Hidden = tuple[Tensor, ...]  # `b layers d` each: (h, c) of an LSTM, (h,) of a GRU


def recur(layers: nn.RNNBase, x: Float[Tensor, "b t c"], hidden: Hidden) -> tuple[Float[Tensor, "b t d"], Hidden]:
    """Outputs of the uppermost layer at each step, and the states after the last one; the batch is axis 0 of all."""
    first = tuple(state.transpose(0, 1).contiguous() for state in hidden)
    outputs, last = layers(x, first if isinstance(layers, nn.LSTM) else first[0])
    last = last if isinstance(last, tuple) else (last,)
    return outputs, tuple(state.transpose(0, 1) for state in last)


class Encoder(nn.Module):
    """Embedding and recurrent layers; padding changes nothing.

    Args:
        vocab_size: number of tokens.
        embedding_dim: values of an embedding.
        dim: units of each layer in each direction.
        depth: number of layers.
        cell: lstm or gru.
        bidirectional: whether each layer also reads from the end; then a bridge makes one state of two.
        dropout: probability with which values of embeddings, and outputs on their way to the next layer, are dropped.

    Attributes:
        memory_dim: values of an output of the uppermost layer.

    Raises:
        ValueError: an unknown cell, or a size that is not positive.
    """

    def __init__(
        self, vocab_size: int = 16, embedding_dim: int = 8, dim: int = 16, depth: int = 1, *, cell: str = "lstm",
        bidirectional: bool = False, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell={cell} must be {' or '.join(CELLS)}")
        if min(vocab_size, embedding_dim, dim, depth) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"{vocab_size=}, {embedding_dim=}, {dim=} and {depth=} must be positive, and {dropout=} from 0 to "
                "below 1"
            )
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.layers: nn.RNNBase = CELLS[cell](
            embedding_dim, dim, depth, batch_first=True, bidirectional=bidirectional,
            dropout=dropout if depth > 1 else 0.0,
        )  # fmt: skip
        self.memory_dim = dim * (2 if bidirectional else 1)
        states = (2 if cell == "lstm" else 1) if bidirectional else 0
        self.bridge = nn.ModuleList(nn.Linear(2 * dim, dim) for _ in range(states))

    def forward(
        self, source: Int[Tensor, "b s"], lengths: Int[Tensor, " b"] | None = None
    ) -> tuple[Float[Tensor, "b s e"], Hidden]:
        """Outputs at each step, zeros where it is padding, and the first states of a decoder with as many layers.

        Args:
            source: tokens, padded behind.
            lengths: tokens of each that are no padding; None: all.
        """
        x: Any = self.dropout(self.embedding(source))
        packed = False
        if lengths is not None and not lengths.is_meta:
            sizes = lengths.cpu()
            packed = torch.compiler.is_compiling() or bool((sizes < source.shape[1]).any())
            if packed:  # without it the kernels are faster
                x = pack_padded_sequence(x, sizes, batch_first=True, enforce_sorted=False)
        memory, last = self.layers(x)
        if packed:
            memory, _ = pad_packed_sequence(memory, batch_first=True, total_length=source.shape[1])
        states = [state.transpose(0, 1) for state in (last if isinstance(last, tuple) else (last,))]
        if self.bridge:  # `b layers*2 d`: of each layer to the right, then to the left
            both = [state.unflatten(1, (-1, 2)).flatten(2) for state in states]
            states = [torch.tanh(bridge(state)) for bridge, state in zip(self.bridge, both, strict=True)]
        return memory, tuple(states)


def backwards(source: Int[Tensor, "b s"], lengths: Int[Tensor, " b"] | None = None) -> Int[Tensor, "b s"]:
    """Each source from its last token to its first; what is behind is padding still."""
    if lengths is None:
        return source.flip(1)
    places = lengths[:, None] - 1 - torch.arange(source.shape[1], device=source.device)
    return torch.where(places >= 0, source.gather(1, places.clamp(min=0)), source)


class Seq2Seq(nn.Module):
    """Encoder and decoder.

    Args:
        source_vocab_size, target_vocab_size: numbers of tokens.
        embedding_dim, dim, depth, cell, bidirectional, dropout: see `Encoder`. The decoder has as many layers of as
            many units, in one direction, and its outputs on their way to the logits are dropped too.
        reverse: whether the source is read from its end.
        context: whether each step of the decoder gets the uppermost layer's first state.
        init_range: weights start from U(-init_range, init_range); section 3.4 has 0.08.
        length: tokens of an example input.
    """

    variable_length = True
    no_graph = "its encoder packs sequences by their lengths, which no graph can hold"

    def __init__(
        self,
        *,
        source_vocab_size: int = 16,
        target_vocab_size: int = 16,
        embedding_dim: int = 8,
        dim: int = 16,
        depth: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        reverse: bool = False,
        context: bool = False,
        dropout: float = 0.0,
        init_range: float = 0.08,
        length: int = 8,
    ) -> None:
        super().__init__()
        self.source_vocab_size, self.target_vocab_size, self.length = source_vocab_size, target_vocab_size, length
        self.reverse, self.context = reverse, context
        self.encoder = Encoder(
            source_vocab_size, embedding_dim, dim, depth, cell=cell, bidirectional=bidirectional, dropout=dropout
        )
        self.embedding = nn.Embedding(target_vocab_size, embedding_dim)
        self.layers: nn.RNNBase = CELLS[cell](
            embedding_dim + (dim if context else 0), dim, depth, batch_first=True,
            dropout=dropout if depth > 1 else 0.0,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(dim, target_vocab_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init_range, init_range)

    def forward(
        self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b t v"]:
        """Logits of what comes after each token of the target.

        Args:
            source: what is read, padded behind.
            target: what the decoder is given: its output, one step later.
            lengths: tokens of each source that are no padding; None: all.
        """
        return self.advance(target, self.read(source, lengths))[0]

    def read(self, source: Int[Tensor, "b s"], lengths: Int[Tensor, " b"] | None = None) -> dict[str, Any]:
        """Encode.

        Returns:
            The decoder's state before its first step; the batch is axis 0 of each tensor.
        """
        _, hidden = self.encoder(backwards(source, lengths) if self.reverse else source, lengths)
        return {"hidden": hidden, "context": hidden[0][:, -1]} if self.context else {"hidden": hidden}

    def advance(
        self, target: Int[Tensor, "b t"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "b t v"], dict[str, Any]]:
        """Logits of the next tokens, and the state after the last, from which the next call goes on."""
        y = self.dropout(self.embedding(target))
        if self.context:
            y = torch.cat([y, state["context"][:, None].expand(-1, y.shape[1], -1)], -1)
        s, hidden = recur(self.layers, y, state["hidden"])
        return self.logits(self.dropout(s)), state | {"hidden": hidden}

    def example_input(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Random tokens of both vocabularies, and lengths of the sources, for tests, tables and graphs."""
        shape = (batch, self.length)
        lengths = self.length - torch.arange(batch) % 3
        return torch.randint(self.source_vocab_size, shape), torch.randint(self.target_vocab_size, shape), lengths
