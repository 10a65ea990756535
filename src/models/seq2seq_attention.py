"""Sequence to sequence with attention.

Bahdanau, Cho and Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and Translate",
arXiv:1409.0473, and Luong, Pham and Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation",
arXiv:1508.04025. At each step the decoder looks at all states h_1 ... h_S of the encoder, not at the last one alone:

    α_t = softmax(score(s, h_1), ..., score(s, h_S)),        c_t = Σ_j α_tj h_j

with a score that is additive (the former, appendix A.1.2), dot or general (the latter, equation 8):

    score(s, h) = v · tanh(W s + U h),        s · h,        s · W h

The additive one asks with s_{t-1}, and c_t enters the next state, so that the steps come one after the other:
s_t = f(s_{t-1}, E y_{t-1}, c_t), and the logits are read from a maxout layer (Goodfellow et al. 2013, arXiv:1302.4389)
of s_t, E y_{t-1} and c_t. The others ask with s_t, all steps at once: the logits are read from tanh(W_c [c_t; s_t])
(equation 5).

Differs from the papers: dropout; the layers may be LSTMs or GRUs, of any depth, with each score; the maxout layer sees
s_t, as in equation 4 of the former, where its appendix has s_{t-1}, and is as wide as s_t, where the paper's is half as
wide; first states as in `seq2seq`, from both directions. Without the latter's input feeding and local attention.
Weights start as in `rnn`.

>>> import torch
>>> with torch.device("meta"):  # RNNsearch: 30,000 words, embeddings of 620 values, 1000 units in each direction
...     sizes = dict(embedding_dim=620, dim=1000, cell="gru", bidirectional=True)
...     network = Seq2SeqAttention(source_vocab_size=30_000, target_vocab_size=30_000, score="additive", **sizes)
>>> sum(p.numel() for p in network.parameters())
100072000
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .seq2seq import CELLS, Encoder, Hidden, recur

SCORES = ("additive", "dot", "general")


class AdditiveDecoder(nn.Module):
    """Bahdanau et al.: the context of a step is found with the state before it, and enters the state after it.

    Args:
        embedding_dim: values of an embedding.
        memory_dim: values of h_j.
        dim: values of s_t, and units of the alignment model.
        depth, cell, dropout: see `seq2seq.Encoder`; it is the uppermost layer that asks.

    Attributes:
        written_out: whether `weights` are kept: α of the last call, `b 1 t s`.
    """

    def __init__(
        self, embedding_dim: int = 8, memory_dim: int = 16, dim: int = 16, depth: int = 1, *, cell: str = "gru",
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.W, self.U = nn.Linear(dim, dim, bias=False), nn.Linear(memory_dim, dim, bias=False)
        self.v = nn.Linear(dim, 1, bias=False)
        self.layers: nn.RNNBase = CELLS[cell](
            embedding_dim + memory_dim, dim, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0
        )
        self.readout = nn.Linear(dim + embedding_dim + memory_dim, 2 * dim)
        self.written_out = False
        self.weights: Tensor | None = None

    def keys(self, memory: Float[Tensor, "b s e"]) -> Float[Tensor, "b s d"]:
        """U h, once for all steps."""
        Uh: Tensor = self.U(memory)
        return Uh

    def forward(
        self, y: Float[Tensor, "b t c"], hidden: Hidden, memory: Float[Tensor, "b s e"], keys: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"],
    ) -> tuple[Float[Tensor, "b t d"], Hidden]:  # fmt: skip
        """What the logits are read from, and the states after the last step.

        Args:
            y: embeddings of the tokens before.
            hidden: states of the layers before the first step.
            memory, keys: h and U h.
            mask: True where the source is no padding.
        """
        states, contexts, alignments = [], [], []
        for y_t in y.split(1, 1):
            s = hidden[0][:, -1:]
            e = self.v(torch.tanh(self.W(s) + keys))[..., 0]
            α = e.masked_fill(~mask, -math.inf).softmax(-1)[:, None]
            c = α @ memory
            s_t, hidden = recur(self.layers, torch.cat([y_t, c], -1), hidden)
            states.append(s_t)
            contexts.append(c)
            alignments.append(α)
        if self.written_out:
            self.weights = torch.cat(alignments, 1)[:, None].detach()
        t = self.readout(torch.cat([torch.cat(states, 1), y, torch.cat(contexts, 1)], -1))
        return t.unflatten(-1, (-1, 2)).amax(-1), hidden


class MultiplicativeDecoder(nn.Module):
    """Luong et al.: attention stands above the recurrent layers.

    Args:
        embedding_dim, memory_dim, dim, depth, cell, dropout: see `AdditiveDecoder`.
        general: whether a matrix stands between s and h; without it they have to be equally wide.

    Attributes:
        written_out: whether the equations above are computed as they stand, and not by torch's kernel; then `weights`
            are α of the last call, `b 1 t s`.
    """

    def __init__(
        self, embedding_dim: int = 8, memory_dim: int = 16, dim: int = 16, depth: int = 1, *, general: bool = True,
        cell: str = "gru", dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.W = nn.Linear(memory_dim, dim, bias=False) if general else None
        self.layers: nn.RNNBase = CELLS[cell](
            embedding_dim, dim, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0
        )
        self.W_c = nn.Linear(memory_dim + dim, dim, bias=False)
        self.written_out = False
        self.weights: Tensor | None = None

    def keys(self, memory: Float[Tensor, "b s e"]) -> Float[Tensor, "b s d"]:
        """W h, once for all steps; h itself where there is no W."""
        Wh: Tensor = memory if self.W is None else self.W(memory)
        return Wh

    def forward(
        self, y: Float[Tensor, "b t c"], hidden: Hidden, memory: Float[Tensor, "b s e"], keys: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"],
    ) -> tuple[Float[Tensor, "b t d"], Hidden]:  # fmt: skip
        """See `AdditiveDecoder`."""
        s, hidden = recur(self.layers, y, hidden)
        if self.written_out:
            α = (s @ keys.mT).masked_fill(~mask[:, None], -math.inf).softmax(-1)
            self.weights = α[:, None].detach()
            c = α @ memory
        else:
            c = F.scaled_dot_product_attention(s, keys, memory, attn_mask=mask[:, None], scale=1.0)
        return torch.tanh(self.W_c(torch.cat([c, s], -1))), hidden


class Seq2SeqAttention(nn.Module):
    """Encoder, and a decoder that attends to all of its states.

    Args:
        source_vocab_size, target_vocab_size: numbers of tokens.
        embedding_dim, dim, depth, cell, bidirectional, dropout: see `seq2seq.Encoder`. The decoder has as many
            layers of as many units, in one direction, and what its logits are read from is dropped too.
        score: additive, dot or general.
        length: tokens of an example input.

    Raises:
        ValueError: an unknown score, or the dot score of states that are not equally wide.
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
        cell: str = "gru",
        bidirectional: bool = True,
        score: str = "additive",
        dropout: float = 0.0,
        length: int = 8,
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"score={score} must be {', '.join(SCORES)}")
        if score == "dot" and bidirectional:
            raise ValueError(
                "score=dot needs states of encoder and decoder that are equally wide: use bidirectional=false or "
                "score=general"
            )
        self.source_vocab_size, self.target_vocab_size, self.length = source_vocab_size, target_vocab_size, length
        self.encoder = Encoder(
            source_vocab_size, embedding_dim, dim, depth, cell=cell, bidirectional=bidirectional, dropout=dropout
        )
        self.embedding = nn.Embedding(target_vocab_size, embedding_dim)
        sizes = (embedding_dim, self.encoder.memory_dim, dim, depth)
        self.decoder: AdditiveDecoder | MultiplicativeDecoder
        if score == "additive":
            self.decoder = AdditiveDecoder(*sizes, cell=cell, dropout=dropout)
        else:
            self.decoder = MultiplicativeDecoder(*sizes, general=score == "general", cell=cell, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(dim, target_vocab_size)
        self.initialize()

    def initialize(self) -> None:
        """Orthogonal matrices through time and Glorot's otherwise, gate by gate; biases zero, of forget gates one."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.uniform_(module.weight, -0.1, 0.1)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.RNNBase):
                for name, parameter in module.named_parameters():
                    for k, gate in enumerate(parameter.data.split(module.hidden_size)):
                        if name.startswith("bias"):
                            forget = isinstance(module, nn.LSTM) and k == 1 and name.startswith("bias_ih")
                            nn.init.constant_(gate, 1.0 if forget else 0.0)
                        elif name.startswith("weight_hh"):
                            nn.init.orthogonal_(gate)
                        else:
                            nn.init.xavier_uniform_(gate)

    def forward(
        self, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"], lengths: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b t v"]:
        """Logits of what comes after each token of the target; see `Seq2Seq`."""
        return self.advance(target, self.read(source, lengths))[0]

    def read(self, source: Int[Tensor, "b s"], lengths: Int[Tensor, " b"] | None = None) -> dict[str, Any]:
        """Encode.

        Returns:
            The decoder's state before its first step: states of its layers, memory, keys, and the mask of padding; the
            batch is axis 0 of each tensor.
        """
        memory, hidden = self.encoder(source, lengths)
        places = torch.arange(source.shape[1], device=source.device).expand(len(source), -1)
        mask = places >= 0 if lengths is None else places < lengths[:, None]
        return {"hidden": hidden, "memory": memory, "keys": self.decoder.keys(memory), "mask": mask}

    def advance(
        self, target: Int[Tensor, "b t"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "b t v"], dict[str, Any]]:
        """Logits of the next tokens, and the state after the last, from which the next call goes on."""
        t, hidden = self.decoder(self.dropout(self.embedding(target)), **state)
        return self.logits(self.dropout(t)), state | {"hidden": hidden}

    def example_input(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Random tokens of both vocabularies, and lengths of the sources, for tests, tables and graphs."""
        shape = (batch, self.length)
        lengths = self.length - torch.arange(batch) % 3
        return torch.randint(self.source_vocab_size, shape), torch.randint(self.target_vocab_size, shape), lengths
