"""The zoo is listed without torch."""

import subprocess
import sys

from torchatlas.zoo import list_models


def test_the_zoo_is_listed_without_torch() -> None:
    program = (
        "import sys; sys.argv = ['torchatlas', 'list']; from torchatlas.cli import main; main(); "
        "assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_models()
    assert any("11,689,512" in line and "1512.03385" in line and "classification" in line for line in lines)
