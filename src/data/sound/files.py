"""Sounds in files, and in memory."""

import importlib
import io
import math
import os
import struct
from collections import Counter
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError
from .unfinished import finish

ENDINGS: tuple[str, ...] = (
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64",
    ".rf64", ".sph",
)  # fmt: skip
FULL_SCALE = 2.0**15  # of int16
LEVELS = (2.0**15, 2.0**23, 2.0**31)  # full scale of whole numbers with 16, 24 and 32 bits
LOUD = 8.0  # a peak over full scale, 18 decibels, that only levels of whole numbers have
SEARCHED = 2**22  # samples of a file of floats at most in which its peak is looked for
OPPOSITE = -0.5  # the correlation below which two channels are in opposite phase
# What is done to sounds that are not as most are; the log says it of how many.
TURNED = "have channels in opposite phase, which were turned round before the mean was taken"
SCALED = "are floats at the levels of whole numbers, which were scaled"
CUT_OFF = "are floats with peaks over full scale, which were cut off"
UNFINISHED = "have a header that a recorder did not finish, and were read to their end"

# What some take for sounds and libsndfile does not read, by the bytes at a place.
OTHERS = (
    (4, b"ftyp", "of MPEG-4, as .m4a and .mp4 files are"), (0, b"\x1aE\xdf\xa3", "of Matroska or WebM"),
    (0, b"#!AMR", "of AMR"), (0, b"\x30\x26\xb2\x75", "of Windows Media"),
)  # fmt: skip
ELSEWHERE = "mend it, or move it elsewhere"


def audio(name: str) -> Any:
    """A package of the extra "audio".

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UserError(f'sound needs {name}, which is missing: type pip install "torchatlas[audio]"') from error


def load_sound(
    path: Path, sample_rate: int, samples: int, *, channel: int | None = None, notes: Counter[str] | None = None
) -> tuple[Tensor, int]:
    """The beginning of a sound file: channels are averaged, and another sample rate is converted.

    Channels in opposite phase are turned round, see `mean_of_channels`; floats at the levels of whole numbers are
    scaled, see `full_scale`; a WAV file whose sizes a recorder never wrote is read to its end.

    Args:
        path: a file of a format that libsndfile reads.
        sample_rate: wanted, in hertz.
        samples: of the result at most; the rest of the file is not read.
        channel: the one that is heard, from 0; None: their mean.
        notes: counts what was done, in words.

    Returns:
        int16 of shape `n`, and the file's own sample rate.

    Raises:
        UserError: the file is no readable sound, or holds none; it is named.
    """
    notes = Counter() if notes is None else notes
    channels, rate, scale = _decode(path, sample_rate, samples, notes)
    if len(channels) == 0:
        raise UserError(f"{path} is a sound of length zero: {ELSEWHERE}")
    if not np.isfinite(channels).all():
        raise UserError(f"{path} holds values that are no numbers: {ELSEWHERE}")
    if scale != 1:
        channels = channels / np.float32(scale)
        notes[SCALED] += 1
    if channel is None:
        wave = mean_of_channels(channels, notes)
    elif channel < channels.shape[1]:
        wave = torch.from_numpy(channels[:, channel].copy())
    else:
        raise UserError(
            f"{path} has {channels.shape[1]} channels, and data.channel={channel} asks for another: use a number under "
            "that, or data.channel=null for the mean"
        )
    if rate != sample_rate:
        # Small terms keep the filter short: of rates without a common divisor it would fill the memory.
        ratio = Fraction(sample_rate, rate).limit_denominator(1000)
        wave = audio("torchaudio").functional.resample(wave, ratio.denominator, max(ratio.numerator, 1))
    wave = (wave[:samples] * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1)
    return wave.to(torch.int16), rate


def _decode(
    path: Path, sample_rate: int, samples: int, notes: Counter[str]
) -> tuple[NDArray[np.float32], int, float]:  # fmt: skip
    """What a file has: its channels `n c`, its sample rate, and its full scale."""
    soundfile = audio("soundfile")
    failures = (soundfile.SoundFileError, OSError, ValueError, TypeError, struct.error)

    def read(source: Path | io.BytesIO) -> tuple[NDArray[np.float32], int, float]:
        with soundfile.SoundFile(source) as file:
            rate: int = file.samplerate
            channels = file.read(_reach(samples, sample_rate, rate), dtype="float32", always_2d=True)
            scale = full_scale(channels, file, notes) if file.subtype in ("FLOAT", "DOUBLE") else 1.0
        return channels, rate, scale

    try:
        try:
            found = read(path)
        except failures:
            if (finished := finish(path, partial(_reach, samples, sample_rate))) is None:
                raise
        else:
            if len(found[0]) or (finished := finish(path, partial(_reach, samples, sample_rate))) is None:
                return found
        notes[UNFINISHED] += 1
        return read(finished)
    except failures as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> UserError:
    if kind := content_of(path):
        return UserError(
            f"{path} is {kind}, which libsndfile cannot read: convert it, as ffmpeg does, or move it elsewhere"
        )
    if path.is_file() and not path.stat().st_size:
        reason = "it is empty"
    else:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return UserError(f"{path} cannot be read as a sound ({reason.rstrip('.')}): {ELSEWHERE}")


def content_of(path: Path) -> str:
    """What a file is that some take for a sound, and libsndfile does not read; or nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return ""
    return next((kind for place, begin, kind in OTHERS if head[place:].startswith(begin)), "")


def _reach(samples: int, sample_rate: int, rate: int) -> int:
    """Samples at a file's own rate that are needed; the resampling filter looks a little ahead."""
    return math.ceil(samples * rate / sample_rate) + rate // 100 + 1


def full_scale(channels: NDArray[np.float32], file: Any, notes: Counter[str]) -> float:
    """The level that stands for full scale in a file of floats: 1, or that of the whole numbers which it holds.

    Programs that turn whole numbers into floats without dividing them give levels up to 32768. They are told from a
    peak over `LOUD`, for which more of the file is read; or from whole numbers alone, in a recording that is quiet.

    Args:
        channels: the samples that were read, `n c`.
        file: from which the next ones can be read.
        notes: counts files whose peaks are cut off.
    """
    here = peak = float(np.abs(channels).max(initial=0))
    for part in file.blocks(2**16, frames=SEARCHED, dtype="float32", always_2d=True) if peak <= LOUD else ():
        peak = max(peak, float(np.abs(part).max(initial=0)))
        if peak > LOUD:
            break
    if peak > LOUD:
        return next((level for level in LEVELS if peak <= level), LEVELS[-1])
    if peak > 1 and bool((channels == channels.round()).all()):
        return LEVELS[0]
    if here > 1:
        notes[CUT_OFF] += 1
    return 1.0


def mean_of_channels(channels: NDArray[np.float32], notes: Counter[str]) -> Tensor:
    """The mean of `n c`; channels in opposite phase to the loudest are turned round, so that they do not cancel out.

    That is so of a microphone that was wired the wrong way round, and of the two ends of a balanced line.
    """
    wave = torch.from_numpy(channels)
    if channels.shape[1] > 1:
        centred = channels - channels.mean(0)
        products = centred.T @ centred
        power, loudest = products.diagonal(), int(products.diagonal().argmax())
        opposite = products[loudest] < OPPOSITE * np.sqrt(power * power[loudest])
        if opposite.any():
            notes[TURNED] += 1
            signs = np.where(opposite == opposite[0], 1, -1)  # the first channel stays as it is
            wave = wave * torch.from_numpy(signs)
    return wave.mean(1, dtype=torch.float32)


class SoundFiles:
    """Batches of waveforms, read from files when asked for.

    Args:
        folder: to which the names are relative.
        names: the files, as one array of bytes: workers share its memory.
        labels: int64 of shape `n`.
        sample_rate, samples, channel: see `load_sound`.

    Attributes:
        other_rates: sample rates that had to be converted in this process, with the number of files.
        notes: what else was done in this process, in words, with the number of files.
    """

    again = True

    def __init__(
        self, folder: Path, names: NDArray[np.bytes_], labels: Tensor, sample_rate: int, samples: int,
        channel: int | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.names, self.labels = folder, names, labels
        self.sample_rate, self.samples, self.channel = sample_rate, samples, channel
        self.other_rates: Counter[int] = Counter()
        self.notes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        """Int16 `b n`, zero behind; lengths in samples; labels; the indices and the epoch."""
        epoch, indices = key
        waves = torch.zeros(len(indices), self.samples, dtype=torch.int16)
        lengths = torch.zeros(len(indices), dtype=torch.int64)
        rates, notes = Counter[int](), Counter[str]()
        places = indices % len(self)
        for i, name in enumerate(self.names[places.numpy()]):
            path = self.folder / os.fsdecode(name)
            wave, rate = load_sound(path, self.sample_rate, self.samples, channel=self.channel, notes=notes)
            waves[i, : len(wave)], lengths[i] = wave, len(wave)
            rates[rate] += 1
        del rates[self.sample_rate]
        self.other_rates.update(rates)
        self.notes.update(notes)
        return waves, lengths, self.labels[places], indices, epoch


class InMemorySounds:
    """The same batches as `SoundFiles`, from waveforms in memory."""

    again = True

    def __init__(self, waves: Tensor, lengths: Tensor, labels: Tensor) -> None:
        self.waves, self.lengths, self.labels = waves, lengths, labels

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        places = indices % len(self)
        return self.waves[places], self.lengths[places], self.labels[places], indices, epoch


def describe_rates(rates: Counter[int]) -> str:
    """«44100», «8000 and 44100», or of more than three the lowest and the highest: «8000 to 48000»."""
    found = sorted(rates)
    return f"{found[0]} to {found[-1]}" if len(found) > 3 else " and ".join(map(str, found))
