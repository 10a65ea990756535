"""IMDB."""

import logging
import shutil
import tarfile
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..decoding import read_text
from ..download import fetch
from .glue import carve
from .labeled_text import Examples, LabeledText

log = logging.getLogger(__name__)
ADDRESSES = (
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "https://bj.bcebos.com/dataset/imdb%2FaclImdb_v1.tar.gz",
)
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"  # as in torchtext
PARTS, FOLDERS = ("train", "test"), ("neg", "pos")
SIZES = {"train": 25_000, "test": 25_000}


class IMDB(LabeledText):
    """Film reviews, negative or positive: 25,000 for training, of which a share validates, and 25,000 in the test set.

    Maas, Daly, Pham, Huang, Ng and Potts 2011, "Learning Word Vectors for Sentiment Analysis". No film of the training
    set is in the test set; validation, which the authors do not have, shares films with training. The reviews lie in
    `root/aclImdb/{train,test}/{neg,pos}`, or come from the authors' address. Line breaks of HTML become
    blanks. Reviews that are there in another cut are used as they lie, a folder `val` too, and the log says so.

    Args:
        num_classes: 2.
        root: folder that has, or gets, `aclImdb`.
        val_share: of the training reviews of each class, for validation: always the same ones.
        common: see `LabeledText`.
    """

    classes = ("negative", "positive")
    vocabulary = 20_000

    def __init__(self, *, num_classes: int = 2, root: str = "data", val_share: float = 0.1, **common: Any) -> None:
        super().__init__(num_classes=num_classes, **common)
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share} must be between 0 and 1, as in data.val_share=0.1")
        self.folder, self.val_share = Path(root).expanduser() / "aclImdb", val_share

    def prepare_data(self) -> None:
        if self.fake or all((self.folder / part / name).is_dir() for part in PARTS for name in FOLDERS):
            return
        packed = fetch(ADDRESSES, self.folder.with_name("aclImdb_v1.tar.gz"), MD5)
        with tarfile.open(packed) as archive:
            unpacked = self.folder.with_name("aclImdb.part")  # gets its name when all of it is there
            members = [
                m for m in archive if m.name.startswith(tuple(f"aclImdb/{p}/{n}/" for p in PARTS for n in FOLDERS))
            ]
            archive.extractall(unpacked, members, filter="data")
        self.folder.mkdir(exist_ok=True)
        for part in PARTS:
            if not (self.folder / part).exists():
                (unpacked / "aclImdb" / part).rename(self.folder / part)
        shutil.rmtree(unpacked)

    def read_examples(self) -> dict[str, Examples]:
        found = {part: self.read_part(self.folder / part) for part in PARTS}
        sizes = {part: len(examples.texts) for part, examples in found.items()}
        own = next((name for name in ("val", "valid", "dev") if (self.folder / name / FOLDERS[0]).is_dir()), None)
        if own is not None:
            found["val"] = self.read_part(self.folder / own)
        if sizes != SIZES and self.speaks:
            log.warning(
                "%s has %d + %d reviews%s where the authors have %d + %d: they are used as they lie there, and figures "
                "are not those that others report",
                self.folder, *sizes.values(), "" if own is None else f", and {len(found['val'].texts)} in {own}",
                *SIZES.values(),
            )  # fmt: skip
        if own is None:
            found["train"], found["val"] = carve(found["train"], self.val_share)
        return {split: found[split] for split in ("train", "val", "test")}

    def read_part(self, folder: Path) -> Examples:
        """The reviews of a split.

        Raises:
            UserError: a class has none.
        """
        texts: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(FOLDERS):
            files = sorted((folder / name).glob("*.txt"))
            if not files:
                raise UserError(f"{folder / name} holds no review: name another folder with data.root=FOLDER")
            texts += [plain(read_text(file)) for file in files]
            labels += [label] * len(files)
        return Examples(texts, None, labels)

    def clean(self, text: str) -> str:
        return plain(text)


def plain(text: str) -> str:
    """A review with blanks for line breaks of HTML."""
    return text.replace("<br />", " ")
