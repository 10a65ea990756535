"""The blocks of deep networks: found by how a network is put together, recomputed in the backward pass, compiled.

Recomputing keeps the inputs of each block alone and computes the rest again when its gradient is asked for: Chen, Xu,
Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174, section 4.1. It costs up to
one more forward pass, and nothing else changes, to the bit.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..errors import UserError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network, from its input to its output.

    A block is a member of a sequence, list or dictionary of modules that has at least two convolutions, linear maps or
    other weights of two axes and more. A sequence that has blocks is none itself.

    >>> from torchatlas.models.resnet import ResNet
    >>> [type(block).__name__ for block in blocks_of(ResNet(depths=(2, 1, 1, 1)))]
    ['BasicBlock', 'BasicBlock', 'BasicBlock', 'BasicBlock', 'BasicBlock']
    """
    found: list[nn.Module] = []

    def visit(module: nn.Module, member: bool) -> bool:
        before = len(found)
        if type(module) in CONTAINERS:
            for child in module.children():
                visit(child, True)
            callable_ = isinstance(module, nn.Sequential)
        elif member and weights(module) >= 2:
            found.append(module)
            return True
        else:
            for child in module.children():
                visit(child, False)
            return len(found) > before
        if len(found) == before and member and callable_ and weights(module) >= 2:
            found.append(module)
        return len(found) > before

    visit(network, False)
    return found


def weights(module: nn.Module) -> int:
    """Layers with a weight of two axes or more."""
    return sum(any(p.ndim >= 2 for p in layer.parameters(recurse=False)) for layer in module.modules())


def required_blocks(network: nn.Module, word: str) -> list[nn.Module]:
    """The same.

    Args:
        network: any.
        word: what was typed.

    Raises:
        UserError: the network has fewer than two.
    """
    if len(found := blocks_of(network)) < 2:
        raise UserError(
            f"{word} is for networks of several blocks, and {type(network).__name__} has none: leave it out"
        )
    return found


def recompute(network: nn.Module) -> None:
    """Let each block keep its inputs alone in training, in place; names in checkpoints, copies and exports stay.

    Raises:
        UserError: the network has no blocks.
    """
    for block in required_blocks(network, "recompute=true"):
        block.__class__ = recomputed(type(block))  # type: ignore[arg-type]


@cache
def recomputed(cls: type[nn.Module]) -> type[nn.Module]:
    """The class of blocks that compute as this one does, and once more in the backward pass.

    Where another method than `forward` computes, the block names it in `computes`.
    """
    method = getattr(cls, "computes", "forward")
    once = getattr(cls, method)

    def twice(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return once(self, *inputs, **options)
        return checkpoint(once, self, *inputs, use_reentrant=False, context_fn=lambda: contexts(self), **options)

    return type(cls.__name__, (cls,), {method: twice, "__module__": cls.__module__, "recomputes": True})


def contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass and of the second."""
    return nullcontext(), seen(block)


@contextmanager
def seen(block: nn.Module) -> Iterator[None]:
    """Within it batch statistics stay as they are, since the first pass has counted the batch."""
    norms = [
        (layer, layer.momentum, layer._buffers["num_batches_tracked"])
        for layer in block.modules()
        if layer._buffers.get("num_batches_tracked") is not None
    ]
    try:
        for layer, _, _ in norms:
            layer.momentum, layer._buffers["num_batches_tracked"] = 0.0, None  # type: ignore[assignment]
        yield
    finally:
        for layer, momentum, counter in norms:
            layer.momentum, layer._buffers["num_batches_tracked"] = momentum, counter


def compile_blocks(network: nn.Module) -> None:
    """`torch.compile` each block in place: equal ones are compiled once, which is faster to begin with than the whole.

    Raises:
        UserError: the network has no blocks.
    """
    found = required_blocks(network, "compile=blocks")
    # They share their code, of which torch compiles 8 variants: shapes, strides, training and evaluation.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 8 + 2 * len(found))
    for block in found:
        block.compile()


def compile_alike(network: nn.Module, twin: nn.Module) -> None:
    """Compile in a copy, which has lost it, what is compiled in the original."""
    for one, two in zip(network.modules(), twin.modules(), strict=True):
        if one._compiled_call_impl is not None:
            two.compile()
