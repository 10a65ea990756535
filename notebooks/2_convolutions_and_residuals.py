# %% [markdown]
# # 2. Convolutions, depth, and what a shortcut does
#
# What this lecture shows, each claim by a measurement:
#
# 1. A convolution is a matrix: mostly zeros, and the same few weights in each row.
# 2. Its two properties, few parameters and equivariance to shifts, follow from that.
# 3. How far a unit sees grows with depth by a simple sum, and gradients show it.
# 4. Plain networks get *worse at fitting their training data* as they get deeper. Shortcuts end that. This is the
#    experiment of He, Zhang, Ren and Sun 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, on
#    data that fit into a minute.
#
# Networks: [`src/models/resnet_cifar.py`](../src/models/resnet_cifar.py), the paper's nets for small images with and
# without shortcuts. Their results on CIFAR-10 belong to [docs/results.md](../docs/results.md), all networks for images
# to [docs/models.md](../docs/models.md).

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import torchatlas

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True, "image.cmap": "cividis"})

# %% [markdown]
# ## A convolution is a matrix
#
# With a kernel $w$ of $k \times k$ numbers and an image $x$ (one channel, no padding),
#
# $$y_{ij} = \sum_{a, b = 0}^{k - 1} w_{ab} \, x_{i + a, j + b}.$$
#
# This is linear in $x$, so that there is a matrix $T$ with $\mathrm{vec}(y) = T \, \mathrm{vec}(x)$. Its columns are
# the answers to images with a single one.

# %%
SIDE, KERNEL = 6, 3
w = torch.randn(1, 1, KERNEL, KERNEL, dtype=torch.float64)
units = torch.eye(SIDE**2, dtype=torch.float64).view(-1, 1, SIDE, SIDE)
T = F.conv2d(units, w).flatten(1).T  # 16 x 36

fig, ax = plt.subplots(figsize=(6.5, 3.1))
largest = T.abs().max()
shown = ax.imshow(T.numpy(), cmap="RdBu", vmin=-largest, vmax=largest)
ax.set(xlabel="pixel of x, row by row", ylabel="pixel of y", title="T of a 3x3 kernel on a 6x6 image")
fig.colorbar(shown, shrink=0.8)
plt.show()

x = torch.randn(1, 1, SIDE, SIDE, dtype=torch.float64)
y = F.conv2d(x, w)
assert torch.allclose(y.flatten(), T @ x.flatten())
values = T[T != 0]
print(f"T has {T.numel()} entries: {len(values)} are not zero, {len(values.unique())} of them different")
assert len(values.unique()) == KERNEL**2

# %% [markdown]
# From lecture 1, the gradient with respect to the input of $y = T x$ is $T^\top \delta$. $T^\top$ takes 4x4 numbers to
# 6x6: it is what PyTorch calls a transposed convolution, and what a U-Net uses to go back to a larger image
# ([lecture 5](5_unet.ipynb)).

# %%
delta = torch.randn_like(y)
(gradient,) = torch.autograd.grad((F.conv2d(x.requires_grad_(), w) * delta).sum(), x)
assert torch.allclose(gradient, F.conv_transpose2d(delta, w))
assert torch.allclose(gradient.flatten(), T.T @ delta.flatten())
print("gradient of a convolution = transposed convolution = transposed matrix")

# %% [markdown]
# ## Equivariance to shifts
#
# Each row of $T$ holds the same weights one place further on. So a shifted image gives the shifted answer (at a border,
# where pixels come in from outside, this ends). A dense layer of the same sizes has no such property: what it learns of
# an object in one place says nothing of the same object elsewhere.

# %%
image = torch.randn(1, 1, 16, 16)
shifted = image.roll((2, 3), (2, 3))
convolution = nn.Conv2d(1, 1, 3, padding=1)
dense = nn.Sequential(nn.Flatten(), nn.Linear(256, 256), nn.Unflatten(1, (1, 16, 16)))
with torch.no_grad():
    for name, layer in (("convolution", convolution), ("dense layer", dense)):
        inner = (slice(None), slice(None), slice(4, 12), slice(4, 12))  # where no border is seen
        apart = (layer(shifted)[inner] - layer(image).roll((2, 3), (2, 3))[inner]).abs().max()
        parameters = sum(p.numel() for p in layer.parameters())
        print(f"{name}: {parameters} parameters; answer to the shifted image minus shifted answer: {apart:.1e}")
        assert (apart < 1e-6) == (name == "convolution")

# %% [markdown]
# ## The receptive field
#
# A unit of layer $l$ sees a square of side $r_l$ of the image. With kernels $k_l$ and strides $s_l$,
#
# $$r_l = r_{l-1} + (k_l - 1) \, j_{l-1}, \qquad j_l = j_{l-1} s_l, \qquad r_0 = j_0 = 1,$$
#
# where $j_l$ is the distance, in pixels of the image, between neighbours in layer $l$ (Araujo, Norris and Sim 2019,
# "Computing Receptive Fields of Convolutional Neural Networks", Distill). The gradient of the unit in the middle
# measures it: pixels that it does not see have gradient zero. `torchatlas show NAME` computes the same for any network
# ([`src/analysis/receptive_field.py`](../src/analysis/receptive_field.py)).
#
# That a unit *can* see a pixel does not say that the pixel matters: few paths lead from the rim to the middle, many
# from the centre, and with random weights the influence falls off like a Gaussian (Luo, Li, Urtasun and Zemel 2016,
# arXiv:1701.04128).


# %%
def field_of(layers):
    """The side r by the formula, of (kernel, stride) pairs."""
    r, j = 1, 1
    for k, s in layers:
        r, j = r + (k - 1) * j, j * s
    return r


def influence(stack, side=33):
    """Mean absolute gradient of the middle unit with respect to each pixel."""
    images = torch.randn(16, 1, side, side, requires_grad=True)
    maps = stack(images)
    middle = maps.shape[2] // 2
    (found,) = torch.autograd.grad(maps[:, :, middle, middle].sum(), images)
    return found.abs().mean((0, 1))


fig, axes = plt.subplots(1, 4, figsize=(9, 2.6))
for ax, layers in zip(axes, ([(3, 1)], [(3, 1)] * 4, [(3, 1)] * 8, [(3, 1), (3, 2), (3, 1), (3, 1)]), strict=True):
    channels = [1, *[16] * len(layers)]
    stack = nn.Sequential(
        *(m for i, (k, s) in enumerate(layers) for m in (nn.Conv2d(channels[i], 16, k, s, padding=1), nn.ReLU()))
    )
    seen = influence(stack)
    measured = int((seen.sum(0) > 0).sum())
    r = field_of(layers)
    strides = ", one of stride 2" if any(s == 2 for _, s in layers) else ""
    ax.imshow((seen / seen.max()).numpy())
    ax.set_title(f"{len(layers)} layer{'s' * (len(layers) > 1)}{strides}\nformula {r}, measured {measured}", fontsize=9)
    ax.set(xticks=[0, 16, 32], yticks=[0, 16, 32])
    assert measured == r
plt.show()

stack = nn.Sequential(*(m for i in range(8) for m in (nn.Conv2d(16 if i else 1, 16, 3, padding=1), nn.ReLU())))
seen = influence(stack)
share, area = float(seen[12:21, 12:21].sum() / seen.sum()), 9**2 / 17**2
print(f"of 8 layers: the inner 9x9 pixels are {area:.0%} of the field and have {share:.0%} of the influence")
assert share > 2 * area

# %% [markdown]
# ## Degradation
#
# A deeper network contains the shallower one: let the further layers be the identity. So its training error should not
# be higher. He et al. measured that it is, for plain networks, and that the reason is not overfitting, since the error
# *on the training data* grows (figures 1 and 6). Their remedy is to let a block compute what is *added* to its input,
#
# $$y = \mathrm{ReLU}\big(\mathcal{F}(x) + x\big) \qquad \text{(equation 1)},$$
#
# so that the identity is $\mathcal{F} = 0$, which is near where weights start.
#
# Now the experiment, with their nets of $6n + 2$ layers on the 8x8 digits: three depths, with shortcuts ("identity", no
# further parameters) and without ("none"), each with two seeds, the same batches, learning rate and number of steps.

# %%
pixels, labels = load_digits(return_X_y=True)
pixels = torch.tensor((pixels / 16 - 0.3058) / 0.3764, dtype=torch.float32).view(-1, 1, 8, 8)
x_train, x_test, y_train, y_test = train_test_split(
    pixels, torch.tensor(labels), test_size=0.2, stratify=labels, random_state=0
)
DEPTHS, SEEDS, STEPS, BATCH = (8, 20, 44), 2, 60, 64


def new_network(depth, shortcut):
    return torchatlas.create_model("resnet20", depth=depth, width=8, shortcut=shortcut, in_channels=1, image_size=8)


def train(network, seed):
    """The losses of all steps; momentum 0.9 and weight decay 1e-4 as in the paper's section 4.2."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    network.train()
    for _ in range(STEPS):
        rows = torch.randint(len(x_train), (BATCH,), generator=generator)
        loss = F.cross_entropy(network(x_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


curves = {}
for shortcut in ("none", "identity"):
    for depth in DEPTHS:
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            curves[shortcut, depth, seed] = train(new_network(depth, shortcut), seed)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.3), sharey=True)
for ax, shortcut, title in zip(axes, ("none", "identity"), ("plain", "residual"), strict=True):
    for depth, line in zip(DEPTHS, ("-", "--", ":"), strict=True):
        mean = np.mean([curves[shortcut, depth, seed] for seed in range(SEEDS)], 0)
        smooth = np.convolve(mean, np.ones(5) / 5, "valid")
        ax.plot(range(5, STEPS + 1), smooth, line, label=f"{depth} layers")
    ax.set(xlabel="step", title=title)
    ax.grid(alpha=0.3)
    ax.legend()
axes[0].set_ylabel("training loss")
plt.show()

final = {key: np.mean([np.mean(curves[*key, seed][-20:]) for seed in range(SEEDS)]) for key in
         [(shortcut, depth) for shortcut in ("none", "identity") for depth in DEPTHS]}  # fmt: skip
count = {key: sum(p.numel() for p in new_network(key[1], key[0]).parameters()) for key in final}
print("training loss, mean of the last 20 steps and of the seeds")
for depth in DEPTHS:
    plain, residual = final["none", depth], final["identity", depth]
    print(f"{depth:3} layers, {count['none', depth]:6} parameters: plain {plain:.3f}, residual {residual:.3f}")
    assert count["none", depth] == count["identity", depth]
assert final["none", 8] < final["none", 20] < final["none", 44]
assert final["none", 44] > 5 * final["identity", 44]
assert final["identity", 44] < final["identity", 8] + 0.3

# %% [markdown]
# The plain networks get much worse with depth on the data that they are trained with; with shortcuts, and the same
# number of parameters, all three depths come down together. So few steps show only that plain nets learn more slowly.
# That many steps do not close the gap is in the paper, whose nets ran for 64,000, and for `resnet56` on these digits,
# with and without shortcuts, in [docs/results.md](../docs/results.md).
#
# ## Why: what a small step does to the gradient
#
# Batch normalisation keeps the signals of all layers at unit variance, so the explanation by vanishing gradients of
# [lecture 1](1_backpropagation.ipynb) does not fit, as He et al. note (section 4.1). Two measurements on new networks:
#
# - **The norm of the gradient by layer.** In plain networks with batch normalisation it *grows* towards the input
#   (Yang, Pennington, Rao, Sohl-Dickstein and Schoenholz 2019, "A Mean Field Theory of Batch Normalization",
#   arXiv:1902.08129): a learning rate that moves the last layers is too large for the first ones.
# - **How long it stays the same.** A step along the gradient is as good as the gradient is constant along it. Balduzzi
#   et al. 2017, "The Shattered Gradients Problem", arXiv:1702.08591: in deep plain networks gradients of nearby inputs
#   have less and less to do with one another. We compare the gradient of a random projection of the logits with respect
#   to the input at $x$ and at $x + 0.1 \varepsilon$ with noise $\varepsilon$, by their cosine.


# %%
def norms_by_layer(network):
    """Of the gradient of each 3x3 convolution's weights, relative to the last one's."""
    network.zero_grad()
    F.cross_entropy(network(x_train[:128]), y_train[:128]).backward()
    norms = [m.weight.grad.norm() for m in network.modules() if isinstance(m, nn.Conv2d)]
    return (torch.stack(norms) / norms[-1]).numpy()


def alikeness(network):
    """The mean cosine of input gradients at points that are near to each other."""
    direction = torch.randn(10)

    def gradient(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((network(x) @ direction).sum(), x)[0].flatten(1)

    x = x_train[:128]
    return F.cosine_similarity(gradient(x), gradient(x + 0.1 * torch.randn_like(x))).mean().item()


LOOKED_AT = (8, 14, 20, 32, 44)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.3))
alike, growth = {}, {}
for shortcut, label, marker in (("none", "plain", "o"), ("identity", "residual", "s")):
    torch.manual_seed(0)
    norms = norms_by_layer(new_network(44, shortcut))
    growth[label] = norms[0]
    left.semilogy(range(1, len(norms) + 1), norms, label=label, marker=marker, markersize=3)
    alike[label] = [np.mean([alikeness(new_network(depth, shortcut)) for _ in range(3)]) for depth in LOOKED_AT]
    right.plot(LOOKED_AT, alike[label], marker=marker, label=label)
    cosines = ", ".join(f"{a:.2f}" for a in alike[label])
    print(f"{label}: first layer's gradient {norms[0]:.1f} times the last one's; cosines {cosines}")
left.set(xlabel="layer, from the input", ylabel="gradient norm, last layer = 1", title="44 layers")
right.set(xlabel="layers", ylabel="cosine of nearby gradients", xticks=LOOKED_AT, ylim=(0, 1), title="new networks")
for ax in (left, right):
    ax.grid(alpha=0.3)
    ax.legend()
plt.show()
assert growth["plain"] > 10 * growth["residual"]
assert alike["plain"][-1] < 0.1 < alike["residual"][-1]

# %% [markdown]
# ## A block that begins as the identity
#
# If the last normalisation of a block starts with scale zero, then $\mathcal{F} = 0$ and the new block is the identity
# (for inputs that are not negative, as those behind a ReLU are not). Goyal et al. 2017, arXiv:1706.02677, section 5.1,
# train so.

# %%
block = new_network(20, "identity").layer1[0]
nn.init.zeros_(block.bn2.weight)
h = torch.rand(4, 8, 8, 8)
assert torch.equal(block(h), h)
print("block(x) == x")

# %% [markdown]
# ## Exercises
#
# **1.** How many entries of $T$ differ from zero for an image of side $n$ and a kernel of side $k$, and how many
# different numbers are there?
#
# <details><summary>Answer</summary>
#
# $(n - k + 1)^2$ rows with $k^2$ entries each, and $k^2$ numbers in all. For $n = 6$, $k = 3$ that is $16 \cdot 9 =
# 144$ of 576, as printed above.
#
# </details>
#
# **2.** What receptive field has `resnet20` in front of its global pooling? Compute it, then compare with the column
# "receptive field" of `torchatlas show resnet20`.
#
# <details><summary>Answer</summary>
#
# 19 convolutions with kernels of 3, of which the 8th and the 14th have stride 2.
#
# ```python
# strides = [1] + [1] * 6 + [2] + [1] * 5 + [2] + [1] * 5
# print(field_of([(3, s) for s in strides]))
# assert len(strides) == 19
# assert field_of([(3, s) for s in strides]) > 32  # more than the image
# ```
#
# </details>
#
# **3.** The shortcut of a block that halves the image and doubles the channels cannot be the identity. What does
# `shortcut="identity"` do there, and what does it cost?
#
# <details><summary>Answer</summary>
#
# Option A of section 4.2: every second pixel, and zeros as further channels (`ZeroPadding` in
# [`src/models/resnet_cifar.py`](../src/models/resnet_cifar.py)); no parameters. Half of the new channels' information
# comes from $\mathcal{F}$ alone. `shortcut="projection"` has a 1x1 convolution there.
#
# </details>
#
# **4.** Would the residual net of 44 layers still train if the ReLU came before the addition, $y = x +
# \mathrm{ReLU}(\mathcal{F}(x))$?
#
# <details><summary>Answer</summary>
#
# The sum could then only grow from block to block, since what is added is never negative. He et al. 2016, "Identity
# Mappings in Deep Residual Networks", arXiv:1603.05027, section 4.1 and table 2, tried such orders and found the
# pre-activation $y = x + \mathcal{F}(\mathrm{ReLU}(x))$ to be best:
# [`src/models/preact_resnet.py`](../src/models/preact_resnet.py).
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=resnet20 data=digits data.image_size=32
# python train.py model=resnet56 model.shortcut=none data=digits data.image_size=32
# torchatlas show resnet20
# ```
