"""Sounds that a program has in memory, as the files that hold the same samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import UserError
from .files import audio

KINDS = {"int16": "PCM_16", "int32": "PCM_32", "uint8": "PCM_U8", "float64": "DOUBLE", "float32": "FLOAT"}
MOST_CHANNELS = 64  # the shorter side of an array with fewer is that of the channels
MEANT = "give a pair of samples and sample rate, as in (samples, 16000)"


def write_sounds(values: Sequence[Any], folder: Path) -> None:
    """One WAV file for each sound, without loss, in the order of their names.

    Args:
        values: pairs, see `sound_of`.
        folder: it is there.

    Raises:
        UserError: a value is no sound; its place is said.
    """
    soundfile = audio("soundfile")
    for i, value in enumerate(values):
        samples, rate = sound_of(value, f"input {i}")
        kind = KINDS[str(samples.dtype)]
        samples = samples.astype(np.int16) * np.int16(256) - np.int16(32768) if kind == "PCM_U8" else samples
        soundfile.write(folder / f"{i:08d}.wav", samples, rate, subtype=kind)


def is_sound(value: Any) -> bool:
    """Whether a value is a pair of which one is a sample rate."""
    return isinstance(value, tuple | list) and len(value) == 2 and sum(map(_is_rate, value)) == 1


def sound_of(value: Any, name: str = "the sound") -> tuple[NDArray[Any], int]:
    """The samples of a sound, `n` or `n c`, and its sample rate in hertz.

    Args:
        value: (samples, rate), as librosa, soundfile and torchaudio give it, or (rate, samples), as scipy does. Samples
            are an array or a tensor, `n`, `n c` or `c n`: floats from -1 to 1, int16, int32, or uint8 around 128.
        name: for the message.

    Raises:
        UserError: it is no such pair, or has no samples.

    >>> sound_of((np.zeros((2, 100), "float32"), 8000))[0].shape
    (100, 2)
    """
    if not is_sound(value):
        raise UserError(f"{name} is a {type(value).__name__} without a sample rate: {MEANT}")
    given, rate = value if _is_rate(value[1]) else value[::-1]
    samples = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    samples = samples.astype(np.float32) if samples.dtype == np.float16 else samples
    if str(samples.dtype) not in KINDS or samples.ndim not in (1, 2):
        raise UserError(
            f"{name} has samples of the type {samples.dtype} and the shape {samples.shape}: give floats from -1 to 1 "
            "or int16, for each channel a row"
        )
    if not samples.size or rate < 1:
        raise UserError(f"{name} has {samples.size} samples at {rate} Hz: {MEANT}")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.ndim == 2 and samples.shape[1] > MOST_CHANNELS:
        raise UserError(f"{name} has {samples.shape[1]} channels: give at most {MOST_CHANNELS}, or their mean")
    return samples, int(rate)


def _is_rate(value: Any) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and float(value).is_integer()
