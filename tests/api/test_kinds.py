"""What a program has in memory is answered as the files that hold it, of each kind of data."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import torchatlas
from torchatlas import UserError

SHORT: dict[str, Any] = {"trainer": "cpu", "duration": "1ep", "logger": "none", "callbacks": "default"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("file", "input", "place")} for row in rows]


def test_texts(tmp_path: Path) -> None:
    words = ["good", "fine", "bad", "poor"]
    lines = [f"a {words[i % 4]} film {i},{'pos' if i % 4 < 2 else 'neg'}" for i in range(60)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    run = torchatlas.train(
        "lstm", data="text_csv", data__path="reviews.csv", data__batch_size=8, data__vocab_size=60, model__dim=8,
        **SHORT,
    )  # fmt: skip
    texts = ["a good film", "a bad film; it was, in short, poor", "two\nlines"]
    (tmp_path / "texts.txt").write_text("\n".join(texts[:2]) + "\n")
    rows = run.predict(texts)
    assert [row["input"] for row in rows] == [0, 1, 2]
    assert [row["text"] for row in rows] == texts
    assert bare(rows[:2]) == bare(run.predict("texts.txt")) == bare(run.predict(Path("texts.txt")))
    assert bare(rows[:1]) == bare(run.predict("a good film"))
    (good, empty) = run.predict(["a good film", " "])
    assert (good["class"], empty["error"]) == (rows[0]["class"], "input 1 is empty")
    for wrong, sentence in (([3, 4], "input 0 is a int and not a text"), ([("a", "b")], "input 0 is a tuple and not")):
        with pytest.raises(UserError, match=sentence):
            run.predict(wrong)


def write_sound(path: Path, samples: np.ndarray[Any, Any], rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def test_sounds(tmp_path: Path) -> None:
    for name, pitch in (("low", 300), ("high", 1500)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(12):
            wave_ = 8000 * np.sin(np.arange(2400) * (pitch + 9 * i) * 2 * np.pi / 8000)
            write_sound(tmp_path / "set" / name / f"{i}.wav", wave_, 8000)
    run = torchatlas.train(
        "res8", data="sound_folder", data__root="set", data__sample_rate=8000, data__seconds=0.3, data__batch_size=4,
        data__share=0.2, model__width=4, **SHORT,
    )  # fmt: skip
    levels = (8000 * np.sin(np.arange(2400) * 300 * 2 * np.pi / 8000)).astype(np.int16)
    stereo = np.stack([levels, levels // 2], 1)
    write_sound(tmp_path / "one.wav", levels, 8000)
    write_sound(tmp_path / "fast.wav", levels, 16000)
    write_sound(tmp_path / "two.wav", stereo, 8000)
    expected = bare(run.predict(["one.wav", "fast.wav", "two.wav"]))
    assert bare(run.predict([(levels, 8000), (16000, levels), (stereo, 8000)])) == expected
    tensors = [(torch.from_numpy(levels / 2**15), 8000), (torch.from_numpy(levels)[None], 16000), (stereo.T, 8000)]
    for row, wanted in zip(bare(run.predict(tensors)), expected, strict=True):
        assert row["class"] == wanted["class"]
        assert row["probability"] == pytest.approx(wanted["probability"], abs=1e-4)
    assert bare(run.predict((levels, 8000))) == expected[:1]
    for wrong, sentence in (
        (levels, "input 0 is a ndarray without a sample rate: give a pair"),
        ([(levels[:0], 8000)], "input 0 has 0 samples"),
        ([(np.zeros((2, 3, 4)), 8000)], r"and the shape \(2, 3, 4\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            run.predict(wrong)


@pytest.mark.parametrize("form", ["points", "german"])
def test_tables_of_series(form: str, tmp_path: Path) -> None:
    """Also where the training's file had other dates and decimal commas: values in memory are what they are."""
    times = pd.date_range("2024-01-01", periods=120, freq="h")
    load = 1.0 + (np.arange(120) % 24) / 100 + np.linspace(0, 0.234, 120)
    frame = pd.DataFrame({"time": times, "load": load.round(3)})
    written = frame.copy()
    if form == "german":
        written["time"] = times.strftime("%d.%m.%Y %H:%M")
    written.to_csv(
        "load.csv", index=False, sep=";" if form == "german" else ",", decimal="," if form == "german" else "."
    )
    run = torchatlas.train(
        "n_linear", data="series_csv", data__path="load.csv", data__lookback=12, data__horizon=3, data__batch_size=8,
        **SHORT,
    )  # fmt: skip
    expected = run.predict("load.csv")
    assert len(expected) == 3
    same = {
        "frame": frame,
        "index": frame.set_index("time"),
        "unnamed index": frame.set_index("time").rename_axis(None),
        "series": frame.set_index("time")["load"],
        "dictionary": {"time": times, "load": frame["load"].to_numpy()},
        "texts": written.assign(load=frame["load"]),
    }
    for name, value in same.items():
        rows = run.predict(value)
        assert [row["time"] for row in rows] == [row["time"] for row in expected], name
        assert [row["load"] for row in rows] == pytest.approx([row["load"] for row in expected], rel=1e-6), name
    two = run.predict([frame, frame.iloc[:60]])
    assert [row["input"] for row in two] == [0, 0, 0, 1, 1, 1]
    assert run.predict("load.csv") == expected  # what was in memory has changed nothing
    assert run.predict(frame, mode="anomalies")
    with pytest.raises(UserError, match="input 0 is an array, which has no times: give a DataFrame"):
        run.predict(frame["load"].to_numpy())


def test_masks_are_arrays(tmp_path: Path) -> None:
    run = torchatlas.train(
        "unet", data="digit_scenes", data__fake=True, model__width=4, data__batch_size=4, model__depth=2,
        model__padding="same", **SHORT,
    )  # fmt: skip
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))
    image.save("scene.png")
    (of_memory,), (of_file,) = run.predict(image), run.predict("scene.png", output=tmp_path / "masks")
    assert of_memory["mask"].shape == (40, 56)
    assert np.array_equal(of_memory["mask"], np.asarray(Image.open(of_file["mask"])))
    assert of_memory["input"] == 0
    assert list(tmp_path.glob("masks/*_overlay.png"))


def test_a_text_for_a_language_model() -> None:
    run = torchatlas.train(
        "lstm_lm", data="pydoc", data__fake=True, model__dim=16, data__batch_size=4, data__context=16, **SHORT
    )
    text = "the quick brown fox jumps over the lazy dog"
    Path("text.txt").write_text(text)
    (row,), (of_file,) = run.predict(text, length=4), run.predict("text.txt", length=4)
    assert bare([row]) == bare([of_file])
    assert row["input"] == 0
    assert [each["input"] for each in run.predict([text, text[:20]], length=2)] == [0, 1]


def test_what_predict_does_not_answer_says_what_does() -> None:
    run = torchatlas.train("autoencoder", data="digits", **SHORT)
    with pytest.raises(UserError, match="which predict cannot read: use torchatlas"):
        run.predict(np.zeros((8, 8), np.uint8))
