"""The tree itself: who imports whom, what each config has, that the package holds all of it."""

import ast
import doctest
import importlib
import pkgutil
import re
import runpy
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import Any

import pytest
from helpers import REPOSITORY
from omegaconf import OmegaConf

import torchatlas
from torchatlas.zoo import GROUPS, config_text, headline, list_models, options

SOURCE = REPOSITORY / "src"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def imports(path: Any) -> set[str]:
    """Absolute names of all imported modules, relative ones resolved."""
    found = set()
    parts = ["torchatlas", *path.relative_to(SOURCE).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [*(parts[: -node.level] if node.level else ()), node.module]))
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("folder", ["models", "tasks", "data"])
def test_models_tasks_and_data_do_not_import_one_another(folder: str) -> None:
    """Tasks know of networks what the contract says of any."""
    others = {f"torchatlas.{other}" for other in ("models", "tasks", "data") if other != folder}
    for path in (SOURCE / folder).glob("*.py"):
        for name in imports(path):
            contract = folder == "tasks" and name.startswith("torchatlas.models.contract")
            assert contract or not name.startswith(tuple(others)), f"{path} imports {name}"


def test_models_are_mathematics() -> None:
    """Torch and shape annotations, and blocks of other papers; no trainer, no config."""
    allowed = ("torch.", "jaxtyping.", "math.", "typing.", "abc.", "collections.abc.", "torchatlas.models.")
    for path in (SOURCE / "models").glob("*.py"):
        for name in imports(path):
            assert f"{name}.".startswith(allowed), f"{path} imports {name}"


def test_every_model_file_has_a_config_and_every_config_a_model() -> None:
    targets = {OmegaConf.create(config_text("model", name)).model._target_ for name in list_models()}
    files = {path.stem for path in (SOURCE / "models").glob("*.py")} - {"__init__", "contract", "classifier"}
    assert {target.split(".")[2] for target in targets} == files


@pytest.mark.parametrize("group", GROUPS)
def test_every_config_says_in_a_line_what_it_is(group: str) -> None:
    for name in options(group):
        assert re.fullmatch(r"\S.{5,110}", headline(group, name).partition(" [")[0]), f"{group}/{name}"


def test_every_config_file_is_in_a_known_group() -> None:
    on_disk = {p.parent.name for p in (REPOSITORY / "configs").glob("*/*.yaml")}
    assert on_disk == set(GROUPS)


def test_package_holds_what_is_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **options: said.update(options))
    monkeypatch.chdir(REPOSITORY)
    runpy.run_path("setup.py")
    on_disk = {"torchatlas.configs"}
    on_disk |= {".".join(["torchatlas", *p.parent.relative_to(SOURCE).parts]) for p in SOURCE.rglob("__init__.py")}
    assert set(said["packages"]) == on_disk
    assert len(said["packages"]) == len(on_disk)


def test_tested_versions_are_inside_the_declared_ranges() -> None:
    from packaging.requirements import Requirement

    pinned = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().split() if "==" in line)
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(p for extra in project["optional-dependencies"].values() for p in extra),
        *(p for group in PROJECT["dependency-groups"].values() for p in group if isinstance(p, str)),
    ]
    of_others = [p for p in wanted if p != "torchatlas[train]"]  # which `uv run` installs, and each further extra
    for requirement in map(Requirement, of_others):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement
    assert set(PROJECT["tool"]["uv"]["constraint-dependencies"]) == {f"{n}=={v}" for n, v in pinned.items()}


def test_every_extra_brings_the_toolkit_along() -> None:
    extras = dict(PROJECT["project"]["optional-dependencies"])
    del extras["train"]
    assert all("torchatlas[train]" in needs for needs in extras.values())


def test_no_module_shadows_another_package() -> None:
    taken = {*sys.stdlib_module_names, *packages_distributions()}
    for path in SOURCE.glob("*.py"):
        if path.stem not in ("__init__", "train"):
            assert path.stem not in taken


@pytest.mark.parametrize("module", [m.name for m in pkgutil.walk_packages(torchatlas.__path__, "torchatlas.")])
def test_doctests(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_every_model_has_a_doctest_of_its_size() -> None:
    for path in (SOURCE / "models").glob("*.py"):
        if path.stem not in ("__init__", "contract", "classifier"):
            text = ast.get_docstring(ast.parse(path.read_text())) or ""
            assert ">>>" in text, path
            assert re.search(r"\b(19|20)\d\d\b", text), f"{path} names no paper"


def test_no_path_of_a_machine_is_in_a_record() -> None:
    for path in (REPOSITORY / "records").glob("*.json"):
        assert not re.search(r"/(home|root|work|tmp|Users)/", path.read_text()), path
