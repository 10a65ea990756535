"""`torchatlas new`: the package that it writes is lint-clean, builds, and its tests pass once it is installed."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from helpers import REPOSITORY

from torchatlas import cli
from torchatlas.commands.new import NAME, TEMPLATE, files
from torchatlas.errors import UserError
from torchatlas.zoo import GROUPS, options


def done(*words: str, folder: Path, **variables: str) -> str:
    """What a program prints, which has to end well."""
    made = subprocess.run(words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    return made.stdout


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    cli.run(["new", "stripy_nets"])
    assert "torchatlas train experiment=stripy_nets" in capsys.readouterr().out
    return tmp_path / "stripy_nets"


@pytest.mark.skipif(sys.platform == "win32", reason="paths of the programs")
def test_its_own_tests_pass_when_it_is_installed(package: Path, tmp_path: Path) -> None:
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    name = done(sys.executable, "-c", build, folder=package).split()[-1]
    with zipfile.ZipFile(package / "dist" / name) as wheel:  # as pip unpacks it, with its entry points
        wheel.extractall(tmp_path / "site")
    assert len(list((tmp_path / "site" / "stripy_nets" / "configs").glob("*/*.yaml"))) == 7
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # behind the folder of the tests, in which the package lies too
    printed = done(sys.executable, *words, folder=package, PYTHONPATH=str(tmp_path / "site"), OMP_NUM_THREADS="1")
    assert re.search(r"\b6 passed", printed), printed[-3000:]


@pytest.mark.parametrize("name", ["a", "stripy_nets", "x" * 20])
def test_it_is_lint_clean(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli.run(["new", name])
    for command in (["check"], ["format", "--check"]):
        done(sys.executable, "-m", "ruff", *command, "--no-cache", ".", folder=tmp_path / name)


def test_nothing_of_the_name_in_the_template_stays(package: Path) -> None:
    for path in package.rglob("*"):
        assert NAME not in str(path.relative_to(package))
        assert path.is_dir() or NAME not in path.read_text()
    assert (package / ".gitignore").is_file()
    assert tomllib.loads((package / "pyproject.toml").read_text())["project"]["name"] == "stripy_nets"


def test_there_is_one_of_each() -> None:
    groups = {path.parts[-2] for path, _ in files("x") if path.suffix == ".yaml"}
    assert groups == set(GROUPS) - {"augment", "trainer", "logger", "debug"}


def test_the_wheel_holds_the_template() -> None:
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    (pattern,) = data["torchatlas.commands"]
    assert set(TEMPLATE.parent.glob(pattern)) == {path for path in TEMPLATE.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my-nets", "type torchatlas new my_nets"),
        ("My Nets", "type torchatlas new my_nets"),
        ("3d", "lower-case letters, digits and _"),
        ("class", "lower-case letters, digits and _"),
        ("../elsewhere", "type torchatlas new elsewhere"),
        ("resnet18", "is the name of model=resnet18"),
        ("predict", "is the name of torchatlas predict"),
        ("numpy", "a package numpy is installed already"),
        ("json", "a package json is installed already"),
    ],
)
def test_names_that_cannot_be(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(said)):
        cli.run(["new", name])
    assert not list(tmp_path.iterdir())


def test_a_folder_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("x")
    with pytest.raises(UserError, match="mine is there already"):
        cli.run(["new", "mine"])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["note"]
    assert "mine" not in options("model")
