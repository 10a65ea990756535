"""The UCR archive of time series with classes."""

import logging
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import UserError
from ..base import SPLIT_SEED, DataModule
from ..contents import checksum_of_file
from ..download import fetch_checked
from ..splits import sort_labels, stratified
from .ucr_files import ENDINGS, Series, find_file, places, prepare, read_series

log = logging.getLogger(__name__)
OTHER = "name a folder without it with data.root=FOLDER, to which the archive's is downloaded, or rename your own set"
ADDRESSES = (
    "https://timeseriesclassification.com/aeon-toolkit/",
    "https://www.timeseriesclassification.com/ClassificationDownloads/",
)

# Training and test series, classes, and steps of each series (*: they differ), from the archive's own DataSummary.csv.
# Two sets were corrected later and have two numbers.
TABLE = """
ACSF1 100 100 10 1460 Adiac 390 391 37 176 AllGestureWiimoteX 300 700 10 * AllGestureWiimoteY 300 700 10 *
AllGestureWiimoteZ 300 700 10 * ArrowHead 36 175 3 251 BME 30 150 3 128 Beef 30 30 5 470 BeetleFly 20 20 2 512
BirdChicken 20 20 2 512 CBF 30 900 3 128 Car 60 60 4 577 Chinatown 20 343|345 2 24 ChlorineConcentration 467 3840 3 166
CinCECGTorso 40 1380 4 1639 Coffee 28 28 2 286 Computers 250 250 2 720 CricketX 390 390 12 300 CricketY 390 390 12 300
CricketZ 390 390 12 300 Crop 7200 16800 24 46 DiatomSizeReduction 16 306 4 345 DistalPhalanxOutlineAgeGroup 400 139 3 80
DistalPhalanxOutlineCorrect 600 276 2 80 DistalPhalanxTW 400 139 6 80 DodgerLoopDay 78 80 7 288
DodgerLoopGame 20 138 2 288 DodgerLoopWeekend 20 138 2 288 ECG200 100 100 2 96 ECG5000 500 4500 5 140
ECGFiveDays 23 861 2 136 EOGHorizontalSignal 362 362 12 1250 EOGVerticalSignal 362 362 12 1250 Earthquakes 322 139 2 512
ElectricDevices 8926 7711 7 96 EthanolLevel 504 500 4 1751 FaceAll 560 1690 14 131 FaceFour 24 88 4 350
FacesUCR 200 2050 14 131 FiftyWords 450 455 50 270 Fish 175 175 7 463 FordA 3601 1320 2 500 FordB 3636 810 2 500
FreezerRegularTrain 150 2850 2 301 FreezerSmallTrain 28 2850 2 301 Fungi 18 186 18 201 GestureMidAirD1 208 130 26 *
GestureMidAirD2 208 130 26 * GestureMidAirD3 208 130 26 * GesturePebbleZ1 132 172 6 * GesturePebbleZ2 146 158 6 *
GunPoint 50 150 2 150 GunPointAgeSpan 135 316 2 150 GunPointMaleVersusFemale 135 316 2 150
GunPointOldVersusYoung 136 315 2 150 Ham 109 105 2 431 HandOutlines 1000 370 2 2709 Haptics 155 308 5 1092
Herring 64 64 2 512 HouseTwenty 40 119 2 2000 InlineSkate 100 550 7 1882 InsectEPGRegularTrain 62 249 3 601
InsectEPGSmallTrain 17 249 3 601 InsectWingbeatSound 220 1980 11 256 ItalyPowerDemand 67 1029 2 24
LargeKitchenAppliances 375 375 3 720 Lightning2 60 61 2 637 Lightning7 70 73 7 319 Mallat 55 2345 8 1024
Meat 60 60 3 448 MedicalImages 381 760 10 99 MelbournePedestrian 1194|1200 2439|2450 10 24
MiddlePhalanxOutlineAgeGroup 400 154 3 80 MiddlePhalanxOutlineCorrect 600 291 2 80 MiddlePhalanxTW 399 154 6 80
MixedShapesRegularTrain 500 2425 5 1024 MixedShapesSmallTrain 100 2425 5 1024 MoteStrain 20 1252 2 84
NonInvasiveFetalECGThorax1 1800 1965 42 750 NonInvasiveFetalECGThorax2 1800 1965 42 750 OSULeaf 200 242 6 427
OliveOil 30 30 4 570 PLAID 537 537 11 * PhalangesOutlinesCorrect 1800 858 2 80 Phoneme 214 1896 39 1024
PickupGestureWiimoteZ 50 50 10 * PigAirwayPressure 104 208 52 2000 PigArtPressure 104 208 52 2000 PigCVP 104 208 52 2000
Plane 105 105 7 144 PowerCons 180 180 2 144 ProximalPhalanxOutlineAgeGroup 400 205 3 80
ProximalPhalanxOutlineCorrect 600 291 2 80 ProximalPhalanxTW 400 205 6 80 RefrigerationDevices 375 375 3 720
Rock 20 50 4 2844 ScreenType 375 375 3 720 SemgHandGenderCh2 300 600 2 1500 SemgHandMovementCh2 450 450 6 1500
SemgHandSubjectCh2 450 450 5 1500 ShakeGestureWiimoteZ 50 50 10 * ShapeletSim 20 180 2 500 ShapesAll 600 600 60 512
SmallKitchenAppliances 375 375 3 720 SmoothSubspace 150 150 3 15 SonyAIBORobotSurface1 20 601 2 70
SonyAIBORobotSurface2 27 953 2 65 StarLightCurves 1000 8236 3 1024 Strawberry 613 370 2 235 SwedishLeaf 500 625 15 128
Symbols 25 995 6 398 SyntheticControl 300 300 6 60 ToeSegmentation1 40 228 2 277 ToeSegmentation2 36 130 2 343
Trace 100 100 4 275 TwoLeadECG 23 1139 2 82 TwoPatterns 1000 4000 4 128 UMD 36 144 3 150
UWaveGestureLibraryAll 896 3582 8 945 UWaveGestureLibraryX 896 3582 8 315 UWaveGestureLibraryY 896 3582 8 315
UWaveGestureLibraryZ 896 3582 8 315 Wafer 1000 6164 2 152 Wine 57 54 2 234 WordSynonyms 267 638 25 270
Worms 181 77 5 900 WormsTwoClass 181 77 2 900 Yoga 300 3000 2 426
"""


class Facts(NamedTuple):
    """What the archive's summary says of a set.

    Attributes:
        train, test: numbers of series that are right.
        classes: number of classes.
        length: steps of each series; 0: they differ.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    classes: int
    length: int


def _parse(table: str) -> dict[str, Facts]:
    words = table.split()
    return {
        name: Facts(_numbers(train), _numbers(test), int(classes), 0 if length == "*" else int(length))
        for name, train, test, classes, length in zip(*(words[i::5] for i in range(5)), strict=True)
    }


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(map(int, word.split("|")))


ARCHIVE = _parse(TABLE)


class LabelledSeries:
    """Series `t` or `t c` with labels, padded with zeros behind to the longest of a batch where lengths differ."""

    def __init__(self, series: list[Tensor], labels: Tensor, *, variable: bool) -> None:
        self.series, self.labels, self.variable = series, labels, variable

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, ...]:
        _, indices = key
        chosen = [self.series[i] for i in indices.tolist()]
        x = pad_sequence(chosen, batch_first=True)
        x = x[..., None] if x.ndim == 2 else x
        if not self.variable:
            return x, self.labels[indices]
        return x, torch.tensor([len(one) for one in chosen]), self.labels[indices]


class LabelledSeriesDescription(TypedDict):
    """Series with a class each.

    Attributes:
        classes: names in the order of the labels.
        in_channels: values of a step.
        length: steps of each series; 0: they differ; None: nobody has looked.
        normalize: whether each series has mean 0 and standard deviation 1.
    """

    kind: Literal["labelled_series"]
    classes: list[str]
    in_channels: int
    length: int | None
    normalize: bool


class UCR(DataModule):
    """A set of the UCR archive: 128 sets of series with classes, GunPoint, ECG200, FordA and so on; or one like them.

    Dau et al. 2018, "The UCR Time Series Archive", arXiv:1810.07758. Training and test set are the archive's; it has no
    validation set, so a stratified share of the training set is kept for it, always the same one. The files,
    `<name>_TRAIN` and `<name>_TEST` as .tsv, .ts, .txt or .arff, lie in `root/ucr/<name>`, or where `root` is the
    folder of the archive or of all files; so may a set of one's own, or one of the UEA archive, whose series have
    several channels. Sets of the UCR archive are downloaded by name. No checksum is published: the zip file's own are
    verified, and the numbers of series, classes and steps have to be those of the archive's summary.

    Batches: (x `b t c`, labels `b`), or, where lengths differ, (x padded behind, lengths `b`, labels). Missing values
    inside a series lie on a line between their neighbours; missing values at the end of a series of a set whose lengths
    differ are its end, as the archive writes them.

    Args:
        name: of the set, as in the archive.
        num_classes: number of classes; see `declare_num_classes`.
        in_channels: values of a step; see `declare_in_channels`.
        root: folder that has the files, or gets them.
        val_share: of the training series of each class, kept for validation: at least one, never the last one.
        normalize: each channel of a series to mean 0 and standard deviation 1. Most of the archive's are so already; of
            the others level and spread may tell something of the class.
        common: batch size, seed and so on, see `DataModule`. Made data (`fake`): sines with a frequency for each class.

    Raises:
        UserError: an unknown name, damaged files, or numbers that do not fit.
    """

    tasks = ("classification",)

    def __init__(
        self,
        *,
        name: str,
        num_classes: int,
        in_channels: int = 1,
        root: str = "data",
        val_share: float = 0.2,
        normalize: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if Path(name).name != name or name in ("", ".", ".."):
            raise UserError(f"data.name={name} must be the name of a set, as in data.name=GunPoint")
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share} must be between 0 and 1, as in data.val_share=0.2")
        if in_channels < 1 or (name in ARCHIVE and in_channels != 1):
            raise UserError(f"data.in_channels={in_channels} is not the number of values of a step: leave it out")
        if name in ARCHIVE and num_classes != ARCHIVE[name].classes:
            raise UserError(
                f"data.num_classes={num_classes} is not the {ARCHIVE[name].classes} of {name}: leave it out"
            )
        self.set_name, self.num_classes, self.in_channels = name, num_classes, in_channels
        self.root, self.val_share, self.normalize = Path(root).expanduser(), val_share, normalize
        self.classes: list[str] = []
        self.length: int | None = (
            ARCHIVE[name].length if name in ARCHIVE else None
        )  # 0: they differ; None: not known yet

    @classmethod
    def declare_num_classes(cls, name: str, root: str = "data", fake: bool = False) -> int:
        """From the archive's summary, or of a set of one's own from its training file.

        Raises:
            UserError: the archive has no set of that name, and there are no files of it.
        """
        if name in ARCHIVE:
            return ARCHIVE[name].classes
        if fake:
            return 2
        _, labels = read_series(find_file(Path(root).expanduser(), name, "TRAIN", list(ARCHIVE)))
        return len(set(labels))

    @classmethod
    def declare_in_channels(cls, name: str, root: str = "data", fake: bool = False) -> int:
        """One in the archive, or that of a set of one's own from its training file."""
        if name in ARCHIVE or fake:
            return 1
        series, _ = read_series(find_file(Path(root).expanduser(), name, "TRAIN", list(ARCHIVE)))
        return 1 if series[0].ndim == 1 else int(series[0].shape[1])

    @property
    def folder(self) -> Path:
        return self.root / "ucr" / self.set_name

    def prepare_data(self) -> None:
        folders = places(self.root, self.set_name)
        there = all(
            any((folder / self._name(part, ending)).is_file() for folder in folders for ending in ENDINGS)
            for part in ("TRAIN", "TEST")
        )
        if self.fake or there or self.set_name not in ARCHIVE:
            return
        packed = fetch_checked(
            [f"{address}{self.set_name}.zip" for address in ADDRESSES], self.folder / f"{self.set_name}.zip", self.fault
        )
        with zipfile.ZipFile(packed) as archive:
            for member in self._members(archive):
                path = self.folder / PurePosixPath(member).name
                unpacking = path.with_name(path.name + ".part")
                unpacking.write_bytes(archive.read(member))
                unpacking.rename(path)
        packed.unlink()

    def _name(self, part: str, ending: str) -> str:
        return f"{self.set_name}_{part}{ending}"

    def _members(self, archive: zipfile.ZipFile) -> list[str]:
        """The training and the test file in one of the forms; nothing if they are not there."""
        names = {PurePosixPath(member).name: member for member in archive.namelist()}
        for ending in ENDINGS:
            wanted = [self._name(part, ending) for part in ("TRAIN", "TEST")]
            if set(wanted) <= set(names):
                return [names[one] for one in wanted]
        return []

    def fault(self, path: Path) -> str:
        """What is wrong with a zip file, or nothing."""
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return "the zip file is damaged"
                return "" if self._members(archive) else f"the zip file does not hold {self.set_name}"
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
            return "it is no zip file, or a damaged one"

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        if self.fake:
            self.classes = self.classes or [str(k + 1) for k in range(self.num_classes)]
            made = self.fake_splits()
            parts = self.in_folds({split: (part.series, part.labels) for split, part in made.items()})
            variable = made["train"].variable
            self.splits = {split: LabelledSeries(*part, variable=variable) for split, part in parts.items()}
            return
        found = {}
        for part in ("TRAIN", "TEST"):
            path = find_file(self.root, self.set_name, part, list(ARCHIVE))
            found[part] = path, *read_series(path)
        self.classes = self.classes or sort_labels(found["TRAIN"][2])
        self._check(found)
        variable = self.length == 0
        if stage != "test":
            self._tell({part: series for part, (_, series, _) in found.items()}, variable)
        number = {label: k for k, label in enumerate(self.classes)}
        data = {
            part: (
                [prepare(one, variable=variable, normalize=self.normalize) for one in series],
                torch.tensor([number[label] for label in labels]),
            )
            for part, (_, series, labels) in found.items()
        }
        series, labels = data["TRAIN"]
        train, val = stratified(labels, self.val_share)
        if len(val) == 0:
            raise UserError(
                f"{self.set_name} has one training series of each class, so that none can be kept for validation: "
                "choose another set with data.name=NAME"
            )
        cut = {split: ([series[i] for i in places.tolist()], labels[places])
               for split, places in (("train", train), ("val", val))}  # fmt: skip
        parts = self.in_folds({**cut, "test": data["TEST"]})
        self.splits = {split: LabelledSeries(*part, variable=variable) for split, part in parts.items()}

    def _tell(self, found: dict[str, list[Series]], variable: bool) -> None:
        """Say what is filled, and that lengths differ."""
        for part, series in found.items():
            steps = [~np.isnan(one.reshape(len(one), -1)).all(1) for one in series]
            ends = [int(np.flatnonzero(known)[-1]) + 1 for known in steps]
            inside = [np.isnan(one[:end] if variable else one) for one, end in zip(series, ends, strict=True)]
            if gaps := sum(bool(one.any()) for one in inside):
                log.info(
                    "%s: %d of %d series lack %d values, which lie on lines between their neighbours",
                    part, gaps, len(series), sum(int(one.sum()) for one in inside),
                )  # fmt: skip
            if variable:
                log.info("%s: series of %d to %d steps, padded behind in each batch", part, min(ends), max(ends))

    def checksum(self, split: str) -> str:
        """Of the file that it is from."""
        return checksum_of_file(find_file(self.root, self.set_name, "TEST" if split == "test" else "TRAIN"))

    def _check(self, found: dict[str, tuple[Path, list[Series], list[str]]]) -> None:
        """Refuse files that are not what the archive or the config says; find out whether lengths differ."""
        for part, (path, series, labels) in found.items():
            known = ARCHIVE.get(self.set_name)
            right = getattr(known, part.lower(), (len(series),))
            if len(series) not in right:
                raise UserError(
                    f"{path} holds {len(series)} series where the archive has {' or '.join(map(str, right))}: {OTHER}"
                )
            if strange := set(labels) - set(self.classes):
                raise UserError(
                    f"{path} has the label {min(strange)}, which is not one of {', '.join(self.classes[:20])}"
                )
            channels = {1 if one.ndim == 1 else one.shape[1] for one in series}
            if channels != {self.in_channels}:
                raise UserError(f"{path} has {min(channels)} channels, and data.in_channels is {self.in_channels}")
            lengths = {len(one) for one in series}
            if known is not None and known.length and lengths != {known.length}:
                raise UserError(
                    f"{path} has series of {min(lengths)} to {max(lengths)} steps where those of the archive have "
                    f"{known.length}: {OTHER}"
                )
        if len(self.classes) != self.num_classes:
            raise UserError(
                f"{self.set_name} has {len(self.classes)} classes, and data.num_classes is {self.num_classes}"
            )
        if self.length is None:
            everything = [one for _, series, _ in found.values() for one in series]
            lengths = {len(one) for one in everything}
            same = len(lengths) == 1 and not any(np.isnan(one[-1]).all() for one in everything)
            self.length = lengths.pop() if same else 0

    def fake_splits(self) -> dict[str, LabelledSeries]:
        """Sines of random phase with noise; the frequency is that of the class."""
        generator = torch.Generator().manual_seed(SPLIT_SEED)
        length = 64 if self.length is None else self.length

        def make(n: int) -> LabelledSeries:
            labels = torch.arange(n) % self.num_classes
            phase = torch.rand(n, generator=generator)
            lengths = [length or (64 if i % 3 else 40) for i in range(n)]
            series = []
            for i, steps in enumerate(lengths):
                t = torch.arange(steps) / steps
                wave = torch.sin(2 * torch.pi * ((1 + labels[i]) * t + phase[i]))
                noisy = wave + 0.1 * torch.randn(steps, generator=generator)
                if self.in_channels > 1:
                    noisy = noisy[:, None] + 0.1 * torch.randn(steps, self.in_channels, generator=generator)
                series.append(prepare(noisy.double().numpy(), variable=False, normalize=self.normalize))
            return LabelledSeries(series, labels, variable=length == 0)

        return {"train": make(2 * self.batch_size), "val": make(self.batch_size), "test": make(self.batch_size)}

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """Series `b t c`, lengths where they differ, and labels, as they are."""
        return batch

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        """Of 64 steps, where the number is not known before the files are read."""
        x, labels = torch.randn(batch, self.length or 64, self.in_channels), torch.randint(self.num_classes, (batch,))
        return (x, torch.full((batch,), 64), labels) if self.length == 0 else (x, labels)

    def describe(self) -> LabelledSeriesDescription:
        return {
            "kind": "labelled_series",
            "classes": list(self.classes),
            "in_channels": self.in_channels,
            "length": self.length,
            "normalize": self.normalize,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A resumed run numbers the classes as its first start did."""
        self.classes, self.length = list(state_dict["classes"]), state_dict["length"]
