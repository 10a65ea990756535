"""Speech commands: the lists of its splits."""

import tarfile
from pathlib import Path
from typing import ClassVar

import pytest
import soundfile
from helpers.sound import LOGMEL, RATE, tone

from torchatlas.data.download import md5_of
from torchatlas.data.sound.speech_commands import SpeechCommands
from torchatlas.errors import UserError


def write(path: Path, hertz: float, seconds: float = 0.02, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hertz, seconds, rate), rate)


class FewCommands(SpeechCommands):
    """Ten recordings."""

    sizes: ClassVar[dict[str, int]] = {"train": 6, "val": 2, "test": 2}


def test_speech_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    words = [
        (word, f"{k}_nohash_{i}.wav") for k, word in enumerate(("yes", "no", "bed", "off", "zero")) for i in (0, 1)
    ]
    for word, name in words:
        write(made / word / name, 500, 0.5, 16_000)
    write(made / "_background_noise_" / "hum.wav", 50, 3, 16_000)
    (made / "validation_list.txt").write_text("yes/0_nohash_0.wav\nno/1_nohash_0.wav\n")
    (made / "testing_list.txt").write_text("yes/0_nohash_1.wav\nzero/4_nohash_0.wav\n")
    with tarfile.open(tmp_path / "speech_commands_v0.02.tar.gz", "w:gz") as archive:
        archive.add(made, ".")
    monkeypatch.setattr(FewCommands, "addresses", (tmp_path.as_uri() + "/",))
    monkeypatch.setattr(FewCommands, "md5", md5_of(tmp_path / "speech_commands_v0.02.tar.gz"))
    options = {**LOGMEL, "sample_rate": 16_000, "num_classes": 35, "root": str(tmp_path / "new")}
    data = FewCommands(**options)
    data.prepare_data()
    data.setup()
    _, files = data.list_files()
    found = {split: [name.decode() for name in names.tolist()] for split, (names, _) in files.items()}
    assert found["val"] == ["no/1_nohash_0.wav", "yes/0_nohash_0.wav"]
    assert found["test"] == ["yes/0_nohash_1.wav", "zero/4_nohash_0.wav"]
    assert len(found["train"]) == 6
    assert not any("background" in name for names in found.values() for name in names)
    for split, (names, labels) in files.items():
        assert [data.classes[k] for k in labels] == [name.decode().split("/")[0] for name in names.tolist()], split
    assert SpeechCommands.classes == tuple(sorted(SpeechCommands.classes))
    assert sum(SpeechCommands.sizes.values()) == 105_829  # table in Warden 2018, section 5.9
    (data.folder / "bed" / "2_nohash_0.wav").unlink()
    with pytest.raises(UserError, match="the train split has 5 recordings and not 6: move the folder"):
        FewCommands(**options).list_files()
