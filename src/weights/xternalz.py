"""Names of xternalz/WideResNet-pytorch (`wideresnet.py`), which AugMix, TRADES and others have taken over."""

from .naming import Naming

NAMINGS = (
    Naming(
        "xternalz/WideResNet-pytorch",
        marks=(r"^block1\.layer\.0\.bn1\.", r"^bn1\.", r"^fc\."),
        rules=((r"^bn1\.", "bn."), (r"^block(\d)\.layer\.", r"layer\1."), (r"\.convShortcut\.", ".shortcut.")),
    ),
)
