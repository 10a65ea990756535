"""Transformer.

Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin 2017, "Attention Is All You Need",
arXiv:1706.03762. With queries Q, keys K and values V of width d_k, and h heads (equation 1, section 3.2.2):

    Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V
    MultiHead(Q, K, V) = [head_1, ..., head_h] W^O,      head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)
    FFN(x) = max(0, x W_1 + b_1) W_2 + b_2                                                              (equation 2)

A layer of the encoder is x + MultiHead(x, x, x), then x + FFN(x), each followed by layer normalisation ("post-norm"); a
layer of the decoder sees only the past, and between the two attends to what the encoder has read.

Choices beside the paper's: normalisation before each sublayer (pre-norm: Xiong et al. 2020, arXiv:2002.04745);
positions that are learned (Gehring et al. 2017, arXiv:1705.03122), rotary (Su et al. 2021, arXiv:2104.09864) or linear
biases, ALiBi (Press, Smith and Lewis 2021, arXiv:2108.12409).

Differs from the paper: each stack ends with a layer normalisation, as in torch.nn.Transformer (`final_norm=False`
leaves it out; pre-norm needs it); dropout also of attention weights and of the hidden units of FFN, as in the authors'
later code; biases of the four projections. The paper does not say how weights start: here as in Glorot and Bengio
2010, the embedding with a spread of ½ / √d, so that the first loss is near ln V.

>>> import torch
>>> with torch.device("meta"):
...     sizes = dict(dim=512, depth=6, heads=8, hidden=2048)
...     network = Transformer(source_vocab_size=37_000, target_vocab_size=37_000, shared=True, tied=True, **sizes)
>>> sum(p.numel() for p in network.parameters())
63084544
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]  # `b h s d` each
Size = int | torch.SymInt  # a symbol while torch.export traces
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
}


def attend(
    Q: Float[Tensor, "b h t d"], K: Float[Tensor, "b h s d"], V: Float[Tensor, "b h s d"], mask: Tensor | None = None
) -> tuple[Float[Tensor, "b h t d"], Float[Tensor, "b h t s"]]:
    """Equation 1, written out.

    Args:
        Q, K, V: queries, keys and values.
        mask: broadcast to `b h t s`; boolean: True where a query may look; else numbers that are added to the scores.

    Returns:
        The values, and the weights, whose rows sum to one.
    """
    scores = Q @ K.mT / math.sqrt(Q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1)
    return weights @ V, weights


def past_only(t: Size, s: Size, device: torch.device | None = None) -> Bool[Tensor, "t s"]:
    """True where the i-th of the last t of s steps may look: at itself and all before it."""
    return torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)


def within(lengths: Int[Tensor, " b"], s: Size) -> Bool[Tensor, "b 1 1 s"]:
    """True at steps that are no padding, for each head and query."""
    return (torch.arange(s, device=lengths.device) < lengths[:, None])[:, None, None]


def sinusoids(length: int, dim: int) -> Float[Tensor, "t d"]:
    """Section 3.5: PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(the same); i = 0 is the fastest."""
    angles = torch.arange(length)[:, None] * 10_000 ** (-torch.arange(0, dim, 2) / dim)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :dim]


def rotate(x: Float[Tensor, "b h t d"], rotation: tuple[Tensor, Tensor]) -> Float[Tensor, "b h t d"]:
    """Su et al. 2021, equation 34: the pairs (2i, 2i+1) turned by the angle of their position.

    Args:
        x: queries or keys.
        rotation: cosine and sine of the angles, `t d/2` each.
    """
    cos, sin = rotation
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).type_as(x)


class MultiHeadAttention(nn.Module):
    """Section 3.2.2, through torch's fast kernels, or written out.

    A mask that is only the past or nothing keeps the fastest kernels; a dense one does not.

    Args:
        dim: width of inputs and outputs, divided among the heads.
        heads: h.
        dropout: of the weights, in training.
        bias: whether the four projections have one.

    Attributes:
        written_out: whether `attend` is used; then `weights` are those of the last call, `b h t s`.

    Raises:
        ValueError: the heads cannot share the width equally.
    """

    def __init__(self, dim: int = 16, heads: int = 2, *, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"dim={dim} must be a multiple of heads={heads}, which must be positive")
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)  # rows of W^Q, W^K, W^V
        self.output = nn.Linear(dim, dim, bias=bias)
        self.written_out = False
        self.weights: Tensor | None = None

    def split(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b h t k"]:
        y: Tensor = x.unflatten(-1, (self.heads, -1))
        return y.transpose(1, 2)

    def keys_values(self, memory: Float[Tensor, "b s d"]) -> KeysValues:
        """Keys and values of what others attend to, computed once."""
        d = memory.shape[-1]
        bias = None if self.qkv.bias is None else self.qkv.bias[d:]
        k, v = F.linear(memory, self.qkv.weight[d:], bias).chunk(2, -1)
        return self.split(k), self.split(v)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        memory: KeysValues | None = None,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: tuple[Tensor, Tensor] | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Float[Tensor, "b t d"], KeysValues]:
        """Attend to oneself, or to a memory.

        Args:
            x: what asks.
            memory: keys and values that are attended to; None: those of x.
            mask: see `attend`.
            causal: whether a step sees only itself and what was before it.
            rotation: see `rotate`; of the steps of x.
            past: keys and values of earlier steps, before those of x.

        Returns:
            The outputs, and the keys and values that were attended to, the past among them.
        """
        if memory is not None:
            d = x.shape[-1]
            q = self.split(F.linear(x, self.qkv.weight[:d], None if self.qkv.bias is None else self.qkv.bias[:d]))
            k, v = memory
        else:
            q, k, v = map(self.split, self.qkv(x).chunk(3, -1))
            if rotation is not None:
                q, k = rotate(q, rotation), rotate(k, rotation)
            if past is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        if causal and past is not None and q.shape[2] == 1:
            causal = False  # the last step sees all of the past
        elif causal and (self.written_out or mask is not None or past is not None):
            seen = past_only(q.shape[2], k.shape[2], x.device)
            if mask is None:
                mask = seen
            else:
                mask = mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, -math.inf)
            causal = False
        if self.written_out:
            y, weights = attend(q, k, v, mask)
            self.weights = weights.detach()
        else:
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, dropout_p=self.dropout if self.training else 0.0
            )
        return self.output(y.transpose(1, 2).flatten(2)), (k, v)


class EncoderLayer(nn.Module):
    """Self-attention and FFN, each with a residual connection and layer normalisation.

    Args:
        dim, heads: see `MultiHeadAttention`.
        hidden: units of FFN.
        dropout: of what a sublayer adds.
        attention_dropout, hidden_dropout: of attention weights, and of the hidden units of FFN.
        norm_first: normalise the sublayers' inputs, and not the sums.
        activation: relu, gelu (exact) or gelu_tanh.
        eps: added to the variance in layer normalisation.
        bias: whether linear maps and normalisations have one.
    """

    def __init__(
        self, dim: int = 16, heads: int = 2, hidden: int = 32, *, dropout: float = 0.0, attention_dropout: float = 0.0,
        hidden_dropout: float = 0.0, norm_first: bool = False, activation: str = "relu", eps: float = 1e-5,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation} must be one of {', '.join(ACTIVATIONS)}")
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(dim, heads, dropout=attention_dropout, bias=bias)
        self.norm1 = nn.LayerNorm(dim, eps, bias=bias)
        self.up, self.down = nn.Linear(dim, hidden, bias=bias), nn.Linear(hidden, dim, bias=bias)
        self.norm2 = nn.LayerNorm(dim, eps, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        self.dropout, self.hidden_dropout = nn.Dropout(dropout), nn.Dropout(hidden_dropout)

    def feed_forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        y: Tensor = self.dropout(self.down(self.hidden_dropout(self.activation(self.up(x)))))
        return y

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        rotation: tuple[Tensor, Tensor] | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Float[Tensor, "b t d"], KeysValues]:
        """See `MultiHeadAttention`."""
        a, kept = self.attention(
            self.norm1(x) if self.norm_first else x, mask=mask, causal=causal, rotation=rotation, past=past
        )
        x = x + self.dropout(a)
        if self.norm_first:
            return x + self.feed_forward(self.norm2(x)), kept
        x = self.norm1(x)
        return self.norm2(x + self.feed_forward(x)), kept


class DecoderLayer(EncoderLayer):
    """An encoder's layer that sees the past alone, and attends to the memory between its sublayers.

    Args:
        dim, heads, hidden: see `EncoderLayer`.
        options: see `EncoderLayer`.
    """

    computes = "decode"

    def __init__(self, dim: int = 16, heads: int = 2, hidden: int = 32, **options: Any) -> None:
        super().__init__(dim, heads, hidden, **options)
        dropout, bias = options.get("attention_dropout", 0.0), options.get("bias", True)
        self.cross = MultiHeadAttention(dim, heads, dropout=dropout, bias=bias)
        self.norm3 = nn.LayerNorm(dim, options.get("eps", 1e-5), bias=bias)  # of `cross`

    def decode(
        self, x: Float[Tensor, "b t d"], memory: KeysValues, *, memory_mask: Tensor | None = None, **attention: Any
    ) -> tuple[Float[Tensor, "b t d"], KeysValues]:
        """The layer's outputs, and keys and values of all steps so far; for `attention` see `MultiHeadAttention`."""
        first = self.norm_first
        a, kept = self.attention(self.norm1(x) if first else x, causal=True, **attention)
        x = x + self.dropout(a) if first else self.norm1(x + self.dropout(a))
        c, _ = self.cross(self.norm3(x) if first else x, memory, mask=memory_mask)
        x = x + self.dropout(c) if first else self.norm3(x + self.dropout(c))
        y = x + self.feed_forward(self.norm2(x) if first else x)
        return y if first else self.norm2(y), kept


class Positions(nn.Module):
    """What tells a step where it stands.

    Args:
        kind: "sinusoidal" or "learned", which are added to the embedding; "rotary", which turns queries and keys;
            "alibi", which adds to the score of head i, 1..h, -2^(-8 i / h) times the distance; "none".
        dim, heads: of the layers.
        max_length: most steps.

    Raises:
        ValueError: an unknown kind, heads that cannot share the width equally, or whose odd width shall be turned in
            pairs.
    """

    table: Tensor
    KINDS = ("sinusoidal", "learned", "rotary", "alibi", "none")

    def __init__(self, kind: str = "sinusoidal", dim: int = 16, heads: int = 2, max_length: int = 16) -> None:
        super().__init__()
        if kind not in self.KINDS:
            raise ValueError(f"positions={kind} must be one of {', '.join(self.KINDS)}")
        if heads < 1 or dim % heads:
            raise ValueError(f"dim={dim} must be a multiple of heads={heads}, which must be positive")
        if kind == "rotary" and dim // heads % 2:
            raise ValueError(f"positions=rotary turns pairs: dim={dim} over heads={heads} must be even")
        self.kind, self.heads, self.max_length = kind, heads, max_length
        if kind == "learned":
            self.embedding = nn.Embedding(max_length, dim)
        elif kind == "sinusoidal":
            self.register_buffer("table", sinusoids(max_length, dim), persistent=False)
        elif kind == "rotary":
            self.register_buffer("table", sinusoids(max_length, dim // heads), persistent=False)

    def forward(self, x: Float[Tensor, "b t d"], start: Size = 0) -> Float[Tensor, "b t d"]:
        """Embeddings with their positions, where these are added; the first is at `start`."""
        stop = start + x.shape[1]
        if stop > self.max_length and self.kind not in ("alibi", "none"):
            raise ValueError(f"{stop} steps are more than the {self.max_length} that this network can number")
        if self.kind == "learned":
            return x + self.embedding.weight[start:stop]
        return x + self.table[start:stop] if self.kind == "sinusoidal" else x

    def rotation(self, start: Size, stop: Size) -> tuple[Tensor, Tensor] | None:
        """Cosine and sine for these steps, `t d/2` each, where queries and keys are turned."""
        if self.kind != "rotary":
            return None
        return self.table[start:stop, 1::2], self.table[start:stop, 0::2]

    def bias(self, t: Size, s: Size, device: torch.device) -> Float[Tensor, "h t s"] | None:
        """What is added to the scores of the last t of s steps, where anything is."""
        if self.kind != "alibi":
            return None
        slopes = 2 ** (-8 * torch.arange(1, self.heads + 1, device=device) / self.heads)
        distance = torch.arange(s - t, s, device=device)[:, None] - torch.arange(s, device=device)
        return -slopes[:, None, None] * distance.abs()


class Transformer(nn.Module):
    """Encoder and decoder.

    Args:
        source_vocab_size, target_vocab_size: numbers of tokens.
        dim, heads, hidden: see `EncoderLayer`.
        depth: layers of the encoder, and of the decoder.
        dropout: of sublayers, attention weights, hidden units of FFN and embeddings with positions.
        norm_first: pre-norm.
        activation: of FFN.
        positions: see `Positions`; rotary and alibi are for self-attention.
        shared: one embedding for both sides (section 3.4), which then have one vocabulary.
        tied: the embedding of the target is the matrix of the logits (section 3.4), which else has a bias too.
        final_norm: a layer normalisation after each stack.
        max_length: most tokens on either side.
        length: tokens of an example input.

    Attributes:
        limit: most tokens on either side; None: any number, since nothing is numbered.

    Raises:
        ValueError: a shared embedding for vocabularies of different sizes, or no layers.
    """

    variable_length = True

    def __init__(
        self,
        *,
        source_vocab_size: int = 16,
        target_vocab_size: int = 16,
        dim: int = 16,
        depth: int = 2,
        heads: int = 2,
        hidden: int = 32,
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: str = "relu",
        positions: str = "sinusoidal",
        shared: bool = False,
        tied: bool = False,
        final_norm: bool = True,
        max_length: int = 512,
        length: int = 8,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth={depth} must be positive")
        if shared and source_vocab_size != target_vocab_size:
            raise ValueError(
                f"shared=true needs one vocabulary, and there are {source_vocab_size} and {target_vocab_size} tokens"
            )
        self.source_vocab_size, self.target_vocab_size, self.length = source_vocab_size, target_vocab_size, length
        self.target_embedding = nn.Embedding(target_vocab_size, dim)
        self.source_embedding = self.target_embedding if shared else nn.Embedding(source_vocab_size, dim)
        self.positions = Positions(positions, dim, heads, max_length)
        self.limit = None if positions in ("alibi", "none") else max_length
        self.dropout = nn.Dropout(dropout)
        options: dict[str, Any] = {"norm_first": norm_first, "activation": activation}
        options |= dict.fromkeys(("dropout", "attention_dropout", "hidden_dropout"), dropout)
        self.encoder = nn.ModuleList(EncoderLayer(dim, heads, hidden, **options) for _ in range(depth))
        self.decoder: Any = nn.ModuleList(DecoderLayer(dim, heads, hidden, **options) for _ in range(depth))
        self.encoder_norm = nn.LayerNorm(dim) if final_norm else nn.Identity()
        self.decoder_norm = nn.LayerNorm(dim) if final_norm else nn.Identity()
        self.logits = nn.Linear(dim, target_vocab_size, bias=not tied)
        self.initialize()
        if tied:
            self.logits.weight = self.target_embedding.weight

    def initialize(self) -> None:
        """Glorot's uniform weights, of W^Q, W^K and W^V each for itself; zero biases; normal embeddings."""
        joined = {id(module.qkv) for module in self.modules() if isinstance(module, MultiHeadAttention)}
        for module in self.modules():
            if isinstance(module, nn.Linear):
                parts = 3 if id(module) in joined else 1
                for part in module.weight.data.chunk(parts):
                    nn.init.xavier_uniform_(part)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5 * module.embedding_dim**-0.5)
        nn.init.normal_(self.logits.weight, std=0.5 * self.logits.in_features**-0.5)

    def embed(self, embedding: nn.Embedding, tokens: Int[Tensor, "b t"], start: Size = 0) -> Float[Tensor, "b t d"]:
        """Section 3.4: embeddings times √d, and the positions."""
        x: Tensor = self.dropout(self.positions(embedding(tokens) * math.sqrt(embedding.embedding_dim), start))
        return x

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
            The decoder's state before its first step: of each layer the keys and values of the memory, the mask of its
            padding, and the keys and values of past steps; the batch is axis 0 of each tensor.
        """
        s = source.shape[1]
        padding = None if lengths is None else within(lengths, s)
        mask, bias = padding, self.positions.bias(s, s, source.device)
        if bias is not None:
            mask = bias if padding is None else bias.masked_fill(~padding, -math.inf)
        x = self.embed(self.source_embedding, source)
        for layer in self.encoder:
            x, _ = layer(x, mask=mask, rotation=self.positions.rotation(0, s))
        memory = self.encoder_norm(x)
        state: dict[str, Any] = {"memory": [layer.cross.keys_values(memory) for layer in self.decoder]}
        return state if padding is None else state | {"mask": padding}

    def advance(
        self, target: Int[Tensor, "b t"], state: dict[str, Any]
    ) -> tuple[Float[Tensor, "b t v"], dict[str, Any]]:
        """Logits of the next tokens, and the state after the last, from which the next call goes on."""
        past = state.get("past", [None] * len(self.decoder))
        start = 0 if past[0] is None else past[0][0].shape[2]
        stop = start + target.shape[1]
        x = self.embed(self.target_embedding, target, start)
        given = {
            "mask": self.positions.bias(target.shape[1], stop, target.device),
            "rotation": self.positions.rotation(start, stop),
        }
        kept = []
        for layer, memory, before in zip(self.decoder, state["memory"], past, strict=True):
            x, now = layer.decode(x, memory, memory_mask=state.get("mask"), past=before, **given)
            kept.append(now)
        return self.logits(self.decoder_norm(x)), state | {"past": kept}

    def example_input(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Random tokens of both vocabularies, and lengths of the sources, for tests, tables and graphs."""
        shape = (batch, self.length)
        lengths = self.length - torch.arange(batch) % 3
        return torch.randint(self.source_vocab_size, shape), torch.randint(self.target_vocab_size, shape), lengths
