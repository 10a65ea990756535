"""Names of weiaicunzai/pytorch-cifar100 (`models/*.py`): networks for 32x32 images and 100 classes."""

from .naming import Naming
from .report import Preprocessing

SOURCE = "weiaicunzai/pytorch-cifar100"
# Of CIFAR-100: `conf/global_settings.py`, lines 12 and 13, and `utils.py`, lines 178 to 210, at 11d8418
PREPROCESSING = Preprocessing(
    32, 32, (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
    (0.2673342858792401, 0.2564384629170883, 0.27615047132568404), "bilinear",
)  # fmt: skip
NAMINGS = (
    Naming(
        SOURCE,
        marks=(r"^conv1\.0\.", r"^conv2_x\.0\.residual_function\."),
        rules=(
            (r"^conv1\.0\.", "conv1."),
            (r"^conv1\.1\.", "bn1."),
            *((rf"^conv{i + 1}_x\.", f"layer{i}.") for i in range(1, 5)),
            (r"\.residual_function\.0\.", ".conv1."),
            (r"\.residual_function\.1\.", ".bn1."),
            (r"\.residual_function\.3\.", ".conv2."),
            (r"\.residual_function\.4\.", ".bn2."),
            (r"\.residual_function\.6\.", ".conv3."),
            (r"\.residual_function\.7\.", ".bn3."),
            (r"\.shortcut\.", ".downsample."),
        ),
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^features\.0\.weight$", r"^classifier\.0\.", r"^classifier\.5\."),
        note="its VGG has three linear layers where ours for small images has one, which is new",
        preprocessing=PREPROCESSING,
    ),
    Naming(
        SOURCE,
        marks=(r"^stage1\.0\.residual\.2\.bias$", r"^pre\.1\."),
        refused="its pre-activation ResNet has biases in the convolutions and no normalisation before the pooling",
    ),
    Naming(
        SOURCE,
        marks=(r"^init_conv\.bias$", r"^conv2\.0\.residual\.0\."),
        refused="its wide ResNet has biases in the convolutions and no ReLU before the pooling",
    ),
    Naming(
        SOURCE,
        marks=(r"^features\.dense_block_layer_0\.", r"^features\.transition_layer_0\.down_sample\."),
        refused="its DenseNet has no ReLU in the transitions",
    ),
    Naming(
        SOURCE,
        marks=(r"^prelayer\.0\.", r"^a3\.b1\.0\."),
        refused="its GoogLeNet has two 3x3 convolutions in place of each 5x5, and biases",
    ),
    Naming(
        SOURCE,
        marks=(r"^pre\.0\.bias$", r"^stage1\.residual\.0\.", r"^conv2\.bias$"),
        refused="its MobileNetV2 expands in the first block and has a 1x1 stem",
    ),
)
