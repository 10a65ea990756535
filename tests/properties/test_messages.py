"""What is said to a user, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import torchatlas


def sentences(source: str) -> Iterator[str]:
    """All texts of a file but its docstrings; of those with values in them the parts between."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_nobody_is_advised_to_delete_what_they_have_made() -> None:
    assert list(sentences('def f():\n    """Delete it."""\n    raise UserError(f"{x} is torn: delete it")')) == [
        " is torn: delete it"
    ]
    folder = Path(torchatlas.__file__).parent
    found = [
        f"{path.relative_to(folder)}: {text}"
        for path in sorted(folder.rglob("*.py"))
        for text in sentences(path.read_text(encoding="utf-8"))
        if re.search(r"\b(delete|erase|remove)\b.* |.* \b(delete|erase|remove)\b", text, re.IGNORECASE)
    ]
    assert not found
