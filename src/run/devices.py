"""The one device on which a command computes."""

import torch

from ..errors import UserError


def device_of(accelerator: str = "auto") -> torch.device:
    """The device of a trainer's choice; by default the one on which training computes too.

    Args:
        accelerator: "auto", the best there is; "gpu", of NVIDIA or Apple; or one of these: "cuda", "mps", "cpu".

    Raises:
        UserError: there is none of that kind.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kinds = {"auto": ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}.get(accelerator, (accelerator,))
    for kind in kinds:
        if there.get(kind):
            return torch.device(kind)
    raise UserError(f"there is no {accelerator} here: use trainer=cpu, or trainer=auto for the best device")
