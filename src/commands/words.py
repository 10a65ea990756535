"""The grammar of the command line: typed words become the arguments of a command's function, or a sentence.

`key=value` as in Hydra; `--key value`, `--key=value`, and of switches `--key` and `--no-key`, mean the same, hyphens in
a key are underscores, and of a key that is given twice the last value counts. `signature` says what a command takes.
Every word is held against that before the command's module, and torch with it, is imported.
"""

import contextlib
import difflib
import importlib
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, debug_words, ending_in, nearest
from ..packages import taken
from ..zoo import GROUPS, config_keys, options, settings
from .signature import REQUIRED, Command, Key

READ: dict[str, Any] = {
    "str": str, "int": int, "float": float, "bool": {"true": True, "false": False}.__getitem__,
    "Path": lambda text: Path(text).expanduser(),
}  # fmt: skip
MEANT = {"int": "a whole number", "float": "a number", "bool": "true or false"}
EXAMPLES = {"int": 1, "float": 0.5, "bool": True}  # where the default is none


def call(command: Command, words: Sequence[str]) -> Any:
    """Run a command with typed words.

    Raises:
        UserError: a word is wrong; it says what to type instead.
    """
    other = taken(words)
    typed = words if command.words in ("raw", "training") else other  # which hand them on
    arguments, named = (list(typed), {}) if command.words == "raw" else parse(command, debug_words(typed))
    with waiting("torchatlas: loading PyTorch and what else is needed ..."):
        module = importlib.import_module(command.place.module)
    return getattr(module, command.place.function)(*arguments, **named)


@contextlib.contextmanager
def waiting(text: str, seconds: float = 1.0) -> Iterator[None]:
    """Around what may take long: after some seconds a terminal says what it is, until it is done."""
    if not sys.stderr.isatty():
        yield
        return
    said = threading.Event()

    def say() -> None:
        said.set()
        print(text, end="", file=sys.stderr, flush=True)

    timer = threading.Timer(seconds, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if said.is_set():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def parse(command: Command, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of the function: those without a name, and those with one.

    Raises:
        UserError: a word is wrong, or one is missing.
    """
    typed, others = sorted_out(command, words)
    for key in command.keys.values():
        if key.default is REQUIRED and key.key not in typed:
            example = command.examples.partition("\n")[0]
            raise UserError(f"{shown(key)} is missing{f', as in {example}' if example else ''}")
    values = {name: converted(command.keys[name], text) for name, text in typed.items()}
    bare = [values.pop(key.key, key.default) for key in command.keys.values() if key.placed]
    return [*bare, *others], {command.keys[name].name: value for name, value in values.items()}


def sorted_out(command: Command, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The texts of the command's own keys, and the words for `*words`."""
    typed: dict[str, str] = {}
    others: list[str] = []
    left = list(words)
    while left:
        key, value = take(command, left)
        key = key or key_of_bare(command, value, typed)
        if key in command.keys:
            typed[key] = value
        else:
            require_known(command, key, value, words)
            others.append(f"{key}={value}" if key else value)
    return typed, others


def take(command: Command, left: list[str]) -> tuple[str, str]:
    """The next key and its value, which leave the list; a word without a key has the key ''."""
    word = left.pop(0)
    key, equals, value = word.partition("=")
    if not word.startswith("--"):
        return (key, value) if key and equals else ("", word)
    if key == "--config-dir" and command.words == "training":  # see `packages.taken`
        return "", f"{key}={value if equals else left.pop(0) if left else ''}"
    key = key[2:] if key[2:] in command.keys else key[2:].replace("-", "_")
    if equals:
        return key, value
    if is_switch(command, key):
        return key, left.pop(0) if left and left[0] in ("true", "false") else "true"
    if is_switch(command, key.removeprefix("no_")):
        return key.removeprefix("no_"), "false"
    if left and not left[0].startswith("--") and not is_word(command, left[0]):
        return key, left.pop(0)
    if key in known_keys(command):
        more = example(command.keys[key]) if key in command.keys else ""
        raise UserError(f"{word} has no value: type {key}=VALUE{more}")
    return ("", word) if command.words == "" else (key, "")


def is_switch(command: Command, key: str) -> bool:
    """Whether a key can stand alone."""
    return key in command.keys and command.keys[key].kind == "bool"


def is_word(command: Command, word: str) -> bool:
    """Whether it begins with a key of its own, as in `top=5`."""
    key, equals, _ = word.partition("=")
    return bool(equals) and (key in command.keys or command.words is not None)


def key_of_bare(command: Command, word: str, typed: dict[str, str]) -> str:
    """The key that a word without one is for; '' for a word that goes on as it is."""
    for key in command.keys.values():
        if key.positional and key.key not in typed:
            return key.key
    if command.words == "bare" or (command.words is not None and word.startswith(("-", "~", "+"))):
        return ""
    known = known_keys(command)
    meant = [f"{word}=..."] if word in known else [f"{k}={word}" for k in GROUPS if k in known and word in options(k)]
    if not known:
        raise UserError(f"{command.name} takes no words: leave out {word!r}")
    hint = f": did you mean {' or '.join(meant)}?" if meant else f", with a KEY out of {', '.join(known)}"
    raise UserError(f"{word!r} is not of the form KEY=VALUE{hint}")


def require_known(command: Command, key: str, value: str, words: Sequence[str]) -> None:
    """Refuse a key that the command does not have; those of the parts of a config are left to its composition."""
    known = known_keys(command)
    if key in known or command.words not in (None, "bare", "training") or (not key and command.words == "bare"):
        return
    if command.words == "training":
        own = difflib.get_close_matches(key, [name for name in command.keys if "." in name], 1, 0.8)
        if own:
            raise UserError(f"there is no key {key!r}: did you mean {own[0]}={value}?")
        if not re.fullmatch(r"\w+", key):
            return
        meant = ending_in(key, settings(words))
        if meant and not difflib.get_close_matches(key, command.keys, cutoff=0.8):
            hint = " or ".join(f"{name}={value}" for name in meant)
            raise UserError(f"there is no key {key!r}: did you mean {hint}?")
    raise UserError(f"there is no key {key!r}{nearest(key, known) if known else f' of {command.name}'}")


def known_keys(command: Command) -> list[str]:
    """Its own, and those that training has at the left margin of its config."""
    return [*command.keys, *(config_keys() if command.words == "training" else [])]


def shown(key: Key) -> str:
    """As it is typed."""
    return key.key.upper() if key.positional else f"{key.key}=..."


def converted(key: Key, text: str) -> Any:
    """The value of a typed text.

    Raises:
        UserError: it is of another kind, or not among the choices.
    """
    if key.optional and text == "null":
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()] if key.many else [text]
    if not any(parts) and key.default not in ("", ()):
        raise UserError(f"{key.key}= is empty: give a value{example(key)}")
    return tuple(single(key, part) for part in parts) if key.many else single(key, text)


def single(key: Key, text: str) -> Any:
    """One value; a key that is called like a group of configs takes their names."""
    if key.key in GROUPS and text not in options(key.key):
        raise UserError(f"there is no {key.key} {text!r}{nearest(text, options(key.key))}")
    if key.choices and text not in key.choices and not key.open:
        raise UserError(f"{key.key}={text} is unknown{nearest(text, list(key.choices))}")
    try:
        value = READ[key.kind](text)
    except (ValueError, KeyError):
        raise UserError(f"{key.key}={text} must be {MEANT[key.kind]}{example(key)}") from None
    if key.kind == "int" and not -(2**63) <= value < 2**63:  # which no tensor and no generator takes
        raise UserError(f"{key.key}={text} is too large: give a whole number under {2**63}{example(key)}")
    return value


def example(key: Key) -> str:
    """`, as in top=5`: the default, a choice, or what the command's examples have; else nothing."""
    default = None if key.default is REQUIRED else key.default
    value = default or next(iter(key.choices), None) or key.example or EXAMPLES.get(key.kind)
    return f", as in {key.key}={written(value)}" if value else ""


def written(value: Any) -> str:
    """A value as it is typed.

    >>> [written(value) for value in (True, 1e-6, 10.0, ("a", "b"), None)]
    ['true', '1e-6', '10', 'a,b', '']
    """
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(written, value))
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")
    return str(value).lower() if isinstance(value, bool) else str(value)
