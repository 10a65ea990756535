"""Commands as they are typed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from torchatlas import cli


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command; what it has printed, and said beside."""

    def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
        capsys.readouterr()
        if status:
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert caught.value.code == status
        else:
            cli.main()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


PACKAGE = '''
from pathlib import Path
from typing import Annotated, Literal

def measure(
    where: str, /, name: Literal["tall", "wide"] = "tall", *, size: int | None = None, rate: float = 1e-3,
    loud: bool = False, folder: Path = "here", parts: tuple[str, ...] = (), class_: Annotated[str, "a.class"] = "",
) -> None:
    """Measure things.

    More about it.

    Args:
        where: the place.
        name, size: of what is measured,
            on two lines.
    """
    print(sorted(locals().items(), key=str))


def follow(*words: str, n: int = 2) -> None:
    """Others, too.

    Args:
        words: any.
        n: how many.
    """
    print(words, n)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with commands, whose `__init__` ends the test where it is imported too early."""
    (tmp_path / "fakeplace").mkdir()
    (tmp_path / "fakeplace" / "__init__.py").write_text("import os\nassert os.environ.get('FAKE_MAY_BE_IMPORTED')\n")
    (tmp_path / "fakeplace" / "ruler.py").write_text(PACKAGE)
    about = tmp_path / "fakeplace-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fakeplace\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[torchatlas.commands]\nmeasure = fakeplace.ruler:measure\nfollow-me = fakeplace.ruler:follow\n"
        "list = fakeplace.ruler:measure\nlost = fakeplace.nowhere:lost\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("fakeplace", "fakeplace.ruler"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path
