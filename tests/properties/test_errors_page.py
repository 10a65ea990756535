"""docs/errors.md quotes sentences that the code has, and names a cure for each."""

import ast
import functools
import re
from pathlib import Path

from helpers import REPOSITORY

import torchatlas

PAGE = (REPOSITORY / "docs" / "errors.md").read_text()
ROWS = [row for row in re.findall(r"^\| (.+?) \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE) if row[0] != "sentence"]


def template(node: ast.AST) -> str:
    """A text with … for what is put into it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    return "…"


@functools.cache
def sentences() -> set[str]:
    """Of all `raise UserError(...)`, and other texts in the same form."""
    files = Path(torchatlas.__file__).parent.rglob("*.py")
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in files)
    return {
        template(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)
    }


def says(sentence: str, quoted: str) -> bool:
    """Whether the parts of the quoted sentence stand in this one, one behind the other."""
    parts = (re.escape(part.strip()) for part in quoted.split("…"))
    return re.search(".*".join(parts), sentence) is not None


def test_every_quoted_sentence_is_in_the_code() -> None:
    assert len(ROWS) > 30
    found = sentences()
    assert not [quoted for quoted, _, _ in ROWS if not any(says(sentence, quoted) for sentence in found)]


def test_this_sees_a_sentence_that_is_gone() -> None:
    assert says("a … b: do …", "a … b: do …")
    assert not any(says(sentence, "… has … wheels: leave one out") for sentence in sentences())
