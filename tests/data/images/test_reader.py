"""One reader of pixels: files that a person would call the same give the same pixels."""

import io
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Transpose
from sklearn.datasets import load_sample_image

from torchatlas.counter import uniform
from torchatlas.data.images import reader
from torchatlas.data.images.files import DRAWS, load_crop, load_image
from torchatlas.data.images.image_folder import ImageFolder
from torchatlas.data.images.reader import ORIENTATION, PixelReader, ground_of
from torchatlas.errors import UserError

CHINA = load_sample_image("china.jpg")[::4, ::4]  # 160 x 107 pixels
# How a camera stores what people see, by the value that it notes.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def save_turned(path: Path, pixels: Any, orientation: int, **options: Any) -> None:
    """A photograph as a camera stores it that was held in some way."""
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[ORIENTATION] = orientation
    turn = STORED[orientation]
    (image if turn is None else image.transpose(turn)).save(path, exif=exif, **options)


def pixels_of(path: Path, channels: int = 3, made: PixelReader | None = None) -> Any:
    made = made or PixelReader()
    return np.asarray(made.colours(made.read(path)[0], channels))


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_photographs_are_upright_in_training_and_evaluation(orientation: int, ending: str, tmp_path: Path) -> None:
    """The shorter side is scaled, and parts are cut out, after turning."""
    Image.fromarray(CHINA).save(tmp_path / "seen.png")
    path = tmp_path / f"stored.{ending}"
    save_turned(path, CHINA, orientation, **({"lossless": True} if ending == "webp" else {}))
    assert torch.equal(load_image(path, 3, 48, 56), load_image(tmp_path / "seen.png", 3, 48, 56))
    for numbers in uniform(0, 0, torch.arange(4), DRAWS).tolist():
        assert torch.equal(load_crop(path, 3, 24, numbers), load_crop(tmp_path / "seen.png", 3, 24, numbers))
    used = PixelReader()
    assert used.open(path)[1] == (160, 107)
    assert used.found["turned"] == (orientation > 1)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_grey_tiff_files_are_upright(orientation: int, compression: str | None, tmp_path: Path) -> None:
    """Of these Pillow 13.0 garbles such as lie on their side, are not compressed, and are opened by their names."""
    grey = CHINA[..., 0]
    save_turned(tmp_path / "stored.tif", grey, orientation, compression=compression)
    assert np.array_equal(pixels_of(tmp_path / "stored.tif", 1), grey)


def test_a_jpeg_file_that_is_decoded_at_a_fraction_is_upright_too(tmp_path: Path) -> None:
    whole = load_sample_image("china.jpg")
    for orientation in STORED:
        save_turned(tmp_path / f"{orientation}.jpg", whole, orientation, quality=95, subsampling=0)
    for numbers in uniform(0, 0, torch.arange(4), DRAWS).tolist():
        one, *others = (load_crop(tmp_path / f"{k}.jpg", 3, 40, numbers).float() for k in STORED)
        for other in others:
            assert (other - one).abs().mean() < 4  # blocks of eight pixels begin at the other end
        assert (one.flip(1) - one).abs().mean() > 20


def broken_notes() -> dict[str, bytes]:
    entry = b"II*\0\x08\0\0\0\x01\0\x12\x01"
    return {
        "cut": b"MM\0*\0\0\0\x08\0\x01\x01\x12",
        "no header": b"xyz" * 5,
        "short": b"II",
        "zero": entry + b"\x03\0\x01\0\0\0" + bytes(8),
        "nine": entry + b"\x03\0\x01\0\0\0\x09" + bytes(7),
        "many": entry + b"\x03\0\x03\0\0\0\xff" + bytes(7),
        "a word": entry + b"\x02\0\x02\0\0\x006" + bytes(7),
    }


@pytest.mark.parametrize("kind", broken_notes())
def test_a_broken_note_of_the_camera_does_not_stop_the_reading(kind: str, tmp_path: Path) -> None:
    memory, note = io.BytesIO(), b"Exif\0\0" + broken_notes()[kind]
    Image.fromarray(CHINA).save(memory, "jpeg")
    jpeg = memory.getvalue()
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + jpeg[2:])
    used = PixelReader()
    assert np.array_equal(pixels_of(path, made=used), np.asarray(Image.open(memory)))
    assert used.found["turned"] == 0
    assert used.found["broken"] == (kind in ("cut", "no header", "short", "many"))


def transparent_files(folder: Path) -> dict[str, tuple[Path, Any, Any]]:
    """Files with transparent places: the file, its colours and its opacity from 0 to 1."""
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(1, 256, (8, 8), np.uint8), rng.integers(1, 256, (8, 8, 3), np.uint8)
    alpha, index = rng.integers(0, 256, (8, 8), np.uint8), rng.integers(0, 4, (8, 8), np.uint8)
    table = rng.integers(0, 256, (4, 3), np.uint8)
    colour[2], grey[2] = 7, 7
    indexed = Image.fromarray(index)
    indexed.putpalette(table.flatten().tolist())
    deep = grey.astype(np.uint16) * 257
    made: dict[str, tuple[Image.Image, dict[str, Any], Any, Any]] = {
        "rgba.png": (Image.fromarray(np.dstack([colour, alpha])), {}, colour, alpha / 255),
        "la.png": (Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]), {}, grey, alpha / 255),
        "rgb.png": (Image.fromarray(colour), {"transparency": (7, 7, 7)}, colour, (colour != 7).any(-1)),
        "l.png": (Image.fromarray(grey), {"transparency": 7}, grey, grey != 7),
        "deep.png": (Image.fromarray(deep), {"transparency": 7 * 257}, grey, grey != 7),
        "one.png": (indexed, {"transparency": 1}, table[index], index != 1),
        "more.png": (indexed, {"transparency": bytes([255, 0, 128, 255])}, table[index],
                     np.array([1, 0, 128 / 255, 1])[index]),
        "one.gif": (indexed, {"transparency": 1}, table[index], index != 1),
    }  # fmt: skip
    found = {}
    for name, (image, options, colours, opacity) in made.items():
        image.save(folder / name, **options)
        found[name] = (folder / name, colours if colours.ndim == 3 else np.dstack([colours] * 3), opacity)
    return found


@pytest.mark.parametrize(
    "name", ["rgba.png", "la.png", "rgb.png", "l.png", "deep.png", "one.png", "more.png", "one.gif"]
)
@pytest.mark.parametrize("ground", ["white", [200, 10, 90], None])
def test_transparent_places_show_the_ground(ground: Any, name: str, tmp_path: Path) -> None:
    path, colours, opacity = transparent_files(tmp_path)[name]
    used = PixelReader(ground_of(ground))
    if ground is None:
        expected = colours
    else:
        expected = colours * opacity[..., None] + np.array(ground_of(ground)) * (1 - opacity[..., None])
    found = pixels_of(path, 3, used)
    shown = opacity > 0 if ground is None else np.ones((8, 8), dtype=bool)  # GIF need not keep what nobody sees
    assert np.abs(found.astype(int) - expected)[shown].max() <= 1
    assert used.found["transparent"] == (ground is not None)
    grey = pixels_of(path, 1, used)
    assert np.abs(grey - found @ np.array([0.299, 0.587, 0.114])).max() <= 1


def test_depths_and_colour_spaces_with_a_meaning_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / "8.png")
    deep = grey.astype(np.uint16) * 257
    for name in ("16.png", "16.tif", "16.pgm"):
        Image.fromarray(deep).save(tmp_path / name)
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "32.tif")
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "float.tif")
    used = PixelReader()
    for name in ("8.png", "16.png", "16.tif", "16.pgm", "32.tif", "float.tif"):
        assert np.array_equal(pixels_of(tmp_path / name, 1, used), grey), name
    with caplog.at_level(logging.INFO):
        used.tell()
        used.tell()
    assert caplog.messages == [
        "of 6 image files that were read: 5 of 16 bits or of numbers from 0 to 1, scaled to 8 bits"
    ]
    Image.fromarray(grey > 90).save(tmp_path / "1.png")
    assert np.array_equal(pixels_of(tmp_path / "1.png", 1), 255 * (grey > 90))
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert (pixels_of(tmp_path / "cmyk.tif") == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (np.array([[0, 1]], np.float32) * 2, "numbers from 0 to 2, and floating-point images are read from 0"),
        (np.array([[0, np.nan]], np.float32), "numbers from nan to nan"),
        (np.array([[0, 255]], np.int32), "whole numbers of 32 bits from 0 to 255, and which of them is white"),
        (np.array([[-1, 999]], np.int32), "whole numbers of 32 bits from -1 to 999"),
    ],
)
def test_numbers_of_which_nobody_knows_what_is_white_are_refused(levels: Any, said: str, tmp_path: Path) -> None:
    Image.fromarray(levels).save(tmp_path / "image.tif")
    with pytest.raises(UserError, match=rf"image.tif has {said}"):
        load_image(tmp_path / "image.tif", 1, 8)


def test_the_first_frame_of_several_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    used = PixelReader()
    for name in ("moving.png", "moving.gif", "moving.webp", "pages.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert pixels_of(tmp_path / name, made=used)[0, 0, 0] > 240
    assert used.found["several"] == 4


def test_images_over_the_limit_of_pillow_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(CHINA).save(tmp_path / "large.png")
    expected = load_image(tmp_path / "large.png", 3, 32)
    numbers = uniform(0, 0, torch.arange(1), DRAWS).tolist()[0]
    crop = load_crop(tmp_path / "large.png", 3, 90, numbers)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert torch.equal(load_image(tmp_path / "large.png", 3, 32), expected)
    assert torch.equal(load_crop(tmp_path / "large.png", 3, 90, numbers), crop)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(reader, "MOST_PIXELS", 1000)
    with pytest.raises(UserError, match=r"large.png has 160x107 pixels.*: cut it into parts, or save it smaller"):
        load_image(tmp_path / "large.png", 3, 32)


@pytest.mark.parametrize("ground", ["nocolour", 300, [1, 2], [1, 2, 3.5], {"a": 1}, True])
def test_a_ground_that_is_no_colour_is_refused(ground: Any) -> None:
    with pytest.raises(UserError, match="is no colour: use white, black, #RRGGBB"):
        ground_of(ground)


def icons(root: Path) -> None:
    """Discs and crosses in black on nothing, which differ in their opacity alone; one is stored upside down."""
    y, x = np.mgrid[-8:8, -8:8] + 0.5
    for name, shape in (("disc", x**2 + y**2 < 36), ("wedge", (abs(x) < y / 2 + 4))):
        (root / name).mkdir(parents=True)
        pixels = np.zeros((16, 16, 4), np.uint8)
        pixels[..., 3] = 255 * shape
        for i in range(8):
            save_turned(root / name / f"{i}.png", pixels, 3 if i == 0 else 1)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_folder_is_read_as_people_see_it(memory: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    icons(tmp_path / "icons")

    def folder(**options: Any) -> ImageFolder:
        data = ImageFolder(
            root=str(tmp_path / "icons"), in_channels=1, image_size=16, num_classes=2, share=0.2, memory=memory,
            batch_size=2, **options,
        )  # fmt: skip
        return data

    def inputs(data: ImageFolder) -> Any:
        return {name: split[-1, torch.arange(len(split))][0] for name, split in data.splits.items()}

    data = folder()
    with caplog.at_level(logging.INFO):
        data.setup()
    said = [line for line in caplog.messages if "image files" in line]
    assert len(said) == 1
    assert "with transparent places, laid over white (data.ground)" in said[0]
    assert "2 turned as the camera has noted" in said[0]
    images = torch.cat(list(inputs(data).values()))
    assert len(images.flatten(1).unique(dim=0)) == 2
    assert images.flatten(1).max(1).values.eq(255).all()
    about = data.describe()
    assert (about["ground"], about["upright"]) == ([255, 255, 255], True)

    given = next(iter(data.batches(data.read(str(tmp_path / "icons" / "wedge")), "cpu")))[0]
    assert len(given.flatten(1).unique(dim=0)) == 1

    black = folder(ground="black")
    black.load_state_dict(dict(about))  # as the training did, whatever the config says
    black.setup()
    assert all(
        torch.equal(one, other) for one, other in zip(inputs(black).values(), inputs(data).values(), strict=True)
    )

    before: dict[str, Any] = {key: value for key, value in about.items() if key not in ("ground", "upright")}
    old = folder()
    old.load_state_dict(before)
    old.setup()
    assert torch.cat(list(inputs(old).values())).max() == 0
    assert (old.describe()["ground"], old.describe()["upright"]) == (None, False)


def test_the_key_is_in_the_configs(compose: Callable[..., Any], tmp_path: Path) -> None:
    icons(tmp_path)
    for name in ("image_folder", "unlabelled_folder"):
        config = compose(f"model={'mlp' if name == 'image_folder' else 'autoencoder'}", f"data={name}",
                         f"data.root={tmp_path}", "data.ground=[1,2,3]")  # fmt: skip
        assert list(config.data.ground) == [1, 2, 3]


def test_torn_files_of_all_formats_are_refused_in_a_sentence(tmp_path: Path) -> None:
    """Wherever they end; some of Pillow's readers raise what their documentation does not name."""
    image = Image.fromarray(CHINA[:24, :31].copy())
    for name in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF"):
        if name not in Image.registered_extensions().values():
            continue
        buffer = io.BytesIO()
        image.save(buffer, name, **({"save_all": True, "append_images": [image]} if name in ("GIF", "WEBP") else {}))
        whole = buffer.getvalue()
        for length in range(0, len(whole), max(1, len(whole) // 60)):
            (tmp_path / "x").write_bytes(whole[:length])
            said = ""
            try:
                assert load_image(tmp_path / "x", 3, 8).shape == (3, 8, 8)
            except UserError as error:
                said = str(error)
            assert "cannot be read as an image (" in said or length > 100
            assert ("(it is empty)" in said) == (length == 0)
            assert "BufferedReader" not in said


def test_the_first_frame_is_read_though_the_second_is_torn(tmp_path: Path) -> None:
    image = Image.fromarray(CHINA[:24, :31].copy()).convert("P")
    image.save(tmp_path / "one.gif")
    image.save(tmp_path / "two.gif", save_all=True, append_images=[image.transpose(Transpose.ROTATE_180)])
    two = (tmp_path / "two.gif").read_bytes()
    second = two.rindex(b",\0\0\0\0")
    (tmp_path / "torn.gif").write_bytes(two[: second + 9])
    pixels = PixelReader()
    whole = load_image(tmp_path / "one.gif", 3, 16)
    assert torch.equal(load_image(tmp_path / "torn.gif", 3, 16, reader=pixels), whole)
    assert pixels.found["several"] == 1


def test_dark_levels_of_16_bits_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = PixelReader()
    for name, level in (("scaled", 65535), ("twelve", 4095), ("eight", 255), ("black", 0)):
        Image.fromarray(np.full((4, 4), level, np.uint16)).save(tmp_path / f"{name}.png")
        assert load_image(tmp_path / f"{name}.png", 1, 4, reader=pixels).max() == round(level / 257)
    with caplog.at_level(logging.INFO):
        pixels.tell()
    assert "4 of 16 bits or" in caplog.text
    assert "2 of 16 bits with no level over 4095, nearly black so" in caplog.text


def test_files_are_counted_once_though_one_of_them_is_torn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    icons(tmp_path / "icons")
    data = ImageFolder(root=str(tmp_path / "icons"), in_channels=1, image_size=16, num_classes=2, share=0.2)
    (tmp_path / "icons" / "disc" / "5.png").write_bytes(b"torn")
    with caplog.at_level(logging.INFO):
        rows = [about for part, _ in data.told(data.read(str(tmp_path / "icons")), "cpu") for about in part]
    assert len(rows) == 16
    assert "of 15 image files that were read: 2 turned as the camera has noted; 15 with transparent" in caplog.text
