# %% [markdown]
# # 6. From the variational autoencoder to diffusion
#
# What this lecture shows, each claim by a measurement:
#
# 1. The evidence lower bound, its two terms, and that it *is* a bound: with more samples it rises.
# 2. Why the noise is written as $z = \mu + \sigma \varepsilon$: another estimate of the same gradient is far noisier.
# 3. Codes can be walked through.
# 4. A diffusion is such a model with many latent images and an encoder that learns nothing: it adds noise, and any step
#    can be reached at once.
# 5. A network that predicts the noise makes digits out of noise, the better the more steps it is given.
#
# Networks: [`src/models/vae.py`](../src/models/vae.py) and [`src/models/unet_ddpm.py`](../src/models/unet_ddpm.py).
# Noise and samplers: [`src/generate/noise_schedule.py`](../src/generate/noise_schedule.py),
# [`src/generate/samplers.py`](../src/generate/samplers.py). Commands for both:
# [docs/images.md](../docs/images.md#images).

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import torchatlas
from torchatlas.generate.noise_schedule import NoiseSchedule
from torchatlas.generate.samplers import Noise, timesteps, walk
from torchatlas.metrics.images import frechet_distance

torch.manual_seed(0)
torch.set_num_threads(1)
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]  # Okabe and Ito: told apart by all eyes
plt.rcParams["axes.prop_cycle"] = plt.cycler(color=COLOURS)
plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True, "image.cmap": "gray"})

pixels, labels = load_digits(return_X_y=True)
images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)  # from 0 to 1
x_train, x_test, y_train, y_test = train_test_split(
    images, torch.tensor(labels), test_size=0.2, stratify=labels, random_state=0
)


def sheet(images, rows):
    """Images `n 1 h w` in rows, one picture."""
    grid = images[:, 0].unflatten(0, (rows, -1))
    return F.pad(grid, (0, 1, 0, 1), value=0.5).transpose(1, 2).flatten(0, 1).flatten(1)


# %% [markdown]
# ## The bound
#
# A code $z \sim \mathcal{N}(0, I)$ is drawn, and an image $x \sim p_\theta(x \mid z)$. What training should maximise,
# $\log p_\theta(x) = \log \int p_\theta(x \mid z) \, p(z) \, dz$, cannot be computed. With any density $q(z)$ that is
# positive where $p$ is, Jensen's inequality gives
#
# $$\log p(x) = \log \mathbb{E}_{q} \Big[ \frac{p(x \mid z)\, p(z)}{q(z)} \Big] \ge
# \mathbb{E}_{q} \big[ \log p(x \mid z) \big] - \mathrm{KL}(q \,\|\, p).$$
#
# Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv:1312.6114, equation 3, let a network give $q(z \mid
# x) = \mathcal{N}(\mu(x), \mathrm{diag}\,\sigma^2(x))$. Then the second term is (appendix B)
#
# $$\mathrm{KL} = \tfrac{1}{2} \sum_j \big( \mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2 \big).$$
#
# Here $p(x \mid z)$ is a Gaussian around the decoder's image with a standard deviation of 0.2. The closed form of KL,
# against a mean over samples of $\log q(z) - \log p(z)$:

# %%
S = 0.2  # standard deviation of a pixel


def log_likelihood(decoded, x):
    """The logarithm of p(x|z) in nats, `b`."""
    return (-0.5 * ((x - decoded) / S).square() - math.log(S * math.sqrt(2 * math.pi))).flatten(1).sum(1)


def kl(mu, log_var):
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(-1)


mu, log_var = torch.tensor([0.8, -1.5]), torch.tensor([-1.0, 0.5])
q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
p = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
z = q.sample((100_000,))
terms = (q.log_prob(z) - p.log_prob(z)).sum(1)
error = terms.std() / math.sqrt(len(terms))
print(f"KL by the formula {kl(mu, log_var):.3f}, by samples {terms.mean():.3f} ± {error:.3f}")
assert abs(kl(mu, log_var) - terms.mean()) < 4 * error

# %% [markdown]
# ## Training

# %%
STEPS, BATCH = 1500, 128
vae = torchatlas.create_model("vae", in_channels=1, image_size=8, widths=(128, 64), latent_dim=2)
optimizer = torch.optim.Adam(vae.parameters(), lr=2e-3)
reconstruction, divergence = [], []
for _ in range(STEPS):
    x = x_train[torch.randint(len(x_train), (BATCH,))]
    decoded, mu, log_var = vae(x)  # in train mode decoded from z = μ + σ ε
    terms = log_likelihood(decoded, x).mean(), kl(mu, log_var).mean()
    optimizer.zero_grad()
    (terms[1] - terms[0]).backward()
    optimizer.step()
    reconstruction.append(-terms[0].item())
    divergence.append(terms[1].item())
vae.eval()

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9))
left.plot(reconstruction, linewidth=0.8)
left.set(xlabel="step", ylabel="nats an image", title="- log p(x | z)")
right.plot(divergence, linewidth=0.8, color="#d55e00")
right.set(xlabel="step", ylabel="nats an image", title="KL(q | p)", ylim=(0, None))
for ax in (left, right):
    ax.grid(alpha=0.3)
plt.show()

with torch.no_grad():
    mu, log_var = vae.encode(x_test)
    error = (vae.decode(mu) - x_test).square().mean()
baseline = (x_train.mean(0) - x_test).square().mean()
print(f"squared error of reconstructed test images {error:.4f}, of the mean image {baseline:.4f}")
assert error < 0.7 * baseline
assert divergence[-1] > 1  # the codes are used

# %% [markdown]
# ### It is a bound
#
# The mean of $K$ weights inside the logarithm, $\log \frac{1}{K} \sum_k p(x, z_k) / q(z_k \mid x)$, is the bound above
# for $K = 1$, never falls with $K$, and tends to $\log p(x)$ (Burda, Grosse and Salakhutdinov 2015, arXiv:1509.00519,
# theorem 1). The distance to its limit is what the approximation $q$ costs.


# %%
@torch.no_grad()
def importance_bound(x, samples):
    mu, log_var = vae.encode(x)
    epsilon = torch.randn(samples, *mu.shape)
    z = mu + (0.5 * log_var).exp() * epsilon
    likelihood = log_likelihood(vae.decode(z.flatten(0, 1)), x.repeat(samples, 1, 1, 1)).view(samples, -1)
    weights = likelihood + 0.5 * (epsilon.square() + log_var - z.square()).sum(2)  # log p(z) - log q(z)
    return (weights.logsumexp(0) - math.log(samples)).mean().item()


bounds = {K: importance_bound(x_test, K) for K in (1, 4, 16, 64, 256)}
print("bound on log p(x), nats an image:", ", ".join(f"K = {K}: {value:.2f}" for K, value in bounds.items()))
assert list(bounds.values()) == sorted(bounds.values())

# %% [markdown]
# ### Why $z = \mu + \sigma \varepsilon$
#
# The gradient of $\mathbb{E}_{q}[f(z)]$ with respect to $\mu$ can be estimated in two ways (section 2.4 of the paper
# and before it Williams 1992, "REINFORCE"):
#
# $$\nabla_\mu \mathbb{E}[f(z)] = \mathbb{E}\big[ \nabla_z f(\mu + \sigma \varepsilon) \big]
# = \mathbb{E}\Big[ f(z) \, \frac{z - \mu}{\sigma^2} \Big].$$
#
# The first knows the slope of $f$, the second only its values. Both have the same mean. Here $f(z) = \log p(x \mid z)$
# for one test image:

# %%
x = x_test[:1]
with torch.no_grad():
    mu, log_var = vae.encode(x)
sigma = (0.5 * log_var).exp()
z = (mu + sigma * torch.randn(20_000, 2)).requires_grad_()
f = log_likelihood(vae.decode(z), x)
(pathwise,) = torch.autograd.grad(f.sum(), z)
score = f.detach()[:, None] * (z.detach() - mu) / sigma.square()

fig, ax = plt.subplots(figsize=(6.5, 3))
for (name, draws), line in zip({"f(z) (z - μ)/σ²": score, "slope of f": pathwise}.items(), (":", "-"), strict=True):
    mean = draws[:, 0].cumsum(0) / torch.arange(1, len(draws) + 1)
    ax.semilogx(mean, line, label=name, color="#d55e00" if line == ":" else "#0072b2")
    print(f"{name:16} mean {draws[:, 0].mean():8.2f} ± {draws[:, 0].std() / math.sqrt(len(draws)):.2f}")
center, spread = pathwise[:, 0].mean().item(), pathwise[:, 0].std().item()
ax.set(xlabel="samples", ylabel="mean so far, first component", ylim=(center - 4 * spread, center + 4 * spread))
ax.grid(alpha=0.3)
ax.legend()
plt.show()
noisier = (score.var(0) / pathwise.var(0)).mean().item()
print(f"variance {noisier:.0f} times as large")
assert ((score.mean(0) - pathwise.mean(0)).abs() < 4 * score.std(0) / math.sqrt(len(z))).all()
assert noisier > 10

# %% [markdown]
# ### A walk through the codes
#
# Left: means of $q(z \mid x)$ of the test digits. Right: what the decoder makes of a grid of codes, at the quantiles of
# the prior. Neighbouring codes give similar images, classes lie in regions, and between them are images that are no
# digits.

# %%
with torch.no_grad():
    codes, _ = vae.encode(x_test)
    quantiles = torch.special.ndtri(torch.linspace(0.03, 0.97, 13))
    grid = torch.cartesian_prod(-quantiles, quantiles).flip(1)  # z_2 falls downwards, z_1 grows to the right
    decoded = vae.decode(grid).clamp(0, 1)
fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.5))
for digit in range(10):
    of = codes[y_test == digit]
    left.scatter(of[:, 0], of[:, 1], marker=f"${digit}$", s=30, color=plt.cm.cividis(digit / 10))
left.set(xlabel="z₁", ylabel="z₂", title="codes of test digits")
left.grid(alpha=0.3)
right.imshow(sheet(decoded, 13))
right.set(xticks=[], yticks=[], xlabel="z₁", ylabel="z₂", title="decoded codes")
plt.show()
neighbours = (decoded.view(13, 13, 64)[:, 1:] - decoded.view(13, 13, 64)[:, :-1]).norm(dim=2).mean()
strangers = (decoded[torch.randperm(169)] - decoded).flatten(1).norm(dim=1).mean()
print(f"distance of neighbouring images {neighbours:.2f}, of images drawn at random {strangers:.2f}")
assert neighbours < 0.5 * strangers

# %% [markdown]
# ## Diffusion: an encoder with nothing to learn
#
# Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239. Latents are images $x_1,
# \dots, x_T$ of the same size, and $q$ is fixed: each step shrinks the image a little and adds noise,
#
# $$q(x_t \mid x_{t-1}) = \mathcal{N}(\sqrt{1 - \beta_t} \, x_{t-1}, \beta_t I), \qquad \text{so that} \qquad
# x_t = \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \varepsilon, \quad \bar\alpha_t = \prod_{s \le t} (1 -
# \beta_s) \quad \text{(equation 4)}.$$
#
# Any step is reached at once. We check it by walking all steps with many copies of two pixels.

# %%
T = 1000
schedule = NoiseSchedule("linear", T)
start = torch.tensor([-1.0, 0.5], dtype=torch.float64)
walked = start.repeat(20_000, 1)
for t in range(T):
    beta = schedule.beta[t]
    walked = (1 - beta).sqrt() * walked + beta.sqrt() * torch.randn_like(walked)
    if t in (50, 250, 500, 999):
        signal, spread = schedule.alpha_bar[t].sqrt(), (1 - schedule.alpha_bar[t]).sqrt()
        print(f"t = {t:3}: mean of the first pixel {walked[:, 0].mean():+.3f}, equation 4 says {-signal:+.3f}; "
              f"spread {walked[:, 0].std():.3f}, equation 4 says {spread:.3f}")  # fmt: skip
        assert (walked.mean(0) - signal * start).abs().max() < 0.04
        assert (walked.std(0) - spread).abs().max() < 0.02
assert schedule.alpha_bar[-1] < 1e-4  # at the end nothing of the image is left

digits = 2 * x_train[:4] - 1  # from -1 to 1
shown = [0, 50, 100, 200, 400, 600, 999]
noisy = torch.stack([schedule.add_noise(digits, torch.full((4,), t), torch.randn(4, 1, 8, 8)) for t in shown], 1)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.1), width_ratios=(1.3, 1))
left.imshow(sheet(noisy.flatten(0, 1), 4), vmin=-2, vmax=2)
left.set(xticks=[4 + 9 * i for i in range(len(shown))], xticklabels=shown, yticks=[], xlabel="t", title="four digits")
for kind, line in (("linear", "-"), ("cosine", "--")):
    right.plot(NoiseSchedule(kind, T).alpha_bar.sqrt(), line, label=kind)
right.set(xlabel="t", ylabel="√ᾱ, what is left of the image", title="schedules")
right.grid(alpha=0.3)
right.legend()
plt.show()

# %% [markdown]
# ## Learning to take the noise away
#
# The reverse, $p_\theta(x_{t-1} \mid x_t)$, is learned. The bound of this page becomes a sum of KL divergences of
# Gaussians, one for each step; with their weights left out it is (equation 14)
#
# $$L_\mathrm{simple} = \mathbb{E}_{t, x_0, \varepsilon} \, \big\lVert \varepsilon - \varepsilon_\theta(
# \sqrt{\bar\alpha_t} \, x_0 + \sqrt{1 - \bar\alpha_t} \, \varepsilon, \; t) \big\rVert^2 .$$
#
# A network that always answers 0 has a loss of 1 a pixel. The task of torchatlas that does this, with the bound as a
# figure, is [`src/tasks/diffusion.py`](../src/tasks/diffusion.py).

# %%
STEPS, BATCH = 1000, 64
torch.manual_seed(0)
unet = torchatlas.create_model(
    "ddpm_small", width=16, multipliers=(1, 2), attention=(1,), conditional=False, in_channels=1, image_size=8
)
print(f"{sum(p.numel() for p in unet.parameters()):,} parameters")
optimizer = torch.optim.Adam(unet.parameters(), lr=2e-3)
decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=STEPS, pct_start=0.1)
losses = []
for _ in range(STEPS):
    x0 = 2 * x_train[torch.randint(len(x_train), (BATCH,))] - 1
    t, epsilon = torch.randint(T, (BATCH,)), torch.randn(BATCH, 1, 8, 8)
    loss = F.mse_loss(unet(schedule.add_noise(x0, t, epsilon), t), epsilon)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()
    losses.append(loss.item())
unet.eval()

with torch.no_grad():
    x0, by_step = 2 * x_test - 1, []
    places = range(0, T, 50)
    for place in places:
        t, epsilon = torch.full((len(x0),), place), torch.randn_like(x0)
        by_step.append(F.mse_loss(unet(schedule.add_noise(x0, t, epsilon), t), epsilon).item())
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9))
left.semilogy(losses, linewidth=0.6)
left.set(xlabel="step", ylabel="loss of the batch", title="training")
right.semilogy(places, by_step, "o-", markersize=4)
right.set(xlabel="t", ylabel="loss", title="test digits: little noise is hard to tell")
for ax in (left, right):
    ax.grid(alpha=0.3, which="both")
plt.show()
print(f"test loss at t = 0: {by_step[0]:.2f}, at t = {places[-1]}: {by_step[-1]:.3f}")
assert abs(losses[0] - 1) < 0.1
assert max(by_step[1:]) < by_step[0]
assert by_step[-1] < 0.1

# %% [markdown]
# ## Out of noise
#
# Backwards from $x_T \sim \mathcal{N}(0, I)$. The chain of the paper (algorithm 2) draws noise in each step. DDIM
# (Song, Meng and Ermon 2020, arXiv:2010.02502, equation 12) goes without, and may leave out steps: from $\hat x_0 =
# (x_t - \sqrt{1 - \bar\alpha_t}\, \varepsilon_\theta) / \sqrt{\bar\alpha_t}$ to
#
# $$x_s = \sqrt{\bar\alpha_s} \, \hat x_0 + \sqrt{1 - \bar\alpha_s} \, \varepsilon_\theta, \qquad s < t .$$
#
# The figure is the Fréchet distance between 200 samples and the test digits: how far apart Gaussians with the means and
# covariances of the two sets are, in the space of pixels (the FID of other papers is this distance in the features of a
# network). For comparison: digits of the training set, the samples of the VAE above, and noise.


# %%
@torch.no_grad()
def make(n, steps, sampler="ddim"):
    """Images from 0 to 1."""

    def denoise(x, t):
        at = torch.full((len(x),), t)
        image = schedule.image_of("epsilon", unet(x, at), x, at).clamp(-1, 1)
        return image, schedule.noise_of(image, x, at)

    noise = Noise(0, (n, 1, 8, 8), 0, torch.device("cpu"))
    for x, _ in walk(denoise, schedule, noise(0), noise, sampler=sampler, steps=timesteps(T, steps)):
        last = x
    return ((last + 1) / 2).clamp(0, 1)


def distance(images):
    return frechet_distance(images.flatten(1), x_test.flatten(1))


torch.manual_seed(0)
with torch.no_grad():
    of_vae = vae.decode(torch.randn(200, 2)).clamp(0, 1)
others = {"training digits": x_train[:200], "VAE, two codes": of_vae, "noise": torch.rand(200, 1, 8, 8)}
apart = {name: distance(images) for name, images in others.items()}
made = {steps: make(200, steps) for steps in (1, 2, 5, 10, 20, 50)}
made["chain, 100"] = make(200, 100, "ddpm")
by_steps = {steps: distance(images) for steps, images in made.items()}
for name, value in {
    **apart,
    **{f"DDIM, {k} steps" if isinstance(k, int) else k: v for k, v in by_steps.items()},
}.items():
    print(f"{name:18} {value:6.2f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1.25, 1))
rows = [*made.values(), of_vae, x_test]
left.imshow(sheet(torch.cat([images[:12] for images in rows]), len(rows)))
names = [*(f"{k} steps" if isinstance(k, int) else k for k in made), "VAE", "real"]
left.set(xticks=[], yticks=[4 + 9 * i for i in range(len(rows))], yticklabels=names)
counts = [k for k in by_steps if isinstance(k, int)]
right.loglog(counts, [by_steps[k] for k in counts], "o-", label="DDIM")
for (name, value), color in zip(apart.items(), ("#000000", "#d55e00", "#009e73"), strict=True):
    right.axhline(value, color=color, linestyle="--", linewidth=1)
    right.text(50, value, name, color=color, ha="right", va="bottom")
right.set(xlabel="steps", ylabel="Fréchet distance to test digits", xticks=counts, xticklabels=counts)
right.minorticks_off()
right.grid(alpha=0.3)
right.legend(loc="lower left")
plt.show()
assert by_steps[50] < 0.5 * by_steps[1]
assert by_steps[50] < apart["noise"]
assert apart["training digits"] < by_steps[50]

# %% [markdown]
# Are the samples copies of the training set? The distance of each to its nearest training digit, beside that of test
# digits, which are certainly none:


# %%
def to_nearest(images):
    return torch.cdist(images.flatten(1), x_train.flatten(1)).amin(1)


for name, images in (("samples, 50 steps", made[50]), ("test digits", x_test)):
    print(f"{name:18} median distance to the nearest training digit {to_nearest(images).median():.2f}")
assert to_nearest(made[50]).median() > 0.5 * to_nearest(x_test).median()

# %% [markdown]
# ## Exercises
#
# **1.** What happens to the KL term if the decoder ignores the code?
#
# <details><summary>Answer</summary>
#
# Then $q(z \mid x) = p(z)$ costs nothing, KL falls to 0, and all images are decoded to their mean: "posterior
# collapse". It is the best answer where $p(x \mid z)$ is so wide that details do not pay; try `S = 1`. `task.free_bits`
# and `task.beta_warmup` are against it ([`src/tasks/elbo.py`](../src/tasks/elbo.py)).
#
# </details>
#
# **2.** Show that two steps of the forward process are one step with $1 - \beta = (1 - \beta_1)(1 - \beta_2)$.
#
# <details><summary>Answer</summary>
#
# $x_2 = \sqrt{1 - \beta_2} (\sqrt{1 - \beta_1} x_0 + \sqrt{\beta_1} \varepsilon_1) + \sqrt{\beta_2} \varepsilon_2$. The
# noise has variance $(1 - \beta_2) \beta_1 + \beta_2 = 1 - (1 - \beta_1)(1 - \beta_2)$.
#
# ```python
# a, b = schedule.beta[:2]
# assert torch.isclose((1 - b) * a + b, 1 - schedule.alpha_bar[1])
# ```
#
# </details>
#
# **3.** Why is one DDIM step from pure noise no image at all?
#
# <details><summary>Answer</summary>
#
# $\hat x_0 = (x_T - \sqrt{1 - \bar\alpha_T}\, \hat\varepsilon) / \sqrt{\bar\alpha_T}$ divides by a very small number,
# so that the smallest error of $\hat\varepsilon$ becomes a pixel far outside of the range, which is then cut off: black
# or white. A network that is trained to answer $x_0$ would give $\mathbb{E}[x_0 \mid x_T]$, the mean of all digits; try
# `task.prediction=x0`. Smaller steps divide by larger numbers.
#
# ```python
# assert 1 / schedule.alpha_bar[-1].sqrt() > 100
# assert ((made[1] < 0.01) | (made[1] > 0.99)).float().mean() > 0.5
# ```
#
# </details>
#
# **4.** The weights that equation 14 leaves out are $\beta_t^2 / (2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t))$ (equation
# 12). Where are they large, and what does leaving them out do?
#
# <details><summary>Answer</summary>
#
# At small $t$, where $1 - \bar\alpha_t$ is small: the bound cares most about the last, invisible noise. Without the
# weights more of the network goes into larger $t$, where the shape is decided.
#
# ```python
# alpha = 1 - schedule.beta
# weights = schedule.beta / (2 * alpha * (1 - schedule.alpha_bar))  # σ² = β
# assert weights.argmax() == 0
# ```
#
# </details>
#
# ## The same from the command line
#
# ```
# python train.py model=vae data=digits
# python train.py model=ddpm_small data=digits
# torchatlas show ddpm_small
# ```
