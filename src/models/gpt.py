"""GPT-2.

Radford, Wu, Child, Luan, Amodei and Sutskever 2019, "Language Models are Unsupervised Multitask Learners"; after
Radford, Narasimhan, Salimans and Sutskever 2018, "Improving Language Understanding by Generative Pre-Training". The
decoder of a Transformer without an encoder, normalised before each sublayer. With E the embedding and P the positions,

    h_0 = E[u] + P,        h_l = h_{l-1} + MultiHead(LN(h_{l-1})) + FFN(LN(...)),        logits = LN(h_L) Eᵀ

where each step sees only itself and what was before it, and FFN has GELU in its tanh form. What a sublayer adds starts
smaller by 1 / √(2 L), the number of residual connections (section 2.3 of the first).

Differs from the paper: nothing is known to; where it is silent (initialisation of the rest with a spread of 0.02,
dropout of embeddings, attention weights and sublayers) as in the authors' code. `bias=False` and other `positions` are
for networks such as nanoGPT's (github.com/karpathy/nanoGPT).

>>> import torch
>>> with torch.device("meta"):
...     network = GPT(vocab_size=50_257, context=1024, dim=768, depth=12, heads=12)
...     cpu = GPT(vocab_size=65, context=64, dim=128, depth=4, heads=4, bias=False)  # nanoGPT's for a CPU
>>> [sum(p.numel() for p in n.parameters()) for n in (network, cpu)]
[124439808, 804096]
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .transformer import EncoderLayer, Positions


class GPT(nn.Module):
    """Language model.

    Args:
        vocab_size: number of tokens.
        context: most tokens that it sees.
        dim, depth, heads: width, number of layers, heads of each.
        dropout: of embeddings, attention weights and sublayers.
        bias: whether linear maps and normalisations have one.
        positions: "learned", or others: see `Positions`.

    Attributes:
        limit: the same as context: a state holds no more.

    Raises:
        ValueError: no layers.
    """

    causal = True

    def __init__(
        self,
        *,
        vocab_size: int = 16,
        context: int = 8,
        dim: int = 16,
        depth: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
        bias: bool = True,
        positions: str = "learned",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth={depth} must be positive")
        self.vocab_size = vocab_size
        self.context = self.limit = context
        self.embedding = nn.Embedding(vocab_size, dim)
        self.positions = Positions(positions, dim, heads, context)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                dim, heads, 4 * dim, dropout=dropout, attention_dropout=dropout, norm_first=True,
                activation="gelu_tanh", bias=bias,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim, bias=bias)
        self.logits = nn.Linear(dim, vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                adds = name.endswith(("attention.output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if adds else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        self.logits.weight = self.embedding.weight

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        return self.advance(tokens)[0]

    def advance(
        self, tokens: Int[Tensor, "b t"], state: list[Any] | None = None
    ) -> tuple[Float[Tensor, "b t v"], list[Any]]:
        """Logits, and the keys and values of all steps so far, from which the next call goes on.

        Args:
            tokens: the next ones, together with those before no more than `limit`.
            state: of each layer keys and values, `b h s d`; None: these are the first tokens.
        """
        start = 0 if state is None else state[0][0].shape[2]
        stop = start + tokens.shape[1]
        h = self.dropout(self.positions(self.embedding(tokens), start))
        rotation, bias = self.positions.rotation(start, stop), self.positions.bias(stop - start, stop, tokens.device)
        kept = []
        for layer, past in zip(self.layers, state or [None] * len(self.layers), strict=True):
            h, now = layer(h, mask=bias, causal=True, rotation=rotation, past=past)
            kept.append(now)
        return self.logits(self.norm(h)), kept

    def example_input(self, batch: int = 2) -> tuple[Int[Tensor, "b t"]]:
        """Random tokens of the declared vocabulary, for tests, tables and graphs."""
        return (torch.randint(self.vocab_size, (batch, self.context)),)
