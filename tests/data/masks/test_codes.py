"""One reader of masks: files that a person would call the same give the same classes."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from torchatlas.data.masks.codes import (
    Pair,
    class_names,
    colour_code,
    find_codes,
    given_codes,
    numbers_objects,
    read_mask,
)
from torchatlas.errors import UserError

COLOURS = np.array([[0, 0, 0], [0, 128, 0], [200, 0, 0]], dtype=np.uint8)  # in the order of red, green and blue
MASKS = np.random.default_rng(0).integers(0, 3, (4, 6, 8)).astype(np.uint8)
Save = Callable[[Any, Path, int], None]


def indexed(indices: Any, table: Any) -> Image.Image:
    image = Image.fromarray(np.asarray(indices, dtype=np.uint8))
    image.putpalette(np.asarray(table, dtype=np.uint8).flatten().tolist())
    return image


def turned_around(mask: Any, path: Path, i: int) -> None:
    """A palette of each file's own, as programs that optimise PNG files write it."""
    order = np.random.default_rng(i).permutation(3)
    indexed(order.argsort()[mask], COLOURS[order]).save(path)


def with_alpha(mask: Any, path: Path, _: int) -> None:
    Image.fromarray(np.dstack([COLOURS[mask], np.full(mask.shape, 90, np.uint8)])).save(path)


def upside_down(mask: Any, path: Path, _: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(mask[::-1, ::-1].copy()).save(path, exif=exif)


SAVED: dict[str, Save] = {
    "values": lambda mask, path, _: Image.fromarray(mask).save(path),
    "16 bits": lambda mask, path, _: Image.fromarray(mask.astype(np.uint16)).save(path),
    "32 bits": lambda mask, path, _: Image.fromarray(mask.astype(np.int32)).save(path.with_suffix(".tif")),
    "float": lambda mask, path, _: Image.fromarray(mask.astype(np.float32)).save(path.with_suffix(".tif")),
    "three equal channels": lambda mask, path, _: Image.fromarray(np.dstack([mask] * 3)).save(path),
    "grey with alpha": lambda mask, path, _: Image.merge("LA", [Image.fromarray(mask)] * 2).save(path),
    "a palette": lambda mask, path, _: indexed(mask, COLOURS).save(path),
    "a palette of another program": lambda mask, path, _: indexed(mask, COLOURS[::-1] + 9).save(path),
    "colours": lambda mask, path, _: Image.fromarray(COLOURS[mask]).save(path),
    "colours with alpha": with_alpha,
    "palettes that differ": turned_around,
    "colours and palettes": lambda mask, path, i: turned_around(mask, path, i) if i else with_alpha(mask, path, i),
    "upside down with a note": upside_down,
}


def saved(folder: Path, save: Save, masks: Any = MASKS) -> list[Pair]:
    folder.mkdir(parents=True, exist_ok=True)
    for i, mask in enumerate(masks):
        save(mask, folder / f"{i}.png", i)
    return [(Path("image.png"), path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("way", SAVED)
def test_a_mask_has_the_same_classes_however_it_is_saved(way: str, tmp_path: Path) -> None:
    pairs = saved(tmp_path, SAVED[way])
    codes = find_codes(pairs)
    assert set(codes.values()) - {255} == {0, 1, 2}
    for pair, mask in zip(pairs, MASKS, strict=True):
        assert np.array_equal(read_mask(pair, codes), mask)


@pytest.mark.parametrize("here", ["a palette", "colours", "palettes that differ"])
@pytest.mark.parametrize("there", ["a palette", "colours", "colours with alpha", "palettes that differ"])
def test_masks_of_the_training_and_others_may_be_saved_differently(here: str, there: str, tmp_path: Path) -> None:
    codes = find_codes(saved(tmp_path / "here", SAVED[here]))
    for pair, mask in zip(saved(tmp_path / "there", SAVED[there]), MASKS, strict=True):
        assert np.array_equal(read_mask(pair, codes), mask)


def test_an_index_with_the_colour_of_no_class_is_refused(tmp_path: Path) -> None:
    codes = find_codes(saved(tmp_path / "here", SAVED["a palette"]))
    (pair, *_) = saved(tmp_path / "there", SAVED["a palette of another program"])
    with pytest.raises(UserError, match=r"0.png has the value 0 in the colour 209,9,9, which is of no class"):
        read_mask(pair, codes)


def test_palettes_that_differ_are_told_with_two_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Blue is index 1 of one file, and red of another."""
    shape = np.eye(8, dtype=np.uint8)
    for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        indexed(shape, [(0, 0, 0), colour]).save(tmp_path / f"{name}.png")
    pairs = [(Path("image"), tmp_path / f"{name}.png") for name in ("blue", "red")]
    with caplog.at_level(logging.INFO):
        codes = find_codes(pairs, tell=True)
    (said,) = caplog.messages
    assert said.startswith("the palettes of 2 masks differ (1 is the colour 0,0,200 in ")
    assert "blue.png and the colour 200,0,0 in " in said
    assert [np.unique(read_mask(pair, codes)).tolist() for pair in pairs] == [[0, 1], [0, 2]]
    by_index = given_codes({"background": 0, "object": 1})
    assert [np.unique(read_mask(pair, by_index)).tolist() for pair in pairs] == [[0, 1], [0, 1]]
    indexed([[0, 1, 2]], [(0, 0, 0), (0, 9, 0), (0, 9, 0)]).save(tmp_path / "twice.png")
    with pytest.raises(UserError, match=r"blue.png and .*red.png\), and in .*twice.png two indices have one colour"):
        find_codes([*pairs, (Path("image"), tmp_path / "twice.png")])


@pytest.mark.parametrize("channels", [1, 3])
def test_255_is_ignored_in_one_channel_and_in_three_equal_ones(channels: int, tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    pairs = saved(tmp_path, SAVED["values" if channels == 1 else "three equal channels"], [mask])
    codes = find_codes(pairs)
    assert np.array_equal(read_mask(pairs[0], codes), mask)
    binary = saved(tmp_path / "two", SAVED["values" if channels == 1 else "three equal channels"], [mask // 255 * 255])
    assert read_mask(binary[0], find_codes(binary)).tolist() == [[0, 0, 0, 1]]


def test_grey_colours_with_gaps_stay_colours(tmp_path: Path) -> None:
    pairs = saved(tmp_path, SAVED["three equal channels"], [np.array([[0, 127, 255]], np.uint8)])
    assert read_mask(pairs[0], find_codes(pairs)).tolist() == [[0, 1, 2]]


def test_checkpoints_of_earlier_versions_mean_what_they_did(tmp_path: Path) -> None:
    """Of palettes the indices, and of three equal channels the colours."""
    (pair,) = saved(tmp_path / "palette", SAVED["a palette of another program"], MASKS[:1])
    assert np.array_equal(read_mask(pair, {0: 0, 1: 1, 2: 2, 255: 255}), MASKS[0])
    (pair,) = saved(tmp_path / "grey", SAVED["three equal channels"], [np.array([[0, 1, 255]], np.uint8)])
    old = {colour_code([level] * 3): k for k, level in enumerate((0, 1, 255))}
    assert read_mask(pair, old).tolist() == [[0, 1, 2]]


def numbered(folder: Path, people: Any) -> list[Pair]:
    """Masks with a number for each person."""
    masks = [np.repeat(np.arange(n + 1, dtype=np.uint8), 4).reshape(-1, 4) for n in people]
    return saved(folder, SAVED["values"], masks)


def test_numbers_of_objects_are_told_from_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = numbered(tmp_path, [1, 2, 1, 3, 2, 1, 8, 4])
    with caplog.at_level(logging.INFO):
        codes = find_codes(pairs, tell=True)
    assert set(codes.values()) == {*range(9), 255}
    assert caplog.messages == [
        "5 of the 8 values in the masks beside 0 occur in few of them, as where each object has a number of its own: "
        "if so, give all one class, data.colours={background: 0, object: 1..8}"
    ]
    for colours in ({"background": 0, "person": "1..255"}, {"person": "1..255"}):
        assert class_names(colours) == ["background", "person"]
        assert [read_mask(pair, given_codes(colours)).max() for pair in pairs] == [1] * 8
        assert read_mask(pairs[6], given_codes(colours))[0, 0] == 0
    caplog.clear()
    find_codes(saved(tmp_path / "classes", SAVED["values"]), tell=True)
    assert caplog.messages == []


def test_rare_values_may_be_numbers_of_objects() -> None:
    classes = [{1, 2, 3}, {1, 3}, {2}, {2, 4}] * 5
    assert not numbers_objects(classes)
    assert numbers_objects([{7 * k, 7 * k + 1} for k in range(1, 30)])


def test_values_of_16_bits_may_all_be_one_class(tmp_path: Path) -> None:
    pairs = saved(tmp_path, SAVED["16 bits"], [np.arange(k, k + 200).reshape(4, -1) for k in (0, 900)])
    with pytest.raises(UserError, match=r"have 400 values: if each object has .* one class, data.colours=.*1\.\.65535"):
        find_codes(pairs)
    codes = given_codes({"background": 0, "object": "1..65535", "ignored": 7})
    found = read_mask(pairs[0], codes).flatten().tolist()
    assert found == [0, *[1] * 6, 255, *[1] * 192]


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        ({"a": "3..1", "b": 0}, "a is 3..1, which must be a value from 0 to 65535"),
        ({"a": "1-5", "b": 0}, "a is 1-5, which must be"),
        ({"a": "1..5", "b": "5..9"}, "b is 5..9, and some of these values have a class already"),
        ({"a": 1, "b": 1}, "names 1 different colours, where each of at least 2 classes needs one"),
        ({"a": 0}, "names 1 different colours"),
        ({"a": [255, 0, 0]}, "names 1 different colours"),
        ({"a": [1, 2], "b": 0}, "which must be a value"),
        ({"a": 70000, "b": 0}, "which must be a value"),
        ({"a": "1..255", "ignored": 0}, "names 256 different colours"),
    ],
)
def test_colours_that_mean_nothing_are_refused(colours: Any, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("..", r"\.\.")):
        given_codes(colours)


def test_pixels_of_jpeg_files_have_the_nearest_named_class(tmp_path: Path) -> None:
    mask = np.repeat(np.repeat(MASKS[0], 16, 0), 16, 1)
    coloured, grey = tmp_path / "colour.jpg", tmp_path / "grey.jpg"
    Image.fromarray(COLOURS[mask]).save(coloured, quality=95, subsampling=0)
    Image.fromarray(np.array([0, 128, 255], np.uint8)[mask]).save(grey, quality=95)
    by_colour = given_codes({name: [int(v) for v in colour] for name, colour in zip("abc", COLOURS, strict=True)})
    assert (read_mask((Path("image"), coloured), by_colour) == mask).mean() > 0.99
    assert (read_mask((Path("image"), grey), given_codes({"a": 0, "b": 128, "c": 255})) == mask).mean() > 0.99
