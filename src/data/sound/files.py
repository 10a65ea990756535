"""Sounds in files, and in memory."""

import importlib
import math
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import UserError

ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")
FULL_SCALE = 2.0**15  # of int16


def audio(name: str) -> Any:
    """A package of the extra "audio".

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise UserError(f'sound needs {name}, which is missing: type pip install "torchatlas[audio]"') from error


def load_sound(path: Path, sample_rate: int, samples: int) -> tuple[Tensor, int]:
    """The beginning of a sound file: channels are averaged, and another sample rate is converted.

    Args:
        path: a file of a format that libsndfile reads.
        sample_rate: wanted, in hertz.
        samples: of the result at most; the rest of the file is not read.

    Returns:
        int16 of shape `n`, and the file's own sample rate.

    Raises:
        UserError: the file is no readable sound, or holds none; it is named.
    """
    soundfile = audio("soundfile")
    try:
        with soundfile.SoundFile(path) as file:
            rate: int = file.samplerate
            reach = rate // 100 + 1  # the resampling filter looks a little ahead
            channels = file.read(math.ceil(samples * rate / sample_rate) + reach, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        reason = getattr(error, "error_string", str(error))
        raise UserError(f"{path} cannot be read as a sound ({reason}): mend or delete it") from error
    if len(channels) == 0:
        raise UserError(f"{path} is a sound of length zero: delete it")
    wave = torch.from_numpy(channels).mean(1)
    if not wave.isfinite().all():
        raise UserError(f"{path} holds values that are no numbers: mend or delete it")
    if rate != sample_rate:
        # Small terms keep the filter short: of rates without a common divisor it would fill the memory.
        ratio = Fraction(sample_rate, rate).limit_denominator(1000)
        wave = audio("torchaudio").functional.resample(wave, ratio.denominator, max(ratio.numerator, 1))
    wave = (wave[:samples] * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1)
    return wave.to(torch.int16), rate


class SoundFiles:
    """Batches of waveforms, read from files when asked for.

    Args:
        folder: to which the names are relative.
        names: the files, as one array of bytes: workers share its memory.
        labels: int64 of shape `n`.
        sample_rate, samples: see `load_sound`.

    Attributes:
        other_rates: sample rates that had to be converted in this process, with the number of files.
    """

    again = True

    def __init__(self, folder: Path, names: NDArray[np.bytes_], labels: Tensor, sample_rate: int, samples: int) -> None:
        self.folder, self.names, self.labels = folder, names, labels
        self.sample_rate, self.samples = sample_rate, samples
        self.other_rates: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        """Int16 `b n`, zero behind; lengths in samples; labels; the indices and the epoch."""
        epoch, indices = key
        waves = torch.zeros(len(indices), self.samples, dtype=torch.int16)
        lengths = torch.zeros(len(indices), dtype=torch.int64)
        places = indices % len(self)
        for i, name in enumerate(self.names[places.numpy()]):
            wave, rate = load_sound(self.folder / os.fsdecode(name), self.sample_rate, self.samples)
            waves[i, : len(wave)], lengths[i] = wave, len(wave)
            if rate != self.sample_rate:
                self.other_rates[rate] += 1
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
