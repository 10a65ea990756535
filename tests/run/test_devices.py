"""The device on which a command computes."""

import pytest
import torch

from torchatlas.errors import UserError
from torchatlas.run.devices import device_of


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ((), {"auto": "cpu", "cpu": "cpu"}),
        (("mps",), {"auto": "mps", "gpu": "mps", "mps": "mps", "cpu": "cpu"}),
        (("cuda",), {"auto": "cuda", "gpu": "cuda", "cuda": "cuda", "cpu": "cpu"}),
        (("cuda", "mps"), {"auto": "cuda", "gpu": "cuda", "cuda": "cuda", "mps": "mps"}),
    ],
)
def test_a_gpu_that_trains_is_used(
    there: tuple[str, ...], found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert {accelerator: device_of(accelerator).type for accelerator in found} == found
    assert device_of() == device_of("auto")
    for missing in {"gpu", "cuda", "mps", "tpu"} - set(found):
        with pytest.raises(UserError, match=f"there is no {missing} here: use trainer=cpu"):
            device_of(missing)
