"""`torchatlas new`: a package of one's own, with one of each."""

import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..packages import spec_of
from ..zoo import GROUPS, options
from .signature import places

TEMPLATE = Path(__file__).parent / "template"
NAME, ENDING = "mypkg", ".tmpl"  # of the package in the template, and of its files


def new(name: str, /) -> Path:
    """A package of your own with a network, data, task, loss, callback, optimiser, schedule and command.

    It has the configs by which they are chosen, and tests that pass. Its README says what to type.

    Args:
        name: of the package and of its folder, which is made here: lower-case letters, digits and _.

    Returns:
        The folder.

    Raises:
        UserError: a name that cannot be or is taken, a folder that is there already.

    Examples:
        torchatlas new mypkg
    """
    require_name(name)
    folder = Path(name)
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name, or go to another folder")
    for path, text in files(name):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    print(f"{folder}: a package with one of each; its README.md says which file is what\n")
    print(f"    cd {name}\n    pip install -e .\n    torchatlas train experiment={name}\n    pytest")
    return folder


def require_name(name: str) -> None:
    """Refuse what cannot be the name of a package, of a choice of each group and of a command.

    Raises:
        UserError: it says what could be.
    """
    usable = re.sub(r"\W+", "_", name.strip().lower()).strip("_")
    usable = usable if re.fullmatch(r"[a-z]\w*", usable, re.ASCII) and not keyword.iskeyword(usable) else NAME
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} cannot be the name of a package, which has lower-case letters, digits and _: type "
            f"torchatlas new {usable}"
        )
    groups = [f"{group}={name}" for group in GROUPS if name in options(group)]
    if groups or name in places():
        raise UserError(f"{name} is the name of {' and '.join(groups) or f'torchatlas {name}'}: choose another one")
    if name in sys.stdlib_module_names or spec_of(name) is not None:
        raise UserError(f"a package {name} is installed already, and one of them would hide the other: choose another")


def files(name: str) -> Iterator[tuple[Path, str]]:
    """The files of a new package, relative to its folder, and what is in them."""
    for path in sorted(TEMPLATE.rglob(f"*{ENDING}")):
        place = str(path.relative_to(TEMPLATE)).removesuffix(ENDING).replace(NAME, name)
        text = path.read_text(encoding="utf-8").replace(NAME, name)
        yield Path(".gitignore" if place == "gitignore" else place), text
