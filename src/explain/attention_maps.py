"""What a network attends to: the weights of its attention, recorded, and followed through its layers.

Modules that attend are `Attention`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..models.contract import Attention


@contextlib.contextmanager
def recorded(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The weights of attention, by the names of the modules in the order of their calls.

        with recorded(network) as maps:
            network(x)

    Args:
        network: any; of a module that runs several times the last call counts.

    Yields:
        A dictionary that each call of the network fills: weights `b h t s`, detached. Behind the block, attention is
        computed as before.
    """
    maps: dict[str, Tensor] = {}
    modules = {name: module for name, module in network.named_modules() if isinstance(module, Attention)}
    before = {name: (module.written_out, module.weights) for name, module in modules.items()}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, *_: Any) -> None:
            if isinstance(module, Attention) and module.weights is not None:
                maps[name] = module.weights

        return keep

    handles = [network.get_submodule(name).register_forward_hook(keeper(name)) for name in modules]
    try:
        for module in modules.values():
            module.written_out = True
        yield maps
    finally:
        for handle in handles:
            handle.remove()
        for name, module in modules.items():
            module.written_out, module.weights = before[name]


def rollout(maps: Sequence[Tensor]) -> Tensor:
    """How much of each input step is in each step of the last layer, `b t t`, as far as attention carries it.

        R_l = (A_l + I) / 2 R_{l-1},        R_0 = I

    with A_l the mean over the heads: half of a layer's output is what the residual connection passes on. Rows sum to
    one. Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", arXiv:2005.00928, section 3.

    Args:
        maps: of the layers in order, `b h t t`, of attention to oneself.
    """
    b, _, t, _ = maps[0].shape
    one = torch.eye(t, device=maps[0].device)
    found = one.expand(b, t, t)
    for weights in maps:
        found = (weights.float().mean(1) + one) / 2 @ found
    return found
