"""Speech Commands."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ...errors import UserError
from ..download import fetch
from ..folders import Files
from .base import SoundData

SIZES = {"train": 84_843, "val": 9_981, "test": 11_005}
LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}


class SpeechCommands(SoundData):
    """105,829 recordings of 35 English words, of a second or less at 16 kHz, by 2,618 people.

    Warden 2018, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209, version
    0.02. The splits are the official ones: `validation_list.txt` (9,981), `testing_list.txt` (11,005), and the others
    train (84,843); no speaker is in two of them. The files lie in torchaudio's layout,
    `root/SpeechCommands/speech_commands_v0.02`. The archive's MD5 is that of torchaudio 0.8.

    Args:
        sound: see `SoundData`.
    """

    classes = (
        "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
        "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
        "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
    )  # fmt: skip
    archive: ClassVar[str] = "speech_commands_v0.02.tar.gz"
    md5: ClassVar[str] = "6b74f3901214cb2c2934e98196829835"
    addresses: ClassVar[tuple[str, ...]] = (
        "http://download.tensorflow.org/data/",
        "https://storage.googleapis.com/download.tensorflow.org/data/",
    )
    sizes: ClassVar[dict[str, int]] = SIZES

    def __init__(self, **sound: Any) -> None:
        super().__init__(**sound)
        if self.num_classes != len(self.classes):
            raise UserError(f"data.num_classes={self.num_classes} of Speech Commands must be {len(self.classes)}")
        self.folder = self.root / "SpeechCommands" / self.archive.removesuffix(".tar.gz")

    def download(self) -> None:
        if self.folder.is_dir():
            return
        packed = fetch([address + self.archive for address in self.addresses], self.root / self.archive, self.md5)
        part = self.folder.with_name(self.folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        with tarfile.open(packed) as archive:
            archive.extractall(part, filter="data")
        part.rename(self.folder)

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        """The official splits; the noises in `_background_noise_` belong to none.

        Raises:
            UserError: files or lists are missing.
        """
        again = f"move the folder {self.folder} elsewhere, and it is unpacked or downloaded anew"
        listed: dict[str, set[str]] = {}
        for split, file in LISTS.items():
            if not (self.folder / file).is_file():
                raise UserError(f"{self.folder / file} is missing: {again}")
            listed[split] = set((self.folder / file).read_text(encoding="utf-8").split())
        found: dict[str, tuple[list[bytes], list[int]]] = {split: ([], []) for split in ("train", "val", "test")}
        for label, word in enumerate(self.classes):
            folder = self.folder / word
            for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
                if not name.endswith(".wav"):
                    continue
                inside = f"{word}/{name}"
                split = next((split for split, names in listed.items() if inside in names), "train")
                found[split][0].append(inside.encode())
                found[split][1].append(label)
        for split, (names, _) in found.items():
            if len(names) != self.sizes[split]:
                raise UserError(f"the {split} split has {len(names)} recordings and not {self.sizes[split]}: {again}")
        return self.folder, {split: (np.array(names), torch.tensor(labels)) for split, (names, labels) in found.items()}
