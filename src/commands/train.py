"""`torchatlas train`."""

import sys
from pathlib import Path
from typing import Annotated

from ..train import main


def train(*words: Annotated[str, "raw"]) -> None:
    """Train a network; `torchatlas train --help` shows the zoo.

    Groups choose parts, as in model=resnet18, keys change values, as in optim.lr=0.01, and -m makes a run for each
    combination. It is the program of train.py.

    Args:
        words: those of Hydra.

    Examples:
        torchatlas train model=resnet18 data=cifar10
        torchatlas train optim.lr=0.01 duration=5ep
        torchatlas train resume=auto
        torchatlas train --help
    """
    # Lightning starts the other processes of a distributed run by this path with these arguments.
    path = Path(sys.argv[0])
    sys.argv[:] = [str(path) if path.name == "train.py" else str(sys.modules[main.__module__].__file__), *words]
    main()
