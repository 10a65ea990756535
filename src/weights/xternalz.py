"""Names of xternalz/WideResNet-pytorch (`wideresnet.py`), which AugMix, TRADES and others have taken over."""

from .naming import Naming, Rules
from .report import Preprocessing

RULES: Rules = ((r"^bn1\.", "bn."), (r"^block(\d)\.layer\.", r"layer\1."), (r"\.convShortcut\.", ".shortcut."))
MARKS = (r"^block1\.layer\.0\.bn1\.", r"^bn1\.", r"^fc\.")
NAMINGS = (
    Naming(
        "xternalz/WideResNet-pytorch",
        marks=MARKS,
        without=(r"^sub_block1\.",),
        rules=RULES,
        # AugMix: `cifar.py`, line 299
        note="AugMix's weights have the same names and were trained with data.mean=[0.5,0.5,0.5] "
        "data.std=[0.5,0.5,0.5]",
        # `train.py`, lines 63 and 64 at 1171f93
        preprocessing=Preprocessing(
            32, 32, (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255), "bilinear"
        ),
    ),
    Naming(
        "yaodongyu/TRADES",
        marks=(*MARKS, r"^sub_block1\."),
        rules=RULES,
        note="sub_block1 is in the file alone, and TRADES does not compute with it",
        # Images from 0 to 1 as they are: `train_trades_cifar10.py`, lines 59 to 66
        preprocessing=Preprocessing(32, 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear"),
    ),
)
