"""Long short-term memory.

Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", with the forget gate of Gers, Schmidhuber and Cummins 2000,
"Learning to Forget". The cell c_t keeps its content where f is near one, so that a gradient passes many steps:

    i, f, o = σ(W x_t + U h_{t-1} + b),    g = tanh(W_g x_t + U_g h_{t-1} + b_g)
    c_t = f ∘ c_{t-1} + i ∘ g,             h_t = o ∘ tanh(c_t)

With peepholes (Gers and Schmidhuber 2000, "Recurrent Nets that Time and Count") the gates see the cell as well: i and
f get p ∘ c_{t-1}, and o gets p ∘ c_t, with a vector p for each. torch's fused layers, which `LSTM` uses, have none.

Differs from the papers: the bias of the forget gate starts at one (Jozefowicz, Zaremba and Sutskever 2015), the other
weights as in `rnn`.

>>> import torch
>>> with torch.device("meta"):
...     network = LSTM(in_channels=28, num_classes=10, dim=128)  # MNIST row by row
>>> sum(p.numel() for p in network.parameters())
82186
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .rnn import RNN


class LSTMCell(nn.Module):
    """One step of the equations above, with the names of `torch.nn.LSTMCell`.

    Args:
        in_channels: values of x_t.
        dim: values of h_t and c_t.
        peepholes: whether the gates see the cell.
    """

    def __init__(self, in_channels: int = 4, dim: int = 8, *, peepholes: bool = False) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * dim, in_channels))  # i, f, g, o
        self.weight_hh = nn.Parameter(torch.empty(4 * dim, dim))
        self.bias_ih, self.bias_hh = nn.Parameter(torch.zeros(4 * dim)), nn.Parameter(torch.zeros(4 * dim))
        self.peepholes = nn.Parameter(torch.zeros(3, dim)) if peepholes else None  # i, f, o
        for W, U in zip(self.weight_ih.data.split(dim), self.weight_hh.data.split(dim), strict=True):
            nn.init.xavier_uniform_(W)
            nn.init.orthogonal_(U)
        nn.init.ones_(self.bias_ih.data[dim : 2 * dim])

    def gates(
        self, x: Float[Tensor, "b c"], state: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]
    ) -> dict[str, Float[Tensor, "b d"]]:
        """All that is computed in a step: i, f, g, o, c and h."""
        h, c = state
        p_i, p_f, p_o = (0.0, 0.0, 0.0) if self.peepholes is None else self.peepholes
        a_i, a_f, a_g, a_o = (x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh).chunk(4, 1)
        i = torch.sigmoid(a_i + p_i * c)
        f = torch.sigmoid(a_f + p_f * c)
        g = torch.tanh(a_g)
        c = f * c + i * g
        o = torch.sigmoid(a_o + p_o * c)
        return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * torch.tanh(c)}

    def forward(
        self, x: Float[Tensor, "b c"], state: tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        step = self.gates(x, state)
        return step["h"], step["c"]


class LSTM(RNN):
    """Like `RNN`, with LSTM layers."""

    core = nn.LSTM

    def initialize(self) -> None:
        """As `RNN` does, and ones for the forget gates."""
        super().initialize()
        dim = self.layers.hidden_size
        for name, parameter in self.layers.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter.data[dim : 2 * dim])
