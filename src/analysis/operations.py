"""The one table of how many floating-point operations an operation of torch has.

What counts is matrix products, convolutions and attention, a multiplication and an addition each; elementwise work and
pooling count as nothing, as is usual.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry, shape_wrapper


@shape_wrapper  # type: ignore[no-untyped-call,untyped-decorator]
def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Shapes `b h t d`, `b h s d`, `b h s e`: a product with the keys and one with the values, whatever is masked."""
    return int(2 * math.prod(query[:-1]) * key[-2] * (key[-1] + value[-1]))


def _formulas() -> dict[Any, Callable[..., int]]:
    """Of operations that torch's own table lacks: attention on CPUs and Apple's GPUs, products in place."""
    aten = torch.ops.aten
    attention = ("flash_attention_for_cpu", "attention_math_for_mps", "fused_attention_overrideable")
    found = [getattr(aten, f"_scaled_dot_product_{name}", None) for name in attention]
    in_place = {aten.addmm_: flop_registry[aten.addmm], aten.baddbmm_: flop_registry[aten.baddbmm]}
    return {operation: _attention for operation in found if operation is not None} | in_place


FORMULAS: Mapping[Any, Callable[..., int]] = {**flop_registry, **_formulas()}


def flops_of(operation: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Of one call.

    Args:
        operation: of `torch.ops`, as `__torch_dispatch__` gets it.
        args, kwargs: its arguments.
        out: what it returned.
    """
    formula = FORMULAS.get(operation._overloadpacket)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


def recurrent_flops(network: nn.RNNBase, x: Any) -> int:
    """Each step of each sequence multiplies once by every weight matrix (gates and projections of all layers)."""
    steps = x.data.shape[0] if isinstance(x, nn.utils.rnn.PackedSequence) else x.numel() // x.shape[-1]
    return int(2 * steps * sum(p.numel() for p in network.parameters() if p.ndim == 2))
