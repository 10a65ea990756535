"""What the Tab key completes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchatlas.commands import completion


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["eval"], ["evaluate"]),
        (["evaluate", "sp"], ["split="]),
        (["evaluate", "split=test", "sp"], []),
        (["evaluate", "split=t"], ["split=test", "split=train"]),
        (["evaluate", "--sp"], ["--split="]),
        (["evaluate", "--split", "v"], ["val"]),
        (["evaluate", "--split=v"], ["--split=val"]),
        (["export", "formats=torch,on"], ["formats=torch,onnx"]),
        (["quality", "metrics=fid,"], [f"metrics=fid,{name}" for name in ("fid", "kid", "is", "neighbours")]),
        (["inpaint", "mask=b"], ["mask=bottom"]),
        (["explain", "methods=gr"], ["methods=gradcam", "methods=gradients"]),
        (["explain", "methods=gates,pos"], ["methods=gates,positions"]),
        (["predict", "tta="], ["tta=none", "tta=flip", "tta=ten"]),
        (["generate", "cache="], ["cache=true", "cache=false"]),
        (["sample", "n="], ["n=64"]),
        (["show", "wrn"], ["wrn28_10"]),
        (["help", "lr"], ["lr_range"]),
        (["plan", "schedule=cos"], ["schedule=cosine"]),
        (["train", "sched"], ["schedule="]),
        (["train", "optim=sgd", "optim."], ["optim.lr=", "optim.weight_decay="]),
        (["lr_range", "--trainer.max_e"], ["--trainer.max_epochs="]),
        (["evaluate", "ckpt=runs/"], []),
        (["nothing", "x"], []),
    ],
)
def test_completion(typed: list[str], expected: list[str]) -> None:
    assert [word for word, _ in completion.candidates(typed)] == expected


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "bin" / "torchatlas"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m torchatlas.cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return script


def test_bash_completes(on_path: Path) -> None:
    program = 'eval "$(torchatlas completion bash)"\nfor line in "$@"; do COMP_LINE=$line COMP_POINT=${#line}; ' \
        '_torchatlas; printf "%s\\n" "${COMPREPLY[*]}"; done'  # fmt: skip
    lines = ["torchatlas evaluate ckpt=x split=t", "torchatlas evaluate --sp", "torchatlas evaluate ckpt=bi"]
    done = subprocess.run(
        ["bash", "-c", program, "bash", *lines], cwd=on_path.parent.parent, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["test train", "--split=", "bin"], done.stderr
