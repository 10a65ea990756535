#!/usr/bin/env bash
# OmegaConf 2.3.1: a cached resolver gives two nodes with different arguments the same answer, if these are written alike.
#
# `use_cache=True` keeps answers under the text of the arguments, as its documentation says, not under their values. What
# follows for relative keys is easily missed: `${size:${.path}}` in two sections is one text, so that the second section
# gets the first one's answer. It also keeps it when the argument changes, while another way of writing the same argument
# ('1' for 1) is evaluated anew.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv omegaconf==2.3.1 antlr4-python3-runtime==4.9.3 pyyaml==6.0.4
cat > cached.py <<'PYTHON'
from omegaconf import OmegaConf

for cached in (False, True):
    OmegaConf.register_new_resolver("shout", lambda text: f"{text}!", use_cache=cached, replace=True)
    config = OmegaConf.create(
        {"left": {"name": "red", "said": "${shout:${.name}}"}, "right": {"name": "blue", "said": "${shout:${.name}}"}}
    )
    said = [config.left.said, config.right.said]
    config.left.name = "green"
    print(f"cached {cached!s:<5}", *said, "then", config.left.said)
PYTHON
venv/bin/python cached.py | tee seen
diff - seen <<'SEEN'
cached False red! blue! then green!
cached True  red! red! then red!
SEEN
