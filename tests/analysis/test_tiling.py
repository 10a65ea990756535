"""Tiles give the answer for the whole image."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.analysis import tiling
from torchatlas.analysis.tiling import mirror_places, mirror_to_fit, predict_tiled, predict_whole, reach_of
from torchatlas.errors import UserError
from torchatlas.models.unet import UNet
from torchatlas.tasks.segmentation import Segmentation


@pytest.mark.parametrize(("size", "before", "after"), [(5, 3, 4), (3, 11, 8), (1, 4, 2), (2, 5, 0)])
def test_mirror_is_numpys_reflection_of_any_width(size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    assert mirror_places(size, before, after).tolist() == expected.tolist()


@pytest.mark.parametrize("options", [{}, {"upsampling": "bilinear"}, {"padding": "same", "batch_norm": True}])
def test_tiles_give_the_answer_for_the_whole_image(options: Any) -> None:
    network = UNet(**options).eval()
    x = torch.randn(1, 1, 101, 67)
    with torch.no_grad():
        whole = predict_whole(network, x)
        assert whole.shape == (1, 2, 101, 67)
        torch.testing.assert_close(predict_tiled(network, x, 60), whole, rtol=0, atol=1e-4)
        torch.testing.assert_close(predict_tiled(network, x, 100), whole, rtol=0, atol=1e-4)
        if network.margin == 0:
            blended = predict_tiled(network, x, 60, 8)  # near the edges of tiles it is another
            assert (blended - whole).abs().max() > 1e-3
            torch.testing.assert_close(blended[..., :20, :8], whole[..., :20, :8], rtol=0, atol=1e-4)
            with pytest.raises(UserError, match="use tile=44 or more"):
                predict_tiled(network, x, 40, 40)


class Strided(nn.Module):
    """Takes any side, to which its scores, one for each 2x2 pixels, are interpolated."""

    margin = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.layer(x), size=x.shape[2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("followed", [True, False])
def test_tiles_of_a_network_for_any_side_are_multiples_of_its_stride(
    followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a tile's scores would be stretched otherwise than those of the whole image."""
    network = Strided().eval()
    if not followed:
        monkeypatch.setattr(tiling, "reach_of", lambda *_: None)
    x = torch.randn(1, 1, 260, 64)
    with torch.no_grad():
        whole, tiled = predict_whole(network, x), predict_tiled(network, x, 101)
    assert tiled.shape == whole.shape
    inside = slice(None) if followed else slice(60)  # where no tile ends
    torch.testing.assert_close(tiled[..., inside, :], whole[..., inside, :], rtol=0, atol=1e-5)


def test_tiles_of_which_nothing_is_left_are_refused() -> None:
    network = UNet(depth=3).eval()
    x = torch.randn(1, 1, 101, 67)
    with pytest.raises(UserError, match="use tile=96 or more"):
        predict_tiled(network, x, 64)
    with torch.no_grad():
        torch.testing.assert_close(predict_tiled(network, x, 96), predict_whole(network, x), rtol=0, atol=1e-4)


def test_no_pixel_reaches_farther_than_is_said_and_one_does() -> None:
    """By gradients with all weights positive, which do not cancel: a pooling passes on its largest input alone."""
    network = UNet(width=1, depth=1, padding="same").eval()
    for p in network.parameters():
        nn.init.ones_(p)
    pools = [module for module in network.modules() if isinstance(module, nn.MaxPool2d)]
    for pool in pools:
        pool.forward = lambda x: F.avg_pool2d(x, 2)  # type: ignore[method-assign, assignment]
    reach = reach_of(network, 1)
    assert reach is not None
    farthest = 0
    for i in (32, 33):
        x = torch.rand(1, 1, 64, 64, requires_grad=True)
        network(x)[0, 0, i, i].backward()
        assert x.grad is not None
        seen = x.grad[0, 0].nonzero()
        farthest = max(farthest, int((seen - i).abs().max()))
    assert farthest == reach.radius
    assert reach.stride == 2


def test_a_network_with_a_margin_answers_for_each_pixel() -> None:
    """Its answer for the inner pixels is that for the image without mirrored borders."""
    network = UNet(depth=1).eval()
    task = Segmentation(network).eval()
    x = torch.randn(2, 1, 44, 40)
    with torch.no_grad():
        y, inner = task(x), network(x)
    m = network.margin
    shift = m % 2  # the pooling begins at the same pixel
    assert y.shape == (2, 2, 44, 40)
    assert shift == 0
    torch.testing.assert_close(y[..., m:-m, m:-m], inner, rtol=0, atol=1e-4)
    assert mirror_to_fit(network, x).shape[-1] - 2 * m >= 40
    assert task.train().step((x, torch.randint(2, (2, 44, 40))))["loss"].isfinite()
