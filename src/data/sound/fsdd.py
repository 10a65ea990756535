"""The Free Spoken Digit Dataset."""

import hashlib
import logging
import re
import shutil
import zipfile
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ...errors import UserError, nearest
from ..download import download_file
from ..folders import Files
from .base import SoundData

log = logging.getLogger(__name__)
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50
# Of the 3,000 files' contents one after the other, sorted by name.
CONTENT = "2c93442f2c808e24d4d913f6be24d32c"


class FSDD(SoundData):
    """3,000 recordings of the ten digits in English at 8 kHz: 6 speakers, 50 takes of each digit.

    Jackson et al. 2018, github.com/Jakobovski/free-spoken-digit-dataset, version 1.0.10, doi:10.5281/zenodo.1342401.
    Takes 0 to 4 are the official test set (300 recordings); here takes 5 to 9 validate (300) and the others train
    (2,400). The same people speak in all three. With `held_out_speaker` the test set is one speaker (500), of whom
    nothing is trained; of the others takes 5 to 9 validate (250) and all other takes train (2,250).

    The files lie in `root/fsdd/recordings`. Their authors publish no checksum, and GitHub makes the archive anew when
    asked: a download is checked by the archive's own checksums (CRC-32) and by the names of the files, and it is said
    where their contents are not those with which our results were computed.

    Args:
        held_out_speaker: the name of a speaker, or None.
        sound: see `SoundData`.
    """

    classes = tuple("0123456789")
    addresses: ClassVar[tuple[str, ...]] = (
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        "https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/zip/refs/tags/v1.0.10",
    )

    def __init__(self, *, held_out_speaker: str | None = None, **sound: Any) -> None:
        super().__init__(**sound)
        if self.num_classes != 10:
            raise UserError(f"data.num_classes={self.num_classes} of spoken digits must be 10")
        if held_out_speaker is not None and held_out_speaker not in SPEAKERS:
            advice = nearest(str(held_out_speaker), list(SPEAKERS))
            raise UserError(f"data.held_out_speaker={held_out_speaker} is no speaker of the set{advice}")
        self.held_out_speaker = held_out_speaker
        self.folder = self.root / "fsdd" / "recordings"

    def names(self) -> list[str]:
        """The 3,000 files' names, sorted."""
        return sorted(f"{k}_{name}_{take}.wav" for k in range(10) for name in SPEAKERS for take in range(TAKES))

    def download(self) -> None:
        if self.folder.is_dir():
            return
        archive = self.folder.parent / "v1.0.10.zip"
        archive.parent.mkdir(parents=True, exist_ok=True)
        reasons = []
        for url in self.addresses:
            try:
                download_file(url, archive, timeout=20.0)
                self.unpack(archive)
            except (OSError, HTTPException, ValueError, zipfile.BadZipFile) as error:
                reasons.append(f"{url}: {error}")
            else:
                return
            finally:
                archive.unlink(missing_ok=True)
        raise UserError(
            f"the recordings are not in {self.folder} and could not be downloaded ({'; '.join(reasons)}): put them "
            "there, or name the folder that has fsdd/recordings with data.root=FOLDER or TORCHATLAS_DATA"
        )

    def unpack(self, archive: Path) -> None:
        """Take the recordings out of the archive; the folder gets its name when all are there."""
        part = self.folder.with_name("recordings.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        with zipfile.ZipFile(archive) as packed:  # reading a member compares its CRC-32
            inside = {Path(name).name: name for name in packed.namelist() if "/recordings/" in name}
            missing = [name for name in self.names() if name not in inside]
            if missing:
                raise ValueError(f"the archive lacks {len(missing)} recordings, as {missing[0]}")
            digest = hashlib.md5(usedforsecurity=False)
            for name in self.names():
                content = packed.read(inside[name])
                digest.update(content)
                (part / name).write_bytes(content)
        if digest.hexdigest() != CONTENT:
            log.warning("the recordings have changed since our results were computed: accuracies may differ")
        part.rename(self.folder)

    def list_files(self) -> tuple[Path, dict[str, Files]]:
        there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        names = self.names()
        missing = [name for name in names if name not in there]
        if missing:
            raise UserError(
                f"{self.folder} lacks {len(missing)} of the {len(names)} recordings, as {missing[0]}: move the "
                "folder elsewhere, and it is downloaded anew"
            )
        splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for name in names:
            found = re.fullmatch(r"\d_(\w+)_(\d+)\.wav", name)
            assert found is not None
            splits[self.split_of(found[1], int(found[2]))].append(name)
        return self.folder, {
            split: (np.array([name.encode() for name in part]), torch.tensor([int(name[0]) for name in part]))
            for split, part in splits.items()
        }

    def split_of(self, speaker: str, take: int) -> str:
        """Where a recording belongs; see the class."""
        if self.held_out_speaker is None:
            return "test" if take < 5 else "val" if take < 10 else "train"
        if speaker == self.held_out_speaker:
            return "test"
        return "val" if 5 <= take < 10 else "train"
