"""The order of rooms: who may know of whom, over all imports, those inside functions too."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers import REPOSITORY

SOURCE = REPOSITORY / "src"
# The leftmost know nothing of those right of them; a room may import those left of it, and itself.
ROOMS = (
    ("errors", "version", "counter", "metrics", "licences"),
    ("models", "packages"),
    ("storage", "training", "analysis"),
    ("data", "generate", "loggers"),
    ("weights", "tasks"),
    ("zoo", "drawing", "callbacks"),
    ("run",),
    ("predict", "explain", "train"),
    ("api",),
    ("serve",),
    ("pictures", "commands"),
    ("cli",),
)
PLACE = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
LONGEST, MOST_AT_THE_ROOT = 450, 10


def name_of(path: Path) -> str:
    """The module's name without the package's; empty for the package itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


@cache
def imported(module: str) -> frozenset[str]:
    """Modules of the package that a module imports, anywhere in it; of `from . import x` the module x, if it is one."""
    path = FILES[module]
    folder = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            if not node.level:
                if not (base + ".").startswith("torchatlas."):
                    continue
                base = base.removeprefix("torchatlas").removeprefix(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            found |= {name if name in FILES else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("torchatlas.") for a in node.names if a.name.startswith("torchatlas.")}
    return frozenset(found - {module})


def reached(module: str) -> set[str]:
    """All modules that come with a module."""
    found, left = set(), [module]
    while left:
        for other in imported(left.pop()) - found:
            found.add(other)
            left.append(other)
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def circles() -> Iterator[list[str]]:
    for module in FILES:
        if module in reached(module):
            yield [module, *(other for other in imported(module) if module in reached(other))]


def test_every_room_has_its_place() -> None:
    assert {room(module) for module in FILES if module} == set(PLACE)


@pytest.mark.parametrize("module", [module for module in FILES if module])
def test_a_module_imports_only_what_lies_left_of_it(module: str) -> None:
    for other in imported(module):
        if other and room(other) != room(module):
            assert PLACE[room(other)] <= PLACE[room(module)], f"{module} imports {other}"
            assert room(other) != "commands" or room(module) == "cli", f"{module} imports the command {other}"


def test_models_know_models_alone() -> None:
    for module in FILES:
        if room(module) == "models":
            assert {room(other) for other in imported(module)} <= {"models"}, module


def test_tasks_and_data_do_not_know_of_one_another_through_anything() -> None:
    for module in FILES:
        if room(module) in ("tasks", "data"):
            other = {"tasks": "data", "data": "tasks"}[room(module)]
            assert other not in {room(found) for found in reached(module)}, f"{module} reaches {other}"


def test_there_is_no_circle() -> None:
    assert list(circles()) == []


def test_the_root_is_small_and_no_file_is_long() -> None:
    roots = [path.name for path in SOURCE.glob("*.py") if path.name != "__init__.py"]
    assert len(roots) <= MOST_AT_THE_ROOT, roots
    for module, path in FILES.items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LONGEST or room(module) == "models", f"{path.name} has {lines} lines"


def test_tests_mirror_the_tree() -> None:
    """Each folder of tests is one of the source, or holds properties, helpers or files; none is over 400 lines."""
    for path in (REPOSITORY / "tests").rglob("*.py"):
        folder = path.parent.relative_to(REPOSITORY / "tests")
        assert (SOURCE / folder).is_dir() or folder.parts[0] in ("properties", "helpers", "files"), path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
