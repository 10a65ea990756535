"""Regularised LSTM language model.

Zaremba, Sutskever and Vinyals 2014, "Recurrent Neural Network Regularization", arXiv:1409.2329, after
Hochreiter and Schmidhuber 1997, "Long Short-Term Memory". Layer l at time t (section 3.1), with D the
dropout operator, which touches the connections between layers and never those through time (section 3.2):

    (i, f, o, g) = (σ, σ, σ, tanh)(W [D(h_t^{l-1}), h_{t-1}^l] + b)
    c_t^l = f ∘ c_{t-1}^l + i ∘ g,    h_t^l = o ∘ tanh(c_t^l)

The logits of token t+1 are a linear map of D(h_t^L).

Differs from the paper: torch's LSTM has two bias vectors a layer where one is enough. A call of `forward` starts from
a zero state; `advance` goes on from one, as the paper does from mini-batch to mini-batch (task.carry=true).

>>> import torch
>>> with torch.device("meta"):
...     network = LSTMLM(vocab_size=10_000, dim=650, depth=2)
>>> sum(p.numel() for p in network.parameters())
19780400
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LSTMLM(nn.Module):
    """Embedding, stacked LSTM and a linear decoder.

    Args:
        vocab_size: number of tokens.
        dim: units of each layer, and of the embedding.
        depth: number of LSTM layers.
        dropout: probability of D; 0.5 in the paper's medium network.
        init_range: weights start from U(-init_range, init_range); the paper has 0.1 (small)
            and 0.05 (medium).
        context: tokens of an example input; the network itself takes any length.
    """

    causal = True
    state_axis = 1  # of the batch in a state

    def __init__(
        self,
        *,
        vocab_size: int = 16,
        dim: int = 32,
        depth: int = 2,
        dropout: float = 0.0,
        init_range: float = 0.1,
        context: int = 8,
    ) -> None:
        super().__init__()
        self.vocab_size, self.context = vocab_size, context
        self.embedding = nn.Embedding(vocab_size, dim)
        self.lstm = nn.LSTM(dim, dim, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(dim, vocab_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init_range, init_range)

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        return self.advance(tokens)[0]

    def advance(
        self, tokens: Int[Tensor, "b t"], state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "b t v"], tuple[Tensor, Tensor]]:
        """Logits, and the state (h, c) after the last token, from which the next call can go on."""
        h, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.decoder(self.dropout(h)), state

    def example_input(self, batch: int = 2) -> tuple[Int[Tensor, "b t"]]:
        """Random tokens of the declared vocabulary, for tests, tables and graphs."""
        return (torch.randint(self.vocab_size, (batch, self.context)),)
