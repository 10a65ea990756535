"""Classes of a user's files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.sound import LOGMEL, RATE, make_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas.data.sound.sound_folder import SoundFolder
from torchatlas.errors import UserError
from torchatlas.predict.classes import classify
from torchatlas.run.restore import reader, restore
from torchatlas.tasks.classification import Classification


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
    assert isinstance(task, Classification)
    known = reader(about)
    new = make_folder(tmp_path / "new", 6)
    paths = sorted(path for path in new.rglob("*") if path.is_file())
    rows = list(classify(task, known, str(new), top=1))
    assert [row["file"] for row in rows] == list(map(str, paths))
    assert sum(row["class"] == path.relative_to(new).parts[0] for row, path in zip(rows, paths, strict=True)) >= 10
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    assert "4 sounds of 16000 Hz were resampled to the 8000 Hz of training" in capsys.readouterr().out
    both = list(classify(task, known, str(paths[0]), top=2))
    assert all(row["probability_1"] + row["probability_2"] == pytest.approx(1, abs=1e-5) for row in both)
    with pytest.raises(UserError, match=r"top=3 must be from 1 to the 2 classes"):
        list(classify(task, known, str(new), top=3))

    # A file is seen as in training.
    data = SoundFolder(root=str(root), num_classes=2, **{**LOGMEL, "seconds": 0.3}, share=0.2)
    data.load_state_dict(about["data"])
    data.setup()
    names = [root / name.decode() for name in data.list_files()[1]["test"][0].tolist()]
    x, _, _ = data.transform(data.splits["test"][-1, torch.arange(len(names))])
    expected = task.predict(x).max(1).values.tolist()
    found = [row["probability"] for name in names for row in classify(task, known, str(name))]
    assert found == pytest.approx(expected, abs=1e-5)
