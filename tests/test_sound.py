"""Sounds: reading, features, augmentation, the splits of each data set, networks, pictures and predictions."""

import logging
import math
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.fft
import soundfile
import torch
import torch.nn.functional as F
import torchaudio
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.data.download import md5_of
from torchatlas.data.loading import Loader
from torchatlas.data.sound.base import (
    Features,
    add_noise,
    change_speed,
    load_sound,
    mask_frequencies,
    mask_times,
    move,
    real,
)
from torchatlas.data.sound.fsdd import FSDD
from torchatlas.data.sound.sound_folder import SoundFolder
from torchatlas.data.sound.speech_commands import SpeechCommands
from torchatlas.errors import UserError
from torchatlas.predict.sounds import classify_sounds
from torchatlas.run.restore import restore
from torchatlas.zoo import create_model

RATE = 8000
LOGMEL: dict[str, Any] = {
    "features": "logmel", "in_channels": 40, "sample_rate": RATE, "seconds": 1.0, "n_mels": 40, "window": 30.0,
    "hop": 10.0,
}  # fmt: skip


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def pitch(wave: torch.Tensor, rate: int = RATE) -> float:
    """The loudest frequency, in hertz."""
    spectrum = torch.fft.rfft(wave.double() * torch.hann_window(len(wave), dtype=torch.float64)).abs()
    return float(spectrum.argmax()) * rate / len(wave)


# --- files


def test_pcm16_is_read_exactly(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).integers(-(2**15), 2**15, 5000, dtype=np.int16)
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, wave, RATE, subtype="PCM_16")
        read, rate = load_sound(tmp_path / name, RATE, 10_000)
        assert rate == RATE
        assert np.array_equal(read.numpy(), wave)
        assert np.array_equal(load_sound(tmp_path / name, RATE, 1234)[0].numpy(), wave[:1234])


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(500), -0.5 * tone(500)], 1), RATE, subtype="FLOAT")
    read, _ = load_sound(tmp_path / "a.wav", RATE, RATE)
    np.testing.assert_allclose(read.numpy() / 2**15, 0.25 * tone(500), atol=1 / 2**15)


@pytest.mark.parametrize("rate", [4000, 11_025, 44_100, 44_101, 48_000])
def test_another_rate_keeps_pitch_length_and_loudness(rate: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(640, 0.5, rate), rate)
    read, found = load_sound(tmp_path / "a.wav", RATE, RATE)
    assert found == rate
    assert len(read) == pytest.approx(RATE / 2, abs=2)
    assert pitch(read) == pytest.approx(640, abs=3)
    assert float(read.double().std()) / 2**15 == pytest.approx(0.5 / math.sqrt(2), rel=0.02)
    whole, _ = load_sound(tmp_path / "a.wav", RATE, 1000)  # of a file only the beginning is read
    assert len(whole) == 1000
    assert (whole - read[:1000]).abs().max() <= 2


def test_files_that_are_no_sound_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    soundfile.write(tmp_path / "b.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "c.wav", np.array([0.0, math.nan]), RATE, subtype="FLOAT")
    for name, reason in (("a", "cannot be read as a sound"), ("b", "length zero"), ("c", "no numbers")):
        with pytest.raises(UserError, match=rf"{name}\.wav .*{reason}"):
            load_sound(tmp_path / f"{name}.wav", RATE, RATE)
    with pytest.raises(UserError, match=r"none\.wav cannot be read"):
        load_sound(tmp_path / "none.wav", RATE, RATE)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(UserError, match=r'needs torchaudio.*pip install "torchatlas\[audio\]"'):
        Features(**LOGMEL)


# --- features


def test_logmel_is_torchaudios() -> None:
    waves = 0.1 * torch.randn(3, RATE)
    transform = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=512, win_length=240, hop_length=80, f_min=20.0, n_mels=40, pad_mode="constant"
    )
    expected = (transform(waves) + 1e-6).log().transpose(1, 2)
    features = Features(**LOGMEL)
    torch.testing.assert_close(features(waves), expected)
    assert features(waves).shape[1] == features.length == 101


def test_mfcc_is_the_cosine_transform() -> None:
    waves = 0.1 * torch.randn(3, RATE)
    x = Features(**LOGMEL)(waves)
    mfcc = Features(**{**LOGMEL, "features": "mfcc", "in_channels": 13})(waves)
    expected = scipy.fft.dct(x.double().numpy(), norm="ortho")[:, :, :13]
    torch.testing.assert_close(mfcc.double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


def test_a_tone_is_in_its_mel_filter() -> None:
    features = Features(**LOGMEL)
    for hertz in (300, 1000, 3000):
        found = int(features(torch.from_numpy(tone(hertz, 1.0)).float()[None])[0, 50].argmax())
        low, high = (2595 * math.log10(1 + f / 700) for f in (20, RATE / 2))
        expected = (2595 * math.log10(1 + hertz / 700) - low) / (high - low) * 41 - 1
        assert abs(found - expected) <= 1


@pytest.mark.parametrize("kind", ["waveform", "logmel", "mfcc"])
def test_padding_changes_nothing_before_the_length(kind: str) -> None:
    channels = {"waveform": 1, "logmel": 40, "mfcc": 12}[kind]
    long = Features(**{**LOGMEL, "features": kind, "in_channels": channels})
    short = Features(**{**LOGMEL, "features": kind, "in_channels": channels, "seconds": 0.4})
    waves = 0.1 * torch.randn(2, 3200)
    alone, padded = short(waves), long(F.pad(waves, (0, RATE - 3200)))
    assert int(long.steps(torch.tensor(3200))) == short.length == alone.shape[1]
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "logmell"}, "did you mean logmel"),
        ({"in_channels": 1}, r"data.in_channels=1 is not the 40 of data.features=logmel: use data.in_channels=40"),
        ({"features": "waveform"}, r"not the 1 of data.features=waveform: use data.in_channels=1"),
        ({"features": "mfcc", "in_channels": 41}, r"not the 1 to 40 of data.features=mfcc: use data.in_channels=40"),
        ({"seconds": 0}, "must be positive"),
        ({"window": 0.1}, "use data.window=30"),
        ({"n_mels": 200, "in_channels": 200}, r"filters without a frequency: use data.n_mels=191 at most"),
        ({"sample_rate": 8e3}, "whole number of hertz"),
    ],
)
def test_features_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Features(**{**LOGMEL, **change})


# --- augmentation


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([4000, 8000, 2500, 100])
    waves = torch.randn(4, RATE) * real(lengths, RATE)
    return waves, lengths


def test_speed_changes_pitch_and_length() -> None:
    wave = torch.from_numpy(tone(500, 0.5)).float()
    waves = F.pad(wave, (0, RATE - len(wave))).repeat(3, 1)
    factors = torch.tensor([0.8, 1.0, 1.25])
    changed, lengths = change_speed(waves, torch.full((3,), len(wave)), factors)
    assert lengths.tolist() == [5000, 4000, 3200]
    assert torch.equal(changed[1], waves[1])
    for wave, length, hertz in zip(changed, lengths.tolist(), (400, 500, 625), strict=True):
        assert pitch(wave[:length]) == pytest.approx(hertz, abs=3)
        assert float(wave[length:].abs().sum()) == 0


def test_move_is_a_shift_with_zeros() -> None:
    waves, lengths = clips()
    moved, new = move(waves, lengths, torch.tensor([300, 500, -700, -90]))
    assert new.tolist() == [4300, 8000, 1800, 50]  # of the last a half stays
    assert torch.equal(moved[0, 300:4300], waves[0, :4000])
    assert torch.equal(moved[1, 500:], waves[1, :7500])
    assert torch.equal(moved[2, :1800], waves[2, 700:2500])
    assert torch.equal(moved[3, :50], waves[3, 50:100])
    zeros = (moved[0, :300], moved[0, 4300:], moved[1, :500], moved[2, 1800:], moved[3, 50:])
    assert all(float(part.abs().sum()) == 0 for part in zeros)


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    waves, lengths = clips()
    waves, lengths = waves[:3], lengths[:3]
    noisy = add_noise(waves, lengths, torch.tensor([0.0, 10.0, 30.0]), torch.randn(3, RATE))
    for before, after, length, decibels in zip(waves, noisy, lengths.tolist(), (0, 10, 30), strict=True):
        added = after - before
        assert float(added[length:].abs().sum()) == 0
        ratio = before[:length].square().mean() / added[:length].square().mean()
        assert 10 * math.log10(ratio) == pytest.approx(decibels, abs=0.5)


def test_masks_hide_one_stretch_inside_the_clip() -> None:
    b = 4000
    steps = torch.randint(10, 51, (b,))
    x = torch.ones(b, 50, 12) * real(steps, 50)[:, :, None]
    times = mask_times(x, steps, 9, torch.rand(b, 2))
    frequencies = mask_frequencies(x, 5, torch.rand(b, 2))
    hidden = (times[:, :, 0] == 0) & real(steps, 50)
    edges = (hidden[:, 1:] & ~hidden[:, :-1]).sum(1) + hidden[:, 0]
    assert int(edges.max()) == 1
    assert torch.equal(times[:, :, :1].expand(-1, -1, 12), times)  # all channels at once
    sizes = hidden.sum(1)
    assert set(sizes.tolist()) == set(range(9))
    assert bool((sizes <= 0.2 * steps).all())
    assert float((sizes[steps == 50]).float().mean()) == pytest.approx(4, abs=0.7)  # uniform in 0..8
    hidden = frequencies[:, 0] == 0
    assert set(hidden.sum(1).tolist()) == set(range(5))
    assert bool(hidden.any(0).all())  # the mask comes everywhere


AUGMENTED: dict[str, Any] = {
    "speed": 0.1, "shift": 50.0, "noise": [10, 30], "frequency_masks": 2, "frequency_width": 8, "time_masks": 2,
    "time_width": 80.0,
}  # fmt: skip


def fake(**options: Any) -> FSDD:
    data = FSDD(num_classes=10, fake=True, batch_size=16, **{**LOGMEL, **options})
    data.setup()
    return data


@pytest.mark.parametrize("kind", ["waveform", "logmel"])
def test_without_augmentation_training_is_evaluation(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    raw = data.splits["train"][-1, torch.arange(16)]
    for one, two in zip(data.transform(raw), data.transform((*raw[:4], 3)), strict=True):
        assert torch.equal(one, two)


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    data, raw_of = fake(**AUGMENTED), lambda i, epoch: data.splits["train"][epoch, i]
    i = torch.arange(16)
    x, steps, _ = data.transform(raw_of(i, 3))
    part, part_steps, _ = data.transform(raw_of(i[5:8], 3))
    torch.testing.assert_close(part, x[5:8])
    assert torch.equal(part_steps, steps[5:8])
    assert not torch.equal(x, data.transform(raw_of(i, 4))[0])
    assert not torch.equal(x, fake(**AUGMENTED, seed=1).transform(raw_of(i, 3))[0])
    evaluated = data.transform(raw_of(i, -1))[0]
    assert torch.equal(evaluated, fake().transform(raw_of(i, -1))[0])
    for key in AUGMENTED:
        if not key.endswith("width"):
            alone = fake(**{key: AUGMENTED[key]})
            assert not torch.equal(alone.transform(raw_of(i, 3))[0], evaluated), key


@pytest.mark.parametrize("kind", ["waveform", "logmel", "mfcc"])
def test_inputs_are_normalised_and_zero_behind_their_lengths(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    x, steps, _ = data.transform(data.splits["train"][-1, torch.arange(32)])
    within = real(steps, x.shape[1])
    torch.testing.assert_close(x[within].mean(0), torch.zeros(x.shape[2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(x[within].std(0), torch.ones(x.shape[2]), atol=1e-3, rtol=0)
    assert float(x[~within].abs().sum()) == 0
    other = FSDD(num_classes=10, fake=True, batch_size=4, **{**data.about_features})
    other.load_state_dict(data.describe())  # a resumed run has the statistics of its first start
    other.setup()
    assert (other.mean, other.std) == (data.mean, data.std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 0.6}, "under 0.5"),
        ({"noise": [30, 10]}, r"as in data.noise=\[10,40\]"),
        ({"time_masks": -1}, "must not be negative"),
        ({"features": "mfcc", "frequency_masks": 1}, "use data.features=logmel or data.frequency_masks=0"),
        ({"held_out_speaker": "gorge"}, "did you mean george"),
        ({"num_classes": 9}, "must be 10"),
        ({"targets": "step"}, "one target for each sequence"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FSDD(**{"num_classes": 10, "fake": True, **LOGMEL, **change})


# --- data sets, of made files


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
    with pytest.raises(UserError, match="the train split has 5 recordings and not 6: delete the folder"):
        FewCommands(**options).list_files()


# --- a user's own folder


def make_folder(root: Path, clips: int = 12) -> Path:
    """Low and high tones of several rates, formats and lengths."""
    rng = np.random.default_rng(0)
    for name, lowest in (("high", 2000), ("low", 300)):
        for i in range(clips):
            rate, ending = ((RATE, "wav"), (16_000, "flac"), (RATE, "ogg"))[i % 3]
            wave = tone(lowest * rng.uniform(1, 1.5), rng.uniform(0.1, 0.4), rate)
            wave = np.stack([wave, wave], 1) if i % 2 else wave
            (root / name / "deep").mkdir(parents=True, exist_ok=True)
            path = root / name / ("deep" if i % 4 == 0 else "") / f"{i}.{ending}"
            soundfile.write(path, wave + 0.01 * rng.standard_normal(wave.shape), rate)
    return root


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


# --- networks


def test_m5_has_the_sizes_of_table_1() -> None:
    network, sizes = create_model("m5"), []
    for block in network.blocks:
        block[0].register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[1:])))
        block.register_forward_hook(lambda *args: sizes.append(tuple(args[2].shape[1:])))
    network.eval()(*network.example_input(1))
    assert sizes == [(128, 8000), (128, 2000), (128, 2000), (128, 500), (256, 500), (256, 125), (512, 125), (512, 32)]


@pytest.mark.parametrize("length", [4, 5, 63, 64, 65, 1001])
def test_m5_takes_waveforms_of_any_length(length: int) -> None:
    assert create_model("m5", width=4).eval()(torch.randn(2, length, 1)).shape == (2, 10)


@pytest.mark.parametrize("name", ["res8", "res15"])
def test_res_networks_are_those_of_the_authors_code(name: str) -> None:
    """The rule by numbers of layers, as in github.com/castorini/honk, with the same weights."""
    network = create_model(name, num_classes=12)
    x = torch.randn(3, 101, 40)
    for _ in range(3):
        network(x)  # moves the running statistics
    network.eval()
    weights = [network.conv.weight, *(block.conv.weight for block in network.blocks)]
    with torch.no_grad():
        h = x[:, None]
        for i, weight in enumerate(weights):
            d = 2 ** ((i - 1) // 3) if name == "res15" and i else 1
            y = F.relu(F.conv2d(h, weight, padding=d, dilation=d))
            if i == 0:
                y = F.avg_pool2d(y, (4, 3)) if name == "res8" else y
                kept = y
            elif i % 2 == 0:
                kept = y = y + kept
            if i:
                norm = network.blocks[i - 1].norm
                y = F.batch_norm(y, norm.running_mean, norm.running_var)
            h = y
        expected = F.linear(h.flatten(2).mean(2), network.output.weight, network.output.bias)
    torch.testing.assert_close(network(x), expected)


def test_res8_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="too few for a pooling over 3 features: use spectral features"):
        create_model("res8", in_channels=1)
    with pytest.raises(ValueError, match="no residual block"):
        create_model("res8", depth=3)
    with pytest.raises(ValueError, match="two positive numbers"):
        create_model("res8", pooling=[4])


# --- training, pictures and predictions


def test_a_users_sounds_are_learned_shown_and_recognised(
    train: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "set", 20)
    folder = train(
        "model=res8", "data=sound_folder", f"data.root={root}", "data.sample_rate=8000", "data.seconds=0.3",
        "data.batch_size=8", "data.share=0.2", "model.width=8", "model.depth=5", "data.shift=20", "trainer=cpu",
        "trainer.max_epochs=25", "optim.lr=0.01", "callbacks.sounds.clips=3", "~callbacks.pictures",
    )  # fmt: skip
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "audio": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for stage in ("validation", "test"):
        assert f"predictions {stage}/spectrograms" in tags["images"]
        sounds = [tag for tag in tags["audio"] if tag.startswith(f"predictions {stage}/sound 0")]
        assert len(sounds) == 3
        assert events.Audio(sounds[0])[0].sample_rate == RATE
        (text,) = (tag for tag in tags["tensors"] if tag.startswith(f"predictions {stage}/what was said"))
        assert "| taken for |" in events.Tensors(text)[0].tensor_proto.string_val[0].decode()

    _, task, about = restore(str(folder))
    new = make_folder(tmp_path / "new", 6)
    paths = sorted(path for path in new.rglob("*") if path.is_file())
    rows = classify_sounds(task, about["data"], paths, top=1)
    assert [row["file"] for row in rows] == list(map(str, paths))
    assert sum(row["class"] == path.relative_to(new).parts[0] for row, path in zip(rows, paths, strict=True)) >= 10
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    assert "4 sounds of 16000 Hz were resampled to the 8000 Hz of training" in capsys.readouterr().out
    both = classify_sounds(task, about["data"], paths[:2], top=2)
    assert all(row["probability_1"] + row["probability_2"] == pytest.approx(1, abs=1e-5) for row in both)
    with pytest.raises(UserError, match=r"top=3 must be from 1 to the 2 classes"):
        classify_sounds(task, about["data"], paths, top=3)

    # A file is seen as in training.
    data = SoundFolder(root=str(root), num_classes=2, **{**LOGMEL, "seconds": 0.3}, share=0.2)
    data.load_state_dict(about["data"])
    data.setup()
    names = [root / name.decode() for name in data.list_files()[1]["test"][0].tolist()]
    x, _, _ = data.transform(data.splits["test"][-1, torch.arange(len(names))])
    expected = task.predict(x).max(1).values.tolist()
    found = [row["probability"] for row in classify_sounds(task, about["data"], names)]
    assert found == pytest.approx(expected, abs=1e-5)
