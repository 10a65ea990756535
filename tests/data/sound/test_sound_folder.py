"""A user's folder of sounds."""

import logging
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from helpers.sound import LOGMEL, RATE, make_folder, tone

from torchatlas.data.loading import Loader
from torchatlas.data.sound.sound_folder import SoundFolder
from torchatlas.errors import UserError

# --- data sets, of made files


def write(path: Path, hertz: float, seconds: float = 0.02, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hertz, seconds, rate), rate)


# --- a user's own folder


def sound_folder(root: Path, **options: Any) -> SoundFolder:
    small = {**LOGMEL, "seconds": 0.3, "num_classes": 2, "batch_size": 4, "share": 0.25}
    data = SoundFolder(root=str(root), **{**small, **options})
    data.setup()
    return data


def test_sound_folder(tmp_path: Path, caplog: Any) -> None:
    root = make_folder(tmp_path / "set")
    with caplog.at_level(logging.INFO):
        held = sound_folder(root)
    assert "8 sounds of 16000 Hz were resampled to data.sample_rate=8000" in caplog.text
    on_disk = sound_folder(root, memory=0)
    assert held.in_memory
    assert not on_disk.in_memory
    assert held.classes == ["high", "low"]
    assert sum(map(len, held.splits.values())) == 24
    assert all(2 <= len(held.splits[split]) <= 12 for split in ("val", "test"))
    assert on_disk.mean == pytest.approx(held.mean)
    for split in held.splits:
        for one, two in zip(held.loader(split), on_disk.loader(split), strict=True):
            assert all(map(torch.equal, one[:4], two[:4]))
    order = on_disk.loader("train").sampler
    alone, helped = (list(Loader(on_disk.splits["train"], order, workers)) for workers in (0, 1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(alone, helped, strict=True))


def test_sound_folder_keeps_the_users_splits_and_new_files_move_no_other(tmp_path: Path) -> None:
    def found(root: Path) -> dict[str, set[bytes]]:
        return {s: {w[:n].numpy().tobytes() for w, n in zip(d.waves, d.lengths, strict=True)}
                for s, d in sound_folder(root).splits.items()}  # fmt: skip

    root = make_folder(tmp_path / "set")
    before = found(root)
    write(root / "low" / "another.wav", 333, 0.2)
    after = found(root)
    assert all(before[split] <= after[split] for split in before)
    assert sum(map(len, after.values())) == 25
    for split, clips in (("Training", 8), ("valid", 2), ("test", 3)):
        make_folder(tmp_path / "whole" / split, clips)
    assert {s: len(d) for s, d in sound_folder(tmp_path / "whole").splits.items()} == {"train": 16, "val": 4, "test": 6}


def test_sound_folder_names_what_is_wrong(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set" / "train", 4).parent
    make_folder(root / "val", 1)
    (root / "train" / "low" / "5.mp3").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"5\.mp3 cannot be read as a sound"):
        sound_folder(root)
    (root / "val" / "middle").mkdir()
    with pytest.raises(UserError, match="middle is none of the training classes high, low"):
        sound_folder(root)
    (root / "train" / "middle").mkdir()
    with pytest.raises(UserError, match="middle holds no sound"):
        sound_folder(root, num_classes=3)
    with pytest.raises(UserError, match=r"has 3 classes, not data.num_classes=2"):
        sound_folder(root)
    with pytest.raises(UserError, match="does not exist"):
        sound_folder(root / "nowhere")
    with pytest.raises(UserError, match="too few to cut the val split"):
        sound_folder(make_folder(tmp_path / "few", 1), share=0.001)
