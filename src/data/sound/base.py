"""Sounds with labels: what all sound data modules share."""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..base import SPLIT_SEED, DataModule, require_memory
from ..folders import Files
from ..loading import BatchDataset
from ..reading import Given, find_files
from .augment import add_noise, change_speed, mask_frequencies, mask_times, move
from .features import Features, normalize, real
from .files import ENDINGS, FULL_SCALE, InMemorySounds, SoundFiles, describe_rates
from .held import write_sounds

log = logging.getLogger(__name__)
NOISE = 2**18  # samples of the white noise of which each clip gets a part


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
    """A user's sounds; what is resampled or mended is said when all of them are read."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield from super().__iter__()
        self.say()

    def told(self) -> Iterator[tuple[list[dict[str, str]], tuple[Any, ...]]]:
        yield from super().told()
        self.say()

    def say(self) -> None:
        for note, number in self.samples.notes.items():
            log.warning("%d sounds %s", number, note)
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
        channel: of a file the channel that is heard, from 0; None: the mean of all, see `mean_of_channels`.
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
    kind = "sound"
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
        channel: int | None = None,
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
        require_memory(memory)
        self.root, self.memory = Path(root).expanduser(), memory
        if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int) or channel < 0):
            raise UserError(f"data.channel={channel} must be a number from 0, or null for the mean of all channels")
        self.channel = channel
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
            made = {name: vars(self.fake_sounds(name)) for name in ("train", "val", "test")}
            parts = self.in_folds({name: tuple(part.values()) for name, part in made.items()})
            self.splits = {name: InMemorySounds(*part) for name, part in parts.items()}
        else:
            self.splits = self.read_splits()
        if not self.given_statistics:
            self.compute_statistics(self.splits["train"])

    def read_splits(self) -> dict[str, BatchDataset]:
        """The splits from files, in memory where they fit into it."""
        folder, files = self.list_files()
        files = self.in_folds(files)
        self.split_files = {split: (folder, names) for split, (names, _) in files.items()}
        samples = self.features.samples
        found = {n: SoundFiles(folder, *each, self.sample_rate, samples, self.channel) for n, each in files.items()}
        self.in_memory = 2 * samples * sum(map(len, found.values())) <= self.memory
        if not self.in_memory:
            for dataset in found.values():  # a few of each: the rest is read by the workers, which cannot log
                dataset[-1, torch.linspace(0, len(dataset) - 1, min(len(dataset), 20)).long()]
            self.say_what_was_done(found)
            return dict(found)
        self.num_workers = 0
        held = {n: InMemorySounds(*dataset[-1, torch.arange(len(dataset))][:3]) for n, dataset in found.items()}
        self.say_what_was_done(found)
        return dict(held)

    def say_what_was_done(self, read: dict[str, SoundFiles]) -> None:
        rates = sum((dataset.other_rates for dataset in read.values()), Counter())
        of_some = "" if self.in_memory else " of those looked at"
        if rates:
            log.info(
                "%d sounds%s of %s Hz were resampled to data.sample_rate=%d",
                rates.total(), of_some, describe_rates(rates), self.sample_rate,
            )  # fmt: skip
        for note, number in sum((dataset.notes for dataset in read.values()), Counter()).items():
            log.info("%d sounds%s %s", number, of_some, note)

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
        files = SoundFiles(Path(), names, labels, self.sample_rate, self.features.samples, self.channel)
        return GivenSounds([{"file": str(path)} for path in paths], files)

    def as_given(self, values: Sequence[Any], folder: Path) -> tuple[DataModule, Any]:
        write_sounds(values, folder)
        return self, str(folder)

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
