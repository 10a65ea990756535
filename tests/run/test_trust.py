"""A checkpoint or run folder of somebody else calls nothing and writes nowhere else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from helpers.runs import FOLDER, make_folder

from torchatlas.errors import UserError
from torchatlas.run.restore import restore
from torchatlas.storage.checkpoints import write


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.hub.load", "torchatlas.models.mlp.torch.hub.load", "torchatlas.data.images.base.UserError",
     "torch.optim.lr_scheduler.types.FunctionType", "torchatlas.data.download.fetch", "torchatlas.models.nothing.Here"],
)  # fmt: skip
def test_a_checkpoints_config_may_not_call_anything_else(target: str, trained_digits: Path) -> None:
    path = trained_digits / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["torchatlas"]["config"]["model"]["_target_"] = target
    write(checkpoint, path)
    with pytest.raises(UserError, match="would call"):
        restore(str(path))


def test_a_checkpoints_classes_may_not_hide_a_call(
    train: Train, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a checkpoint says of its data goes into the config of a resumed run and of evaluate."""
    make_folder(tmp_path / "set")
    folder = train("model=mlp", *FOLDER, f"data.root={tmp_path / 'set'}", "trainer.max_epochs=1")
    for name in ("best", "last"):
        path = folder / "checkpoints" / f"{name}.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        call = {"_target_": "os.mkdir", "path": str(tmp_path / "broken_in")}
        checkpoint["torchatlas"]["data"]["classes"] = [call, call]
        write(checkpoint, path)
    for run in (
        lambda: command("evaluate", f"ckpt={folder}"),
        lambda: train(f"resume={folder}", "trainer.max_epochs=2"),
    ):
        with pytest.raises(SystemExit):
            run()
        assert "the saved config would call os.mkdir" in capsys.readouterr().err
    assert not (tmp_path / "broken_in").exists()


@pytest.mark.parametrize("kind", ["interpolation", "tuple", "tensor"])
def test_a_checkpoints_config_may_not_hide_a_call(kind: str, trained_digits: Path, tmp_path: Path) -> None:
    call = {"_target_": "os.mkdir", "path": str(tmp_path / "broken_in")}
    widths: Any = {
        "interpolation": f"${{oc.create:{{_target_:os.mkdir,path:{tmp_path}/broken_in}}}}",
        "tuple": (call,),
        "tensor": torch.zeros(1),
    }[kind]
    path = trained_digits / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["torchatlas"]["config"]["model"]["widths"] = widths
    write(checkpoint, path)
    with pytest.raises(UserError, match="the saved config"):
        restore(str(path))
    assert not (tmp_path / "broken_in").exists()


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


def test_a_saved_config_writes_nowhere_else(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("debug=one_batch", *TINY)
    config = (folder / "config.yaml").read_text()
    target = "{_target_: lightning.pytorch.profilers.SimpleProfiler, dirpath: elsewhere, filename: x}"
    (folder / "config.yaml").write_text(config.replace("profiler: null", f"profiler: {target}"))
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2")
    assert "would write files outside" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


# --- the file


def test_a_run_folder_of_somebody_else_cannot_call_anything(train: Train, tmp_path: Path, capsys: Any) -> None:
    folder = train("debug=one_batch", *TINY)
    config = (folder / "config.yaml").read_text()
    for bad in ("_target_: os.mkdir\n    path: broken_in", "_target_: torch.hub.load", "text: ${oc.env:HOME}"):
        (folder / "config.yaml").write_text(config.replace("callbacks:\n", f"callbacks:\n  bad:\n    {bad}\n"))
        with pytest.raises(SystemExit):
            train(f"resume={folder}", "trainer.max_epochs=2")
        assert "the saved config" in capsys.readouterr().err
    (folder / "config.yaml").write_text("a: [1")
    with pytest.raises(SystemExit):
        train(f"resume={folder}", "trainer.max_epochs=2")
    assert "config.yaml is damaged" in capsys.readouterr().err
    assert not (tmp_path / "broken_in").exists()
