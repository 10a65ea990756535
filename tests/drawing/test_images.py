"""Images in a grid."""

import pytest
import torch

from torchatlas.drawing.images import draw_images


@pytest.mark.parametrize(("number", "height", "width"), [(1, 8, 8), (5, 8, 12), (8, 30, 9), (19, 32, 32)])
def test_each_image_is_whole_in_its_place(number: int, height: int, width: int) -> None:
    """As it is, in its proportions, beside and under the others, with its title over it."""
    images = torch.rand(number, 3, height, width)
    figure = draw_images(images, [f"{i} of {number}" for i in range(number)])
    (axes,) = figure.axes
    assert len(axes.images) == len(axes.texts) == number
    inches = figure.get_size_inches()
    assert [*axes.get_xlim(), *axes.get_ylim()] == pytest.approx([0, inches[0], inches[1], 0])
    places = []
    for i, (shown, title) in enumerate(zip(axes.images, axes.texts, strict=True)):
        left, right, bottom, top = shown.get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(height / width)
        assert torch.equal(torch.as_tensor(shown.get_array()), images[i].permute(1, 2, 0))
        x, y = title.get_position()
        assert left <= x <= right
        assert y <= top
        assert title.get_text() == f"{i} of {number}"
        assert min(left, top) >= 0
        assert right <= inches[0]
        assert bottom <= inches[1]
        places.append((left, right, bottom, top))
    for i, (left, right, bottom, top) in enumerate(places):
        assert not any(a < right and left < b and d < bottom and top < c for a, b, c, d in places[:i])
