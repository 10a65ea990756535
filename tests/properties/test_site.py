"""The site: built without a warning, every page in its order, links that lead somewhere, nothing from outside."""

import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import REPOSITORY

FOUND = re.compile(
    r"""<(?:script|link|img|iframe|source|video|audio|object)\b[^>]*?\b(?:src|href|data)=["']?([^"' >]+)"""
)
SITE: dict[str, Any] = runpy.run_path(str(REPOSITORY / "scripts" / "build_site.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="needs the group docs")
    folder = tmp_path_factory.mktemp("site")
    assert SITE["main"]([str(folder / "out"), f"stage={folder / 'stage'}"]) == 0
    return folder / "out"


@cache
def text_of(page: Path) -> str:
    return page.read_text()


@cache
def names_in(page: Path) -> set[str]:
    """Places of a page that a link can lead to."""
    return set(re.findall(r'\bid="?([^" >]+)', text_of(page)))


def outside(text: str) -> list[str]:
    """Scripts, styles, fonts and images that a browser would ask another machine for."""
    return [address for address in FOUND.findall(text) if re.match(r"(https?:)?//", address)]


def test_nothing_is_asked_of_a_network(site: Path) -> None:
    assert outside('<script async src="https://cdn.example/x.js">') == ["https://cdn.example/x.js"]
    assert outside("<link rel=stylesheet href=//fonts.example/css>") == ["//fonts.example/css"]
    for page in site.rglob("*.html"):
        assert not [x for x in outside(text_of(page)) if "canonical" not in x], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style


def test_every_page_is_there_and_in_the_order(site: Path) -> None:
    order = str(SITE["nav"](site.parent / "stage" / "docs"))
    for page in (REPOSITORY / "docs").rglob("*.md"):
        name = page.relative_to(REPOSITORY / "docs").with_suffix("").as_posix()
        assert (site / f"{name}.html").is_file()
        assert f"'{name}.md'" in order, name
    assert len(list((site / "reference").glob("*.html"))) == len(SITE["ROOMS"])


def test_every_link_leads_somewhere(site: Path) -> None:
    lost = set()
    for page in site.rglob("*.html"):
        for target in re.findall(r'<a\b[^>]*?\bhref="?([^" >]+)', text_of(page)):
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:|//|/", target) or page.name == "404.html":
                continue
            linked = (page.parent / path).resolve() if path else page
            linked = linked / "index.html" if linked.is_dir() else linked
            if not linked.is_file() or (anchor and linked.suffix == ".html" and anchor not in names_in(linked)):
                lost.add(f"{page.relative_to(site)}: {target}")
    assert not lost


def test_a_broken_link_is_refused_in_laying_out() -> None:
    """What GitHub shows is linked in the same way: links out of docs/ become pages."""
    shown: set[Path] = set()
    text = "[a](../src/zoo.py) [b](runs.md#going-on) `[c](../x)` [d](https://e.org)"
    page = REPOSITORY / "docs" / "models.md"
    assert SITE["relinked"](text, page, shown) == (
        "[a](source/src/zoo.py.md) [b](runs.md#going-on) `[c](../x)` [d](https://e.org)"
    )
    assert shown == {REPOSITORY / "src" / "zoo.py"}
