"""What is said at a run's end."""

from pathlib import Path

import pytest

from torchatlas.run.summary import print_summary


@pytest.mark.parametrize(("depth", "prefix"), [(None, ""), ("1", "uv run ")])
def test_next_commands_are_typed_as_this_one_was(
    depth: str | None, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if depth is not None:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", depth)
    folder = tmp_path / "runs" / "a run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "events.out.tfevents.1").touch()
    print_summary(
        folder, True, ("predict", " input=FILE"), {}, dashboards={"wandb": "wandb sync x", "mlflow": "http://x"}
    )
    assert capsys.readouterr().out.splitlines() == [
        "run folder  runs/a run",
        f"dashboard   {prefix}tensorboard --logdir 'runs/a run'",
        f"wandb       {prefix}wandb sync x",
        "mlflow      http://x",
        f"go on       {prefix}torchatlas train resume='runs/a run' duration=NUMBERep",
        f"use it      {prefix}torchatlas predict ckpt='runs/a run' input=FILE",
    ]
