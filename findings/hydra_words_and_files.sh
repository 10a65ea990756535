#!/usr/bin/env bash
# Hydra 1.3.8, OmegaConf 2.3.1: the same word has one type on the command line and another in a YAML file.
#
# One would expect `x=on` to do what `x: on` does in the file that it overrides. The command line has a grammar of its own
# (true, false, null, nan, inf, decimal numbers), the file is YAML 1.1 with OmegaConf's floats:
#
#     word        command line     file
#     on, yes     'on', 'yes'      True
#     010         '010'            8
#     1:30        '1:30'           90
#     inf, nan    a float          'inf', 'nan'
#     .inf        '.inf'           a float
#
# So a limit that is written inf in the file is a string there, and a number as soon as somebody types it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv hydra-core==1.3.8 omegaconf==2.3.1 antlr4-python3-runtime==4.9.3 pyyaml==6.0.4
mkdir configs
cat > read.py <<'PYTHON'
from hydra import compose, initialize
from omegaconf import OmegaConf

WORDS = ("true", "1e-3", "1_000", "on", "yes", "010", "0x10", "1:30", "inf", ".inf")
OmegaConf.save({"x": None}, "configs/typed.yaml")
for word in WORDS:
    with open("configs/file.yaml", "w") as file:
        file.write(f"x: {word}\n")
    with initialize("configs", version_base="1.3"):
        typed = compose("typed", overrides=[f"x={word}"]).x
        read = compose("file").x
    print(f"{word:<6} command line {typed!r:<8} file {read!r}")
PYTHON
venv/bin/python read.py | tee seen
diff - seen <<'SEEN'
true   command line True     file True
1e-3   command line 0.001    file 0.001
1_000  command line 1000     file 1000
on     command line 'on'     file True
yes    command line 'yes'    file True
010    command line '010'    file 8
0x10   command line '0x10'   file 16
1:30   command line '1:30'   file 90
inf    command line inf      file 'inf'
.inf   command line '.inf'   file inf
SEEN
