"""Commands of other packages, read from their source."""

from pathlib import Path
from typing import Any

import pytest

from torchatlas import cli
from torchatlas.commands import signature
from torchatlas.errors import UserError


def refused(*typed: str) -> str:
    """The sentence."""
    with pytest.raises(UserError) as error:
        cli.run(typed)
    return str(error.value)


def test_commands_of_other_packages(package: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.run([])
    listed = capsys.readouterr().out
    assert "measure " in listed
    assert "Measure things" in listed
    assert "lost" not in listed, "it has no source"
    assert "did you mean measure" in refused("mesure")
    assert signature.read("list").place.path.parent == signature.FOLDER, "ours are not replaced"
    cli.run(["measure", "--help"])
    text = capsys.readouterr().out
    assert "usage: torchatlas measure WHERE [KEY=VALUE ...]\n\nMeasure things.\n\nMore about it.\n" in text
    assert "name=tall|wide" in text
    assert "of what is measured, on two lines. [tall]" in text
    assert refused("measure", "x", "rate=fast") == "rate=fast must be a number, as in rate=0.001"
    monkeypatch.setenv("FAKE_MAY_BE_IMPORTED", "1")
    cli.run(
        ["measure", "x", "--loud", "--size", "-3", "a.class=a=b", "parts=a, b,", "folder=~/x", "name=wide", "name=tall"]
    )
    said = dict(eval(capsys.readouterr().out, {"PosixPath": Path, "WindowsPath": Path}))
    assert said == {
        "where": "x", "name": "tall", "size": -3, "rate": 1e-3, "loud": True, "folder": Path.home() / "x",
        "parts": ("a", "b"), "class_": "a=b",
    }  # fmt: skip


def test_hyphens_in_the_name_of_a_command(package: Path, capsys: Any) -> None:
    cli.run(["follow-me", "--help"])
    cli.run(["lr-range", "--help"])
    assert "usage: torchatlas follow-me" in (said := capsys.readouterr().out)
    assert "usage: torchatlas lr_range" in said
