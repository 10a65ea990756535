"""A recipe says where it is chosen whether it was run, and records/ decide that."""

import json
import re

import pytest
from helpers import REPOSITORY

from torchatlas.commands.completion import candidates
from torchatlas.run.usage import help_text
from torchatlas.zoo import headline, options, recorded

RUN = {
    word.partition("=")[2]
    for path in (REPOSITORY / "records").glob("*.json")
    for start in json.loads(path.read_text())["starts"]
    for word in start["command"].split()
    if word.startswith("experiment=")
}


def test_what_was_run_is_in_the_records(experiment_name: str) -> None:
    said = recorded(experiment_name)
    assert re.fullmatch(r"never run|run( with \S+( \S+)*)?", said)
    assert (said == "never run") <= (experiment_name not in RUN)


def test_it_is_said_where_one_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_text()
    completed = dict(candidates(["train", "experiment="]))
    page = (REPOSITORY / "docs" / "choices.md").read_text()
    for name in options("experiment"):
        said = f"[{recorded(name)}]"
        assert headline("experiment", name).endswith(said)
        assert re.search(rf"^ +{name} .*\[{re.escape(said[1:-1])}\]$", text, re.MULTILINE)
        assert completed[f"experiment={name}"].endswith(said)
        assert f"| `{name}` | {headline('experiment', name)} |" in page
    assert "[never run]" in text


def test_nobody_says_it_by_hand(experiment_name: str) -> None:
    """So that it cannot grow old."""
    comment = headline("experiment", experiment_name).rpartition(" [")[0]
    assert "run" not in comment.lower().replace("run of", "").split(), comment
