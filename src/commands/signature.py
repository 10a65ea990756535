"""What a command says of itself, read from its source: its keys from the signature, their help from the docstring.

    def sample(ckpt: str, n: int = 64, label: Annotated[str, "class"] = "") -> None:

In the signature are `str`, `int`, `float`, `bool` and `Path`; `Literal["a", "b"]` for one of these, and with `| str`
behind it where other texts will do, such as names of files; `int | None`, where null is None; `tuple[str, ...]` for
several, with commas between; `Annotated[str, "data.root"]` where the key is no name in Python. What has no default must
be given. A parameter before `/` is a word without a key. `*words: str` takes words with other keys as they are;
`Annotated[str, "training"]` refuses those that training does not have, `Annotated[str, "bare"]` takes those without a
key, and to `Annotated[str, "raw"]` belongs every word.
`**options: Any` are those of the functions that answer for the command, see `predict.registry`. A key that is called
like a group of configs takes its choices. Defaults are literals. Of the docstring the first line is the headline, Args
are the help of the keys, Examples stay as they are.

Nothing is imported for that, so that help, completion and mistakes do without torch. Other packages add commands as
entry points of the group `torchatlas.commands`, as in `mine = "package.module:function"`.
"""

import ast
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError, nearest
from ..packages import file_of

FOLDER = Path(__file__).parent
PLUGINS = "torchatlas.commands"
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Examples):\n", re.MULTILINE)
KINDS = ("str", "int", "float", "bool", "Path")
REQUIRED: Any = ...
# Commands with the options of another's functions, and which of these they do without.
LENT = {"serve": ("predict", ("output", "probabilities"))}


class Place(NamedTuple):
    """Where a command's function is."""

    module: str
    function: str
    path: Path


@dataclass(frozen=True)
class Key:
    """A parameter: `name` in Python, `key` on the command line, what its values are, its help and an example of it.

    `open`: other texts than its choices will do. `positional` is a word without a key; `placed` is given to the
    function by its place.
    """

    name: str
    key: str
    default: Any = REQUIRED
    kind: str = "str"
    choices: tuple[str, ...] = ()
    open: bool = False
    many: bool = False
    optional: bool = False
    positional: bool = False
    placed: bool = False
    help: str = ""
    example: str = ""


@dataclass(frozen=True)
class Command:
    """A command; `words` is None where it takes no others than its keys, and else of which kind they are."""

    name: str
    place: Place
    keys: dict[str, Key]
    words: str | None
    words_help: str
    headline: str
    text: str
    examples: str


def places() -> dict[str, Place]:
    """All commands: the files of this folder with a function of the file's name, and those of other packages."""
    here = {path.stem: own(path.stem) for path in sorted(FOLDER.glob("[!_]*.py"))}
    return {name: place for name, place in {**plugins(), **here}.items() if head(place)}


def own(name: str) -> Place:
    """A command of this package."""
    return Place(f"{__package__}.{name}", name, FOLDER / f"{name}.py")


def plugins() -> dict[str, Place]:
    """Commands of other packages."""
    from importlib.metadata import entry_points  # slow

    return {point.name: Place(point.module, point.attr, file_of(point.module)) for point in entry_points(group=PLUGINS)}


def place_of(name: str) -> Place:
    """Where one command is; for those of this package nothing else is looked at.

    Raises:
        UserError: there is no such command; the nearest one is said.
    """
    here = own(name.replace("-", "_"))
    if here.function.isidentifier() and head(here):
        return here
    found = places()
    if "=" in name:
        raise UserError(f"{name!r} is no command: did you mean torchatlas train {name}?")
    if name not in found:
        raise UserError(f"there is no command {name!r}{nearest(name, sorted(found))}")
    return found[name]


def head(place: Place) -> str:
    """The source of the function up to the end of its docstring; empty where there is none."""
    source = place.path.read_text(encoding="utf-8") if place.path.is_file() else ""
    match = re.search(rf'^def {place.function}\(.*?""".*?"""', source, re.MULTILINE | re.DOTALL)
    return match[0] if match else ""


def headline(place: Place) -> str:
    """The first line of the docstring."""
    return head(place).split('"""')[1].splitlines()[0].rstrip(".")


def read(name: str) -> Command:
    """What a command says of itself.

    Raises:
        UserError: there is no such command.
    """
    place = place_of(name)
    function: Any = ast.parse(head(place)).body[0]
    first, text, parts = docstring_of(function)
    helps, others = helps_of(parts.get("Args", "")), function.args.vararg
    name = place.path.stem if place.path.parent == FOLDER else name
    keys = {key.key: key for key in keys_of(function.args, helps, parts.get("Examples", ""))}
    return Command(
        name, place, with_answers(name, keys, parts.get("Examples", "")) if function.args.kwarg else keys,
        annotated(others.annotation).get("key", "") if others else None, helps.get(others.arg, "") if others else "",
        first.rstrip("."), text.strip(), parts.get("Examples", "").strip(),
    )  # fmt: skip


def docstring_of(function: ast.FunctionDef) -> tuple[str, str, dict[str, str]]:
    """Its first line, what stands below it, and its sections by name."""
    first, _, rest = (ast.get_docstring(function, clean=False) or "").partition("\n")
    text, *sections = SECTION.split(textwrap.dedent(rest))
    return first, text, dict(zip(sections[::2], map(textwrap.dedent, sections[1::2]), strict=True))


def with_answers(command: str, own: Mapping[str, Key], examples: str) -> dict[str, Key]:
    """The keys of a command, and those of the functions that answer for it; its `methods` are those of their files.

    Where two of them have the same key, it has the help of both, and a default if theirs is the same.
    """
    from ..predict.registry import answerers  # reads many files

    command, without = LENT.get(command, (command, ()))
    answering = [each for each in answerers() if each.command == command]
    answering.sort(key=lambda each: (not each.module.startswith("torchatlas."), each.module))
    methods = tuple(dict.fromkeys(name for each in answering for name in each.methods))
    found = {name: replace(key, choices=methods) if name == "methods" else key for name, key in own.items()}
    for each in answering:
        assert each.written is not None
        helps, given = helps_of(docstring_of(each.written)[2].get("Args", "")), each.written.args
        alone = ast.arguments([], [], None, given.kwonlyargs, given.kw_defaults, None, [])
        for key in keys_of(alone, helps, examples):
            if key.key in without:
                continue
            if (other := found.get(key.key)) is None:
                found[key.key] = replace(key, optional=True)
            elif key.key not in own:
                texts = [other.help.rstrip("."), key.help] if key.help != other.help else [key.help]
                default = key.default if key.default == other.default else None
                found[key.key] = replace(other, help="; ".join(texts), default=default)
    return found


def helps_of(text: str) -> dict[str, str]:
    r"""The lines of Args by parameter.

    >>> helps_of("low, high: the ends of\n    the range.")
    {'low': 'the ends of the range.', 'high': 'the ends of the range.'}
    """
    lines = [line.partition(": ") for line in re.sub(r"\n +", " ", text).splitlines()]
    return {name.strip("* "): about for names, _, about in lines for name in names.split(",")}


def keys_of(arguments: ast.arguments, helps: Mapping[str, str], examples: str) -> list[Key]:
    """The parameters of a signature, without `*words`."""
    named = [*arguments.posonlyargs, *arguments.args]
    placed = named if arguments.vararg else arguments.posonlyargs
    absent = [None] * (len(named) - len(arguments.defaults))
    found = zip([*named, *arguments.kwonlyargs], [*absent, *arguments.defaults, *arguments.kw_defaults], strict=True)
    return [
        Key(
            name=argument.arg, default=REQUIRED if default is None else ast.literal_eval(default),
            positional=argument in arguments.posonlyargs, placed=argument in placed, help=helps.get(argument.arg, ""),
            example=shown_in(examples, argument.arg),
            **{"key": argument.arg} | annotated(argument.annotation or of_default(default)),
        )
        for argument, default in found
    ]  # fmt: skip


def of_default(default: ast.expr | None) -> ast.expr | None:
    """The annotation that a parameter without one would have."""
    return ast.Name(type(default.value).__name__) if isinstance(default, ast.Constant) else None


def shown_in(examples: str, key: str) -> str:
    """The value that a key has in one of the examples.

    >>> shown_in('translate ckpt=runs/a input="Ein Hund."', "input")
    '"Ein Hund."'
    """
    match = re.search(rf"""(?<=\s){key}=("[^"]*"|'[^']*'|\S+)""", examples)
    return match[1] if match else ""


def annotated(node: ast.expr | None) -> dict[str, Any]:
    """What an annotation says of the values, as arguments of `Key`.

    Raises:
        TypeError: it is none of those that the command line can read.
    """
    match node:
        case ast.Name(id=kind) if kind in KINDS:
            return {"kind": kind}
        case ast.BinOp(left=inner, right=ast.Constant(value=None)):
            return annotated(inner) | {"optional": True}
        case ast.BinOp(left=inner, right=ast.Name(id="str")):
            return annotated(inner) | {"open": True}
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            choices = ast.literal_eval(inner) if isinstance(inner, ast.Tuple) else (ast.literal_eval(inner),)
            return {"kind": type(choices[0]).__name__, "choices": tuple(map(str, choices))}
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[inner, _])):
            return annotated(inner) | {"many": True}
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, ast.Constant(value=key)])):
            return annotated(inner) | {"key": key}
    raise TypeError(f"the command line cannot read the annotation {ast.unparse(node) if node else 'that is missing'}")
