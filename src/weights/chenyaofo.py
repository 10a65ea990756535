"""Names of chenyaofo/pytorch-cifar-models (`pytorch_cifar_models/*.py`); its MobileNetV2 and VGG have torchvision's.

It was trained by chenyaofo/image-classification-codebase, whose `conf/cifar10.conf` and `conf/cifar100.conf` have mean
and spread; that they are those of these weights is said in its issues 4 and 8.
"""

import re

from .naming import Naming, State
from .report import Preprocessing

CIFAR = {
    10: Preprocessing(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "bilinear"),
    100: Preprocessing(32, 32, (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761), "bilinear"),
}


def by_classes(state: State) -> Preprocessing | None:
    """By the number of classes, which is that of the data."""
    return CIFAR.get(len(state["fc.bias"])) if "fc.bias" in state else None


def preprocessing_of_file(file_name: str) -> Preprocessing | None:
    """The same for a downloaded file that still has its name, such as `cifar100_vgg16_bn-7d8c4031.pt`."""
    match = re.match(r"cifar(100?)_\w+-[\da-f]{8}\.pth?$", file_name)
    return CIFAR[int(match[1])] if match else None


NAMINGS = (
    Naming(
        "chenyaofo/pytorch-cifar-models",
        marks=(r"^layer1\.0\.conv1\.", r"^layer3\.0\.downsample\.", r"^fc\."),
        without=(r"^layer4\.",),
        rules=((r"\.downsample\.", ".shortcut."),),
        note="these weights are for shortcuts with convolutions, model.shortcut=projection",
        preprocessing=by_classes,
    ),
)
