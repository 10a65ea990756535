"""One reader of pixels: what a file shows, whoever asks, be it training, evaluation or a command on a user's files."""

import logging
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, UnidentifiedImageError
from PIL.Image import Transpose

from ...errors import UserError

log = logging.getLogger(__name__)
Ground = tuple[int, int, int]
WHITE: Ground = (255, 255, 255)
MODES = {1: "L", 3: "RGB"}  # Pillow's names
MOST_PIXELS = 2**30  # of an image, which are 3 GB in colour; Pillow itself stops at a sixth of that
ORIENTATION = 0x0112  # the key of EXIF
# By the values of EXIF that are not 1, "as stored".
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# What Pillow raises of bytes that are not as they should be; torn GIF and AVIF files give the last three.
BROKEN_NOTES = (
    SyntaxError, ValueError, KeyError, TypeError, EOFError, OSError, struct.error, zlib.error, AttributeError,
    IndexError, RuntimeError,
)  # fmt: skip
BROKEN_FILES = (*BROKEN_NOTES, MemoryError, OverflowError, Image.DecompressionBombError)
DARK = 4096  # levels of 12 bits, which many cameras and scanners write into 16 without scaling them
SAID = {
    "turned": "{} turned as the camera has noted",
    "broken": "{} with a broken note of the camera, left as stored",
    "transparent": "{} with transparent places, laid over {ground} (data.ground)",
    "deep": "{} of 16 bits or of numbers from 0 to 1, scaled to 8 bits",
    "dark": "{} of 16 bits with no level over 4095, nearly black so: if they have 8 or 12 bits, save them scaled",
    "several": "{} of several frames or pages, the first taken",
}


def ground_of(given: str | int | Sequence[int] | None) -> Ground | None:
    """The colour that `data.ground` names: a word, "#rrggbb", a level of grey, or three levels; None stays None.

    Raises:
        UserError: it is none of them.

    >>> ground_of("white"), ground_of("#102030"), ground_of(0), ground_of([1, 2, 3])
    ((255, 255, 255), (16, 32, 48), (0, 0, 0), (1, 2, 3))
    """
    if given is None:
        return None
    try:
        if isinstance(given, str):
            given = ImageColor.getrgb(given)[:3]
        levels = [given] * 3 if isinstance(given, int) else list(given)
        if len(levels) == 3 and all(type(level) is int and 0 <= level <= 255 for level in levels):
            return levels[0], levels[1], levels[2]
    except (TypeError, ValueError):
        pass
    raise UserError(
        f"data.ground={given} is no colour: use white, black, #RRGGBB or [red,green,blue] from 0 to 255, or null to "
        "leave transparency out"
    )


@contextmanager
def unlimited() -> Iterator[None]:
    """Pillow's own limit of pixels is lifted: `MOST_PIXELS` is ours."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def has_several(image: Image.Image) -> bool:
    """Whether an image that is not read yet has more frames or pages than one; the small pictures of MPO do not count.

    A second frame that is torn is one, too, and the first can still be read.
    """
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except BROKEN_NOTES:
        return True


def orientation_of(image: Image.Image) -> int | None:
    """How the camera was held, from 1 (as stored) to 8; None where its note cannot be read."""
    try:
        notes = image.getexif()
        if not notes and image.info.get("exif"):  # Pillow has given up on it
            return None
        value = notes.get(ORIENTATION, 1)
    except BROKEN_NOTES:
        return None
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@dataclass(frozen=True)
class PixelReader:
    """How files become pixels; it counts in how many there was something to say.

    Photographs are turned as people see them, by all eight orientations of EXIF (JEITA CP-3451, section 4.6.4). Levels
    of 16 bits are divided by 257, so that white stays white; floating-point numbers are from 0, black, to 1, white. Of
    an animation the first frame counts.

    Attributes:
        ground: the colour that is seen through transparent places; None: transparency is left out, and what is stored
            under it is seen.
        upright: whether photographs are turned; checkpoints of earlier versions may have been trained without.
        found: files by what there was to say.
    """

    ground: Ground | None = WHITE
    upright: bool = True
    found: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    @unlimited()
    def open(
        self, path: Path, shrink: Callable[[int, int], int] | None = None, *, upright: bool | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        """A file's image, decoded and turned, in whatever mode it is stored.

        Args:
            path: the file.
            shrink: of width and height, by how much smaller than that a JPEG file may be decoded: 1, 2, 4 or 8.
            upright: whether it is turned; None: as all.

        Returns:
            The image, and its width and height in the file, turned.

        Raises:
            UserError: it is no readable image, or has more than `MOST_PIXELS`.
        """
        upright = self.upright if upright is None else upright
        found = Counter(files=1)
        try:
            # By its name Pillow maps a grey TIFF file into memory, and those that lie on their side come out wrong.
            with (
                warnings.catch_warnings(action="ignore"),  # of other notes
                path.open("rb") as opened,
                Image.open(opened) as image,
            ):
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise UserError(
                        f"{path} has {width}x{height} pixels, and at most {MOST_PIXELS / 1e6:.0f} million can be read "
                        "at once: cut it into parts, or save it smaller"
                    )
                found["several"] += has_several(image)
                if shrink is not None and image.format in ("JPEG", "MPO"):
                    scale = shrink(*_turned_size(image.size, orientation_of(image) if upright else 1))
                    if scale > 1:
                        image.draft(None, (width // scale, height // scale))
                noted = getattr(image, "tag_v2", {}).get(ORIENTATION)
                image.load()  # a PNG file has its note behind the pixels; Pillow itself turns TIFF files
                orientation = orientation_of(image) if upright else 1
                found["broken"] += orientation is None
                found["turned"] += orientation in TURNS or noted in TURNS
                turned = image.transpose(TURNS[orientation]) if orientation in TURNS else image
                turned.format = image.format
                self.found.update(found)
                return turned, _turned_size((width, height), orientation)
        except UserError:
            raise
        except BROKEN_FILES as error:
            raise UserError(
                f"{path} cannot be read as an image ({_reason(error, path)}): mend it, or move it elsewhere"
            ) from error

    def read(
        self, path: Path, shrink: Callable[[int, int], int] | None = None, *, upright: bool | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        """As `open`, with 8 bits a channel.

        Raises:
            UserError: as of `open`; or whole numbers or floating-point numbers of which nobody says what is white.
        """
        image, size = self.open(path, shrink, upright=upright)
        if image.mode.startswith(("I", "F")):  # Pillow would cut their levels off at 255
            self.found["deep"] += 1
            self.found["dark"] += image.mode != "F" and 0 < np.asarray(image).max() < DARK
            image = of_8_bits(image, path)
        return image, size

    def colours(self, image: Image.Image, in_channels: int) -> Image.Image:
        """An image of `read`, or a part of it, as grey (1) or colour (3), laid over the ground."""
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if self.ground is not None and np.asarray(image.getchannel("A")).min() < 255:
                self.found["transparent"] += 1
                image = Image.alpha_composite(Image.new("RGBA", image.size, (*self.ground, 255)), image)
        mode = MODES[in_channels]
        return image if image.mode == mode else image.convert(mode)

    @contextmanager
    def counted_once(self) -> Iterator[None]:
        """Files are not counted that are read with others of which one cannot be read: they will be read again."""
        before = self.found.copy()
        try:
            yield
        except UserError:
            self.found.clear()
            self.found.update(before)
            raise

    def tell(self, level: int = logging.INFO) -> None:
        """Say in one line what was done to how many files since the last time, if anything was.

        Args:
            level: of the log; of a user's files a warning, which commands without a log of their own show.
        """
        files = self.found.pop("files", 0)
        ground = ",".join(map(str, self.ground or ()))
        ground = {"255,255,255": "white", "0,0,0": "black"}.get(ground, ground)
        lines = [line.format(self.found[key], ground=ground) for key, line in SAID.items() if self.found[key]]
        if lines:
            log.log(level, "of %d image files that were read: %s", files, "; ".join(lines))
        self.found.clear()


def _reason(error: BaseException, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known format of images" if path.stat().st_size else "it is empty"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _turned_size(size: tuple[int, int], orientation: int | None) -> tuple[int, int]:
    width, height = size
    return (height, width) if (orientation or 1) >= 5 else (width, height)


def of_8_bits(image: Image.Image, path: Path | str) -> Image.Image:
    """Levels of 16 bits divided by 257, floating-point numbers from 0 to 1 times 255, both rounded."""
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    if image.mode == "F":
        if not 0 <= low <= high <= 1:  # nor are there any that are no numbers
            raise UserError(
                f"{path} has numbers from {low:g} to {high:g}, and floating-point images are read from 0 (black) to 1 "
                "(white): scale it, or save it with 8 or 16 bits"
            )
        return Image.fromarray(np.rint(levels * 255).astype(np.uint8))
    # Of 32 bits nobody uses all; levels that fit into 8 bits may be meant as these.
    if image.mode == "I" and not (0 <= low <= high <= 65535 and (high > 255 or high == 0)):
        raise UserError(
            f"{path} has whole numbers of 32 bits from {low} to {high}, and which of them is white is not known: save "
            "it with 8 or 16 bits"
        )
    grey = Image.fromarray(((levels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return grey
