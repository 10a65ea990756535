"""Every example of CONTRIBUTING.md, put into a copy of the tree, and the commands beneath it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
EXAMPLES = TEXT[: TEXT.index("## How the tree is kept")]
# Each fenced block: the text before it since the last one, its language, what is in it.
BLOCKS = re.findall(r"(.*?)^```(\w*)\n(.*?)^```$", EXAMPLES, re.DOTALL | re.MULTILINE)
FILES = [(re.findall(r"`([\w./-]+)`:\s*$", before)[0], text) for before, language, text in BLOCKS if language]
COMMANDS = [line for _, language, text in BLOCKS if not language for line in text.splitlines()]
# All commands in one process, which imports torch once; a training is of one step, and goes on for another.
PROGRAM = """
import doctest, importlib, json, os, sys
from torchatlas import cli

for name in json.loads(sys.argv[1]):
    assert doctest.testmod(importlib.import_module(name)).failed == 0, name
for variables, words in json.loads(sys.argv[2]):
    print("::", *words, flush=True)
    os.environ |= variables
    sys.argv = ["torchatlas", *words]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
    for name in variables:
        del os.environ[name]
"""


def read_command(line: str) -> tuple[dict[str, str], list[str]]:
    """The environment variables of a line, and the words after `torchatlas`."""
    words = shlex.split(line, comments=True)
    variables = {}
    while "=" in words[0]:
        name, _, variables[name] = words.pop(0).partition("=")
    if words[:2] == ["python", "train.py"]:
        words[:2] = ["torchatlas", "train"]
        words = [word for word in words if not word.startswith("duration=")]
        goes_on = "resume=auto" in words
        words += [f"duration={2 if goes_on else 1}st", "trainer=cpu"]
        if not goes_on and not any(word.startswith("callbacks=") for word in words):
            words += ["callbacks=default", "logger=none"]  # pictures take seconds
    assert words[0] == "torchatlas", line
    return variables, words[1:]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a package torchatlas that has the examples, and what else they name beside it."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "torchatlas", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "configs", tmp_path / "torchatlas" / "configs")
    for name, text in FILES:
        path = tmp_path / re.sub("^src/", "torchatlas/", re.sub("^configs/", "torchatlas/configs/", name))
        assert not path.exists(), f"{name} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if path.parent.parent == tmp_path and path.suffix == ".py":
            path.with_name("__init__.py").touch()
    install(tmp_path)
    return tmp_path


def install(folder: Path) -> None:
    """What pip would write of the entry points of the package there."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = (
        [f"[{group}]", *(f"{k} = {v}" for k, v in names.items())] for group, names in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text("\n".join(line for group in groups for line in group))


def test_each_example_runs(tree: Path) -> None:
    modules = [name.removesuffix(".py").replace("/", ".") for name, _ in FILES if name.startswith("src/models/")]
    doctested = [f"torchatlas{name.removeprefix('src')}" for name in modules]
    commands = [read_command(line) for line in COMMANDS]
    environment = {**os.environ, "PYTHONPATH": str(tree), "TORCHATLAS_TRACEBACK": "1"}
    environment.pop("TORCHATLAS_DATA", None)
    program = [sys.executable, "-c", PROGRAM, json.dumps(doctested), json.dumps(commands)]
    done = subprocess.run(program, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    trained = [words for _, words in commands if words[0] == "train" and "resume=auto" not in words]
    finished = [path for path in tree.glob("runs/*/*/metrics.json") if json.loads(path.read_text()).get("test")]
    assert len(finished) == len(trained)


def test_the_examples_are_as_the_tree_is(tree: Path) -> None:
    """By ruff, with the settings of this project."""
    for command in (["check"], ["format", "--check"]):
        words = ["ruff", *command, "--quiet", "--config", str(REPOSITORY / "pyproject.toml"), str(tree)]
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_has_an_example() -> None:
    headings = re.findall(r"^## (.*)$", EXAMPLES, re.MULTILINE)
    for heading in headings:
        section = EXAMPLES.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        assert any(f"`{name}`:" in section for name, _ in FILES), heading
        assert re.search(r"^```\n", section, re.MULTILINE), heading
