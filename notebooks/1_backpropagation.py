# %% [markdown]
# # 1. Backpropagation by hand
#
# What this lecture shows, each claim by a measurement:
#
# 1. The gradient of a multilayer perceptron is three short equations, applied from the last layer to the first.
# 2. Written in NumPy they give the same numbers as finite differences and as PyTorch's automatic differentiation.
# 3. All derivatives together cost less than two further evaluations of the network.
# 4. Gradient descent with them trains the same network, step for step, as PyTorch does.
# 5. What the equations multiply by at each layer decides whether the first layers of a deep network learn.
#
# The network is torchatlas' own: [`src/models/mlp.py`](../src/models/mlp.py). What else can be chosen in a training
# stands in [docs/training.md](../docs/training.md).

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.flop_counter import FlopCounterMode

import torchatlas

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True, "axes.grid": True, "grid.alpha": 0.3})

# %% [markdown]
# ## The network and its loss
#
# A batch of $n$ examples is a matrix with a row for each, $H_0 \in \mathbb{R}^{n \times d_0}$. With weights
# $W_l \in \mathbb{R}^{d_l \times d_{l-1}}$, biases $b_l$ and a non-linearity $\varphi$ applied to each number,
#
# $$A_l = H_{l-1} W_l^\top + b_l, \qquad H_l = \varphi(A_l), \qquad l = 1, \dots, L - 1,$$
#
# and the last layer gives the logits $Z = A_L$ without $\varphi$. The loss is the mean cross-entropy of the softmax,
#
# $$\ell = \frac{1}{n} \sum_i \Big( \log \sum_k e^{Z_{ik}} - Z_{i y_i} \Big).$$
#
# This is the network of Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors",
# Nature 323, with softmax and cross-entropy in place of their squared error.

# %%
# φ, and φ' as a function of h = φ(a): what the forward pass keeps is enough.
ACTIVATIONS = {
    "relu": (lambda a: np.maximum(a, 0), lambda h: (h > 0).astype(h.dtype)),
    "tanh": (np.tanh, lambda h: 1 - h**2),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), lambda h: h * (1 - h)),
}


def forward(layers, x, activation="relu"):
    """Logits, and the inputs of all layers: H_0, ..., H_{L-1}."""
    phi, _ = ACTIVATIONS[activation]
    hidden = [x]
    for W, b in layers[:-1]:
        hidden.append(phi(hidden[-1] @ W.T + b))
    W, b = layers[-1]
    return hidden[-1] @ W.T + b, hidden


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))  # the same quotient, and no overflow
    return powers / powers.sum(1, keepdims=True)


def cross_entropy(logits, y):
    return -np.log(softmax(logits)[np.arange(len(y)), y]).mean()


# %% [markdown]
# ## The three equations
#
# Write $\delta_l = \partial \ell / \partial A_l$, a matrix of the shape of $A_l$, and let $P$ be the softmax of $Z$ and
# $Y$ the labels as rows of zeros with a one.
#
# **The last layer.** For one example, $\partial / \partial z_j \, (\log \sum_k e^{z_k} - z_y)
# = e^{z_j} / \sum_k e^{z_k} - [j = y]$. With the mean over the batch,
#
# $$\delta_L = \frac{1}{n} (P - Y). \tag{1}$$
#
# **The weights of a layer.** $W_l$ enters through $A_l = H_{l-1} W_l^\top + b_l$ alone, and $\partial (A_l)_{ij} /
# \partial (W_l)_{jk} = (H_{l-1})_{ik}$. The chain rule sums over the examples $i$:
#
# $$\frac{\partial \ell}{\partial W_l} = \delta_l^\top H_{l-1}, \qquad
# \frac{\partial \ell}{\partial b_l} = \sum_i (\delta_l)_{i \cdot}. \tag{2}$$
#
# **The layer below.** $(H_{l-1})_{ik}$ enters all $(A_l)_{ij}$ with the factors $(W_l)_{jk}$, and
# $H_{l-1} = \varphi(A_{l-1})$ number by number:
#
# $$\delta_{l-1} = (\delta_l W_l) \circ \varphi'(A_{l-1}). \tag{3}$$


# %%
def backward(layers, hidden, logits, y, activation="relu"):
    """The gradient of each layer's W and b, by equations 1 to 3."""
    _, slope = ACTIVATIONS[activation]
    delta = softmax(logits)
    delta[np.arange(len(y)), y] -= 1
    delta /= len(y)  # equation 1
    gradients = []
    for (W, _), h in zip(reversed(layers), reversed(hidden), strict=True):
        gradients.append((delta.T @ h, delta.sum(0)))  # equation 2
        delta = (delta @ W) * slope(h)  # equation 3; below the first layer nothing uses it
    return gradients[::-1]


# %% [markdown]
# ## Check 1: finite differences
#
# The network is torchatlas' MLP with its own initial weights, in double precision, and the data are scikit-learn's
# 1,797 digits of 8x8 pixels. Along a direction $v$ in the space of all parameters,
#
# $$\frac{\ell(\theta + \epsilon v) - \ell(\theta - \epsilon v)}{2 \epsilon}
# = v^\top \nabla \ell + O(\epsilon^2) + O(u / \epsilon),$$
#
# where $u \approx 10^{-16}$ is the rounding of a double. So the difference between the two sides has to fall with the
# square of $\epsilon$ until rounding takes over: a straight line of slope two in a picture with logarithmic axes, then
# an uneven rise of slope minus one. A wrong gradient would show a flat line. (For this picture $\varphi = \tanh$; the
# ReLU has a kink, which a step may cross.)

# %%
x, y = load_digits(return_X_y=True)
x = (x / 16 - 0.3058) / 0.3764  # pixels from 0 to 1, then mean 0 and variance 1
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
print(f"{len(x_train)} digits to train with, {len(x_test)} to test with, {x.shape[1]} pixels each")


def new_network(widths=(32, 32), **options):
    """The zoo's MLP in double precision, and copies of its weights as NumPy arrays."""
    network = torchatlas.create_model("mlp", image_size=8, in_channels=1, widths=widths, dropout=0.0, **options)
    network = network.double()
    linear = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    return network, [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linear]


_, layers = new_network(activation="tanh")
xb, yb = x_train[:64], y_train[:64]
logits, hidden = forward(layers, xb, "tanh")
gradients = backward(layers, hidden, logits, yb, "tanh")

rng = np.random.default_rng(0)
direction = [(rng.standard_normal(W.shape), rng.standard_normal(b.shape)) for W, b in layers]
exact = sum((gW * V).sum() + (gb * v).sum() for (gW, gb), (V, v) in zip(gradients, direction, strict=True))


def moved(step):
    """The loss at θ + step v."""
    there = [(W + step * V, b + step * v) for (W, b), (V, v) in zip(layers, direction, strict=True)]
    return cross_entropy(forward(there, xb, "tanh")[0], yb)


steps = 10.0 ** np.arange(-1, -12.5, -0.5)
errors = np.array([abs((moved(s) - moved(-s)) / (2 * s) - exact) / abs(exact) for s in steps])

fig, ax = plt.subplots(figsize=(6, 3.4))
ax.loglog(steps, errors, "o-", label="measured")
ax.loglog(steps[2:9], errors[4] * (steps[2:9] / steps[4]) ** 2, "k--", label="slope 2")
ax.set(xlabel="step ε", ylabel="relative error", title="Central differences against backpropagation")
ax.legend()
plt.show()

small = (steps < 2e-2) & (steps > 2e-4)
slope = np.polyfit(np.log(steps[small]), np.log(errors[small]), 1)[0]
print(f"slope {slope:.2f}, smallest relative error {errors.min():.1e}")
assert abs(slope - 2) < 0.1
assert errors.min() < 1e-8

# %% [markdown]
# ## Check 2: automatic differentiation
#
# PyTorch records the operations of the forward pass and applies the same chain rule to them. The two must agree in
# every single derivative, up to rounding.


# %%
def from_torch(network, x, y):
    """The gradient of each linear layer's W and b, by autograd."""
    network.zero_grad()
    F.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    linear = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    return [(layer.weight.grad.numpy(), layer.bias.grad.numpy()) for layer in linear]


for activation in ACTIVATIONS:
    network, layers = new_network(activation=activation)
    logits, hidden = forward(layers, xb, activation)
    ours, theirs = backward(layers, hidden, logits, yb, activation), from_torch(network, xb, yb)
    apart = max(abs(a - b).max() for pair in zip(ours, theirs, strict=True) for a, b in zip(*pair, strict=True))
    count = sum(g.size for pair in ours for g in pair)
    print(f"{activation:8} {count} derivatives, largest difference {apart:.1e}")
    assert apart < 1e-12

# %% [markdown]
# ## What it costs
#
# Equation 2 and equation 3 are each one product of matrices of the sizes of the forward pass, and the first layer needs
# no equation 3. So the whole gradient costs less than twice the forward pass, however many parameters there are, while
# finite differences need an evaluation or two *for each parameter*. For any function it is a small multiple (Baur and
# Strassen 1983, "The complexity of partial derivatives"). PyTorch's counter of operations measures it:

# %%
network, layers = new_network()
inputs, labels = torch.from_numpy(xb), torch.from_numpy(yb)
with FlopCounterMode(display=False) as forwards:
    loss = F.cross_entropy(network(inputs), labels)
with FlopCounterMode(display=False) as backwards:
    loss.backward()
forward_cost, backward_cost = forwards.get_total_flops(), backwards.get_total_flops()
parameters = sum(p.numel() for p in network.parameters())
print(f"forward    {forward_cost:>14,} operations")
print(f"backward   {backward_cost:>14,} operations, {backward_cost / forward_cost:.2f} times the forward pass")
print(f"central differences of {parameters} parameters: {2 * parameters * forward_cost:,} operations")
assert 1 < backward_cost / forward_cost < 2

# %% [markdown]
# ## Gradient descent
#
# Two trainings from the same weights with the same batches, $\theta \leftarrow \theta - \eta \nabla \ell$: one with the
# equations above, one with PyTorch's autograd and `torch.optim.SGD` on torchatlas' network.

# %%
RATE, BATCH, EPOCHS = 0.1, 64, 20
network, layers = new_network()
optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
order = np.random.default_rng(0)
by_hand, by_torch, losses = [], [], []
for _ in range(EPOCHS):
    for rows in np.array_split(order.permutation(len(x_train)), len(x_train) // BATCH):
        logits, hidden = forward(layers, x_train[rows])
        losses.append(cross_entropy(logits, y_train[rows]))
        gradients = backward(layers, hidden, logits, y_train[rows])
        layers = [(W - RATE * gW, b - RATE * gb) for (W, b), (gW, gb) in zip(layers, gradients, strict=True)]

        from_torch(network, x_train[rows], y_train[rows])
        optimizer.step()
    by_hand.append((forward(layers, x_test)[0].argmax(1) == y_test).mean())
    with torch.no_grad():
        by_torch.append((network(torch.from_numpy(x_test)).argmax(1).numpy() == y_test).mean())

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.semilogy(losses, linewidth=0.8)
left.axhline(np.log(10), color="k", linestyle="--", linewidth=1)
left.text(len(losses), np.log(10), "ln 10: all classes alike ", ha="right", va="bottom")
left.set(xlabel="step", ylabel="loss of the batch", title="by hand", ylim=(None, 5))
right.plot(range(1, EPOCHS + 1), by_hand, label="by hand")
right.plot(range(1, EPOCHS + 1), by_torch, "o", markersize=4, label="autograd, torchatlas' MLP")
right.set(xlabel="epoch", ylabel="accuracy on the test digits", xticks=range(0, EPOCHS + 1, 5))
right.legend()
plt.show()

last = network.layers[-1].weight.detach().numpy()
print(f"after {len(losses)} steps the last layers differ by at most {abs(layers[-1][0] - last).max():.1e}")
print(f"accuracy on digits never seen: {by_hand[-1]:.1%}")
assert abs(losses[0] - np.log(10)) < 0.1  # a new network knows nothing
assert abs(layers[-1][0] - last).max() < 1e-8
assert by_hand[-1] > 0.95

# %% [markdown]
# ## Deep networks: what equation 3 multiplies by
#
# Going down one layer multiplies $\delta$ by $W_l$ and by $\varphi'$. The logistic function has $\varphi' \le 1/4$, so
# with weights of Glorot and Bengio 2010, made for $\varphi' \approx 1$, the gradient shrinks by a factor in each layer.
# The ReLU loses half of the variance in each layer, upwards ($H$) as well as downwards ($\delta$). Then $\partial \ell
# / \partial W_l = \delta_l^\top H_{l-1}$ is equally small in all layers, and the deeper the network the smaller. He,
# Zhang, Ren and Sun 2015 (arXiv:1502.01852, equation 10) chose $\mathrm{Var}\,W = 2 / d_{l-1}$, so that ReLU layers
# keep the scale. The norms of $\partial \ell / \partial W_l$ in new networks of twelve layers, by the equations of this
# page:

# %%
CASES = {
    "ReLU, He": ("relu", "he"),
    "tanh, Glorot": ("tanh", "xavier"),
    "ReLU, Glorot": ("relu", "xavier"),
    "sigmoid, Glorot": ("sigmoid", "xavier"),
}
fig, ax = plt.subplots(figsize=(6.5, 3.4))
ratio, level = {}, {}
for (label, (activation, initialization)), marker in zip(CASES.items(), "os^D", strict=True):
    norms = []
    for seed in range(5):
        torch.manual_seed(seed)
        _, deep = new_network([64] * 11, activation=activation, initialization=initialization)
        logits, hidden = forward(deep, x_train[:256], activation)
        norms.append([np.linalg.norm(g) for g, _ in backward(deep, hidden, logits, y_train[:256], activation)])
    mean = np.exp(np.log(norms).mean(0))[:-1]  # the last layer starts smaller, and stands apart
    ratio[label], level[label] = mean[0] / mean[-1], mean[0]
    ax.semilogy(range(1, len(mean) + 1), mean, marker=marker, label=label)
ax.set(
    xlabel="layer, from the input", ylabel="norm of ∂ℓ/∂W", xticks=range(1, 12), title="New networks of twelve layers"
)
ax.legend(fontsize=8)
plt.show()
for label, value in ratio.items():
    print(f"{label:16} first layer's gradient over the eleventh's: {value:.1e}")
assert ratio["sigmoid, Glorot"] < 1e-4
assert 0.1 < ratio["ReLU, He"] < 10
assert 0.1 < ratio["ReLU, Glorot"] < 10
assert level["ReLU, Glorot"] < 0.1 * level["ReLU, He"]

# %% [markdown]
# ## Exercises
#
# **1.** Start all weights at zero. Which gradients are zero in the first step, and which rows of $W_1$ ever differ?
#
# <details><summary>Answer</summary>
#
# With $W_L = 0$ equation 3 gives $\delta_{L-1} = 0$, and with the ReLU $H_{L-1} = 0$, so only $b_L$ learns. If all
# weights are one and the same number other than zero, the units of a layer get equal gradients, and so equal they
# remain: a layer with the work of one unit.
#
# ```python
# _, same = new_network(widths=(32,))
# same = [(np.full_like(W, 0.05), b) for W, b in same]
# for _ in range(20):
#     logits, hidden = forward(same, xb)
#     same = [(W - 0.1 * g, b - 0.1 * h)
#             for (W, b), (g, h) in zip(same, backward(same, hidden, logits, yb), strict=True)]
# assert np.allclose(same[0][0], same[0][0][:1])  # all 32 rows are the first one
# ```
#
# </details>
#
# **2.** Which matrices of the forward pass does the backward pass need? What then decides the memory of a training?
#
# <details><summary>Answer</summary>
#
# Equation 2 needs each $H_{l-1}$, equation 3 each $\varphi'(A_{l-1})$, which for the three functions above follows from
# $H_{l-1}$. So all layers' inputs are kept until the backward pass has come by: memory grows with batch times the sum
# of widths, not with the number of parameters. `torchatlas plan model=mlp` tells it before a training; see
# [`src/analysis/memory.py`](../src/analysis/memory.py).
#
# </details>
#
# **3.** Add weight decay, $\ell + \frac{\lambda}{2} \sum_l \lVert W_l \rVert^2$. Which line changes?
#
# <details><summary>Answer</summary>
#
# Equation 2 alone: $\partial \ell / \partial W_l = \delta_l^\top H_{l-1} + \lambda W_l$. The $\delta_l$ stay as they
# are, since $W_l$ enters the new term directly.
#
# </details>
#
# **4.** Why does the loss of a new torchatlas MLP start near $\ln 10$?
#
# <details><summary>Answer</summary>
#
# The last layer starts with a standard deviation of 0.01 (see `initialization` in
# [`src/models/mlp.py`](../src/models/mlp.py)), so that all logits are near zero, the softmax is near $1/10$ for each
# class, and $-\ln \frac{1}{10} = \ln 10$. A loss far above it says that a network is sure of what it cannot know.
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=mlp data=digits
# python train.py model=mlp data=digits model.activation=sigmoid model.initialization=xavier
# torchatlas show mlp
# ```
