"""What stands in the pages: fenced blocks, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from . import REPOSITORY

PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
TERMINAL = ("", "bash", "sh", "shell", "console")  # languages of blocks with commands; what is no language is `text`
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"`([\w./-]+\.\w+)`[^`]*:\s*\Z")
MARK = re.compile(r"<!-- not run: ([^\n]+?) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, its first line's number, and why it is not run ("": it is).

    `file`: its name, of a block that shows a file; it stands in the paragraph above, which ends with a colon.
    """

    language: str
    text: str
    line: int
    reason: str = ""
    file: str = ""


def blocks(text: str) -> list[Block]:
    """Those of a page; `<!-- not run: REASON -->` on the line above one says that it cannot be run, and why."""
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()]
        mark = MARK.search(above)
        file = FILE.search(above.rstrip().rpartition("\n\n")[2]) if match["language"] not in TERMINAL else None
        lines = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        number = text.count("\n", 0, match.start()) + 2
        found.append(Block(match["language"], lines, number, mark[1] if mark else "", file[1] if file else ""))
    return found


def write_files(text: str, folder: Path) -> None:
    """What a page shows of files, in a folder."""
    for block in blocks(text):
        if block.file and not block.reason:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def lines(block: Block) -> list[str]:
    r"""Commands of a block: a line each, with those joined that end in a backslash, and nothing after `#`.

    >>> lines(Block("", "$ a b \\\n    c  # said\n\n# nothing\n", 1))
    ['a b c']
    """
    joined = re.sub(r"\\\n\s*", "", block.text).splitlines()
    found = [re.sub(r"^\$ ", "", line.strip()) for line in joined]
    return [re.sub(r"\s+# .*$", "", line) for line in found if line and not line.startswith("#")]


def words(line: str) -> list[str]:
    """The words of a command, without the variables of the environment that stand before it."""
    found = shlex.split(line, comments=True)
    while found and re.match(r"[A-Z_]+=", found[0]):
        found.pop(0)
    return found


def name(path: Path) -> str:
    """As a test shows it."""
    return str(path.relative_to(REPOSITORY))
