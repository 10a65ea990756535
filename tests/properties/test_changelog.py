"""CHANGELOG.md names every command and every choice of every group; `resnet*` names those that begin so."""

import re
from fnmatch import fnmatchcase

from helpers import REPOSITORY

from torchatlas.commands import signature
from torchatlas.zoo import GROUPS, options

TEXT = (REPOSITORY / "CHANGELOG.md").read_text()


def named(text: str) -> set[str]:
    """What stands in a changelog as `code`: names, and patterns of names with enough letters to mean something."""
    found = {
        word.rpartition("=")[2].removeprefix("torchatlas ")
        for word in re.findall(r"`([^`\n]+)`", text.replace("\n", " "))
    }
    return {word for word in found if re.fullmatch(r"[\w*]*\w{2}[\w*]*", word)}


def missing(names: list[str]) -> list[str]:
    patterns = named(TEXT)
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def test_every_command_is_named() -> None:
    own = [name for name, place in signature.places().items() if place.path.parent == signature.FOLDER]
    assert not missing(own)


def test_every_choice_is_named() -> None:
    assert not {group: lost for group in GROUPS if (lost := missing(options(group)))}


def test_a_name_that_lacks_is_seen() -> None:
    assert named("`data=hf_images`, `bert_*`, `torchatlas show`, `*`") == {"hf_images", "bert_*", "show"}
    assert missing(["resnet18", "no_such_network"]) == ["no_such_network"]
