"""Gated recurrent unit.

Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk and Bengio 2014, "Learning Phrase Representations using RNN
Encoder-Decoder for Statistical Machine Translation", arXiv:1406.1078, equations 5 to 8. The reset gate r lets the
candidate n forget the state, the update gate z keeps the state where it is near one:

    r, z = σ(W x_t + U h_{t-1} + b)
    n = tanh(W_n x_t + b_n + U_n (r ∘ h_{t-1}))
    h_t = z ∘ h_{t-1} + (1 - z) ∘ n

torch's fused layers, which `GRU` uses, have the reset gate behind the matrix product:

    n = tanh(W_n x_t + b_n + r ∘ (U_n h_{t-1} + b'_n))

so weights of one form are of no use to the other. Chung et al. 2014 (arXiv:1412.3555) write z for 1 - z.

>>> import torch
>>> with torch.device("meta"):
...     network = GRU(in_channels=28, num_classes=10, dim=128)  # MNIST row by row
>>> sum(p.numel() for p in network.parameters())
61962
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .rnn import RNN


class GRUCell(nn.Module):
    """One step of the equations above, with the names of `torch.nn.GRUCell`.

    Args:
        in_channels: values of x_t.
        dim: values of h_t.
        form: "cho", or "torch", which applies the reset gate behind the matrix product.

    Raises:
        ValueError: another form.
    """

    def __init__(self, in_channels: int = 4, dim: int = 8, *, form: str = "torch") -> None:
        super().__init__()
        if form not in ("cho", "torch"):
            raise ValueError(f"form={form} must be cho or torch")
        self.form = form
        self.weight_ih = nn.Parameter(torch.empty(3 * dim, in_channels))  # r, z, n
        self.weight_hh = nn.Parameter(torch.empty(3 * dim, dim))
        self.bias_ih, self.bias_hh = nn.Parameter(torch.zeros(3 * dim)), nn.Parameter(torch.zeros(3 * dim))
        for W, U in zip(self.weight_ih.data.split(dim), self.weight_hh.data.split(dim), strict=True):
            nn.init.xavier_uniform_(W)
            nn.init.orthogonal_(U)

    def gates(self, x: Float[Tensor, "b c"], h: Float[Tensor, "b d"]) -> dict[str, Float[Tensor, "b d"]]:
        """All that is computed in a step: r, z, n and h."""
        W_r, W_z, W_n = self.weight_ih.chunk(3)
        U_r, U_z, U_n = self.weight_hh.chunk(3)
        b_r, b_z, b_n = self.bias_ih.chunk(3)
        c_r, c_z, c_n = self.bias_hh.chunk(3)
        r = torch.sigmoid(x @ W_r.T + b_r + h @ U_r.T + c_r)
        z = torch.sigmoid(x @ W_z.T + b_z + h @ U_z.T + c_z)
        past = (r * h) @ U_n.T + c_n if self.form == "cho" else r * (h @ U_n.T + c_n)
        n = torch.tanh(x @ W_n.T + b_n + past)
        return {"r": r, "z": z, "n": n, "h": z * h + (1 - z) * n}

    def forward(self, x: Float[Tensor, "b c"], h: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return self.gates(x, h)["h"]


class GRU(RNN):
    """Like `RNN`, with GRU layers in torch's form."""

    core = nn.GRU
