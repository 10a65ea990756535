"""Names of kuangliu/pytorch-cifar (`models/*.py`): networks for 32x32 images, saved as {"net": ..., "acc": ...}."""

import re

import torch

from .naming import Naming, State
from .report import Preprocessing

SOURCE = "kuangliu/pytorch-cifar"
# Of CIFAR-10: `main.py`, lines 30 to 40 at 49b7aa9.
PREPROCESSING = Preprocessing(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "bilinear")
DEEPEST = 64  # layers of a dense block: DenseNet-201 has 48


def newest_last(state: State) -> State:
    """Bring the channels of his DenseNet into our order.

    Each of his dense layers puts its g channels in front of what came before, [H(x), x], and ours behind, [x, H(x)].
    So n layers into a block that began with c channels, x is where ours has the last n g, and layer m's are at
    (n - m) g instead of c + (m - 1) g.

    Args:
        state: with our names.
    """
    depths: dict[int, int] = {}
    for key in state:
        if found := re.match(r"features\.denseblock(\d+)\.denselayer(\d+)\.", key):
            depths[int(found[1])] = max(depths.get(int(found[1]), 0), int(found[2]))
    arranged = dict(state)
    for i, depth in depths.items():
        block = f"features.denseblock{i}.denselayer"
        c, g = len(state[f"{block}1.norm1.weight"]), len(state[f"{block}1.conv2.weight"])
        for n in range(1, depth + 1):
            order = torch.cat([n * g + torch.arange(c), *((n - m) * g + torch.arange(g) for m in range(1, n + 1))])
            if n < depth:
                norm, weight = f"{block}{n + 1}.norm1", f"{block}{n + 1}.conv1.weight"
            elif i < len(depths):
                norm, weight = f"features.transition{i}.norm", f"features.transition{i}.conv.weight"
            else:
                norm, weight = f"features.norm{i + 1}", "classifier.weight"
            for key in (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")):
                arranged[key] = state[key][order]
            arranged[weight] = state[weight][:, order]
    return arranged


NAMINGS = (
    Naming(
        SOURCE,
        marks=(r"^layer1\.0\.conv1\.", r"^layer4\.", r"^bn1\.", r"^linear\."),
        rules=((r"\.shortcut\.", ".downsample."), (r"^linear\.", "fc.")),
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^layer1\.0\.conv1\.", r"^linear\."),
        without=(r"^bn1\.",),
        rules=((r"\.shortcut\.0\.", ".shortcut."), (r"^linear\.", "fc."), (r"^(conv1|layer\d+)\.", r"features.\1.")),
        note="his pre-activation ResNet is ours with model.final_norm=false and model.activate_first=false",
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^features\.0\.weight$", r"^classifier\.weight$"),
        rules=((r"^classifier\.", "classifier.1."),),
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^dense1\.0\.bn1\.", r"^trans1\.conv\.", r"^linear\."),
        rules=(
            (r"^conv1\.", "features.conv0."),
            *((rf"^dense(\d)\.{j}\.", rf"features.denseblock\1.denselayer{j + 1}.") for j in range(DEEPEST)),
            (r"\.bn([12])\.", r".norm\1."),
            (r"^trans(\d)\.bn\.", r"features.transition\1.norm."),
            (r"^trans(\d)\.conv\.", r"features.transition\1.conv."),
            (r"^bn\.", "features.norm5."),
            (r"^linear\.", "classifier."),
        ),
        arrange=newest_last,
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^pre_layers\.0\.", r"^a3\.b1\.0\."),
        refused="its GoogLeNet has two 3x3 convolutions in place of each 5x5, and biases",
    ),
    Naming(
        SOURCE,
        marks=(r"^layers\.0\.conv1\.", r"^layers\.0\.bn3\.", r"^conv2\.", r"^linear\."),
        refused="its MobileNetV2 expands in the first block and has convolutions in its shortcuts",
    ),
    Naming(
        SOURCE,
        marks=(r"^layers\.0\.se1\.", r"^linear\."),
        refused="its EfficientNet expands in the first block and has no convolution after the last",
    ),
)
