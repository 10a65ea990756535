"""Spoken digits: splits, files, download."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.sound import LOGMEL, RATE, tone

from torchatlas.data.sound.fsdd import FSDD
from torchatlas.errors import UserError


def write(path: Path, hertz: float, seconds: float = 0.02, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hertz, seconds, rate), rate)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 3,000 names, with a tone of each digit."""
    root = tmp_path_factory.mktemp("digits")
    folder = root / "fsdd" / "recordings"
    for k in range(10):
        write(folder / "one.wav", 200 + 100 * k)
        content = (folder / "one.wav").read_bytes()
        for speaker in ("george", "jackson", "lucas", "nicolas", "theo", "yweweler"):
            for take in range(50):
                (folder / f"{k}_{speaker}_{take}.wav").write_bytes(content)
    (folder / "one.wav").unlink()
    return root


def fsdd(root: Path, **options: Any) -> FSDD:
    small = {**LOGMEL, "seconds": 0.1}
    data = FSDD(num_classes=10, root=str(root), **{**small, **options})
    data.prepare_data()
    return data


def test_fsdd_splits(recordings: Path) -> None:
    def names(**options: Any) -> dict[str, list[str]]:
        _, files = fsdd(recordings, **options).list_files()
        for found, labels in files.values():
            assert [int(name[:1]) for name in found.tolist()] == labels.tolist()
        return {split: [name.decode() for name in found.tolist()] for split, (found, _) in files.items()}

    mixed = names()
    assert {split: len(found) for split, found in mixed.items()} == {"train": 2400, "val": 300, "test": 300}
    assert len({name for found in mixed.values() for name in found}) == 3000
    takes = {split: {int(name.split("_")[2][:-4]) for name in found} for split, found in mixed.items()}
    assert takes == {"test": set(range(5)), "val": set(range(5, 10)), "train": set(range(10, 50))}
    apart = names(held_out_speaker="theo")
    assert {split: len(found) for split, found in apart.items()} == {"train": 2250, "val": 250, "test": 500}
    speakers = {split: {name.split("_")[1] for name in found} for split, found in apart.items()}
    assert speakers["test"] == {"theo"}
    assert "theo" not in speakers["train"] | speakers["val"]


def test_fsdd_reads_the_right_files(recordings: Path) -> None:
    data = fsdd(recordings)
    data.setup()
    waves, lengths, labels, *_ = data.splits["test"][-1, torch.arange(0, 300, 30)]
    assert labels.tolist() == list(range(10))
    assert lengths.tolist() == [160] * 10
    for k, wave in enumerate(waves):
        np.testing.assert_allclose(wave[:160].numpy(), 2**15 * tone(200 + 100 * k, 0.02), atol=1)


def test_fsdd_download(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr("torchatlas.data.sound.fsdd.TAKES", 6)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in fsdd(recordings).names():
            path = recordings / "fsdd" / "recordings" / name
            archive.write(path, f"free-spoken-digit-dataset-1.0.10/recordings/{name}")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(content.replace(b"RIFF", b"RIFX", 1))
    (tmp_path / "cut.zip").write_bytes(content[:-1000])
    urls = [(tmp_path / f"{name}.zip").as_uri() for name in ("missing", "cut", "damaged", "a")]
    monkeypatch.setattr(FSDD, "addresses", tuple(urls[:3]))
    with pytest.raises(UserError, match=r"missing\.zip.*cut\.zip.*damaged\.zip.*data\.root=FOLDER"):
        fsdd(tmp_path / "new")
    assert not (tmp_path / "new" / "fsdd" / "recordings").exists()
    monkeypatch.setattr(FSDD, "addresses", tuple(urls))
    data = fsdd(tmp_path / "new")
    assert "have changed" in caplog.text  # made files are not the published ones
    assert [p.name for p in (tmp_path / "new" / "fsdd").iterdir()] == ["recordings"]
    assert len(list(data.folder.iterdir())) == 360
    (data.folder / "3_theo_5.wav").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of the 360 recordings, as 3_theo_5\.wav"):
        fsdd(tmp_path / "new").list_files()
