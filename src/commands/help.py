"""`torchatlas help` and `torchatlas COMMAND --help`."""

import shutil
import textwrap

from ..run.usage import fitted
from .signature import REQUIRED, Command, Key, headline, places, read
from .words import shown, written

KINDS = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "bool": "true|false", "Path": "PATH"}
LEFT = 28  # columns of the keys
GRAMMAR = """\
key=value and --key value are the same. `torchatlas COMMAND --help` tells of one command, debug=true shows the traceback
of a mistake, and `eval "$(torchatlas completion bash)"` completes words by the Tab key."""


def help(command: str = "", /) -> None:
    """What the commands are, or what one does and its keys.

    Args:
        command: its name.

    Examples:
        torchatlas help evaluate
    """
    print(fitted(page(read(command)) if command else overview()))


def overview() -> str:
    """A line for each command."""
    found = places()
    width = max(map(len, found))
    lines = "\n".join(f"    {name:<{width}}  {headline(place)}" for name, place in sorted(found.items()))
    return f"usage: torchatlas COMMAND [KEY=VALUE ...]\n\n{lines}\n\n{GRAMMAR}"


def page(command: Command) -> str:
    """The help of one command."""
    width = min(max(shutil.get_terminal_size().columns, 80), 120)
    rows = [row(left(key), about(key), width) for key in command.keys.values()]
    if command.words is not None:
        rows.append(row("...", command.words_help, width))
    parts = [f"usage: {usage(command)}", f"{command.headline}.", filled(command.text, width)]
    parts += ["\n".join(rows), command.examples and "\n".join(["Examples:", textwrap.indent(command.examples, "  ")])]
    return "\n\n".join(part for part in parts if part)


def usage(command: Command) -> str:
    """`torchatlas sample ckpt=... [KEY=VALUE ...]`."""
    needed = [shown(key) for key in command.keys.values() if key.default is REQUIRED]
    bare = [f"[{shown(key)}]" for key in command.keys.values() if key.positional and key.default is not REQUIRED]
    bare += ["..."] * (command.words == "bare")
    more = (command.words or "bare") != "bare" or len(command.keys) > len(needed) + len(bare)
    return " ".join(["torchatlas", command.name, *needed, *bare, *["[KEY=VALUE ...]"] * more])


def filled(text: str, width: int) -> str:
    """Paragraphs to the width; those that are indented stay as they are."""
    parts = [part if part.startswith(" ") else textwrap.fill(part, width) for part in text.split("\n\n")]
    return "\n\n".join(parts)


def row(left: str, right: str, width: int) -> str:
    """A key at the left and its help at the right, which begins below a key that is long."""
    lines = textwrap.wrap(right, width - LEFT - 4) or [""]
    first, rest = (f"  {left:<{LEFT}}  {lines[0]}", lines[1:]) if len(left) <= LEFT else (f"  {left}", lines)
    return "\n".join([first.rstrip(), *(" " * (LEFT + 4) + line for line in rest)])


def left(key: Key) -> str:
    """`split=test|val|train`."""
    return key.key.upper() if key.positional else f"{key.key}={values(key)}"


def values(key: Key) -> str:
    """What can be typed behind the equals sign."""
    one = "|".join(key.choices) if is_short(key) else "NAME" if key.choices else KINDS[key.kind]
    return f"{one},..." if key.many else f"{one}|{KINDS[key.kind]}" if key.open else one


def is_short(key: Key) -> bool:
    """Whether the choices stand at the left."""
    return bool(key.choices) and len("|".join(key.choices)) < 2 * LEFT


def about(key: Key) -> str:
    """The help of a key, choices that are many, and the default."""
    names = f" {', '.join(key.choices)}." if key.choices and not is_short(key) else ""
    default = "needed" if key.default is REQUIRED else written(key.default)
    return f"{key.help}{names}{default and f' [{default}]'}"
