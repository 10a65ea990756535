"""Weights of torchvision: its names are ours but for ViT's, its files come from its own list of addresses.

Names: `torchvision/models/*.py` of torchvision 0.29. DenseNets saved before 2019 have `norm.1` for `norm1`, and its
ViT files `mlp.linear_1` for `mlp.0`. An FCN on VGG-16 has the first two linear layers of VGG as convolutions.
"""

from typing import Any
from urllib.parse import urlsplit

from ..errors import UserError, nearest
from .files import Found
from .naming import Naming, Rules
from .report import Preprocessing

PREFIX = "torchvision:"
VIT: Rules = (
    (r"^conv_proj\.", "patches."),
    (r"^encoder\.pos_embedding$", "positions"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"layers.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attention.qkv."),
    (r"\.self_attention\.out_proj\.", ".attention.output."),
    (r"\.mlp\.(0|linear_1)\.", ".up."),
    (r"\.mlp\.(3|linear_2)\.", ".down."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
)
NAMINGS = (
    Naming(
        "torchvision",
        marks=(r"^features\.denseblock1\.denselayer1\.norm\.1\.",),
        rules=((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
    ),
    Naming("torchvision", (r"^conv_proj\.", r"^encoder\.layers\.encoder_layer_0\."), VIT),
    Naming(
        "torchvision",
        marks=(r"^features\.0\.weight$", r"^classifier\.0\.weight$", r"^classifier\.3\.weight$"),
        rules=((r"^classifier\.0\.", "fc6."), (r"^classifier\.3\.", "fc7.")),
    ),
    Naming(  # "backbone." has been taken for the prefix of a program
        "torchvision",
        marks=(r"^layer4\.0\.conv3\.weight$", r"^classifier\.4\.weight$"),
        rules=((r"^(conv1|bn1|layer[1-4])\.", r"backbone.\1."),),
    ),
)
# The files of our networks whose class bears torchvision's name.
NETWORKS = ("alexnet", "densenet", "efficientnet", "fcn_resnet", "googlenet", "mobilenet_v2", "resnet", "vgg")
# torchvision's GoogLeNet turns ImageNet's statistics into these in its forward; ours does with `transform_input`.
TRANSFORMED: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def fetch(weights: str, name: str | None) -> Found:
    """Download, or take from torch.hub's cache, what `torchvision:...` names.

    Args:
        weights: `torchvision:resnet50/IMAGENET1K_V2`, `torchvision:resnet50` (its default), or
            `torchvision:IMAGENET1K_V2`, where `name` is that of the network.
        name: of the network, as in torchvision.

    Raises:
        UserError: there are no such weights, or they cannot be downloaded.
    """
    from torchvision import models

    builders = _builders()
    given, _, version = weights.removeprefix(PREFIX).partition("/")
    if not version and given not in builders:
        given, version = name or "", given
    if given not in builders:
        reason = f"torchvision has no network {given!r}" if given else "the name of the network is not known"
        raise UserError(f"{reason} for weights={weights}: name one, as in weights={PREFIX}resnet50/IMAGENET1K_V2")
    enum = models.get_model_weights(given)
    versions = [member.name for member in enum]
    version = version or "DEFAULT"
    if version not in [*versions, "DEFAULT"]:
        raise UserError(f"torchvision's {given} has no weights {version!r}{nearest(version, [*versions, 'DEFAULT'])}")
    chosen = enum[version]
    try:
        state = chosen.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # of the network, the disk, the checksum: urllib and torch.hub have many
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{chosen.url} cannot be downloaded ({reason}): fetch it elsewhere and give the file as weights=PATH"
        ) from error
    return Found(dict(state), weights, "torchvision", preprocessing(chosen))


def _builders() -> list[str]:
    """Names of the networks that torchvision has for images and for their pixels."""
    from torchvision import models

    return [name for module in (models, models.segmentation) for name in models.list_models(module=module)]


def preprocessing(weights: Any) -> Preprocessing:
    """What one of torchvision's sets of weights says of its images, without making the network."""
    transforms = weights.transforms()
    resize = transforms.resize_size[0]
    return Preprocessing(
        image_size=transforms.crop_size[0] if hasattr(transforms, "crop_size") else resize,  # pixels are all wanted
        resize=resize,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )


def preprocessing_of_file(file_name: str) -> Preprocessing | None:
    """The same for a downloaded file that still has its name, such as `resnet50-11ad3fa6.pth`."""
    from torchvision import models

    for builder in _builders():
        for weights in models.get_model_weights(builder):
            if urlsplit(weights.url).path.rpartition("/")[2] == file_name:
                return preprocessing(weights)
    return None
