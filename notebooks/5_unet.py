# %% [markdown]
# # 5. U-Net: what, and where
#
# What this lecture shows, each claim by a measurement:
#
# 1. Segmentation is classification of each pixel, and accuracy is the wrong figure for it.
# 2. To know *what* a pixel belongs to, a network looks at a wide surrounding on a coarse grid; the grid forgets *where*
#    borders lie.
# 3. Skip connections bring that back: without them the same network errs at borders, and each level's skip has its
#    share.
# 4. Without padding, tiles of a large image fit together exactly.
#
# Network: [`src/models/unet.py`](../src/models/unet.py), after Ronneberger, Fischer and Brox 2015, "U-Net:
# Convolutional Networks for Biomedical Image Segmentation", arXiv:1505.04597. Data with masks and their commands:
# [docs/images.md](../docs/images.md#masks).

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

import torchatlas
from torchatlas.data.masks.digit_scenes import DigitScenes

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True})

# %% [markdown]
# ## Pixels and figures
#
# The scenes are made from scikit-learn's digits on textured ground
# ([`src/data/masks/digit_scenes.py`](../src/data/masks/digit_scenes.py)); ink may be darker or brighter than the
# ground. Here we ask only whether a pixel is ink. With $P$ the pixels that are called ink and $T$ those that are,
#
# $$\mathrm{IoU} = \frac{|P \cap T|}{|P \cup T|}, \qquad \mathrm{Dice} = \frac{2 |P \cap T|}{|P| + |T|} =
# \frac{2\,\mathrm{IoU}}{1 + \mathrm{IoU}}.$$
#
# A network that says "ground" everywhere has a high accuracy and an IoU of zero.

# %%
scenes = DigitScenes(train_size=240, val_size=8, test_size=60, in_channels=1, image_size=64, num_classes=11)
splits = scenes.read_splits()
x_train, x_test = ((splits[name][0].float() / 255 - 0.504) / 0.198 for name in ("train", "test"))
y_train, y_test = ((splits[name][1] > 0).long() for name in ("train", "test"))  # any digit


def iou(predicted, true):
    return ((predicted & true).sum() / (predicted | true).sum().clamp(min=1)).item()


def dice(predicted, true):
    return (2 * (predicted & true).sum() / (predicted.sum() + true.sum()).clamp(min=1)).item()


ink = y_test.bool()
nothing = torch.zeros_like(ink)
dark = x_test[:, 0] < x_test[:, 0].mean((1, 2), keepdim=True) - 1
for name, answer in (("ground everywhere", nothing), ("what is dark", dark)):
    J, D = iou(answer, ink), dice(answer, ink)
    print(f"{name}: accuracy {(answer == ink).float().mean():.1%}, IoU {J:.2f}, Dice {D:.2f}")
    assert abs(D - 2 * J / (1 + J)) < 1e-6
assert (nothing == ink).float().mean() > 0.7
assert iou(nothing, ink) == 0

# %% [markdown]
# ## What a coarse grid forgets
#
# Before any network: take the true masks, average them over squares of 2, 4 or 8 pixels, interpolate back, and call ink
# what is over one half. The paper's figure 1 pools four times, by 16. (A network has many channels on its coarse grid
# and could, in principle, write fine detail into them. Below we see what it does.)

# %%
kept = {}
for factor in (1, 2, 4, 8):
    coarse = F.avg_pool2d(ink[:, None].float(), factor)
    back = F.interpolate(coarse, scale_factor=factor, mode="bilinear", align_corners=False)[:, 0] > 0.5
    kept[factor] = iou(back, ink)
    print(f"grid of {factor} pixels: IoU {kept[factor]:.2f}")
assert kept[1] == 1
assert kept[1] > kept[2] > kept[4] > kept[8]

# %% [markdown]
# ## The network, with and without skip connections
#
# On the way down a U-Net pools, and doubles its channels. On the way up it goes back to the finer grid and, at each
# level, takes beside what comes from below what it knew at that resolution on the way down (figure 1):
#
# $$x_i = \mathrm{convs}(\mathrm{pool}(x_{i - 1})), \qquad y_i = \mathrm{convs}\big([\, x_i,\; \mathrm{up}(y_{i + 1})
# \,]\big).$$
#
# To take the skips away and change nothing else, a hook sets the first half of what each `expand` block is given,
# $x_i$, to zero. Both networks have the same parameters, the same initial weights and the same batches.

# %%
STEPS, BATCH = 160, 8


def without(levels):
    """A hook for each level's expand block that blanks the skip connection."""

    def blank(block, given):
        skip, below = given[0].chunk(2, 1)
        return (torch.cat([torch.zeros_like(skip), below], 1),)

    return lambda network: [network.expand[-1 - level].register_forward_pre_hook(blank) for level in levels]


def train(blanked):
    torch.manual_seed(0)
    network = torchatlas.create_model("unet_same", width=8, depth=3, in_channels=1, image_size=64, num_classes=2)
    without(blanked)(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=STEPS)
    losses = []
    for _ in range(STEPS):
        rows = torch.randint(len(x_train), (BATCH,))
        loss = F.cross_entropy(network(x_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return network.eval(), losses


@torch.no_grad()
def predict(network):
    return torch.cat([network(x).argmax(1) for x in x_test.split(20)]).bool()


networks, curves, answers = {}, {}, {}
for name, blanked in (("with skips", ()), ("without skips", (0, 1, 2))):
    networks[name], curves[name] = train(blanked)
    answers[name] = predict(networks[name])
    print(f"{name}: IoU {iou(answers[name], ink):.3f}, accuracy {(answers[name] == ink).float().mean():.1%}")
assert iou(answers["with skips"], ink) > iou(answers["without skips"], ink) + 0.05

fig, ax = plt.subplots(figsize=(6.5, 3))
for (name, losses), line in zip(curves.items(), ("-", "--"), strict=True):
    smooth = torch.tensor(losses).unfold(0, 8, 1).mean(1)
    ax.semilogy(range(8, STEPS + 1), smooth, line, label=name)
ax.set(xlabel="step", ylabel="training loss, mean of 8")
ax.grid(alpha=0.3, which="both")
ax.legend()
plt.show()

# %% [markdown]
# The same scenes, the answers, and where they are wrong:

# %%
fig, axes = plt.subplots(3, 6, figsize=(10, 5.1))
for row, i in zip(axes, (0, 1, 2), strict=True):
    pictures = [("image", x_test[i, 0], "gray"), ("truth", ink[i], "gray")]
    for name, answer in answers.items():
        pictures += [(name, answer[i], "gray"), ("wrong", answer[i] != ink[i], "gray")]
    for ax, (title, picture, colours) in zip(row, pictures, strict=True):
        ax.imshow(picture.numpy(), cmap=colours)
        ax.set_title(title if i == 0 else "", fontsize=10)
        ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ### Where are the errors?
#
# If what is lost is *where*, the errors have to lie at borders. For each pixel of the test scenes we take the distance
# to the nearest pixel of the other kind, and for each distance the share of wrong pixels.


# %%
def distance_to_border(mask):
    """In pixels, 1 for a pixel beside one of the other kind."""
    mask = mask.numpy()
    return torch.from_numpy(distance_transform_edt(mask) + distance_transform_edt(~mask))


distance = torch.stack([distance_to_border(mask) for mask in ink]).round().long()
reach = range(1, 9)
wrong = {
    name: torch.tensor([(answer != ink)[distance == d].float().mean() for d in reach])
    for name, answer in answers.items()
}
fig, ax = plt.subplots(figsize=(6.5, 3))
for (name, shares), marker in zip(wrong.items(), "os", strict=True):
    ax.plot(reach, 100 * shares, marker=marker, label=name)
ax.set(xlabel="distance to the true border, pixels", ylabel="wrong pixels, %", ylim=(0, None))
ax.grid(alpha=0.3)
ax.legend()
plt.show()
for name, shares in wrong.items():
    print(f"{name}: {shares[0]:.0%} wrong beside a border, {shares[3]:.0%} wrong 4 pixels from it")
more = wrong["without skips"] - wrong["with skips"]
assert all(shares[0] > shares[3] for shares in wrong.values())
assert more[0] > more[3]

# %% [markdown]
# ### What each level brings
#
# In the trained network we blank one skip at a time. It was not trained for that, so that the fall says what the rest
# of the network relies on, not what it could have learned to do without.

# %%
fall = {}
for level in range(3):
    handles = without([level])(networks["with skips"])
    fall[level] = iou(answers["with skips"], ink) - iou(predict(networks["with skips"]), ink)
    for handle in handles:
        handle.remove()
    print(f"without the skip of level {level} ({64 >> level}x{64 >> level} pixels): IoU {fall[level]:.3f} lower")
assert torch.equal(predict(networks["with skips"]), answers["with skips"])  # all hooks are gone
assert min(fall.values()) > 0
assert max(fall, key=fall.get) == 0  # the finest grid knows borders best

# %% [markdown]
# ## Tiles that fit together
#
# With `padding="same"` a convolution at the border sees zeros that are no pixels. A tile cut from a large image has
# borders where the image has none, and answers differ there. The paper's network has no padding (`padding="valid"`):
# each convolution loses a border of one pixel, the answer is smaller than the input by `margin` pixels at each side,
# and each of its pixels is computed from whole surroundings (figure 2). In its figure 1, 572 pixels give 388.

# %%
with torch.device("meta"):  # shapes, and no arithmetic
    paper = torchatlas.create_model("unet")
    side = paper(torch.empty(1, 1, 572, 572)).shape[2]
print(f"572 pixels give {side}: a margin of {paper.margin}")
assert (side, paper.margin) == (388, (572 - 388) // 2)

torch.manual_seed(0)
differs = {}
for padding in ("valid", "same"):
    network = torchatlas.create_model("unet", width=8, depth=2, padding=padding, dropout=0.0).eval()
    large = torch.randn(1, 1, 140, 140)
    size, place = 92, 24  # of the tile; a multiple of 4, as two poolings need
    with torch.no_grad():
        whole = network(large)
        tile = network(large[:, :, place : place + size, place : place + size])
    inner = size - 2 * network.margin
    there = whole[:, :, place : place + inner, place : place + inner]
    differs[padding] = (tile - there).abs().amax((0, 1))
    print(
        f"{padding}: {size} pixels give {inner}, largest difference from the whole image {differs[padding].max():.1e}"
    )
assert differs["valid"].max() < 1e-5 < 1e-2 < differs["same"].max()

fig, ax = plt.subplots(figsize=(4.2, 3.2))
shown = ax.imshow(differs["same"].numpy(), cmap="cividis")
ax.set(xlabel="pixel of the tile", ylabel="pixel of the tile", title="same padding: tile against whole image")
fig.colorbar(shown, label="difference of logits")
plt.show()

# %% [markdown]
# ## Exercises
#
# **1.** Derive the margin of a U-Net of depth $D$ without padding.
#
# <details><summary>Answer</summary>
#
# Two 3x3 convolutions lose 4 pixels of their grid. On the way down level $i$ has pixels of side $2^i$, so it loses
# $4 \cdot 2^i$; the bottom $4 \cdot 2^D$; on the way up each level $i < D$ again $4 \cdot 2^i$. In all
# $4 \cdot 2^D + 8 (2^D - 1)$, half of it on each side:
#
# ```python
# for depth in (1, 2, 3, 4):
#     network = torchatlas.create_model("unet", width=2, depth=depth, dropout=0.0)
#     assert network.margin == (4 * 2**depth + 8 * (2**depth - 1)) // 2
# ```
#
# </details>
#
# **2.** Would the network without skips be as good if it were trained longer?
#
# <details><summary>Answer</summary>
#
# Set `STEPS` to some thousands and see: it gains, since channels of the coarse grid learn to carry fine detail, and
# stays behind. The skips do not add what is impossible otherwise; they make it easy.
#
# </details>
#
# **3.** The paper weights pixels between touching cells in the loss (equation 2). Which pixels would you weight here?
#
# <details><summary>Answer</summary>
#
# Those beside a border: there most errors are, as measured.
# [`src/data/masks/border_weights.py`](../src/data/masks/border_weights.py) computes the paper's weights, and
# `data.border_weights=true` trains with them.
#
# </details>
#
# **4.** An FCN (Long, Shelhamer and Darrell 2015) *adds* scores of finer levels instead of concatenating features. What
# does it give up, what does it save?
#
# <details><summary>Answer</summary>
#
# Only as many numbers as there are classes come from each level, and nothing is computed on the fine grid but a sum: no
# convolution weighs fine against coarse. It saves the whole expansive path. See
# [`src/models/fcn.py`](../src/models/fcn.py).
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=unet_same data=digit_scenes
# torchatlas show unet
# ```
