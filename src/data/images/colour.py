"""Colours of whole batches changed on the device of the network, each sample with parameters of its own.

An operation takes uint8 images `b c h w` of one or three channels and parameters of shape `b`, and gives what the
function of torchvision.transforms.v2.functional gives for each image alone. `brightness`, `posterize`, `solarize`,
`autocontrast`, `equalize` and `invert` are equal to it bit by bit. `contrast`, `saturation`, `hue` and `sharpness` may
be one level of 255 apart, where floating-point sums are rounded otherwise.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def _wide(values: Tensor) -> Tensor:
    """`b` as float32 `b 1 1 1`."""
    return values.float()[:, None, None, None]


def _blend(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """The sum of share * images and (1 - share) * others, cut off to uint8; a share may lie outside of [0, 1]."""
    # 1 - share before it is rounded to float32: a share in float64 then gives torchvision's bits.
    return torch.addcmul(images * _wide(share), others, _wide(1 - share)).clamp(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """Whole levels of luma `b 1 h w` in float32, with torchvision's weights."""
    if images.shape[1] == 1:
        return images.float()
    red, green, blue = images.float().split(1, dim=1)
    return torch.add(torch.add(red * 0.2989, green, alpha=0.587), blue, alpha=0.114).floor()


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Levels times `factor`: 0 is black, 1 changes nothing."""
    return (images.float() * _wide(factor)).clamp(0, 255).to(torch.uint8)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Distance from the image's mean luma times `factor`: 0 is even grey, 1 changes nothing."""
    return _blend(images.float(), _luma(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Distance of each pixel from its luma times `factor`; images of one channel stay as they are."""
    return images if images.shape[1] == 1 else _blend(images.float(), _luma(images), factor)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the colours by `shift` in [-0.5, 0.5] of the circle; images of one channel stay as they are.

    With the hue H in sixths of the circle, k = (n + H) mod 6 and n = 5, 3, 1 for red, green, blue, a channel is
    max - (max - min) * clamp(min(k, 4 - k), 0, 1).
    """
    if images.shape[1] == 1:
        return images
    x = images.float() * (1 / 255)
    high, low = x.amax(1), x.amin(1)
    span = high - low
    red, green, blue = (x / torch.where(span == 0, 1.0, span)[:, None]).unbind(1)  # grey has no hue: any will do
    is_red, is_green = x[:, 0] == high, x[:, 1] == high
    sixths = torch.where(is_red, green - blue, torch.where(is_green, 2 + blue - red, 4 + red - green))
    sixths = sixths + 6 * shift.float()[:, None, None]
    channels = []
    for n in (5, 3, 1):
        k = (n + sixths).remainder(6)
        channels.append(high - span * torch.minimum(k, 4 - k).clamp(0, 1))
    return (torch.stack(channels, 1) * 255.999).to(torch.uint8)  # torchvision's way from 0..1 to levels


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Distance from the smoothed image times `factor`; the outermost pixels, which lack neighbours, stay.

    As in Pillow, smoothing has weight 5/13 in the centre and 1/13 around it. Sums of whole levels are exact, and
    thirteenths never lie half-way between two levels: rounding has one result.
    """
    if min(images.shape[-2:]) < 3:
        return images
    x = images.float()
    inner = x[..., 1:-1, 1:-1]
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    smooth = ((rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner) / 13).round()
    result = images.clone()
    result[..., 1:-1, 1:-1] = torch.addcmul(inner, smooth - inner, _wide(1 - factor)).clamp(0, 255).to(torch.uint8)
    return result


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` (0 to 8) highest bits of each level."""
    mask = (255 << (8 - bits.long().clamp(0, 8))) & 255
    return images & mask.to(torch.uint8)[:, None, None, None]


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels from `threshold` on."""
    return torch.where(images >= _wide(threshold), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch the levels of each channel over 0..255; a channel of one level stays as it is."""
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    even = low == high
    scale = torch.where(even, 1.0, (high - low) * (1 / 255))
    return ((images.float() - torch.where(even, 0.0, low)) / scale).clamp(0, 255).to(torch.uint8)


def equalize(images: Tensor) -> Tensor:
    """Make the levels of each channel equally frequent, in the whole-number steps of Pillow's `ImageOps.equalize`.

    A channel that has fewer than 255 pixels below its brightest level has no step and stays as it is.
    """
    levels = images.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels, dtype=torch.int32))
    brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    table = ((darker + step // 2) // step.clamp(min=1)).clamp(max=255)
    equal = table.to(torch.uint8).gather(2, levels).view_as(images)
    return torch.where((step > 0)[..., None], equal, images)


def invert(images: Tensor) -> Tensor:
    """255 minus each level."""
    return 255 - images


def colour_jitter(images: Tensor, random: Tensor, strengths: Mapping[str, float]) -> Tensor:
    """Brightness, contrast, saturation and hue, in this order, each uniform around no change.

    Args:
        images: uint8 `b c h w`.
        random: `b 4`.
        strengths: of those four, by name: the largest distance of the factor (at least 0) from 1; for hue the
            largest shift. An operation of strength 0 is left out.
    """
    for name, u in zip(("brightness", "contrast", "saturation", "hue"), random.unbind(1), strict=True):
        strength = strengths[name]
        if strength and name == "hue":
            images = hue(images, strength * (2 * u - 1))
        elif strength:
            low = max(0.0, 1 - strength)
            operation = {"brightness": brightness, "contrast": contrast, "saturation": saturation}[name]
            images = operation(images, low + (1 + strength - low) * u)
    return images
