"""Recurrent layers in exported graphs, as one node each, whose length is free.

torch.export computes with shapes alone, and unrolls `nn.RNN` and `nn.GRU` over the steps of the example; torch.onnx
does so with `nn.RNN`. A graph with as many nodes as the example has steps is right for that length only. Here the
layers say their shapes while a network is traced, and `nn.RNN` has a translation to ONNX's node.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

aten = torch.ops.aten


def lstm_shapes(x: Tensor, state: Sequence[Tensor], *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Empty outputs of `aten.lstm.input`, see `rnn_shapes`."""
    h, c = state
    return rnn_shapes(x, h, *_)[0], torch.empty_like(h), torch.empty_like(c)


def rnn_shapes(x: Tensor, h: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """Empty outputs of `aten.gru.input` and `aten.rnn_tanh.input`.

    Args:
        x: inputs of any layout with the channels last.
        h: the first state, `l b d`.
        options: the weights, whether there are biases, layers, dropout, training, both directions, batch first.
    """
    bidirectional = options[5]
    return x.new_empty((*x.shape[:-1], h.shape[-1] * (2 if bidirectional else 1))), torch.empty_like(h)


SHAPES: dict[Any, Callable[..., Any]] = {
    aten.lstm.input: lstm_shapes,
    aten.gru.input: rnn_shapes,
    aten.rnn_tanh.input: rnn_shapes,
    aten.rnn_relu.input: rnn_shapes,
}


@contextlib.contextmanager
def whole_layers() -> Iterator[None]:
    """While a network is traced its recurrent layers stay whole, and their length free."""
    composite = torch._C.DispatchKey.CompositeImplicitAutograd  # type: ignore[attr-defined]
    with contextlib.ExitStack() as stack:
        for layer, shapes in SHAPES.items():
            stack.enter_context(patch.dict(layer.py_kernels, {composite: shapes}))
            stack.enter_context(patch.dict(layer._dispatch_cache, clear=True))
            stack.enter_context(patch.dict(torch._decomp.decomposition_table, {layer: shapes}))
        yield


def translations() -> dict[Any, Callable[..., Any]]:
    """For `torch.onnx.export`, what it has no node for."""
    return {aten.rnn_tanh.input: translate("Tanh"), aten.rnn_relu.input: translate("Relu")}


def translate(activation: str) -> Callable[..., Any]:
    """Layers of ONNX's RNN for `nn.RNN`, one on another.

    https://onnx.ai/onnx/operators/onnx__RNN.html: X `t b c`, W `k d c`, R `k d d`, B `k 2d`, and Y `t k b d` with k
    directions.
    """

    def rnn(
        x: Any, h: Any, weights: Sequence[Any], biases: bool, layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool,
    ) -> tuple[Any, Any]:  # fmt: skip
        op = importlib.import_module("onnxscript").opset18
        k, each = (2 if bidirectional else 1), (4 if biases else 2)
        sides = [weights[i : i + each] for i in range(0, len(weights), each)]
        last = []
        if batch_first:
            x = op.Transpose(x, perm=[1, 0, 2])
        for layer in range(layers):
            own = sides[layer * k : (layer + 1) * k]
            W, R = (op.Concat(*(op.Unsqueeze(side[i], axis(op, 0)) for side in own), axis=0) for i in (0, 1))
            joined = [op.Unsqueeze(op.Concat(side[2], side[3], axis=0), axis(op, 0)) for side in own if biases]
            B = op.Concat(*joined, axis=0) if biases else None
            first = op.Slice(h, axis(op, layer * k), axis(op, (layer + 1) * k), axis(op, 0))
            y, final = op.RNN(
                x, W, R, B, None, first, activations=[activation] * k, hidden_size=own[0][1].shape[1],
                direction="bidirectional" if bidirectional else "forward",
            )  # fmt: skip
            x = op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), op.Constant(value_ints=[0, 0, -1]))
            last.append(final)
        return op.Transpose(x, perm=[1, 0, 2]) if batch_first else x, op.Concat(*last, axis=0)

    return rnn


def axis(op: Any, number: int) -> Any:
    """One number as ONNX's operators take it."""
    return op.Constant(value_ints=[number])
