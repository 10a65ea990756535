"""Programs under scripts/."""

import subprocess
import sys

from helpers import REPOSITORY


def test_the_benchmark_runs() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "benchmark.py"), "model=mlp", "model.widths=[8]"]
    done = subprocess.run([*command, "--rounds", "1", "--steps", "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
