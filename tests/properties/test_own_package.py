"""docs/own_package.md: its files, put into an empty folder, and its commands, in their order."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from helpers import REPOSITORY

TEXT = (REPOSITORY / "docs" / "own_package.md").read_text()
FILES = re.findall(r"`([\w./]+)`[^`]*:\s*\n\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line for block in re.findall(r"\n\n```\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE) for line in block.splitlines()
]
# All in one process, which imports torch once, as a program that is installed: the present folder is on no path.
PROGRAM = """
import json, os, sys
sys.path = [place for place in sys.path if place]
from torchatlas import cli

for trusted, words in json.loads(sys.argv[1]):
    print("::", *words, flush=True)
    os.environ["TORCHATLAS_TRUST"] = trusted
    sys.argv = ["torchatlas", *words]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
"""


def read(line: str, number: int) -> tuple[str, list[str]]:
    """What is trusted, and the words behind `torchatlas`; trainings are of a step."""
    words = shlex.split(line)
    trusted = words.pop(0).partition("=")[2] if words[0].startswith("TORCHATLAS_TRUST=") else ""
    assert words.pop(0) == "torchatlas", line
    if words[0] == "train":
        words = [word for word in words if not word.startswith("duration=")]
        goes_on = "resume=auto" in words
        words += [f"duration={number if goes_on else 1}st", "trainer=cpu"]
        words += [] if goes_on else ["callbacks=default", "logger=none"]
    if words[0] == "plan":
        words += ["samples=1", "trainer=cpu"]
    return trusted, words


def test_the_page_is_as_it_says(tmp_path: Path) -> None:
    assert [name for name, _ in FILES] == ["mine.py", "settings/model/small.yaml"]
    for name, text in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    commands = [read(line, number + 2) for number, line in enumerate(COMMANDS)]
    environment = {**os.environ, "TORCHATLAS_TRACEBACK": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("TORCHATLAS_DATA", None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, json.dumps(commands)], cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    trained = [words for _, words in commands if words[0] == "train" and "resume=auto" not in words]
    assert len(list(tmp_path.glob("runs/*/*/config.yaml"))) == len(trained) > 7
    assert (tmp_path / "mypkg" / "pyproject.toml").is_file()
    assert "small" in done.stdout.partition(":: list")[2].partition("::")[0]
