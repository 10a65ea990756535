"""The precision in which a network computes, and whether this machine can.

Without AVX512-BF16 or AMX a CPU has no instructions for bf16: torch emulates it, 6 to 13 times slower than fp32 (a
thread of an AMD EPYC with AVX2, torch 2.14.1). Nor has oneDNN an LSTM of bf16 there, or of fp16: inside autocast
`nn.LSTM` ends in a RuntimeError, "could not create a primitive descriptor", in training as in evaluation. LSTMs with
projections, `nn.GRU`, `nn.RNN`, cells, and weights that are bf16 themselves (bf16-true) are computed otherwise.
"""

import logging
import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError

AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
HALF = AUTOCAST | {"bf16-true": torch.bfloat16, "16-true": torch.float16}
PROBE = 0.05  # seconds of a measurement
SLOWER = 1.2  # times as long as in fp32, beyond the noise of some milliseconds
NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16"}
log = logging.getLogger(__name__)


def precision(wanted: str, accelerator: str) -> str:
    """`auto` becomes bf16-mixed on a CUDA GPU that computes in bf16, and 32-true elsewhere.

    Args:
        wanted: `trainer.precision`.
        accelerator: `trainer.accelerator`.
    """
    if wanted != "auto":
        return wanted
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def require_precision(network: nn.Module, precision: str, device: torch.device | str) -> None:
    """Refuse a precision in which the network cannot be computed; log where it is only slow.

    Args:
        network: any.
        precision: as `trainer.precision`, but not `auto`.
        device: where the network computes; nothing is refused but on a CPU.

    Raises:
        UserError: the network has an LSTM, and this CPU none in this precision.
    """
    dtype = HALF.get(precision)
    if dtype is None or torch.device(device).type != "cpu":
        return
    if precision in AUTOCAST and any(map(is_fused_lstm, network.modules())) and not computes_lstm(dtype):
        raise UserError(
            f"trainer.precision={precision} is not possible here, since this CPU has no LSTM in {NAMES[dtype]}: use "
            "trainer.precision=32-true"
        )
    if not has_instructions(dtype):
        log.warning(
            "%s is emulated on this CPU and slower than fp32: trainer.precision=32-true is faster", NAMES[dtype]
        )
        return
    layers = list(network.modules())
    kind = "convolution" if any(isinstance(layer, nn.Conv2d) for layer in layers) else "matrix product"
    if precision in AUTOCAST and (times := times_as_long(dtype, kind)) > SLOWER:
        log.warning(
            "%s is slower than fp32 on this CPU, where a %s takes %.1f times as long: trainer.precision=32-true is "
            "faster",
            NAMES[dtype], kind, times,
        )  # fmt: skip


def precision_to_evaluate(trained: str, device: torch.device | str) -> str:
    """The precision of the training, or 32-true where a CPU would have to emulate that.

    Args:
        trained: as `trainer.precision`, `auto` included.
        device: where the network is evaluated.
    """
    dtype = HALF.get(trained)
    emulated = dtype is not None and torch.device(device).type == "cpu" and not has_instructions(dtype)
    return "32-true" if emulated else precision(trained, torch.device(device).type)


def is_fused_lstm(layer: nn.Module) -> bool:
    """Whether oneDNN may compute the layer as a whole."""
    return isinstance(layer, nn.LSTM) and layer.proj_size == 0


def computes_lstm(dtype: torch.dtype) -> bool:
    """Whether this CPU computes an LSTM, forward and backward, in autocast to the type: a tiny one is tried."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        layer, x = nn.LSTM(2, 2, device="cpu"), torch.zeros(1, 1, 2, device="cpu")
        try:
            with torch.autocast("cpu", dtype):
                outputs, _ = layer(x)
            outputs.float().sum().backward()
        except RuntimeError:
            return False
    return True


@cache
def times_as_long(dtype: torch.dtype, kind: str) -> float:
    """How long this CPU takes for a layer of a network in this type, over fp32; some 50 ms, once in a process.

    torch counts AVX-512 as instructions for bf16, of which only some CPUs have any, so flags do not tell.

    Args:
        dtype: as inside autocast, where weights are fp32 and what is computed is not.
        kind: "convolution" or "matrix product".
    """
    if kind == "convolution":
        compute: Callable[..., Tensor] = F.conv2d
        x = torch.ones(8, 32, 16, 16, device="cpu"), torch.ones(32, 32, 3, 3, device="cpu")
    else:
        compute = F.linear
        x = torch.ones(256, 256, device="cpu"), torch.ones(256, 256, device="cpu")
    half = [value.to(dtype) for value in x]
    times: dict[bool, list[float]] = {False: [], True: []}
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        until = time.perf_counter() + PROBE
        while time.perf_counter() < until or len(times[True]) < 3:  # in turn, since others compute beside this
            for is_half, values in ((False, x), (True, half)):
                started = time.perf_counter()
                compute(*values)
                times[is_half].append(time.perf_counter() - started)
    return min(times[True]) / min(times[False])


def has_instructions(dtype: torch.dtype) -> bool:
    """Whether torch takes the CPU for one that has instructions for bf16 or fp16."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
