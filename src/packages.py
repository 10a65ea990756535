"""Other packages that take part: where their modules and configs lie, found without importing them.

Configs of one's own, `FOLDER/model/NAME.yaml` and so on, are found in packages that name theirs by an entry point of
the group `torchatlas.configs`, and in what a user names by `--config-dir FOLDER` or by Hydra's word for several,
`hydra.searchpath=[FOLDER,pkg://mine.configs]`. The latter hold for the whole process.
"""

import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from .errors import UserError

GROUP = "torchatlas.configs"
FLAGS = ("--config-dir", "-cd")
SEARCHPATH = "hydra.searchpath"
OWN_CLASS = re.compile(r"_target_\W*[=:]|task\.loss=")  # words that may name a class of one's own
named: list[Path] = []  # folders that were named in this process


def spec_of(module: str) -> ModuleSpec | None:
    """Where a module is; unlike by `importlib.util.find_spec` the packages around it are not imported."""
    path, spec, parts = None, None, module.split(".")
    for i in range(len(parts)):
        name = ".".join(parts[: i + 1])
        spec = next(filter(None, (finder.find_spec(name, path) for finder in sys.meta_path)), None)
        path = spec.submodule_search_locations if spec else []
    return spec


def file_of(module: str) -> Path:
    """The source of a module; "nowhere" of one that is not there."""
    spec = spec_of(module)
    return Path(spec.origin if spec and spec.origin else "nowhere")


def folder_of(package: str) -> Path | None:
    """The folder of a package, which need not have an `__init__.py`; None where there is none."""
    first, *rest = package.split(".")
    try:
        spec, inside = spec_of(package), []
    except KeyError:  # a folder without that file in another one, which asks for the other one to be imported
        spec, inside = spec_of(first), rest
    places = spec.submodule_search_locations if spec else None
    return next((Path(place).joinpath(*inside) for place in places or ()), None)


@cache
def installed() -> tuple[Path, ...]:
    """The configs of installed packages."""
    from importlib.metadata import entry_points  # slow

    found = (folder_of(point.value) for point in sorted(entry_points(group=GROUP), key=lambda point: point.value))
    return tuple(dict.fromkeys(folder.resolve() for folder in found if folder is not None and folder.is_dir()))


def config_folders() -> tuple[Path, ...]:
    """Where configs lie beside those of this package."""
    return tuple(dict.fromkeys([*named, *installed()]))


def taken(words: Sequence[str]) -> list[str]:
    """The other words; what these name is from now on among `config_folders`.

    Raises:
        UserError: there is no such folder or package, or no config in it.
    """
    rest, left = [], list(words)
    while left:
        word = left.pop(0)
        key, equals, value = word.partition("=")
        if key in FLAGS:
            place = value if equals else left.pop(0) if left else ""
            name_folder(f"{key} {place}", place)
        elif key == SEARCHPATH:
            for place in re.split(r",\s*", value.strip("[]")):
                name_folder(word, place.strip(" '\""))
        else:
            rest.append(word)
    if len(rest) < len(words) or any(OWN_CLASS.search(word) for word in rest):
        look_here()
    return rest


def spelled() -> list[str]:
    """The word by which Hydra, and other processes of the run, find what was named."""
    places = ",".join("'file://{}'".format(str(folder).replace("'", "\\'")) for folder in named)
    return [f"{SEARCHPATH}=[{places}]"] if named else []


def name_folder(word: str, place: str) -> None:
    """One of the folders that a word names."""
    folder = folder_of_package(word, place) if place.startswith("pkg://") else Path(place.removeprefix("file://"))
    folder = folder.expanduser().resolve()
    if not place or not folder.is_dir():
        raise UserError(f"{word}: there is no such folder")
    if not any(folder.glob("*/*.yaml")):
        raise UserError(f"{word}: there is no config in it: name the folder in which model/NAME.yaml or the like lies")
    if folder not in named:
        named.append(folder)


def folder_of_package(word: str, place: str) -> Path:
    """The folder of `pkg://mine.configs`."""
    look_here()
    package = place.removeprefix("pkg://").replace("/", ".")
    folder = folder_of(package)
    if folder is None:
        raise UserError(f"{word}: there is no package {package}: install it, or type where its folder is")
    return folder


def look_here() -> None:
    """Find modules of one's own in the present folder too, behind all others, so that none of them is hidden by it."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
