"""What an image classifier's layers compute, and what its answer rests on: the mathematics of `explain`.

Grad-CAM, saliency, integrated gradients and occlusion are captum's (the extra `explain`; from 0.9 on it takes
numpy 2). Each function leaves the network as it was: weights, buffers, mode, `.grad` and `requires_grad`; and the
global random state too. Inputs x are `b c h w` as the network takes them, normalised; targets are classes `b`.
"""

import contextlib
import copy
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..analysis.modes import evaluating
from ..errors import UserError

BATCH = 64  # images that are held at once


class Call(NamedTuple):
    """One module's turn in a forward pass. `given` and `made` are shapes, empty where there is no single tensor."""

    name: str
    module: nn.Module
    given: tuple[int, ...]
    made: tuple[int, ...]

    @property
    def is_map(self) -> bool:
        """Whether it gave a feature map `b c h w` with more than one place."""
        return len(self.made) == 4 and self.made[2] * self.made[3] > 1


@contextlib.contextmanager
def hooked(hooks: dict[nn.Module, Callable[[nn.Module, Any, Any], Any]]) -> Iterator[None]:
    """Forward hooks that are gone afterwards."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


@torch.no_grad()
def trace(network: nn.Module, x: Tensor) -> list[Call]:
    """The modules in the order in which they come to an end; the network itself, whose name is empty, is the last."""
    calls: list[Call] = []

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, given: Any, made: Any) -> None:
            calls.append(Call(name, module, _shape(given[0] if given else None), _shape(made)))

        return record

    with evaluating(network), hooked({module: recorder(name) for name, module in network.named_modules()}):
        network(x)
    return calls


def stages(network: nn.Module, calls: Sequence[Call]) -> list[str]:
    """Names of the modules that give the feature maps, by depth.

    A stage is a child of the network with a convolution in it; where there are fewer than three, it is taken apart
    into its own children. Its map is what the layers behind it (normalisation, activation) make of it, as long
    as height and width stay the same. Maps of a single place do not count.

    Args:
        network: the network of `calls`.
        calls: see `trace`.
    """
    ends = {call.name: i for i, call in enumerate(calls)}
    convolutions = {call.name for call in calls if isinstance(call.module, nn.Conv2d) and call.is_map}

    def holds(name: str) -> bool:
        return any(c == name or c.startswith(f"{name}.") or not name for c in convolutions)

    units = [""]
    while len(units) < 3:
        parts = []
        for unit in units:
            children = [".".join(filter(None, (unit, n))) for n, _ in network.get_submodule(unit).named_children()]
            parts += [name for name in children if holds(name)] or [unit]
        if parts == units:
            break
        units = parts
    units = sorted((unit for unit in units if unit in ends and calls[ends[unit]].is_map), key=ends.__getitem__)

    found = []
    for unit in units:
        last = calls[ends[unit]]
        for call in calls[ends[unit] + 1 :]:
            inside = any(call.name == other or call.name.startswith(f"{other}.") for other in units)
            if inside or not call.is_map or call.made[2:] != last.made[2:]:
                break
            last = call
        found.append(last.name)
    return list(dict.fromkeys(found))


def last_convolution(calls: Sequence[Call]) -> Call | None:
    """The last convolution whose map has more than one place."""
    return next((call for call in reversed(calls) if isinstance(call.module, nn.Conv2d) and call.is_map), None)


def outputs(network: nn.Module, x: Tensor, names: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """What some modules give, with its graph, and what the network gives; copies, since a later layer may work in
    place. Of a module that runs several times it is the last output.
    """
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, made: Tensor) -> None:
            found[name] = made.clone()

        return keep

    with evaluating(network), hooked({network.get_submodule(name): keeper(name) for name in names}):
        made = network(x)
    return found, made


def captum() -> Any:
    """Methods of the library of that name.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise UserError("gradcam, saliency and occlusion need captum: pip install captum") from error


def grad_cam(network: nn.Module, layer: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Gradient-weighted class activation map `b h w`, at the size of the layer's feature map A `b k h w`.

        α_k = 1/Z Σ_ij ∂y/∂A_kij        L = ReLU(Σ_k α_k A_k)

    with y the target's logit and Z the number of places. Selvaraju et al. 2016, arXiv:1610.02391, eq. 1 and 2.
    """
    with evaluating(network):
        found: Tensor = captum().LayerGradCam(network, layer).attribute(x, target, relu_attributions=True)
    return found[:, 0].detach()


def token_grad_cam(network: nn.Module, layer: nn.Module, x: Tensor, target: Tensor, special: int) -> Tensor:
    """The same map of a layer of tokens `b t k`, at the grid of the patches, `b h w`.

    Args:
        network: x -> logits `b k`.
        layer: in front of the last attention, behind which the patches' tokens are not asked any more.
        x, target: images and classes.
        special: tokens before those of the patches, which are a square.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, made: Any) -> Any:
        tokens = made[0] if isinstance(made, tuple) else made
        found.append(tokens if tokens.requires_grad else tokens.requires_grad_())

    with evaluating(network), hooked({layer: keep}), torch.enable_grad():
        answer = network(x).gather(1, target[:, None]).sum()
        (slopes,) = torch.autograd.grad(answer, found[0])
    alpha = slopes[:, special:].mean(1, keepdim=True)
    cam = (alpha * found[0][:, special:]).sum(2).relu().detach()
    return in_a_square(cam)


def in_a_square(patches: Tensor) -> Tensor:
    """Patches `... n` as they lie in the image, `... h w`."""
    side = math.isqrt(patches.shape[-1])
    return patches.reshape(*patches.shape[:-1], side, side)


def saliency(network: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The largest |∂y/∂x| of a pixel's channels, `b h w`, with y the target's logit.

    Simonyan, Vedaldi and Zisserman 2013, arXiv:1312.6034, section 3.1.
    """
    with evaluating(network):
        found: Tensor = captum().Saliency(network).attribute(x.clone().requires_grad_(), target, abs=True)
    return found.detach().amax(1)


def integrated_gradients(network: nn.Module, x: Tensor, target: Tensor, baseline: Tensor, steps: int = 32) -> Tensor:
    """What each pixel adds to the target's logit on the way from a baseline to x, summed over channels, `b h w`.

        (x - x') ∫_0^1 ∂y(x' + a (x - x'))/∂x da

    All pixels together add y(x) - y(x'). Sundararajan, Taly and Yan 2017, arXiv:1703.01365, eq. 1.

    Args:
        network: x -> logits `b k`.
        x, target: images and classes.
        baseline: x', of the shape of x.
        steps: points of the Gauss-Legendre quadrature.
    """
    with evaluating(network):
        found: Tensor = (
            captum()
            .IntegratedGradients(network)
            .attribute(
                x.clone().requires_grad_(), baseline, target, n_steps=steps, internal_batch_size=max(BATCH, len(x))
            )
        )
    return found.detach().sum(1)


def occlusion(network: nn.Module, x: Tensor, target: Tensor, patch: int, stride: int) -> Tensor:
    """How much the target's probability drops when a grey patch hides a place, `b h w`.

    A pixel's value is the mean over the patches that hide it. Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2.

    Args:
        network: x -> logits `b k`.
        x, target: images and classes.
        patch: side of the square in pixels; its grey is 0, the mean colour of the training set.
        stride: pixels from one patch to the next.
    """
    window = (x.shape[1], patch, patch)

    def probability(z: Tensor) -> Tensor:
        return network(z).softmax(1)  # type: ignore[no-any-return]

    with evaluating(network):
        found: Tensor = (
            captum()
            .Occlusion(probability)
            .attribute(
                x, window, (x.shape[1], stride, stride), 0.0, target, perturbations_per_eval=max(1, BATCH // len(x))
            )
        )
    return found.detach()[:, 0]


@torch.enable_grad()
def maximise(
    score: Callable[[Tensor], Tensor],
    start: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    steps: int = 128,
    rate: float = 0.05,
    l2: float = 0.05,
    variation: float = 0.15,
    jitter: int = 1,
    seed: int = 0,
) -> Tensor:
    """Images `b c h w` with a high score, by gradient ascent.

        x <- x + rate (∇S(x) / rms(∇S(x)) - ∇(l2 ||x||²/2 + variation ||∂x||_1))

    Simonyan et al. 2013, arXiv:1312.6034, section 2, for S with the first penalty; the total variation is that of
    Mahendran and Vedaldi 2014, arXiv:1412.0035, with exponent 1. In each step the images are shifted by a few pixels
    (Mordvintsev et al. 2015, "Inceptionism"). The slope of the score is divided by its root mean square over the
    image, so that the penalties weigh alike for scores of any scale.

    Args:
        score: images -> `b`, differentiable, each from its own image.
        start: images to begin with.
        low, high: limits of the values, `c 1 1`.
        steps, rate: how many, and how long in the units of x; the rate falls to 0 linearly.
        l2, variation: weights of the penalties.
        jitter: largest shift in pixels.
        seed: of the shifts.
    """
    generator = torch.Generator().manual_seed(seed)
    x = start.detach().clone().requires_grad_()
    for step in range(steps):
        shift = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
        penalty = l2 / 2 * x.square().sum() + variation * (x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum())
        (down,) = torch.autograd.grad(penalty, x)
        (up,) = torch.autograd.grad(score(x.roll(shift, (2, 3))).sum(), x)  # the weights get none
        up = up / up.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        with torch.no_grad():
            x += rate * (1 - step / steps) * (up - down)
            x.copy_(torch.maximum(torch.minimum(x, high), low))
    return x.detach()


@torch.enable_grad()
def gradient_norms(network: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Euclidean norm of the cross-entropy's gradient in each layer's weights, by the layers' names in order.

    In train mode, as an optimiser meets it (batch normalisation by the batch's own statistics, dropout seeded). Biases
    and norms, which have one dimension, are left out.

    Raises:
        UserError: batch normalisation has nothing to compare one sample with.
    """
    copied = copy.deepcopy(network).train().requires_grad_()
    named = [
        (".".join(name.split(".")[:-1]) or name, parameter)
        for name, parameter in copied.named_parameters()
        if parameter.ndim >= 2
    ]
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        torch.manual_seed(0)
        try:
            made = copied(x)
        except ValueError as error:
            if len(x) > 1:
                raise
            raise UserError(f"as in training two images or more are needed, and there is one ({error})") from error
    loss = F.cross_entropy(made if isinstance(made, Tensor) else made[0], y)  # the others are auxiliary heads
    squares: dict[str, Tensor] = {}
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
    for (name, _), gradient in zip(named, gradients, strict=True):
        if gradient is not None:
            squares[name] = squares.get(name, gradient.new_zeros(())) + gradient.square().sum()
    return {name: float(square.sqrt()) for name, square in squares.items()}
