"""The order in which a network's images lie in memory: channels last where that is safe and faster.

Tensors keep their shape, b c h w; `torch.channels_last` puts the channels of a pixel side by side (PyTorch, "Channels
Last Memory Format in PyTorch", docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html).

On CPUs two things speak against it. In torch 2.14.1 the backward pass of some strided 1x1 convolutions with few inputs
is at fault there; wide convolutions and the contiguous layout are not concerned. And many networks are slower in it:
see `pays`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..models.contract import claims

WIDE = 16  # channels, as many as a vector of AVX-512 holds: from there on the backward pass is right
NARROW = 64  # channels that a larger convolution reads at most to gain
IMAGE = 4  # channels that an image has at most


def memory_format(
    network: nn.Module, device: torch.device | str, before: torch.memory_format | None = None
) -> torch.memory_format:
    """`torch.channels_last` where it is safe and pays, else `torch.contiguous_format`.

    Args:
        network: one of images says so by `convolutional = True`; all others are contiguous.
        device: where it computes. On a CPU all convolutions have to be wide (`is_wide`) and the layout to pay (`pays`).
        before: that of a run which goes on. A CPU keeps it where it is safe, since sums in another order differ in
            their last bits.
    """
    if not claims(network).convolutional:
        return torch.contiguous_format
    if torch.device(device).type != "cpu":
        return torch.channels_last
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if before is not None:
        return before if all(map(is_safe, layers)) else torch.contiguous_format
    return torch.channels_last if all(map(is_wide, layers)) and pays(network) else torch.contiguous_format


def format_of(weights: Mapping[str, Tensor]) -> torch.memory_format | None:
    """That in which some weights were saved; None where none of them tells."""
    for weight in weights.values():
        if weight.ndim == 4 and weight.is_contiguous() != weight.is_contiguous(memory_format=torch.channels_last):
            return torch.contiguous_format if weight.is_contiguous() else torch.channels_last
    return None


def pays(network: nn.Module) -> bool:
    """Whether a CPU trains a network faster in channels last: most of its convolutions are 1x1, grouped or narrow.

    1x1 and grouped ones multiply what lies side by side; the others gain where they read at most NARROW channels, and
    lose up to a third where their weights outweigh their images. Group normalisation and wide dilated convolutions lose
    more than these gain. Contiguous to channels last (over 1: this is faster), medians of training steps, one thread of
    an AMD EPYC with AVX2, torch 2.14.1, alone on the machine (`python scripts/memory_formats.py --rounds 3`: 8 images
    of 64 pixels, 2 for FCN and U-Net; those of 32 pixels in batches of 32):

        ResNeXt-50 2.2     DenseNet-121 1.4      ResNet-18 of width 16 (32) 1.1   AlexNet (8 of 224) 1.1
        MobileNetV2 1.6    EfficientNet-B0 1.4   ResNet-18 of width 32 (32) 1.2   VGG-11 1.0, VGG-16 0.9
        GoogLeNet 1.5      ResNet-20 (32) 1.1    ResNet-18 (32) 1.0               FCN-32s 0.9, on ResNet-50 0.8
        ResNet-50 1.4      ResNet-56 (32) 1.4    ResNet-18 0.7                    U-Net 0.9, on ResNet-34 0.7
        WRN-50-2 1.0       Res8 1.2, Res15 1.1   WRN-28-10 (32, batch 2) 0.9      U-Net of width 16 1.2
    """
    layers = list(network.modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    if any(isinstance(layer, nn.GroupNorm) for layer in layers) or any(
        max(c.dilation) > 1 and c.in_channels > NARROW for c in convolutions
    ):
        return False
    gaining = sum(max(c.kernel_size) == 1 or c.groups > 1 or c.in_channels <= NARROW for c in convolutions)
    return 2 * gaining > len(convolutions)


def is_wide(layer: nn.Conv2d) -> bool:
    """Whether a convolution reads channels enough for channels last on a CPU.

    Two kinds may be narrow: the layer that reads the image, with a kernel of more than one pixel, and 1x1 convolutions
    of stride 1, which are matrix products (squeeze and excitation has some of 4 channels).
    """
    if layer.in_channels >= WIDE:
        return True
    if max(layer.kernel_size) == 1:
        return max(layer.stride) == 1
    return layer.in_channels <= IMAGE


def is_safe(layer: nn.Conv2d) -> bool:
    """Whether a CPU's backward pass in channels last is right."""
    return layer.in_channels >= WIDE or max(layer.kernel_size) > 1 or max(layer.stride) == 1


def lay_out(network: nn.Module, device: torch.device | str, before: torch.memory_format | None = None) -> None:
    """Put a network's weights, in place, into the memory format in which it computes on a device.

    Activations follow: a convolution whose weights are in channels last has its output so too.

    Args:
        network: see `memory_format`.
        device: where it will compute; the weights need not be there yet.
        before: see `memory_format`.
    """
    network.to(memory_format=memory_format(network, device, before))


def lay_out_state(optimizer: Optimizer) -> None:
    """Put an optimiser's state, in place, into the memory format of its parameters.

    A checkpoint brings moments with the strides of the machine that wrote them, and fused kernels go through weights,
    gradients and moments by address: with other strides they would update the wrong weights, without a word.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
