"""Names of chenyaofo/pytorch-cifar-models (`pytorch_cifar_models/*.py`); its MobileNetV2 and VGG have torchvision's."""

from .naming import Naming

NAMINGS = (
    Naming(
        "chenyaofo/pytorch-cifar-models",
        marks=(r"^layer1\.0\.conv1\.", r"^layer3\.0\.downsample\.", r"^fc\."),
        without=(r"^layer4\.",),
        rules=((r"\.downsample\.", ".shortcut."),),
        note="these weights are for shortcuts with convolutions, model.shortcut=projection",
    ),
)
