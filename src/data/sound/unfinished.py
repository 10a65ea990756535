"""Sound files whose recorder never wrote how long they are: one that loses its power leaves all samples, and no sizes.

So does one that writes to a pipe; of CAF files the size -1 is allowed for that, see Apple's specification. libsndfile
refuses such files, or finds nothing in them. Here they get the sizes that they have.
"""

import bisect
import importlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HEADER = 2**16  # bytes in which the samples of a file begin
UNKNOWN = 2**32 - 1  # a size of 32 bits that is not known


# By the number of the encoding in AU files the bytes of a sample.
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
Parts = dict[bytes, tuple[int, int]]  # by their names the place and the size of their contents


class Unfinished(NamedTuple):
    """A file without sizes.

    Attributes:
        start: where the samples begin.
        rate: of the samples, in hertz.
        align: bytes of a sample of all channels.
        header: what is to stand before so many bytes of samples.
    """

    start: int
    rate: int
    align: int
    header: Callable[[int], bytes]


def finish(path: Path, reach: Callable[[int], int]) -> io.BytesIO | None:
    """The beginning of a file whose sizes were not written, with those that are right; None of any other file.

    Args:
        path: the file.
        reach: by its sample rate, the number of samples that are needed.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
        if head.startswith(b"fLaC") and len(head) > 26 and head[21] & 15 == 0 and not any(head[22:26]):
            return _flac(head + file.read())
        found = next((read(head) for begin, read in KINDS if head.startswith(begin)), None)
        if found is None or found.align < 1:
            return None
        file.seek(found.start)
        data = file.read(reach(found.rate) * found.align)
    data = data[: len(data) // found.align * found.align]
    return io.BytesIO(found.header(len(data)) + data) if data else None


def _parts(head: bytes, place: int, form: str, last: bytes) -> Parts:
    """The parts of a file up to the one called `last`; nothing where that is not there.

    Args:
        head: the beginning of the file.
        place: of the first part.
        form: of a name and a size, see `struct`; with sizes of 32 bits, parts of odd size have a byte behind them.
        last: the name of the part with the samples.
    """
    found: Parts = {}
    while place + struct.calcsize(form) <= len(head):
        name, size = struct.unpack_from(form, head, place)
        place += struct.calcsize(form)
        found[name] = place, size
        if name == last:
            return found
        place += max(size, 0) + (size % 2 if form[-1] == "I" else 0)
    return {}


def _wav(head: bytes) -> Unfinished | None:
    """Sizes 0 in RIFF; in RF64 those in the part ds64, and beside them 0 or the size that is not known."""
    order = ">" if head[:4] == b"RIFX" else "<"
    parts = _parts(head, 12, order + "4sI", b"data")
    if head[8:12] != b"WAVE" or b"fmt " not in parts:
        return None
    place, size = parts[b"data"]
    large, _ = parts.get(b"ds64", (0, 0))
    if size and not (size == UNKNOWN and large and not any(head[large + 8 : large + 16])):
        return None
    if _is_text(head[place : place + 4]):
        return None
    rate, _, align = struct.unpack_from(order + "IIH", head, parts[b"fmt "][0] + 4)
    kind = b"RIFX" if order == ">" else b"RIFF"
    between = head[8 : place - 4].replace(b"ds64", b"JUNK", 1)  # a part of RIFF files that nobody reads

    def header(length: int) -> bytes:
        whole, part = (struct.pack(order + "I", n) for n in (place - 8 + length, length))
        return kind + whole + between + part

    return Unfinished(place, rate, align, header)


def _aiff(head: bytes) -> Unfinished | None:
    """The size of the samples is that of the two numbers before them, 8; with 0 libsndfile reads to the end."""
    parts = _parts(head, 12, ">4sI", b"SSND")
    if head[8:12] not in (b"AIFF", b"AIFC") or b"COMM" not in parts:
        return None
    place, size = parts[b"SSND"]
    if size > 8 or _is_text(head[place + 8 : place + 12]):
        return None
    channels, _, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", head, parts[b"COMM"][0])
    rate = int(mantissa * 2.0 ** (exponent - 16383 - 63)) if exponent < 16383 + 32 else 0  # of 80 bits
    return Unfinished(
        place + 8, rate, channels * -(-bits // 8), lambda _: head[: place - 4] + bytes(4) + head[place : place + 8]
    )


def _caf(head: bytes) -> Unfinished | None:
    """The size of the samples is -1, 0, or 4, that of the number of edits before them."""
    parts = _parts(head, 8, ">4sq", b"data")
    if b"desc" not in parts:
        return None
    place, size = parts[b"data"]
    if size > 4 or (size >= 0 and _is_text(head[place + 4 : place + 8])):
        return None
    rate, _, _, align = struct.unpack_from(">d4sII", head, parts[b"desc"][0])
    if not 0 < rate < UNKNOWN:
        return None
    before, edits = head[: place - 8], head[place : place + 4]
    return Unfinished(place + 4, int(rate), align, lambda length: before + struct.pack(">q", 4 + length) + edits)


def _au(head: bytes) -> Unfinished | None:
    """The size 0; where it is not known, libsndfile itself reads to the end."""
    if len(head) < 24:
        return None
    start, size, encoding, rate, channels = struct.unpack_from(">5I", head, 4)
    if size or not 24 <= start <= len(head):
        return None
    header = head[:8] + struct.pack(">I", UNKNOWN) + head[12:start]
    return Unfinished(start, rate, WIDTHS.get(encoding, 0) * channels, lambda _: header)


def _flac(content: bytes) -> io.BytesIO | None:
    """A file of a number of samples that is not known, which libsndfile reads but for its last one.

    Only one that is shorter than what is wanted comes here. The largest number that can be read is the right one.
    """
    soundfile = importlib.import_module("soundfile")

    def of(number: int) -> io.BytesIO:
        return io.BytesIO(content[:22] + struct.pack(">I", number) + content[26:])

    def fails(number: int) -> bool:
        try:
            with soundfile.SoundFile(of(number)) as file:
                return len(file.read(number)) < number
        except soundfile.SoundFileError:
            return True

    most = next(power for power in (2**k for k in range(33)) if power == 2**32 or fails(power))
    number = bisect.bisect_left(range(most), True, lo=1, key=fails) - 1
    return of(number) if number else None


KINDS = ((b"RIFF", _wav), (b"RIFX", _wav), (b"RF64", _wav), (b"FORM", _aiff), (b"caff", _caf), (b".snd", _au))


def _is_text(name: bytes) -> bool:
    """Whether the bytes behind an empty part, if there are any, name another part, such as LIST."""
    return not name or (name.isalnum() and name.isascii())
