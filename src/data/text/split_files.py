"""Folders of texts that somebody has divided into training, validation and test."""

import re
from pathlib import Path

from ...errors import UserError

PARTS = {"train": "train", "training": "train", "valid": "val", "val": "val", "validation": "val", "dev": "val",
         "test": "test", "testing": "test"}  # fmt: skip
ENDINGS = (".txt", ".tokens", ".raw")


def split_files(folder: Path) -> dict[str, Path]:
    """The files of the splits by their names, as train.txt, ptb.valid.txt, wiki.test.tokens; nothing if there are none.

    They have the same name but for the split. Training has to be there, and validation or test beside it.

    Raises:
        UserError: there are several sets of them, or two files of a split.
    """
    sets: dict[tuple[str, ...], dict[str, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        parts = re.split(r"[-_.]", path.stem.lower())
        found = [part for part in parts if part in PARTS]
        if len(found) != 1 or path.suffix.lower() not in ENDINGS or not path.is_file() or path.name[0] == ".":
            continue
        of_set = sets.setdefault((*(part for part in parts if part not in PARTS), path.suffix.lower()), {})
        if (split := PARTS[found[0]]) in of_set:
            raise UserError(f"{folder} holds {of_set[split].name} and {path.name}: give a folder with one of them")
        of_set[split] = path
    whole = [files for files in sets.values() if "train" in files and len(files) > 1]
    if len(whole) > 1:
        one, other = (files["train"].name for files in whole[:2])
        raise UserError(f"{folder} holds the splits of two texts, as {one} and {other}: give a folder with one of them")
    return {split: whole[0][split] for split in ("train", "val", "test") if split in whole[0]} if whole else {}


def own_splits(source: Path, parts: str | None) -> dict[str, Path]:
    """The files of the splits of a user's text; nothing where it is to be cut by position.

    Args:
        source: a file or a folder.
        parts: "files", see `split_files`; "position"; None: files where there are some.

    Raises:
        UserError: an unknown one, there are no such files, or see `split_files`.
    """
    if parts not in (None, "files", "position"):
        raise UserError(f"data.parts={parts} must be files or position, or null for files where there are some")
    found = {} if parts == "position" else split_files(source)
    if parts == "files" and not found:
        raise UserError(f"{source} has no files such as train.txt, valid.txt and test.txt: use data.parts=position")
    return found


def tell_splits(folder: Path, files: dict[str, Path]) -> str:
    """A line for the log."""
    others = sum(1 for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path not in files.values())
    left = f"; {others} other texts there are left out" if others else ""
    return f"{folder}: {', '.join(path.name for path in files.values())} are the splits (data.parts=files){left}"
