"""How the program ends, and what it says then."""

import os
import subprocess
import sys
from typing import Any

import pytest

from torchatlas import cli
from torchatlas.errors import UserError


def run(*typed: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torchatlas.cli", *typed]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more})


def test_statuses() -> None:
    assert run("--version").stdout.strip()
    done = run("evaluate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("torchatlas: ckpt=... is missing, as in torchatlas evaluate ckpt=runs/mlp-digits")
    assert done.stderr.count("\n") == 1
    assert "Traceback" in run("evaluate", "debug=true").stderr
    assert "Traceback" in run("evaluate", TORCHATLAS_TRACEBACK="1").stderr
    assert run("help").stdout == run().stdout == run("--help").stdout
    piped = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m torchatlas.cli list | head -1; echo ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
    )
    assert piped.stdout.splitlines()[-1] in ("0", "141")
    assert not piped.stderr


@pytest.mark.parametrize(("raised", "status", "said"), [
    (KeyboardInterrupt(), 130, "torchatlas: interrupted\n"), (UserError("no"), 2, "torchatlas: no\n"),
    (BrokenPipeError(), 141, ""), (SystemExit(3), 3, ""),
])  # fmt: skip
def test_ends(raised: BaseException, status: int, said: str, monkeypatch: Any, capfd: Any) -> None:
    def fail(*_: Any) -> None:
        raise raised

    monkeypatch.setattr(cli, "run", fail)
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)
    monkeypatch.delenv("TORCHATLAS_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert capfd.readouterr().err == said
