# %% [markdown]
# # 3. Recurrence, vanishing gradients, and gates
#
# What this lecture shows, each claim by a measurement:
#
# 1. The gradient through a recurrent network is a product of one matrix for each step. It is computed by hand here.
# 2. Such a product shrinks or grows geometrically with the distance.
# 3. The cell of an LSTM has a path on which the factor of a step is the forget gate, a number that can be near one.
# 4. On a task that needs memory, the adding problem, this decides what is learned.
# 5. The trained network depends on what is marked and on nothing else, and a gate that does this can be shown.
#
# Networks: [`src/models/rnn.py`](../src/models/rnn.py) and [`src/models/lstm.py`](../src/models/lstm.py); each has,
# beside torch's fused layers, a cell that can be read. What can be trained on sequences stands in
# [docs/sequences.md](../docs/sequences.md).

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import torchatlas
from torchatlas.data.sequences.adding import Sums
from torchatlas.explain.sequences import gate_traces, gradient_by_distance
from torchatlas.models.lstm import LSTMCell
from torchatlas.models.rnn import ElmanCell

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True, "axes.grid": True, "grid.alpha": 0.3})

# %% [markdown]
# ## A product of Jacobians
#
# Elman's network (1990, "Finding Structure in Time", Cognitive Science 14) computes
#
# $$h_t = \tanh(W x_t + b + U h_{t-1}).$$
#
# With $\tanh' = 1 - \tanh^2$, one step back multiplies a gradient by $J_t$, and $T - k$ steps by a product:
#
# $$J_t = \frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}(1 - h_t^2) \, U, \qquad
# \frac{\partial h_T}{\partial h_k} = J_T J_{T-1} \cdots J_{k+1}.$$
#
# (Pascanu, Mikolov and Bengio 2012, "On the difficulty of training recurrent neural networks", arXiv:1211.5063,
# equation 5.) By hand and by autograd:

# %%
STEPS, DIM = 12, 8
cell = ElmanCell(in_channels=3, dim=DIM).double()
x = torch.randn(STEPS, 1, 3, dtype=torch.float64)
start = torch.zeros(1, DIM, dtype=torch.float64, requires_grad=True)

states = [start]
for step in x:
    states.append(cell(step, states[-1]))

by_hand = torch.eye(DIM, dtype=torch.float64)
for h in states[1:]:
    by_hand = torch.diag(1 - h[0] ** 2) @ cell.weight_hh @ by_hand
by_autograd = torch.stack([torch.autograd.grad(states[-1][0, i], start, retain_graph=True)[0][0] for i in range(DIM)])
print(f"largest difference of {DIM}x{DIM} derivatives over {STEPS} steps: {(by_hand - by_autograd).abs().max():.1e}")
assert torch.allclose(by_hand, by_autograd)

# %% [markdown]
# ## It shrinks or grows geometrically
#
# Since $1 - h^2 \le 1$, the norm of the product is at most $\sigma^{T-k}$, where $\sigma$ is the largest singular value
# of $U$. With $\sigma < 1$ the gradient *must* vanish (Hochreiter 1991; Bengio, Simard and Frasconi 1994). With $\sigma
# > 1$ it can explode as long as the units do not saturate, and vanishes where they do. Below, $U = \sigma Q$ with an
# orthogonal $Q$, without input, so that $h = 0$ and the bound is reached, and with input, where it is not.


# %%
def norms_of_product(sigma, scale, steps=60, dim=32):
    """The spectral norm of ∂h_T/∂h_k for distances 1, 2, ..., with normal inputs of a scale."""
    torch.manual_seed(0)
    cell = ElmanCell(in_channels=1, dim=dim).double()
    cell.weight_hh.data *= sigma  # it starts orthogonal
    h, product, norms = torch.zeros(1, dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64), []
    with torch.no_grad():
        for _ in range(steps):
            h = cell(scale * torch.randn(1, 1, dtype=torch.float64), h)
            product = torch.diag(1 - h[0] ** 2) @ cell.weight_hh @ product
            norms.append(torch.linalg.matrix_norm(product, 2).item())
    return torch.tensor(norms, dtype=torch.float64)


distance = torch.arange(1, 61)
fig, axes = plt.subplots(1, 2, figsize=(9, 3.3), sharey=True)
for ax, scale, title in zip(axes, (0.0, 1.0), ("no input: h = 0", "normal inputs"), strict=True):
    for sigma, line in ((0.8, ":"), (1.0, "--"), (1.2, "-")):
        norms = norms_of_product(sigma, scale)
        ax.semilogy(distance, norms, line, label=f"σ = {sigma}")
        bound = sigma ** distance.double()
        assert (norms <= 1.001 * bound).all()
        if scale == 0:
            assert torch.allclose(norms, bound, rtol=1e-3)
    ax.set(xlabel="steps back", title=title, ylim=(1e-8, 1e6))
    ax.legend()
axes[0].set_ylabel("norm of ∂h_T/∂h_k")
plt.show()
print("the bound σ^(T-k) holds in all cases, and is reached without input")

# %% [markdown]
# ## A path with a factor near one
#
# The LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000) has a cell beside its
# state:
#
# $$i, f, o = \sigma(W x_t + U h_{t-1} + b), \quad g = \tanh(W_g x_t + U_g h_{t-1} + b_g), \quad
# c_t = f \circ c_{t-1} + i \circ g, \quad h_t = o \circ \tanh(c_t).$$
#
# From $c_t$ to $c_{t-1}$ one path leads directly, with the factor $f$: no matrix, no $\tanh'$. (Others lead through
# $h_{t-1}$ and the gates.) With $U = 0$ the direct path is the only one, and the derivative over many steps has to be
# the product of the forget gates:

# %%
lstm = LSTMCell(in_channels=3, dim=DIM).double()
lstm.weight_hh.data.zero_()
c_0 = torch.randn(1, DIM, dtype=torch.float64, requires_grad=True)
h, c, kept = torch.zeros_like(c_0), c_0, torch.ones_like(c_0)
for step in x:
    found = lstm.gates(step, (h, c))
    h, c, kept = found["h"], found["c"], kept * found["f"]
(gradient,) = torch.autograd.grad(c.sum(), c_0)
print(f"∂c_T/∂c_0 against the product of f over {STEPS} steps: {(gradient - kept).abs().max():.1e}")
assert torch.allclose(gradient, kept)

# %% [markdown]
# With $U \ne 0$ the other paths add to it, and the measurement is that of whole networks: how strongly the last answer
# depends on the input of each earlier step ([`src/explain/sequences.py`](../src/explain/sequences.py), which
# `torchatlas explain` uses). What counts is where the forget gate *starts*: $f \approx \sigma(b_f)$. With $b_f = 0$
# half of the cell is forgotten in each step. Jozefowicz, Zaremba and Sutskever 2015 start it at $b_f = 1$, as
# torchatlas does. The grey lines are $\sigma(b_f)^{T-k}$.

# %%
LENGTH = 100


def new_network(kind, forget=None, as_torch=False, **options):
    """The zoo's RNN or LSTM; the forget gate's bias, or all weights as torch draws them, may be set."""
    network = torchatlas.create_model(kind, dim=32, **options)
    if as_torch:
        network.layers.reset_parameters()  # U(±1/√32)
    if forget is not None:
        network.layers.bias_ih_l0.data[32:64] = forget
    return network


CASES = {
    "RNN, torch's weights": ("rnn", {"as_torch": True}, ":"),
    "RNN, orthogonal U": ("rnn", {}, "-."),
    "LSTM, b_f = 0": ("lstm", {"forget": 0.0}, "-"),
    "LSTM, b_f = 1": ("lstm", {"forget": 1.0}, "--"),
    "LSTM, b_f = 3": ("lstm", {"forget": 3.0}, "-"),
}
fig, ax = plt.subplots(figsize=(6.5, 3.6))
curves = {}
for (label, (kind, options, line)), width in zip(CASES.items(), (2, 2, 1.2, 1.6, 2.4), strict=True):
    runs = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = new_network(kind, in_channels=1, **options)
        norms = gradient_by_distance(network, torch.randn(16, LENGTH, 1))
        runs.append((norms / norms[0]).clamp(min=1e-12).log())
    curves[label] = torch.stack(runs).mean(0).exp()
    ax.semilogy(curves[label], line, label=label, linewidth=width)
for forget in (0.0, 1.0, 3.0):
    ax.semilogy(torch.sigmoid(torch.tensor(forget)) ** torch.arange(LENGTH), color="0.6", linewidth=0.7, zorder=0)
ax.set(
    xlabel="steps before the last one", ylabel="gradient norm, last step = 1", ylim=(1e-8, 100), title="New networks"
)
ax.legend(fontsize=8)
plt.show()
for label, curve in curves.items():
    print(f"{label:22} after 50 steps {curve[50]:.1e}")
assert curves["LSTM, b_f = 0"][50] < curves["LSTM, b_f = 1"][50] < curves["LSTM, b_f = 3"][50]
assert curves["RNN, torch's weights"][50] < 1e-6
assert curves["LSTM, b_f = 3"][50] > 1e-2

# %% [markdown]
# ## The adding problem
#
# Hochreiter and Schmidhuber's experiment 4, in the form of Bai, Kolter and Koltun 2018 (arXiv:1803.01271): each step of
# a sequence has a number between 0 and 1 and a marker, which is one at two steps; the answer, after the last step, is
# the sum of the two marked numbers. To answer 1, the mean, whatever comes has a mean squared error of $1/6$. To do
# better, the gradient has to reach back to the markers.

# %%
LENGTH, STEPS, BATCH, EVERY = 50, 600, 64, 50
train_split, test_split = Sums(STEPS * BATCH, LENGTH, stream=0), Sums(500, LENGTH, stream=2)
x_test, y_test = test_split[0, torch.arange(500)]
print("one sequence, value and marker of the first steps:", *((f"{v:.2f}", int(m)) for v, m in x_test[0, :6].tolist()))


def train(network):
    """The test error before the first and after each 50 steps."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    errors = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            with torch.no_grad():
                errors.append(F.mse_loss(network(x_test), y_test).item())
        if step < STEPS:
            x, y = train_split[0, torch.arange(step * BATCH, (step + 1) * BATCH)]
            optimizer.zero_grad()
            F.mse_loss(network(x), y).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # against explosion: Pascanu et al., section 3.2
            optimizer.step()
    return errors


errors, trained = {}, {}
for label in ("RNN, torch's weights", "RNN, orthogonal U", "LSTM, b_f = 1", "LSTM, b_f = 3"):
    kind, options, _ = CASES[label]
    torch.manual_seed(0)
    trained[label] = new_network(kind, in_channels=2, targets="horizon", horizon=1, out_channels=1, **options)
    errors[label] = train(trained[label])

fig, ax = plt.subplots(figsize=(6.5, 3.4))
for (label, values), marker in zip(errors.items(), "os^D", strict=True):
    ax.semilogy(range(0, STEPS + 1, EVERY), values, marker=marker, markersize=4, label=label)
ax.axhline(1 / 6, color="0.3", linestyle="--", linewidth=1)
ax.text(STEPS, 0.2, "always the mean: 1/6", ha="right", va="bottom")
ax.set(xlabel="step", ylabel="mean squared error, new sequences", title=f"Adding two of {LENGTH} numbers")
ax.legend(fontsize=8, loc="lower left")
plt.show()
for label, values in errors.items():
    print(f"{label:22} {values[-1]:.4f}")
assert errors["RNN, torch's weights"][-1] > 0.1
assert errors["LSTM, b_f = 1"][-1] < 0.05

# %% [markdown]
# ## What the trained network has learned
#
# The answer should be the sum of the two marked numbers, so its derivative should be 1 with respect to these and 0 with
# respect to all others. The derivative is what the gradient of training can reach, too: compare with the network that
# did not learn.


# %%
def sensitivity(network, x):
    """The derivative of the answer with respect to the number of each step, `b t`."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(network(x).sum(), x)[0][..., 0]


marked = x_test[:200, :, 1] == 1
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, label in zip(axes, ("RNN, torch's weights", "LSTM, b_f = 1"), strict=True):
    found = sensitivity(trained[label], x_test[:200])
    for i, marker in ((0, "o"), (1, "s"), (2, "^")):
        ax.plot(found[i], marker, markersize=4, color=COLOURS[i], alpha=0.5)
        ax.plot(marked[i].nonzero(), found[i][marked[i]], marker, markersize=9, color=COLOURS[i])
    ax.set(xlabel="step", title=label)
    print(f"{label:22} marked numbers {found[marked].mean():.2f} ± {found[marked].std():.2f}, "
          f"others {found[~marked].mean():.2f} ± {found[~marked].std():.2f}")  # fmt: skip
axes[0].set_ylabel("∂ answer / ∂ number")
fig.suptitle("three sequences, large signs: the marked steps", fontsize=10)
plt.show()
assert abs(found[marked].mean() - 1) < 0.2
assert found[~marked].abs().mean() < 0.2

# %% [markdown]
# And the gates: through the cell that can be read, with the trained weights, we look for the unit whose input gate
# rises most at marked steps. It is chosen with 50 sequences, and the rise is measured with 50 others.

# %%
network = trained["LSTM, b_f = 1"]
traces = [gate_traces(network.layers, x)[0] for x in x_test[:100]]
gate = torch.stack([trace["i"] for trace in traces])  # sequence, step, unit
rise = torch.stack([g[m].mean(0) - g[~m].mean(0) for g, m in zip(gate, marked[:100], strict=True)])
unit = int(rise[:50].mean(0).argmax())
print(f"unit {unit}: its input gate is {rise[50:, unit].mean():.2f} higher at marked steps")

example = 0
fig, (above, below) = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True)
above.plot(traces[example]["i"][:, unit], "o-", markersize=4, label="input gate i")
above.plot(traces[example]["f"][:, unit], "s--", markersize=3, label="forget gate f")
above.set(ylim=(0, 1.02), title=f"unit {unit}, one sequence; vertical lines: the marked steps")
below.plot(traces[example]["c"][:, unit], color=COLOURS[2])
below.set(xlabel="step", ylabel="cell c")
above.legend(loc="center left", bbox_to_anchor=(0.08, 0.6), fontsize=8)
for ax in (above, below):
    for step in marked[example].nonzero().flatten().tolist():
        ax.axvline(step, color="0.4", linewidth=1, zorder=0)
plt.show()
assert rise[50:, unit].mean() > 0.1

# %% [markdown]
# ## Exercises
#
# **1.** What does clipping the norm of the gradient change, and what does it not?
#
# <details><summary>Answer</summary>
#
# The length of a step, not its direction, and only where the norm is over the limit. It keeps one explosion from
# throwing the weights far away. A gradient that has vanished stays so: the share of far steps in it is as small as
# before.
#
# </details>
#
# **2.** A forget gate should keep for about $\tau$ steps. Which $b_f$ does that at the start?
#
# <details><summary>Answer</summary>
#
# $f^\tau = 1/e$ means $f = e^{-1/\tau} \approx 1 - 1/\tau$, so $b_f = \sigma^{-1}(1 - 1/\tau) = \ln(\tau - 1)$: the
# initialisation of Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", arXiv:1804.11188.
#
# ```python
# b_f = torch.tensor(50.0 - 1).log()
# assert abs(torch.sigmoid(b_f) ** 50 - torch.exp(torch.tensor(-1.0))) < 0.01
# ```
#
# </details>
#
# **3.** The GRU (Cho et al. 2014) has $h_t = (1 - z) \circ n + z \circ h_{t-1}$. Where is its direct path, and why does
# it start in the middle?
#
# <details><summary>Answer</summary>
#
# From $h_t$ to $h_{t-1}$ with the factor $z$, and $z = \sigma(0) = 1/2$ with biases that start at zero. One gate both
# keeps and takes in: what is kept is not overwritten. See [`src/models/gru.py`](../src/models/gru.py); put `"gru"` into
# the cell of the adding problem.
#
# </details>
#
# **4.** Orthogonal $U$ keeps the norm of a gradient where $h = 0$. Why not over the steps of a trained network?
#
# <details><summary>Answer</summary>
#
# Each step also multiplies by $1 - h_t^2$, which is below one as soon as a unit holds anything: a network that
# remembers in the values of $\tanh$ units pays for it with their slope. And training moves $U$ away from orthogonality.
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=lstm data=adding task=regression data.length=50
# python train.py model=rnn data=adding task=regression data.length=50
# torchatlas show lstm
# ```
