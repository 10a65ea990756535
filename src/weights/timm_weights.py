"""Weights of timm (Hugging Face's pytorch-image-models): downloaded by timm, renamed to the names of our networks.

Names: `timm/models/_efficientnet_blocks.py`, `_efficientnet_builder.py`, `vgg.py`, `resnet.py`, `densenet.py`,
`vision_transformer.py` and `deit.py` of timm 1.0. ResNets and DenseNets have torchvision's names. The `tf_` networks
have the names of the others and pad like TensorFlow; EfficientNet-B5 and larger have another constant in their batch
normalisation than torchvision's.
"""

import importlib
import math
import re
from typing import Any

from ..errors import UserError
from .files import Found
from .naming import Naming, Rules
from .report import Preprocessing

PREFIX = "timm:"
DEPTHS = (1, 2, 3, 4, 3, 3, 1)  # blocks in the stages of MobileNetV2, which torchvision counts through

STEM: Rules = ((r"^conv_stem\.", "features.0.0."), (r"^bn1\.", "features.0.1."), (r"^classifier\.", "classifier.1."))

EFFICIENTNET: Rules = (
    *STEM,
    # The first stage has no expansion.
    (r"^(blocks\.0\.\d+)\.conv_dw\.", r"\1.block.0.0."),
    (r"^(blocks\.0\.\d+)\.bn1\.", r"\1.block.0.1."),
    (r"^(blocks\.0\.\d+)\.se\.", r"\1.block.1."),
    (r"^(blocks\.0\.\d+)\.conv_pw\.", r"\1.block.2.0."),
    (r"^(blocks\.0\.\d+)\.bn2\.", r"\1.block.2.1."),
    (r"^(blocks\.\d+\.\d+)\.conv_pw\.", r"\1.block.0.0."),
    (r"^(blocks\.\d+\.\d+)\.bn1\.", r"\1.block.0.1."),
    (r"^(blocks\.\d+\.\d+)\.conv_dw\.", r"\1.block.1.0."),
    (r"^(blocks\.\d+\.\d+)\.bn2\.", r"\1.block.1.1."),
    (r"^(blocks\.\d+\.\d+)\.se\.", r"\1.block.2."),
    (r"^(blocks\.\d+\.\d+)\.conv_pwl\.", r"\1.block.3.0."),
    (r"^(blocks\.\d+\.\d+)\.bn3\.", r"\1.block.3.1."),
    (r"\.conv_reduce\.", ".fc1."),
    (r"\.conv_expand\.", ".fc2."),
    *((rf"^blocks\.{i}\.", f"features.{i + 1}.") for i in range(7)),
    (r"^conv_head\.", "features.8.0."),
    (r"^bn2\.", "features.8.1."),
)
MOBILENET_V2: Rules = (
    *STEM,
    # The first block has no expansion.
    (r"^blocks\.0\.0\.conv_dw\.", "features.1.conv.0.0."),
    (r"^blocks\.0\.0\.bn1\.", "features.1.conv.0.1."),
    (r"^blocks\.0\.0\.conv_pw\.", "features.1.conv.1."),
    (r"^blocks\.0\.0\.bn2\.", "features.1.conv.2."),
    (r"\.conv_pw\.", ".conv.0.0."),
    (r"^(blocks\.\d+\.\d+)\.bn1\.", r"\1.conv.0.1."),
    (r"\.conv_dw\.", ".conv.1.0."),
    (r"^(blocks\.\d+\.\d+)\.bn2\.", r"\1.conv.1.1."),
    (r"\.conv_pwl\.", ".conv.2."),
    (r"^(blocks\.\d+\.\d+)\.bn3\.", r"\1.conv.3."),
    *(
        (rf"^blocks\.{i}\.{j}\.", f"features.{1 + sum(DEPTHS[:i]) + j}.")
        for i, depth in enumerate(DEPTHS)
        for j in range(depth)
    ),
    (r"^conv_head\.", "features.18.0."),
    (r"^bn2\.", "features.18.1."),
)
VGG: Rules = (  # its two hidden linear layers are convolutions, of 7x7 and 1x1
    (r"^pre_logits\.fc1\.", "classifier.0."),
    (r"^pre_logits\.fc2\.", "classifier.3."),
    (r"^head\.fc\.", "classifier.6."),
)
VIT: Rules = (
    (r"^cls_token$", "class_token"),
    (r"^dist_token$", "distillation_token"),
    (r"^pos_embed$", "positions"),
    (r"^patch_embed\.proj\.", "patches."),
    (r"^blocks\.(\d+)\.", r"layers.\1."),
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.proj\.", ".attention.output."),
    (r"\.mlp\.fc1\.", ".up."),
    (r"\.mlp\.fc2\.", ".down."),
    (r"^head_dist\.", "head_distillation."),
)
# What timm's other Vision Transformers have: pre-normalisation, scales of layers, register tokens, pooling, no biases.
OTHER_VIT = (r"^norm_pre\.", r"\.ls1\.", r"^reg_token$", r"\.q_norm\.", r"^fc_norm\.", r"^attn_pool\.")
PADDING = (
    "timm's tf_ networks have the same names and pad otherwise: with weights of those the network is less accurate"
)
NAMINGS = (
    Naming("timm", (r"^conv_stem\.", r"^blocks\.0\.0\.conv_dw\.", r"\.se\.conv_reduce\."), EFFICIENTNET, note=PADDING),
    Naming("timm", (r"^conv_stem\.", r"^blocks\.0\.0\.conv_dw\."), MOBILENET_V2, without=(r"\.se\.",)),
    Naming("timm", (r"^pre_logits\.fc1\.", r"^features\.0\."), VGG),
    Naming("timm", (r"^cls_token$", r"^patch_embed\.proj\.", r"^blocks\.0\.attn\.qkv\.bias$"), VIT, OTHER_VIT),
    *(
        Naming(
            "timm",
            (r"^cls_token$", r"^patch_embed\.proj\.", r"^blocks\.0\.attn\.", mark),
            refused="its Vision Transformer has other layers than that of the paper",
        )
        for mark in OTHER_VIT
    ),
)
# Where timm's network computes what ours does. Others have the same names and blur, pad or normalise otherwise.
EQUAL = re.compile(
    r"(resnet(18|34|50|101|152)|resnext50_32x4d|wide_resnet50_2|vgg(11|13|16|19)(_bn)?|densenet(121|161|169|201)"
    r"|efficientnet_b[0-4]|mobilenetv2_(050|075|100|140)|vit_(tiny|small|base|large|huge)_patch(8|14|16|32)_(224|384)"
    r"|deit_(tiny|small|base)(_distilled)?_patch16_(224|384))(\..*)?"
)


def fetch(weights: str) -> Found:
    """Let timm download what `timm:NAME` names.

    Raises:
        UserError: timm is not installed, does not have it, cannot download it, or its network computes something
            else than any of ours.
    """
    name = weights.removeprefix(PREFIX)
    if not EQUAL.fullmatch(name):
        raise UserError(
            f"weights={weights} is none of timm's networks that compute what one of ours does: these are resnet18 to "
            "resnet152, resnext50_32x4d, wide_resnet50_2, vgg11 to vgg19_bn, densenet121 to densenet201, "
            "efficientnet_b0 to efficientnet_b4, mobilenetv2_100, vit_base_patch16_224 and other sizes, and "
            "deit_tiny_distilled_patch16_224 to deit_base, each with any tag, as in timm:resnet50.a1_in1k"
        )
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise UserError(f"weights={weights} needs timm, which is not installed: pip install timm") from error
    try:
        network = timm.create_model(name, pretrained=True)
    except Exception as error:  # of the network, the disk, the name: the hub's client has many
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"timm cannot download {name} from huggingface.co/timm/{name} ({reason}): fetch the file elsewhere and "
            "give it as weights=PATH"
        ) from error
    return Found(dict(network.state_dict()), weights, "timm", preprocessing(network.pretrained_cfg))


def preprocessing(config: dict[str, Any]) -> Preprocessing:
    """From the `pretrained_cfg` of one of timm's networks."""
    size = int(config["input_size"][-1])
    return Preprocessing(
        image_size=size,
        resize=math.floor(size / config["crop_pct"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
    )
