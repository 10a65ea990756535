"""Text of docstrings as Markdown, for the scripts that write pages; torch is not needed."""

import re
import textwrap


def prose(text: str, *, examples: bool = False) -> str:
    r"""A docstring in Markdown: what is indented is a block, and a doctest one of Python, or left out.

    >>> prose("Of <x>:\n\n    y = x\n\n>>> 1 + 1\n2", examples=True)
    'Of &lt;x>:\n\n```text\ny = x\n```\n\n```pycon\n>>> 1 + 1\n2\n```'
    """
    found = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.lstrip().startswith(">>>"):
            found += [f"```pycon\n{textwrap.dedent(part)}\n```"] * examples
        elif part.startswith("    "):
            found.append(f"```text\n{textwrap.dedent(part)}\n```")
        else:
            found.append(plain(part))
    return "\n\n".join(found)


def plain(text: str) -> str:
    """Nothing outside of `code` is read as a tag or as emphasis."""
    pieces = re.split(r"(`[^`\n]*`)", text)
    return "".join(
        piece if i % 2 else re.sub(r"([*~])", r"\\\1", piece).replace("<", "&lt;") for i, piece in enumerate(pieces)
    )
