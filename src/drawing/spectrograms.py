"""Spectrograms in a grid."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from .grid import TICKS, small_axes

RANGE = 8.0  # decades of power under the loudest that a spectrogram shows
COLUMNS = 4


def draw_spectrograms(clips: list[Tensor], sample_rate: int, titles: list[str], colours: list[str]) -> Figure:
    """Logarithmic power over seconds and kilohertz, each with its title; eight decades under the loudest.

    Args:
        clips: waveforms of shape `n`.
        sample_rate: in hertz.
        titles, colours: of each.
    """
    window = max(16, sample_rate // 40)  # 25 ms
    hann = torch.hann_window(window)
    figure, grid = small_axes(len(clips), min(COLUMNS, len(clips)), (2.4, 1.9), bottom=0.36)
    for place, clip, title, colour in zip(grid, clips, titles, colours, strict=True):
        stft = torch.stft(
            clip, window, max(1, window // 4), window=hann, center=True, pad_mode="constant", return_complex=True
        )
        power = (stft.abs().square() + 1e-12).log10()
        top = float(power.max())
        extent = (0.0, len(clip) / sample_rate, 0.0, sample_rate / 2000)
        place.imshow(power.numpy(), origin="lower", aspect="auto", extent=extent, vmin=top - RANGE, vmax=top)
        place.set_title(title, fontsize=8, color=colour)
        place.locator_params(nbins=TICKS)
    grid[0].set_xlabel("s", fontsize=7, labelpad=1)
    grid[0].set_ylabel("kHz", fontsize=7, labelpad=1)
    return figure
