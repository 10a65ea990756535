"""A loss that is no number ends the run, with what is needed to compute the step again."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train

from torchatlas.storage.checkpoints import read


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optim=sgd", "optim.lr=1e30"], r"loss of step \d+ \(epoch 1\) is (nan|inf): .* layers\.\d \(Linear;"),
        (["+data.std=[1e-40]"], "the batch itself holds values that are not finite"),
    ],
)
def test_a_loss_that_is_no_number(
    arguments: list[str], expected: str, train: Train, tmp_path: Path, capsys: Any
) -> None:
    """The batch and the random state are kept, so that the step can be computed again."""
    with pytest.raises(SystemExit) as exit_:
        train("trainer=cpu", "logger=none", "callbacks=default", "hydra.run.dir=mine", "model.dropout=0.5", *arguments)
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert re.search(expected, err), err
    assert "trainer.gradient_clip_val=1" in err
    saved = read(tmp_path / "mine" / "nonfinite.ckpt")
    assert saved["torchatlas"]["batch"][0].shape == (64, 1, 8, 8)
    assert saved["torchatlas"]["random"]["torch"].dtype == torch.uint8
