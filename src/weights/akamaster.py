"""Names of akamaster/pytorch_resnet_cifar10 (`resnet.py`): ResNet-20 to 1202, saved as {"state_dict": ...}."""

from .naming import Naming
from .report import Preprocessing

NAMINGS = (
    Naming(
        "akamaster/pytorch_resnet_cifar10",
        marks=(r"^layer1\.0\.conv1\.", r"^layer3\.", r"^bn1\.", r"^linear\."),
        without=(r"^layer4\.",),
        rules=((r"^linear\.", "fc."),),
        # ImageNet's, of CIFAR-10's images: `trainer.py`, lines 88 to 106 at d5489e8
        preprocessing=Preprocessing(32, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear"),
    ),
)
