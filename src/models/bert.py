"""BERT.

Devlin, Chang, Lee and Toutanova 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", arXiv:1810.04805. The encoder of a Transformer over two sentences at once, [CLS] A [SEP] B [SEP], whose
input is the sum of three embeddings, of token, position and segment (figure 2), normalised:

    h_0 = LN(E[u] + P + S[segment]),      h_l = EncoderLayer(h_{l-1}),       pooled = tanh(W h_L[CLS] + b)

Pre-training (section 3.1) guesses masked tokens from h_L, softmax(E LN(GELU(W' h + b')) + c), and from `pooled`
whether B came after A. Fine-tuning replaces these heads by one linear map (section 3.2): of `pooled` for a class of
the input, of each h_L[t] for a class of each token or for where an answer starts and ends.

Differs from the paper: nothing is known to; where it is silent (post-norm layers with an epsilon of 1e-12, GELU exact)
as in the authors' code. Small sizes: Turc, Chang, Lee and Toutanova 2019, arXiv:1908.08962.

>>> import torch
>>> with torch.device("meta"):
...     sizes = dict(vocab_size=30_522, max_length=512, dim=768, depth=12, heads=12)
...     network = Bert(targets="masked", **sizes)
>>> sum(p.numel() for p in network.parameters())
110106428
>>> encoder = [p for name, p in network.named_parameters() if not name.startswith(network.heads)]
>>> sum(p.numel() for p in encoder)
109482240
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo
from .transformer import EncoderLayer, within

EPS = 1e-12


class Bert(Classifier):
    """Encoder with the heads that `targets` asks for.

    Args:
        vocab_size: number of tokens.
        targets: "masked" (logits of masked tokens, and of next sentence), "sequence" (one class of the input), "step"
            (one of each token), "span" (where an answer starts and ends).
        num_classes: of "sequence" and "step".
        max_length: most tokens of an input.
        dim, depth, heads: width, number of layers, heads of each; FFN has 4 dim hidden units.
        dropout: of embeddings, sublayers, attention weights, and before a head of fine-tuning.
        length: tokens of an example input.

    Raises:
        ValueError: unknown targets, or no layers.
    """

    variable_length = True
    paired = True

    def __init__(
        self,
        *,
        vocab_size: int = 16,
        targets: str = "masked",
        num_classes: int = 2,
        max_length: int = 16,
        dim: int = 16,
        depth: int = 2,
        heads: int = 2,
        dropout: float = 0.0,
        length: int = 8,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth={depth} must be positive")
        outputs = {"masked": 0, "sequence": num_classes, "step": num_classes, "span": 2}
        if targets not in outputs:
            raise ValueError(f"targets={targets} must be one of {', '.join(outputs)}")
        self.vocab_size, self.targets, self.max_length, self.length = vocab_size, targets, max_length, length
        self.embedding = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.segments = nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim, EPS)
        self.num_features = dim
        self.feature_info = FeatureInfo(*((f"layers.{i}", dim, 1) for i in range(depth)))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, heads, 4 * dim, dropout=dropout, attention_dropout=dropout, activation="gelu", eps=EPS)
            for _ in range(depth)
        )
        if targets in ("masked", "sequence"):
            self.pooler = nn.Linear(dim, dim)
        if targets == "masked":
            self.heads: tuple[str, ...] = ("transform", "transform_norm", "logits", "next_sentence")
            self.transform, self.transform_norm = nn.Linear(dim, dim), nn.LayerNorm(dim, EPS)
            self.logits = nn.Linear(dim, vocab_size)
            self.next_sentence = nn.Linear(dim, 2)
        else:
            self.heads = ("classifier",)
            self.classifier = nn.Linear(dim, outputs[targets])
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                self.init_head(module)
        if targets == "masked":
            self.logits.weight = self.embedding.weight

    def init_head(self, head: nn.Linear) -> None:
        """As all layers."""
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)

    def reset_classifier(self, num_classes: int) -> None:
        """See `Classifier`.

        Raises:
            ValueError: it guesses masked tokens, with several layers behind the features.
        """
        if self.targets == "masked":
            raise ValueError("BERT guesses masked tokens here, with other heads: make it with targets=sequence")
        super().reset_classifier(num_classes)

    def stages(
        self,
        tokens: Int[Tensor, "b t"],
        lengths: Int[Tensor, " b"] | None = None,
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Iterator[Tensor]:
        """h_l of each layer, `b t d`.

        Raises:
            ValueError: more tokens than it can number.
        """
        t = tokens.shape[1]
        if t > self.max_length:
            raise ValueError(f"{t} tokens are more than the {self.max_length} that this network can number")
        segment = self.segments.weight[0] if segments is None else self.segments(segments)
        h: Tensor = self.dropout(self.norm(self.embedding(tokens) + self.positions.weight[:t] + segment))
        mask = None if lengths is None else within(lengths, t)
        for layer in self.layers:
            h, _ = layer(h, mask=mask)
            yield h

    def forward_features(
        self,
        tokens: Int[Tensor, "b t"],
        lengths: Int[Tensor, " b"] | None = None,
        segments: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """h_L."""
        *_, last = self.stages(tokens, lengths, segments)
        return last

    def forward_head(
        self, x: Float[Tensor, "b t d"], pre_logits: bool = False, positions: Int[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b ..."] | tuple[Float[Tensor, "b m v"], Float[Tensor, "b 2"]]:
        """Logits, see `forward`; with `pre_logits` what the classifier gets, or where there is none `pooled`."""
        if self.targets in ("step", "span"):
            values: Tensor = self.dropout(x)
        else:
            values = torch.tanh(self.pooler(x[:, 0]))
        if self.targets == "sequence":
            values = self.dropout(values)
        if pre_logits:
            return values
        if self.targets != "masked":
            answers: Tensor = self.classifier(values)
            return answers
        if positions is not None:
            x = x.gather(1, positions[..., None].expand(-1, -1, x.shape[2]))
        x = self.transform_norm(F.gelu(self.transform(x)))
        return self.logits(x), self.next_sentence(values)

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        lengths: Int[Tensor, " b"] | None = None,
        segments: Int[Tensor, "b t"] | None = None,
        positions: Int[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b ..."] | tuple[Float[Tensor, "b m v"], Float[Tensor, "b 2"]]:
        """Logits.

        Args:
            tokens: padded behind.
            lengths: tokens of each input that are no padding; None: all.
            segments: 0 for tokens of the first sentence, 1 for those of the second; None: there is one.
            positions: of the masked tokens; None: all.

        Returns:
            By `targets`: "masked": logits of the tokens at `positions`, `b m v`, and of whether B is (0) or is not (1)
            the next sentence, `b 2`; "sequence": `b k`; "step": `b t k`; "span": `b t 2`.
        """
        return self.forward_head(self.forward_features(tokens, lengths, segments), positions=positions)

    def example_input(self, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Random tokens, lengths and two segments, for tests, tables and graphs."""
        shape = (batch, self.length)
        lengths = self.length - torch.arange(batch) % 3
        segments = (torch.arange(self.length) >= self.length // 2).long().expand(shape)
        return torch.randint(self.vocab_size, shape), lengths, segments
