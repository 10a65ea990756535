# %% [markdown]
# # 4. From attention to GPT
#
# What this lecture shows, each claim by a measurement:
#
# 1. Attention is a weighted mean, and why its scores are divided by $\sqrt{d}$.
# 2. It does not know order: what does, and what each kind of position can tell.
# 3. A causal mask makes a language model: no answer depends on what comes later.
# 4. Several heads are several attentions side by side, at the cost of one.
# 5. A small GPT, trained on Python's own documentation, beats what counts of pairs of letters know, and uses its
#    context.
#
# Networks: [`src/models/transformer.py`](../src/models/transformer.py) and [`src/models/gpt.py`](../src/models/gpt.py).
# The page on attention is [docs/attention.md](../docs/attention.md), that on text [docs/text.md](../docs/text.md).

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import torchatlas
from torchatlas.data.text.pydoc import read_topics
from torchatlas.models.transformer import MultiHeadAttention, attend, past_only, rotate, sinusoids

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True, "image.cmap": "cividis"})

# %% [markdown]
# ## A weighted mean
#
# With a query $q_t$ for each place that asks, and a key $k_s$ and a value $v_s$ for each place that may answer (Vaswani
# et al. 2017, "Attention Is All You Need", arXiv:1706.03762, equation 1),
#
# $$y_t = \sum_s a_{ts} v_s, \qquad a_{ts} = \frac{e^{q_t \cdot k_s / \sqrt{d}}}{\sum_{s'} e^{q_t \cdot k_{s'} /
# \sqrt{d}}}, \qquad \text{in matrices} \quad Y = \mathrm{softmax}(Q K^\top / \sqrt{d}) \, V.$$

# %%
Q, K, V = torch.randn(3, 1, 1, 5, 16).unbind()  # one example, one head, 5 places, d = 16

slow = torch.zeros(5, 16)
for t in range(5):
    powers = torch.stack([(Q[0, 0, t] @ K[0, 0, s] / math.sqrt(16)).exp() for s in range(5)])
    weights = powers / powers.sum()
    slow[t] = sum(weights[s] * V[0, 0, s] for s in range(5))

written_out, weights = attend(Q, K, V)
assert torch.allclose(slow, written_out[0, 0], atol=1e-6)
assert torch.allclose(written_out, F.scaled_dot_product_attention(Q, K, V), atol=1e-6)
assert torch.allclose(weights.sum(-1), torch.ones(1, 1, 5))
print("loops, torchatlas' attend and torch's kernel agree; each row of weights sums to one")

# %% [markdown]
# ### Why $\sqrt{d}$
#
# If the entries of $q$ and $k$ are independent with mean 0 and variance 1, then $q \cdot k$ has variance $d$ (the
# paper's footnote 4). Without the division, the softmax of such scores puts nearly all weight on one place, and the
# derivative of a saturated softmax is near zero. We measure the variance, the largest weight among 64 places, and the
# gradient with respect to the query.

# %%
WIDTHS = (4, 16, 64, 256, 1024)
found = {"divided by √d": [], "not divided": []}
for d in WIDTHS:
    q, k = torch.randn(500, 1, d), torch.randn(500, 64, d)
    variance = (q @ k.mT).var().item()
    for label, scale in (("divided by √d", 1 / math.sqrt(d)), ("not divided", 1.0)):
        scores = (q @ k.mT * scale).requires_grad_()
        a = scores.softmax(-1)
        (gradient,) = torch.autograd.grad((a * torch.randn_like(a)).sum(), scores)
        found[label].append((a.amax(-1).mean().item(), gradient.norm(dim=-1).mean().item()))
    print(f"d = {d:4}: variance of q·k {variance:7.1f}")
    assert abs(variance / d - 1) < 0.15

fig, axes = plt.subplots(1, 2, figsize=(9, 3))
for i, (ax, title) in enumerate(
    zip(axes, ("largest of 64 weights", "norm of the gradient of the scores"), strict=True)
):
    for (label, values), marker in zip(found.items(), "os", strict=True):
        ax.semilogx(WIDTHS, [v[i] for v in values], marker=marker, label=label, base=2)
    ax.set(xlabel="d", title=title, xticks=WIDTHS, xticklabels=WIDTHS, ylim=(0, None))
    ax.grid(alpha=0.3)
axes[0].legend()
plt.show()
assert found["not divided"][-1][0] > 0.9 > 0.3 > found["divided by √d"][-1][0]
assert found["not divided"][-1][1] < 0.5 * found["divided by √d"][-1][1]

# %% [markdown]
# ## Order
#
# Nothing in equation 1 depends on where a place is. If the places are permuted, so are the answers, and nothing else
# changes. So order has to be put in. Three ways, all in `Positions` of
# [`src/models/transformer.py`](../src/models/transformer.py):
#
# - a learned vector for each position is added to the input (GPT);
# - sines and cosines are added (section 3.5 of the paper): $PE_{p, 2i} = \sin(p\,\omega_i)$, $PE_{p, 2i+1} =
#   \cos(p\,\omega_i)$ with $\omega_i = 10000^{-2i/d}$. Then $PE_p \cdot PE_{p + \Delta} = \sum_i
#   \cos(\Delta\,\omega_i)$, which depends on the distance alone;
# - queries and keys are turned by the angles $p\,\omega_i$ (Su et al. 2021, arXiv:2104.09864, equation 34), so that
#   each *score* depends on the distance alone.

# %%
attention = MultiHeadAttention(dim=16, heads=2)
x = torch.randn(1, 6, 16)
order = torch.randperm(6)
with torch.no_grad():
    assert torch.allclose(attention(x[:, order])[0], attention(x)[0][:, order], atol=1e-6)
    numbered = sinusoids(6, 16)
    assert not torch.allclose(attention(x[:, order] + numbered)[0], attention(x + numbered)[0][:, order], atol=1e-2)

PE = sinusoids(128, 64)
products = PE @ PE.T
for distance in (0, 1, 5, 20):
    assert products.diagonal(distance).std() < 1e-3  # the same all along

q, k = torch.randn(2, 1, 1, 1, 64)
turn = sinusoids(128, 64)
turned_q, turned_k = (rotate(v.expand(1, 1, 128, 64), (turn[:, 1::2], turn[:, 0::2]))[0, 0] for v in (q, k))
scores = turned_q @ turned_k.T  # of the same query and key in all pairs of positions
assert all(scores.diagonal(distance).std() < 1e-3 for distance in (-7, 0, 3, 40))
print("without positions: permuted in, permuted out; sinusoids and rotations: the same at the same distance")

fig, axes = plt.subplots(1, 3, figsize=(10, 3))
axes[0].imshow(PE.T, aspect="auto", cmap="RdBu", vmin=-1, vmax=1)
axes[0].set(xlabel="position", ylabel="component", title="sinusoids")
shown = axes[1].imshow(products)
axes[1].set(xlabel="position", ylabel="position", title="their products")
fig.colorbar(shown, ax=axes[1], shrink=0.8)
axes[2].plot(range(-64, 64), [products[64, 64 + j] for j in range(-64, 64)])
axes[2].set(xlabel="distance", title="their products by distance")
axes[2].grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## The causal mask
#
# A language model says at each place what comes next. If a place could see later ones, the answer would be among its
# inputs. Scores of later places are set to $-\infty$, so that their weights are zero. Then one pass over a text of $T$
# letters gives $T$ training examples. The derivative of each answer with respect to each input shows who sees whom.


# %%
def who_sees_whom(mask):
    """The norm of the derivative of each answer with respect to each input, `t s`."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(dim=16, heads=2)

    def answers(x):
        return attention(x[None], mask=mask)[0][0]

    jacobian = torch.autograd.functional.jacobian(answers, torch.randn(10, 16))
    return jacobian.norm(dim=(1, 3))


fig, axes = plt.subplots(1, 2, figsize=(7, 3.1))
for ax, mask, title in zip(axes, (None, past_only(10, 10)), ("no mask", "causal mask"), strict=True):
    seen = who_sees_whom(mask)
    shown = ax.imshow(seen)
    ax.set(xlabel="input place", ylabel="answer place", title=title)
fig.colorbar(shown, ax=axes, shrink=0.8, label="norm of the derivative")
plt.show()
assert torch.equal(seen.triu(1), torch.zeros(10, 10))
assert (seen.tril().diagonal() > 0).all()

# %% [markdown]
# ## Heads
#
# One attention gives one weighted mean. $h$ heads have projections to $d/h$ dimensions each and give $h$ means, which a
# last matrix mixes (section 3.2.2). The parameters are the same for any $h$; that the result is what $h$ separate
# attentions would give is checked here against slices of the weights.

# %%
x = torch.randn(1, 7, 32)
for heads in (1, 2, 4):
    attention = MultiHeadAttention(dim=32, heads=heads, bias=False)
    W_q, W_k, W_v = attention.qkv.weight.chunk(3)
    d = 32 // heads
    parts = []
    for i in range(heads):
        rows = slice(i * d, (i + 1) * d)
        q, k, v = (x @ W[rows].T for W in (W_q, W_k, W_v))
        parts.append((q @ k.mT / math.sqrt(d)).softmax(-1) @ v)
    assert torch.allclose(torch.cat(parts, -1) @ attention.output.weight.T, attention(x)[0], atol=1e-5)
    print(f"{heads} heads of {d} dimensions: {sum(p.numel() for p in attention.parameters())} parameters")

# %% [markdown]
# ## A small GPT
#
# GPT (Radford et al. 2018 and 2019) is a stack of layers $h \leftarrow h + \mathrm{MultiHead}(\mathrm{LN}(h))$, $h
# \leftarrow h + \mathrm{FFN}(\mathrm{LN}(h))$ with causal masks. The text is Python's built-in documentation, which
# every Python has (`pydoc_data.topics`), letter by letter; whole topics are kept for testing. GPT-2 learns its
# positions; turned queries and keys, which the network here has, show what they can do in fewer steps.
#
# Two baselines: all letters alike, $\log_2 V$ bits a letter, and counts of pairs, $p(c' \mid c)$.

# %%
texts = read_topics()
letters = sorted(set(texts["train"]))
number = {letter: i for i, letter in enumerate(letters)}
train, test = (torch.tensor([number[c] for c in texts[split] if c in number]) for split in ("train", "test"))
V = len(letters)
print(f"{len(train):,} letters to train with, {len(test):,} to test with, {V} different ones")

pairs = torch.full((V, V), 0.1)  # a tenth of a count for pairs that were never seen
pairs.index_put_((train[:-1], train[1:]), torch.ones(len(train) - 1), accumulate=True)
uniform = math.log2(V)
bigrams = -(pairs / pairs.sum(1, keepdim=True)).log2()[test[:-1], test[1:]].mean().item()
print(f"bits a letter on the test text: all alike {uniform:.2f}, counts of pairs {bigrams:.2f}")

# %%
CONTEXT, STEPS, BATCH = 48, 1200, 16
gpt = torchatlas.create_model(
    "gpt_char_cpu", vocab_size=V, context=CONTEXT, dim=64, depth=2, heads=4, positions="rotary"
)
print(f"{sum(p.numel() for p in gpt.parameters()):,} parameters")


def windows(text, starts):
    return text[starts[:, None] + torch.arange(CONTEXT + 1)]


def bits(tokens, **options):
    """Bits for each letter but the first of each window."""
    logits = gpt(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), **options) / math.log(2)


held_out = windows(test, torch.linspace(0, len(test) - CONTEXT - 1, 200).long())
optimizer = torch.optim.AdamW(gpt.parameters(), lr=4e-3, weight_decay=0.1, betas=(0.9, 0.99))
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS, pct_start=0.1)
curve, tested = [], []
for step in range(STEPS + 1):
    if step % 100 == 0:
        with torch.no_grad():
            tested.append(bits(held_out).item())
    if step < STEPS:
        loss = bits(windows(train, torch.randint(len(train) - CONTEXT, (BATCH,))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        curve.append(loss.item())

fig, ax = plt.subplots(figsize=(6.5, 3.3))
ax.plot(curve, linewidth=0.7, color="0.6", label="training batch")
ax.plot(range(0, STEPS + 1, 100), tested, "o-", label="test topics")
for value, label in ((uniform, "all letters alike"), (bigrams, "counts of pairs")):
    ax.axhline(value, color="k", linestyle="--", linewidth=1)
    ax.text(STEPS, value, label, ha="right", va="bottom")
ax.set(xlabel="step", ylabel="bits a letter", ylim=(0, 7.5))
ax.grid(alpha=0.3)
ax.legend(loc="lower left")
plt.show()
print(f"test topics: {tested[0]:.2f} bits a letter before training, {tested[-1]:.2f} after it")
assert abs(tested[0] - uniform) < 0.2
assert tested[-1] < bigrams - 0.3

# %% [markdown]
# ### Does it use its context?
#
# At the first place of a window the network has seen one letter and can know no more than counts of pairs. Later places
# have more to go by. The mean loss by place:

# %%
many = windows(test, torch.linspace(0, len(test) - CONTEXT - 1, 800).long())
with torch.no_grad():
    by_place = bits(many, reduction="none").view(-1, CONTEXT).mean(0)
fig, ax = plt.subplots(figsize=(6.5, 2.8))
ax.plot(range(1, CONTEXT + 1), by_place, "o-", markersize=3)
ax.axhline(bigrams, color="k", linestyle="--", linewidth=1)
ax.text(CONTEXT, bigrams, "counts of pairs", ha="right", va="bottom")
ax.set(xlabel="letters that the network has seen", ylabel="bits of the next letter", ylim=(0, 5))
ax.grid(alpha=0.3)
plt.show()
early, late = by_place[:2].mean().item(), by_place[16:].mean().item()
print(f"after one or two letters {early:.2f} bits, after 17 and more {late:.2f}")
assert late < early - 0.3

# %% [markdown]
# ### Sampling, and what need not be computed twice
#
# A letter is drawn from $\mathrm{softmax}(z / \tau)$; a temperature $\tau < 1$ makes likely letters likelier. When a
# letter is added, keys and values of all earlier places stay what they were, since these places do not see it.
# `advance` keeps them, and gives the same logits as a pass over the whole text.

# %%
tokens = held_out[:1, :CONTEXT]
with torch.no_grad():
    whole, state, steps = gpt(tokens), None, []
    for t in range(CONTEXT):
        logits, state = gpt.advance(tokens[:, t : t + 1], state)
        steps.append(logits)
assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-4)


@torch.no_grad()
def sample(prompt, temperature, length=110):
    torch.manual_seed(0)
    tokens = torch.tensor([[number[c] for c in prompt]])
    for _ in range(length):
        logits = gpt(tokens[:, -CONTEXT:])[0, -1] / temperature
        tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)[None]], 1)
    return "".join(letters[i] for i in tokens[0])


for temperature in (0.3, 0.8, 1.2):
    print(f"--- temperature {temperature}\n{sample('The object ', temperature)}\n")

# %% [markdown]
# ### Where the heads look
#
# With `written_out = True` a layer keeps its weights. Each row is a letter that asks, each column a letter that is
# looked at; the upper triangle is empty. We measure for each head the share of its weight that goes to the letter
# itself, to the one before, and to letters further back.

# %%
phrase = "the class of the object"
tokens = torch.tensor([[number[c] for c in phrase]])
for layer in gpt.layers:
    layer.attention.written_out = True
with torch.no_grad():
    gpt(tokens)
maps = torch.cat([layer.attention.weights[0] for layer in gpt.layers])  # 8 x t x s
with torch.no_grad():
    gpt(held_out[:, :-1])
shares = torch.cat([layer.attention.weights.mean(0) for layer in gpt.layers])

fig, axes = plt.subplots(2, 4, figsize=(11, 6))
for i, (ax, weights) in enumerate(zip(axes.flat, maps, strict=True)):
    ax.imshow(weights.sqrt())
    ax.set_title(f"layer {i // 4 + 1}, head {i % 4 + 1}", fontsize=9)
    ax.set_xticks(range(len(phrase)), list(phrase.replace(" ", "_")), fontsize=7)
    ax.set_yticks(range(len(phrase)), list(phrase.replace(" ", "_")), fontsize=7)
plt.show()
print("share of the weight on   itself  the one before  further back")
for i, weights in enumerate(shares):
    itself, before = weights.diagonal()[1:].mean().item(), weights.diagonal(-1).mean().item()
    print(f"layer {i // 4 + 1}, head {i % 4 + 1}          {itself:7.0%} {before:15.0%} {1 - itself - before:13.0%}")
assert torch.equal(maps.triu(1), torch.zeros_like(maps))
before = shares.diagonal(-1, dim1=1, dim2=2).mean(1)
assert before.max() > 2 * before.min()  # heads have come to differ

# %% [markdown]
# ## Exercises
#
# **1.** A mean over the past, with all weights alike, is an attention too. Which $Q$ and $K$ give it?
#
# <details><summary>Answer</summary>
#
# Scores that are all equal, as with $Q = 0$; the mask leaves $1/t$ for each of the $t$ places that can be seen.
#
# ```python
# mean, _ = attend(torch.zeros_like(Q), K, torch.randn_like(K), past_only(5, 5))
# _, weights = attend(torch.zeros_like(Q), K, K, past_only(5, 5))
# assert torch.allclose(weights[0, 0, 3], torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]))
# ```
#
# </details>
#
# **2.** How do the operations of attention and of FFN grow with the length $T$ and the width $d$?
#
# <details><summary>Answer</summary>
#
# Projections and FFN: proportional to $T d^2$; scores and weighted means: $T^2 d$. Attention is the larger part from a
# length of a few times $d$ on (FFN alone has $8 T d^2$ multiplications, scores and means $2 T^2 d$).
#
# </details>
#
# **3.** A causal network without any positions can still tell order. How?
#
# <details><summary>Answer</summary>
#
# The mask breaks the symmetry: place $t$ sees $t$ places. A head with equal weights averages over $t$ values, so that
# the size of what it adds tells $t$ (Haviv et al. 2022, arXiv:2203.16634). Try `positions="none"`.
#
# </details>
#
# **4.** What happens to the curve «by place» if the network is trained with `CONTEXT = 8`?
#
# <details><summary>Answer</summary>
#
# It ends at eight letters, and samples lose the word after that. The loss at the first places is as before: there the
# network knows as little.
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=gpt_char_cpu data=pydoc
# python train.py model=gpt_char_cpu data=pydoc model.positions=rotary
# torchatlas show gpt2
# ```
