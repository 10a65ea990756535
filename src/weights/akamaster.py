"""Names of akamaster/pytorch_resnet_cifar10 (`resnet.py`): ResNet-20 to 1202, saved as {"state_dict": ...}."""

from .naming import Naming

NAMINGS = (
    Naming(
        "akamaster/pytorch_resnet_cifar10",
        marks=(r"^layer1\.0\.conv1\.", r"^layer3\.", r"^bn1\.", r"^linear\."),
        without=(r"^layer4\.",),
        rules=((r"^linear\.", "fc."),),
    ),
)
