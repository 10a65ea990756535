"""Sounds with labels: reading, features, augmentation, and what all sound data modules share."""

import importlib
import logging
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...counter import uniform
from ...errors import UserError, nearest
from ..base import SPLIT_SEED, DataModule
from ..loading import BatchDataset
from ..reading import Given, find_files

log = logging.getLogger(__name__)
FEATURES = ("waveform", "logmel", "mfcc")
ENDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")
FULL_SCALE = 2.0**15  # of int16
FLOOR = 1e-6  # added to the power in each mel filter before the logarithm; full scale is 1
LOWEST = 20.0  # hertz: the lower end of the first mel filter
NOISE = 2**18  # samples of the white noise of which each clip gets a part
TIME_SHARE = 0.2  # of a clip, the most that one time mask may cover (p of SpecAugment, section 2)
Files = tuple[NDArray[np.bytes_], Tensor]  # paths relative to a folder, and int64 labels


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


# --- augmentation: waveforms `b n`, zero behind their lengths `b`, in and out


def change_speed(waves: Tensor, lengths: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Play each clip `factors` times as fast, which raises its pitch too.

    Ko, Peddinti, Povey and Khudanpur 2015, "Audio Augmentation for Speech Recognition", Interspeech, with linear
    interpolation between samples.
    """
    n = waves.shape[1]
    place = torch.arange(n, device=waves.device) * factors[:, None]
    left = place.floor()
    one, two = (waves.gather(1, index.long().clamp(max=n - 1)) for index in (left, left + 1))
    lengths = (lengths / factors).floor().long().clamp(1, n)
    return torch.lerp(one, two, place - left) * real(lengths, n), lengths


def move(waves: Tensor, lengths: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Shift each clip by a number of samples: later, with zeros before it, or earlier, without its beginning.

    At least half of a clip stays. What is moved behind the end is cut off.
    """
    n = waves.shape[1]
    by = torch.maximum(by, -(lengths // 2))
    place = torch.arange(n, device=waves.device) - by[:, None]
    moved = waves.gather(1, place.clamp(0, n - 1)) * ((place >= 0) & (place < lengths[:, None]))
    return moved, (lengths + by).clamp(max=n)


def add_noise(waves: Tensor, lengths: Tensor, decibels: Tensor, noise: Tensor) -> Tensor:
    """Add noise `b n` of variance 1 so that each clip has this ratio of its power to that of the noise."""
    power = waves.square().sum(1) / lengths
    scale = (power / 10 ** (decibels / 10)).sqrt()
    return waves + scale[:, None] * noise * real(lengths, waves.shape[1])


def mask_frequencies(x: Tensor, width: int, random: Tensor) -> Tensor:
    """Set neighbouring channels of `b t c` to 0, the mean, see `mask_times`: fewer than `width`, by `random` `b 2`."""
    c = x.shape[2]
    size = (random[:, 0] * min(width, c)).floor()
    start = (random[:, 1] * (c - size + 1)).floor()
    place = torch.arange(c, device=x.device)
    hidden = (place >= start[:, None]) & (place < (start + size)[:, None])
    return x.masked_fill(hidden[:, None], 0.0)


def mask_times(x: Tensor, steps: Tensor, width: int, random: Tensor) -> Tensor:
    """Set neighbouring steps of normalised features to 0, the mean.

    Park et al. 2019, "SpecAugment", arXiv:1904.08779, section 2: the number of steps is uniform from 0 to `width` and
    at most a fifth of the clip (p = 0.2); so is the first of them among those that leave the mask inside the clip.

    Args:
        x: `b t c`.
        steps: of each clip.
        width: T of the paper, exclusive.
        random: numbers in [0, 1) of shape `b 2`.
    """
    size = (random[:, 0] * (TIME_SHARE * steps).clamp(max=width)).floor()
    start = (random[:, 1] * (steps - size + 1)).floor()
    place = torch.arange(x.shape[1], device=x.device)
    hidden = (place >= start[:, None]) & (place < (start + size)[:, None])
    return x.masked_fill(hidden[:, :, None], 0.0)


# --- data


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
        for i, name in enumerate(self.names[indices.numpy()]):
            wave, rate = load_sound(self.folder / os.fsdecode(name), self.sample_rate, self.samples)
            waves[i, : len(wave)], lengths[i] = wave, len(wave)
            if rate != self.sample_rate:
                self.other_rates[rate] += 1
        return waves, lengths, self.labels[indices], indices, epoch


class InMemorySounds:
    """The same batches as `SoundFiles`, from waveforms in memory."""

    def __init__(self, waves: Tensor, lengths: Tensor, labels: Tensor) -> None:
        self.waves, self.lengths, self.labels = waves, lengths, labels

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        epoch, indices = key
        return self.waves[indices], self.lengths[indices], self.labels[indices], indices, epoch


class FeatureValues(TypedDict):
    """What `Features` are made of; see there."""

    features: str
    in_channels: int
    sample_rate: int
    seconds: float
    n_mels: int
    window: float
    hop: float


class SoundDescription(FeatureValues):
    """Sounds with labels.

    Attributes:
        classes: names in the order of the labels.
        mean, std: of each channel of the features, by which inputs are normalised.
    """

    kind: Literal["sound"]
    classes: list[str]
    mean: list[float]
    std: list[float]


class GivenSounds(Given[SoundFiles]):
    """A user's sounds; what is resampled is said when all of them are read."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield from super().__iter__()
        if rates := self.samples.other_rates:
            log.warning(
                "%d sounds of %s Hz were resampled to the %d Hz of training",
                rates.total(), describe_rates(rates), self.samples.sample_rate,
            )  # fmt: skip


class SoundData(DataModule):
    """Labelled sounds, cut or padded to one length; features and augmentation are computed in batches on the device.

    A batch of a task is (x `b t c`, lengths `b` in steps, labels `b`): features normalised by mean and spread of each
    channel over the training split, 0 behind the length. Sets that fit into `memory` are held as int16; larger ones
    are read by the workers in each epoch. A subclass implements `list_files`, and `download` where there is something
    to download.

    Args:
        features, in_channels, sample_rate, seconds, n_mels, window, hop: see `Features`.
        num_classes: number of classes.
        root: folder that has the files, or gets them.
        memory: bytes up to which all waveforms are held in memory.
        speed: training clips are up to this share faster or slower, see `change_speed`; 0: not.
        shift: milliseconds by which they come at most earlier or later, see `move`; 0: not.
        noise: lowest and highest ratio of their power to that of added white noise, in decibels; None: no noise.
        frequency_masks, frequency_width: how many bands of mel filters are hidden, and the width that each stays below.
        time_masks, time_width: how many stretches are hidden, and the milliseconds that each stays below, see
            `mask_times`.
        statistics_samples: clips, evenly spaced, from which mean and spread are computed.
        common: batch size, workers, seed and so on, see `DataModule`.
    """

    tasks = ("classification",)
    endings = ENDINGS
    classes: Sequence[str] = ()

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        features: str = "logmel",
        sample_rate: int = 16000,
        seconds: float = 1.0,
        n_mels: int = 40,
        window: float = 30.0,
        hop: float = 10.0,
        root: str = "data",
        memory: int = 2**30,
        speed: float = 0.0,
        shift: float = 0.0,
        noise: Sequence[float] | None = None,
        frequency_masks: int = 0,
        frequency_width: int = 8,
        time_masks: int = 0,
        time_width: float = 100.0,
        statistics_samples: int = 2000,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.about_features: FeatureValues = {
            "features": features, "in_channels": in_channels, "sample_rate": sample_rate, "seconds": seconds,
            "n_mels": n_mels, "window": window, "hop": hop,
        }  # fmt: skip
        self.features = Features(**self.about_features)
        self.in_channels, self.num_classes, self.sample_rate = in_channels, num_classes, sample_rate
        self.root, self.memory = Path(root).expanduser(), memory
        if not 0 <= speed < 0.5 or shift < 0:
            raise UserError(f"data.speed={speed} must be from 0 to under 0.5, and data.shift={shift} not negative")
        pair = isinstance(noise, list | tuple) and len(noise) == 2 and all(isinstance(v, int | float) for v in noise)
        if noise is not None and not (pair and -math.inf < noise[0] <= noise[1] < math.inf):
            raise UserError(f"data.noise={noise} must be two numbers of decibels, as in data.noise=[10,40]")
        if min(frequency_masks, time_masks) < 0 or frequency_width < 1 or time_width <= 0:
            raise UserError(
                f"data.frequency_masks={frequency_masks} and data.time_masks={time_masks} must not be negative, "
                f"data.frequency_width={frequency_width} and data.time_width={time_width} positive"
            )
        if frequency_masks and features != "logmel":
            raise UserError(
                f"data.frequency_masks={frequency_masks} hides mel filters, which data.features={features} has not: "
                "use data.features=logmel or data.frequency_masks=0"
            )
        self.speed, self.shift, self.noise = speed, shift, noise
        self.frequency_masks, self.frequency_width, self.time_masks = frequency_masks, frequency_width, time_masks
        step = 1 if features == "waveform" else self.features.hop
        self.time_width = max(1, round(time_width * sample_rate / 1000 / step))
        self.statistics_samples = statistics_samples
        self.mean, self.std = [0.0] * in_channels, [1.0] * in_channels
        self.given_statistics = False
        self._noise, self._statistics = torch.empty(0), torch.empty(0)
        if not self.classes:
            self.classes = [str(k) for k in range(num_classes)]

    def download(self) -> None:
        """Make sure that the files are under `root`."""

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        """A folder, and the files of each split relative to it with their labels."""
        raise NotImplementedError

    def prepare_data(self) -> None:
        if not self.fake:
            self.download()

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake:
            self.splits = {name: self.fake_sounds(name) for name in ("train", "val", "test")}
        else:
            self.splits = self.read_splits()
        if not self.given_statistics:
            self.compute_statistics(self.splits["train"])

    def read_splits(self) -> dict[str, BatchDataset]:
        """The splits from files, in memory where they fit into it."""
        folder, files = self.list_files()
        samples = self.features.samples
        found = {n: SoundFiles(folder, *each, self.sample_rate, samples) for n, each in files.items()}
        self.in_memory = 2 * samples * sum(map(len, found.values())) <= self.memory
        if not self.in_memory:
            for dataset in found.values():  # a few of each: the rest is read by the workers, which cannot log
                dataset[-1, torch.linspace(0, len(dataset) - 1, min(len(dataset), 20)).long()]
            self.say_what_is_resampled(found)
            return dict(found)
        self.num_workers = 0
        held = {n: InMemorySounds(*dataset[-1, torch.arange(len(dataset))][:3]) for n, dataset in found.items()}
        self.say_what_is_resampled(found)
        return dict(held)

    def say_what_is_resampled(self, read: dict[str, SoundFiles]) -> None:
        rates = sum((dataset.other_rates for dataset in read.values()), Counter())
        if rates:
            log.info(
                "%d sounds%s of %s Hz were resampled to data.sample_rate=%d",
                rates.total(), "" if self.in_memory else " of those looked at", describe_rates(rates), self.sample_rate,
            )  # fmt: skip

    def fake_sounds(self, split: str) -> InMemorySounds:
        """Tones in noise, from a half to all of the clip long, of which the pitch tells the class."""
        n, samples = self.batch_size * (2 if split == "train" else 1), self.features.samples
        generator = torch.Generator().manual_seed(SPLIT_SEED + ("train", "val", "test").index(split))
        labels = torch.randint(self.num_classes, (n,), generator=generator)
        lengths = torch.randint(-(-samples // 2), samples + 1, (n,), generator=generator)
        turns = 0.04 * 10 ** (labels / max(1, self.num_classes - 1))  # of the tone in a sample
        phase, loudness = torch.rand(2, n, generator=generator)
        angle = 2 * math.pi * (turns[:, None] * torch.arange(samples) + phase[:, None])
        waves = (0.1 + 0.2 * loudness[:, None]) * angle.sin() + 0.02 * torch.randn(n, samples, generator=generator)
        waves = waves * real(lengths, samples)
        return InMemorySounds((FULL_SCALE * waves).round().to(torch.int16), lengths, labels)

    def compute_statistics(self, train: BatchDataset) -> None:
        """Mean and spread of each channel over the steps of (at most `statistics_samples`) training clips."""
        step = -(-len(train) // self.statistics_samples)
        total = torch.zeros(self.in_channels, dtype=torch.float64)
        squares, count = torch.zeros_like(total), 0
        for indices in torch.arange(0, len(train), step).split(128):
            waves, lengths, *_ = train[-1, indices]
            x = self.features(waves.float() / FULL_SCALE)
            values = x[real(self.features.steps(lengths), x.shape[1])].double()
            total += values.sum(0)
            squares += values.square().sum(0)
            count += len(values)
        mean = total / count
        self.mean = mean.tolist()
        self.std = (squares / count - mean**2).clamp(min=1e-8).sqrt().tolist()
        self._statistics = torch.empty(0)
        self.given_statistics = True

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Int16 waveforms, lengths, labels, indices and epoch in; normalised features, steps and labels out.

        Training clips are changed in speed, moved and given noise; then they become features; then parts are hidden.
        """
        waves, lengths, labels, indices, epoch = batch
        waves = waves.float() / FULL_SCALE
        draws = 4 + 2 * (self.frequency_masks + self.time_masks)
        random = uniform(self.seed, epoch, indices, draws) if epoch >= 0 else torch.empty(0, draws)
        if epoch >= 0:
            waves, lengths = self.change(waves, lengths, random)
        x, steps = self.features(waves), self.features.steps(lengths)
        if self._statistics.device != waves.device or not len(self._statistics):
            self._statistics = torch.tensor([self.mean, self.std], device=waves.device)
        x = normalize(x, steps, *self._statistics)
        if epoch >= 0:
            pairs = random[:, 4:].split(2, 1)
            for pair in pairs[: self.frequency_masks]:
                x = mask_frequencies(x, self.frequency_width, pair)
            for pair in pairs[self.frequency_masks : self.frequency_masks + self.time_masks]:
                x = mask_times(x, steps, self.time_width, pair)
        return x, steps, labels

    def change(self, waves: Tensor, lengths: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        """Augment waveforms by numbers in [0, 1) of shape `b 4`: speed, shift, ratio and place of the noise."""
        if self.speed:
            waves, lengths = change_speed(waves, lengths, 1 + self.speed * (2 * random[:, 0] - 1))
        if self.shift:
            furthest = round(self.shift * self.sample_rate / 1000)
            by = (random[:, 1] * (2 * furthest + 1)).long() - furthest
            waves, lengths = move(waves, lengths, by)
        if self.noise is not None:
            low, high = self.noise
            if self._noise.device != waves.device or not len(self._noise):
                generator = torch.Generator().manual_seed(SPLIT_SEED)
                self._noise = torch.randn(NOISE, generator=generator).to(waves.device)
            place = (random[:, 3] * NOISE).long()[:, None] + torch.arange(waves.shape[1], device=waves.device)
            waves = add_noise(waves, lengths, low + (high - low) * random[:, 2], self._noise[place % NOISE])
        return waves, lengths

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        x = torch.randn(batch, self.features.length, self.in_channels)
        return x, torch.full((batch,), self.features.length), torch.randint(self.num_classes, (batch,))

    def read(self, given: str) -> GivenSounds:
        """See `DataModule.read`; of each file the first `seconds` of training are heard."""
        paths = find_files(given, self.endings)
        names, labels = np.array([os.fsencode(path) for path in paths]), torch.zeros(len(paths), dtype=torch.int64)
        files = SoundFiles(Path(), names, labels, self.sample_rate, self.features.samples)
        return GivenSounds([{"file": str(path)} for path in paths], files)

    def describe(self) -> SoundDescription:
        return {
            "kind": "sound",
            "classes": list(self.classes),
            **self.about_features,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run normalises with the statistics of its first start; classes have the names of that."""
        self.mean, self.std = list(state_dict["mean"]), list(state_dict["std"])
        self.classes = list(state_dict["classes"])
        self._statistics = torch.empty(0)
        self.given_statistics = True


def describe_rates(rates: Counter[int]) -> str:
    """«44100», «8000 and 44100», or of more than three the lowest and the highest: «8000 to 48000»."""
    found = sorted(rates)
    return f"{found[0]} to {found[-1]}" if len(found) > 3 else " and ".join(map(str, found))
