"""README, CONTRIBUTING and docs/: what is generated is up to date, and what is named exists."""

import importlib
import re
import runpy
from pathlib import Path

import pytest
from helpers import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
FOLDERS = ("src", "tests", "configs", "scripts", "docs", "records", "findings")


def named_paths(text: str) -> set[str]:
    """Files and folders of this tree that a text names; of `configs/experiment/<claim>.yaml` the folder alone."""
    found = re.findall(rf"(?<![\w/.:-])((?:{'|'.join(FOLDERS)})/[\w./-]*)([<*]?)", text)
    return {(path.rpartition("/")[0] if open_ended else path).rstrip(".") for path, open_ended in found}


def named_objects(text: str) -> set[str]:
    """Dotted names that begin with torchatlas."""
    return set(re.findall(r"(?<![\w/.-])torchatlas(?:\.[A-Za-z_]\w*)+", text))


def examples(text: str) -> set[str]:
    """Files that a text shows; see `test_contributing`."""
    return set(re.findall(r"`([\w./-]+)`:\n\n```\w", text))


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and hasattr(importlib.import_module(module), attribute)
    return True


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_say_what_records_and_configs_say() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "pages.py"))
    assert script["main"](["--check"]) == 0, "run python scripts/pages.py"


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_bytes()) <= 10_240, "say it in a page of docs/"


def test_the_pages_of_the_families_say_what_the_networks_are() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "families.py"))
    assert script["main"](["--check"]) == 0, "run python scripts/families.py"


def test_every_page_is_named_on_the_first() -> None:
    """Of the site, docs/index.md, or in the README."""
    docs, readme = REPOSITORY / "docs", (REPOSITORY / "README.md").read_text()
    index = (docs / "index.md").read_text() + (docs / "families" / "index.md").read_text()
    for path in set(docs.rglob("*.md")) - {docs / "index.md"}:
        name = path.relative_to(docs).as_posix()
        assert f"({name})" in index or f"({path.name})" in index or f"(docs/{name})" in readme, name


@page
def test_every_path_exists(page: Path) -> None:
    text = page.read_text()
    assert not {path for path in named_paths(text) - examples(text) if not (REPOSITORY / path).exists()}


@page
def test_every_dotted_name_exists(page: Path) -> None:
    text = page.read_text()
    shown = tuple(path.replace("src/", "torchatlas/").removesuffix(".py").replace("/", ".") for path in examples(text))
    assert not {name for name in named_objects(text) if not name.startswith(shown) and not exists(name)}


@page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


def test_what_is_named_is_found() -> None:
    """Of these tests' own eyes."""
    text = (
        "`src/nowhere.py`, `torchatlas.zoo.list_models`, docs/parity.md. `runs/src/x`, configs/experiment/<claim>.yaml"
    )
    assert named_paths(text) == {"src/nowhere.py", "docs/parity.md", "configs/experiment"}
    assert named_objects(text) == {"torchatlas.zoo.list_models"}
    assert exists("torchatlas.zoo.list_models")
    assert not exists("torchatlas.zoo.nothing")
