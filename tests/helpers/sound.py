"""Tones, and folders of them."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

RATE = 8000
LOGMEL: dict[str, Any] = {
    "features": "logmel", "in_channels": 40, "sample_rate": RATE, "seconds": 1.0, "n_mels": 40, "window": 30.0,
    "hop": 10.0,
}  # fmt: skip


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# --- a user's own folder


def make_folder(root: Path, clips: int = 12) -> Path:
    """Low and high tones of several rates, formats and lengths."""
    rng = np.random.default_rng(0)
    for name, lowest in (("high", 2000), ("low", 300)):
        for i in range(clips):
            rate, ending = ((RATE, "wav"), (16_000, "flac"), (RATE, "ogg"))[i % 3]
            wave = tone(lowest * rng.uniform(1, 1.5), rng.uniform(0.1, 0.4), rate)
            wave = np.stack([wave, wave], 1) if i % 2 else wave
            (root / name / "deep").mkdir(parents=True, exist_ok=True)
            path = root / name / ("deep" if i % 4 == 0 else "") / f"{i}.{ending}"
            soundfile.write(path, wave + 0.01 * rng.standard_normal(wave.shape), rate)
    return root


def pitch(wave: torch.Tensor, rate: int = RATE) -> float:
    """The loudest frequency, in hertz."""
    spectrum = torch.fft.rfft(wave.double() * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    return float(spectrum.argmax()) * rate / len(wave)
