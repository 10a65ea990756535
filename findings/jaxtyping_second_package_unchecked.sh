#!/usr/bin/env bash
# jaxtyping 0.3.11: with two packages and a type checker in parentheses, pytest checks the first package alone, in silence.
#
# `--jaxtyping-packages=A,B,CHECKER` instruments both packages, and a checker may be built on the spot,
# as in `beartype.beartype(conf=...)`. With both: from the second name on everything is taken for the checker, B's
# functions are not instrumented, and wrong shapes pass. Nothing is printed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv jaxtyping==0.3.11 beartype==0.23.1 pytest==9.2.0 numpy==2.4.6
for package in first second; do
    mkdir "$package"
    touch "$package/__init__.py"
    cat > "$package/squares.py" <<'PYTHON'
import numpy as np
from jaxtyping import Float


def trace(x: Float[np.ndarray, "n n"]) -> float:
    return float(np.trace(x))
PYTHON
done
cat > test_squares.py <<'PYTHON'
import importlib

import numpy as np
import pytest


@pytest.mark.parametrize("package", ["first", "second"])
def test_what_is_not_square_is_refused(package):
    with pytest.raises(Exception):
        importlib.import_module(f"{package}.squares").trace(np.zeros((2, 3)))
PYTHON
count() {  # how many of the two packages refuse what is not square
    venv/bin/python -m pytest -q -p no:cacheprovider "--jaxtyping-packages=$1" 2>&1 | grep -oE "[0-9]+ passed" || true
}
{
    echo "a name:        $(count first,second,beartype.beartype)"
    echo "in parentheses: $(count 'first,second,beartype.beartype(conf=beartype.BeartypeConf())')"
} | tee seen
diff - seen <<'SEEN'
a name:        2 passed
in parentheses: 1 passed
SEEN
