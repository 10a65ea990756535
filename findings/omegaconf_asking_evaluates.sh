#!/usr/bin/env bash
# OmegaConf 2.3.1: asking whether a key is there, or whether two configs are equal, calls its resolver.
#
# One would expect a resolver (which may count a file's words, or draw a number) to be called when its value is read.
# `in`, `hasattr`, `==`, `pop` and OmegaConf.missing_keys call it too; repr, len, a list of the keys, copies, merges and
# OmegaConf.to_yaml do not. A config whose resolver does not repeat itself is not equal to itself.
#
# And the two ways of resolving differ: to_container(resolve=True) calls it for each reference, so that `b: ${a}` has
# another value than `a`; OmegaConf.resolve goes through the keys in place, so that it depends on which of the two is
# written first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
uv venv --quiet --python 3.11 venv
uv pip install --quiet --python venv omegaconf==2.3.1 antlr4-python3-runtime==4.9.3 pyyaml==6.0.4
cat > ask.py <<'PYTHON'
from copy import deepcopy

from omegaconf import OmegaConf

calls = 0


def count() -> int:
    global calls
    calls += 1
    return calls


OmegaConf.register_new_resolver("count", count)
config = OmegaConf.create({"a": "${count:}", "b": "${a}"})
QUESTIONS = {
    "repr(config)": lambda: repr(config),
    "list(config)": lambda: list(config),
    "deepcopy(config)": lambda: deepcopy(config),
    "OmegaConf.merge": lambda: OmegaConf.merge(config, {"c": 1}),
    "OmegaConf.to_yaml": lambda: OmegaConf.to_yaml(config),
    "'a' in config": lambda: "a" in config,
    "hasattr(config, 'a')": lambda: hasattr(config, "a"),
    "config == config": lambda: config == config,
    "missing_keys(config)": lambda: OmegaConf.missing_keys(config),
    "copy.pop('a')": lambda: deepcopy(config).pop("a"),
}
for text, ask in QUESTIONS.items():
    calls = 0
    ask()
    print(f"{text:<22} calls {calls}")
print("equal to itself:", config == config)
for order in ({"a": "${count:}", "b": "${a}"}, {"b": "${a}", "a": "${count:}"}):
    calls = 0
    print("to_container", OmegaConf.to_container(OmegaConf.create(order), resolve=True))
    calls = 0
    in_place = OmegaConf.create(order)
    OmegaConf.resolve(in_place)
    print("resolve     ", in_place)
PYTHON
venv/bin/python ask.py | tee seen
diff - seen <<'SEEN'
repr(config)           calls 0
list(config)           calls 0
deepcopy(config)       calls 0
OmegaConf.merge        calls 0
OmegaConf.to_yaml      calls 0
'a' in config          calls 1
hasattr(config, 'a')   calls 1
config == config       calls 2
missing_keys(config)   calls 2
copy.pop('a')          calls 1
equal to itself: False
to_container {'a': 1, 'b': 2}
resolve      {'a': 1, 'b': 1}
to_container {'b': 1, 'a': 2}
resolve      {'b': 1, 'a': 2}
SEEN
