"""Write docs/commands.md, the page of all commands and their keys, from the signatures of the commands.

    python scripts/commands_page.py [--check]

With --check nothing is written, and the status is 1 if the page is not what the signatures say.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from torchatlas.commands.help import about, usage, values
from torchatlas.commands.signature import FOLDER, Command, Key, places, read

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """\
# Commands

Written by `python scripts/commands_page.py` from the signatures in `src/commands`. `key=value` and `--key value` are
the same; `torchatlas COMMAND --help` shows what is below, and `torchatlas completion bash`, `zsh` or `fish` is a script
that completes words by the Tab key.
"""


def cell(text: str) -> str:
    """A text in a table."""
    return text.replace("|", "\\|")


def row(key: Key) -> str:
    """A key, its values, and its help."""
    name = key.key.upper() if key.positional else key.key
    return f"| `{name}` | `{cell(values(key))}` | {cell(about(key))} |"


def section(command: Command) -> str:
    """All of one command."""
    rows = [row(key) for key in command.keys.values()]
    if command.words is not None:
        rows.append(f"| ... | | {cell(command.words_help)} |")
    table = "\n".join(["| key | value | what |", "|---|---|---|", *rows]) if rows else ""
    examples = f"```\n{command.examples}\n```" if command.examples else ""
    parts = [f"## {command.name}", f"{command.headline}.", f"`{usage(command)}`", command.text, table, examples]
    return "\n\n".join(part for part in parts if part)


def page() -> str:
    """The whole page, of the commands that are in this package."""
    own = [name for name, place in sorted(places().items()) if place.path.parent == FOLDER]
    return "\n\n".join([HEAD.strip(), *(section(read(name)) for name in own)]) + "\n"


def main(arguments: Sequence[str] = ()) -> int:
    """Write the page, or compare it."""
    text = page()
    if "--check" in arguments:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
