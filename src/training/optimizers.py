"""From a partial optimiser and a network to the optimiser: parameter groups, fused kernels, Muon."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..models.contract import claims

MakeOptimizer = Callable[[Any], Optimizer]


def build(
    make: MakeOptimizer,
    network: nn.Module,
    *,
    decay_norms_and_biases: bool = False,
    layer_decay: float = 1.0,
    by_layers: bool = False,
    fused: bool = True,
) -> Optimizer:
    """The optimiser of a network's parameters.

    Args:
        make: a `functools.partial` of an optimiser's class, or a function that takes parameters or groups of them.
        network: only parameters that require a gradient are optimised.
        decay_norms_and_biases: whether weight decay also pulls one-dimensional parameters (biases, scales of norms).
        layer_decay: factor between the learning rates of a layer and the next one; see `layers`.
        by_layers: whether each layer is a group of its own whatever the factor is, as it has to be where some get their
            first gradient later: torch's fused SGD wants all or none of a group to have a momentum.
        fused: whether to take the kernel that updates all parameters at once, where the optimiser and the device have
            one and the user has not said otherwise.
    """
    cls = make.func if isinstance(make, partial) else make
    given: dict[str, Any] = dict(make.keywords) if isinstance(make, partial) else {}
    parameters = [p for p in network.parameters() if p.requires_grad]
    known = inspect.signature(cls).parameters
    devices = {p.device.type for p in parameters}
    if fused and "fused" in known and not {"fused", "foreach"} & set(given) and devices <= {"cpu", "cuda"}:
        make = partial(make, fused=True)  # type: ignore[call-arg]
    groups = Muon.split(network, parameters) if cls is Muon else [{"params": parameters}]
    if layer_decay != 1 or by_layers:
        rate = given.get("lr", known["lr"].default)
        groups = [part for group in groups for part in _by_layers(group, network, rate, layer_decay)]
    if "weight_decay" in known:  # two groups whatever the decay is, so that it can change when a run goes on
        groups = [part for group in groups for part in _by_axes(group, decay_norms_and_biases)]
    return make(groups)


def _by_axes(group: dict[str, Any], decay_all: bool) -> list[dict[str, Any]]:
    """Matrices and kernels, and the one-dimensional parameters, without decay."""
    many = group | {"params": [p for p in group["params"] if p.ndim >= 2]}
    one = group | {"params": [p for p in group["params"] if p.ndim < 2]} | ({} if decay_all else {"weight_decay": 0.0})
    return [part for part in (many, one) if part["params"]]


def _by_layers(group: dict[str, Any], network: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """The last layer with the learning rate `rate`, each one before it with `decay` times that of the next."""
    found = layers(network)
    parts = []
    for i, layer in enumerate(found):
        own = {id(p) for p in layer}
        members = [p for p in group["params"] if id(p) in own]
        if members:
            parts.append(group | {"params": members, "lr": rate * decay ** (len(found) - 1 - i)})
    return parts


def layers(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each layer or block, from the input to the output.

    Sequences of modules are entered; what is not a sequence is one layer. A normalisation belongs to the layer before
    it. A parameter that is used twice belongs to the first layer that has it. Heads, auxiliary ones too, are the last.
    """
    found: list[list[nn.Parameter]] = []
    seen: set[int] = set()

    def visit(module: nn.Module) -> None:
        direct = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        if direct:
            seen.update(map(id, direct))
            found.append(direct)
        for child in module.children():
            if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
                visit(child)
                continue
            own = [p for p in child.parameters() if id(p) not in seen]
            seen.update(map(id, own))
            if own and found and all(p.ndim < 2 for p in own):
                found[-1] += own
            elif own:
                found.append(own)

    visit(network)
    heads = {id(p) for name in claims(network).heads for p in network.get_submodule(name).parameters()}
    last = [p for layer in found if heads & set(map(id, layer)) for p in layer]
    return [layer for layer in found if not heads & set(map(id, layer))] + ([last] if last else [])


class Muon(Optimizer):
    """Muon for the matrices inside the network, AdamW for all other parameters.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (github.com/KellerJordan/Muon): the
    momentum of a matrix is replaced by the nearest semi-orthogonal one, found by Newton-Schulz iteration. Embeddings,
    the last linear layer, convolutions, biases and norms are AdamW's. Updates of both have the same root mean square
    (Liu et al. 2025, arXiv:2502.16982, eq. 4), so one learning rate serves both. Made of torch's own two optimisers.

    Args:
        params: groups; those with `matrix: True` are Muon's. Bare parameters are divided by their number of axes.
        lr: learning rate of both.
        weight_decay: decoupled, of both.
        momentum, nesterov, ns_steps: of Muon.
        betas, eps: of AdamW.
        fused: AdamW's kernel.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 0.002, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_steps: int = 5, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8,
        fused: bool | None = None,
    ) -> None:  # fmt: skip
        groups = [g if isinstance(g, dict) else {"params": [g], "matrix": g.ndim == 2} for g in params]
        groups = [{"lr": lr, "weight_decay": weight_decay} | group for group in groups]
        of_muon = [{k: v for k, v in g.items() if k != "matrix"} for g in groups if g.get("matrix")]
        of_adamw = [{k: v for k, v in g.items() if k != "matrix"} for g in groups if not g.get("matrix")]
        options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        self.parts: list[Optimizer] = []
        if of_muon:
            self.parts.append(torch.optim.Muon(of_muon, lr, weight_decay, adjust_lr_fn="match_rms_adamw", **options))
        if of_adamw:
            self.parts.append(torch.optim.AdamW(of_adamw, lr, (betas[0], betas[1]), eps, weight_decay, fused=fused))
        super().__init__([g for part in self.parts for g in part.param_groups], {"lr": lr})

    @staticmethod
    def split(network: nn.Module, parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
        """The two groups: matrices between embedding and last linear layer, and the rest."""
        layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
        outer = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
        outer |= {id(layers[-1].weight)} if layers else set()
        inner = {id(p) for p in parameters if p.ndim == 2} - outer
        return [
            {"params": [p for p in parameters if (id(p) in inner) is matrix], "matrix": matrix}
            for matrix in (True, False)
            if any((id(p) in inner) is matrix for p in parameters)
        ]

    # A schedule writes learning rates into `param_groups`, which are the parts' own dictionaries.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        pass

    @property
    def state(self) -> defaultdict[Tensor, Any]:  # type: ignore[override]
        return defaultdict(dict, {key: value for part in self.parts for key, value in part.state.items()})

    @state.setter
    def state(self, state: Any) -> None:
        pass

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Groups are given at the start only."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def clip(optimizer: Optimizer, most: float, algorithm: str | None = None) -> None:
    """Clip gradients, those of fused optimisers too.

    Args:
        optimizer: of the parameters.
        most: the norm of all gradients, or with "value" the size of each, that is left.
        algorithm: "value", else by norm (Pascanu et al. 2012, arXiv:1211.5063, algorithm 1).
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if algorithm == "value":
        nn.utils.clip_grad_value_(parameters, most)
    else:
        nn.utils.clip_grad_norm_(parameters, most)
