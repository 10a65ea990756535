"""A run that leaves out a callback of the default ones."""

from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.runs import metrics

from torchatlas.storage.checkpoints import read

TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "trainer.max_epochs=1", "hydra.run.dir=runs/one")
FILES = {
    "checkpoints": ("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    "record": ("data.json", "metrics.json", "metrics.jsonl"),
}


@pytest.mark.parametrize("left_out", ["record", "curves", "checkpoint", "progress", "finite", "threads"])
def test_each_can_be_left_out(left_out: str, train: Train, capsys: Any) -> None:
    """The rest is done; the run ends with what can be done with what it has left."""
    logger = [] if left_out == "curves" else ["logger=none"]
    folder = train(*TINY, f"callbacks.{left_out}=null", *logger)
    out = capsys.readouterr().out
    kept, recorded = left_out != "checkpoint", left_out != "record"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = (FILES["checkpoints"] if kept else ()) + (FILES["record"] if recorded else ())
    others = {
        name for name in found if not name.startswith(("events", "hparams", "changes"))
    }  # the code's own are not the run's
    assert others == {"config.yaml", "record.json", "train.log", *expected}
    assert ("epochs 1 to 1, the best is 1" in out) is recorded
    assert "run folder  runs/one" in out
    assert ("dashboard" in out) is (not logger)
    assert ("torchatlas evaluate ckpt=" in out or "torchatlas predict ckpt=" in out) is kept
    assert (" resume=" in out) is kept
    assert ("no test: callbacks.checkpoint, which keeps the best weights, is left out" in out) is not kept
    if recorded:
        assert bool(metrics(folder)["test"]) is kept


def test_sums_of_an_epoch_end_with_it(train: Train) -> None:
    """Also where no callback asks for its figures: those of the next epoch do not begin with them."""
    folder: Path = train(*TINY, "logger=none", *(f"callbacks.{name}=null" for name in ("record", "curves", "progress")))
    (process,) = read(folder / "checkpoints" / "last.ckpt")["torchatlas"]["processes"]
    assert process["sums"] == {}
