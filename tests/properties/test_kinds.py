"""A kind of data is known to itself: a run imports no other, and its class names a network that takes it."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from helpers import REPOSITORY, data_class, small_data

from torchatlas.run.check import check
from torchatlas.zoo import options

KINDS = sorted(path.parent.name for path in (REPOSITORY / "src" / "data").glob("*/__init__.py"))
BUILT_ON = {"masks": ["images"], "labelled": ["text"], "masked": ["text"], "pairs": ["text"]}

# One interpreter for all kinds, since it takes long to start: what a kind has imported is forgotten before the next.
PROGRAM = """
import json, sys
import torchatlas.train
from torchatlas.run.assemble import assemble
from torchatlas.run.check import check
from torchatlas.run.compose import composed

def of_kinds():
    return [name for name in sys.modules if name.startswith("torchatlas.data.") and name.count(".") > 2]

found = {"nothing": of_kinds()}
for kind, words in json.loads(sys.argv[1]).items():
    asked = composed(words)
    check(asked.config, asked.choices["model"], asked.choices["data"])
    assemble(asked.plain())
    found[kind] = of_kinds()
    for name in of_kinds():
        del sys.modules[name]
print(json.dumps(found))
"""


def kind_of(data_name: str) -> str:
    return data_class(data_name).__module__.split(".")[2]


def words_for(data_name: str) -> list[str]:
    cls = data_class(data_name)
    return [f"model={cls.network}", f"data={data_name}", f"task={cls.tasks[0]}", *small_data(data_name)]


def test_a_run_imports_its_own_kind_of_data_alone() -> None:
    chosen = {kind: words_for(next(name for name in options("data") if kind_of(name) == kind)) for kind in KINDS}
    chosen["images"] = ["model=resnet18", "data=cifar10", "data.fake=true"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(chosen)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("nothing") == []
    assert found.keys() == set(KINDS)
    for kind, modules in found.items():
        assert {name.split(".")[2] for name in modules} <= {kind, *BUILT_ON.get(kind, [])}, modules


def test_the_network_of_a_class_takes_its_data(compose: Callable[..., Any]) -> None:
    """One set of each class that says something else of itself."""
    chosen = {(c.network, c.tasks, c.targets): name for name in options("data") if (c := data_class(name))}
    assert len(chosen) > len(KINDS)
    for (network, *_), name in chosen.items():
        check(compose(*words_for(name)), network, name)
