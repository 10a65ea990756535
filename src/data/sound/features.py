"""What a network gets of waveforms."""

import math
import warnings

import torch
from torch import Tensor

from ...errors import UserError, nearest
from .files import audio

FEATURES = ("waveform", "logmel", "mfcc")
FLOOR = 1e-6  # added to the power in each mel filter before the logarithm; full scale is 1
LOWEST = 20.0  # hertz: the lower end of the first mel filter


class Features:
    """What a network gets of waveforms.

    "waveform": the samples themselves. "logmel": log(M |X|^2 + 1e-6), with X the short-time Fourier transform under a
    Hann window, frames centred at multiples of the hop with zeros from outside, and M triangular filters on the mel
    scale 2595 log10(1 + f / 700) from 20 Hz to half the sample rate. "mfcc": the first coefficients of its orthonormal
    discrete cosine transform (Davis and Mermelstein 1980, IEEE Transactions on Acoustics, Speech, and Signal
    Processing 28(4)).

    Args:
        features: one of the three.
        in_channels: values of a step: 1, `n_mels`, or at most `n_mels` coefficients.
        sample_rate: in hertz.
        seconds: length to which sounds are cut or padded.
        n_mels: mel filters.
        window, hop: length of a frame and distance of two, in milliseconds.

    Attributes:
        samples: of a padded waveform.
        length: steps of what it becomes.

    Raises:
        UserError: numbers that cannot be, or that do not go together.
    """

    def __init__(
        self, *, features: str, in_channels: int, sample_rate: int, seconds: float, n_mels: int, window: float,
        hop: float,
    ) -> None:  # fmt: skip
        if features not in FEATURES:
            raise UserError(f"data.features={features} is unknown{nearest(str(features), list(FEATURES))}")
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int) or sample_rate < 100:
            raise UserError(f"data.sample_rate={sample_rate} must be a whole number of hertz, as in 16000")
        self.samples = round(seconds * sample_rate)
        if self.samples < 1:
            raise UserError(f"data.seconds={seconds} must be positive, as in data.seconds=1.0")
        self.features, self.in_channels, self.sample_rate, self.n_mels = features, in_channels, sample_rate, n_mels
        if features == "waveform":
            self.expect(in_channels == 1, "1")
            self.length = self.samples
            return
        self.window, self.hop = (round(length * sample_rate / 1000) for length in (window, hop))
        if self.window < 2 or self.hop < 1:
            raise UserError(
                f"data.window={window} and data.hop={hop} are milliseconds, and at data.sample_rate={sample_rate} "
                "too few for a sample: use data.window=30 data.hop=10"
            )
        if isinstance(n_mels, bool) or not isinstance(n_mels, int) or n_mels < 1:
            raise UserError(f"data.n_mels={n_mels} must be a positive whole number, as in data.n_mels=40")
        self.fft_size = 2 ** math.ceil(math.log2(2 * self.window))  # twice the window: low mel filters are narrow
        if features == "logmel":
            self.expect(in_channels == n_mels, str(n_mels))
        else:
            self.expect(1 <= in_channels <= n_mels, f"1 to {n_mels}")
        self.length = 1 + self.samples // self.hop
        filters = self.filters(n_mels)
        if not bool((filters.sum(0) > 0).all()):
            fitting = next((n for n in range(n_mels - 1, 0, -1) if bool((self.filters(n).sum(0) > 0).all())), 1)
            raise UserError(
                f"data.n_mels={n_mels} leaves mel filters without a frequency: use data.n_mels={fitting} at most, or a "
                "longer data.window"
            )
        transform = audio("torchaudio").functional.create_dct
        with torch.device("cpu"):
            self._tables = torch.hann_window(self.window), filters, transform(in_channels, n_mels, "ortho")

    def expect(self, fits: bool, right: str) -> None:
        """Hold the declared `in_channels` against the features."""
        if not fits:
            raise UserError(
                f"data.in_channels={self.in_channels} is not the {right} of data.features={self.features}: use "
                f"data.in_channels={right.split()[-1]}"
            )

    def filters(self, number: int) -> Tensor:
        """The mel filters, `frequencies number`."""
        with torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty filters, which become an error of ours
            filters: Tensor = audio("torchaudio").functional.melscale_fbanks(
                self.fft_size // 2 + 1, LOWEST, self.sample_rate / 2, number, self.sample_rate
            )
        return filters

    def __call__(self, waves: Tensor) -> Tensor:
        """Waveforms `b n` with full scale 1 to features `b t c`."""
        if self.features == "waveform":
            return waves[:, :, None]
        if self._tables[0].device != waves.device:
            self._tables = tuple(table.to(waves.device) for table in self._tables)  # type: ignore[assignment]
        window, filters, cosines = self._tables
        power = audio("torchaudio").functional.spectrogram(
            waves, 0, window, self.fft_size, self.hop, self.window, 2.0, False, center=True, pad_mode="constant"
        )
        x: Tensor = (power.transpose(1, 2) @ filters + FLOOR).log()
        return x @ cosines if self.features == "mfcc" else x

    def steps(self, lengths: Tensor) -> Tensor:
        """How many steps waveforms of so many samples become."""
        return lengths if self.features == "waveform" else 1 + lengths // self.hop


def normalize(x: Tensor, steps: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(x - mean) / std of each channel, and 0 behind each sequence's steps.

    Args:
        x: `b t c`.
        steps: int64 of shape `b`.
        mean, std: of shape `c`.
    """
    return ((x - mean) / std).where(real(steps, x.shape[1])[:, :, None], 0.0)


def real(lengths: Tensor, size: int) -> Tensor:
    """Which of `size` places are before each length: bool of shape `b size`."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
