"""IMDB."""

import tarfile
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..download import fetch
from ..text.base import read_text
from .glue import carve
from .labeled_text import Examples, LabeledText

ADDRESSES = (
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "https://bj.bcebos.com/dataset/imdb%2FaclImdb_v1.tar.gz",
)
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"  # as in torchtext
FOLDERS = ("neg", "pos")
OF_EACH = 12_500  # reviews of a class, in training and test set


class IMDB(LabeledText):
    """Film reviews, negative or positive: 25,000 for training, of which a share validates, and 25,000 in the test set.

    Maas, Daly, Pham, Huang, Ng and Potts 2011, "Learning Word Vectors for Sentiment Analysis". No film of the training
    set is in the test set; validation, which the authors do not have, shares films with training. The reviews lie in
    `root/aclImdb/{train,test}/{neg,pos}`, or come from the authors' address. Line breaks of HTML become blanks.

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
        if self.fake or all((self.folder / part / name).is_dir() for part in ("train", "test") for name in FOLDERS):
            return
        packed = fetch(ADDRESSES, self.folder.with_name("aclImdb_v1.tar.gz"), MD5)
        with tarfile.open(packed) as archive:
            for part in ("test", "train"):  # training last: with it everything is there
                members = [m for m in archive if m.name.startswith(tuple(f"aclImdb/{part}/{n}/" for n in FOLDERS))]
                archive.extractall(self.folder.parent, members, filter="data")

    def read_examples(self) -> dict[str, Examples]:
        found = {}
        for part in ("train", "test"):
            texts: list[str] = []
            for name in FOLDERS:
                files = sorted((self.folder / part / name).glob("*.txt"))
                if len(files) != OF_EACH:
                    raise UserError(
                        f"{self.folder / part / name} has {len(files)} reviews where {OF_EACH} are right: delete "
                        f"{self.folder}, and it is downloaded anew"
                    )
                texts += [read_text(file).replace("<br />", " ") for file in files]
            found[part] = Examples(texts, None, [0] * OF_EACH + [1] * OF_EACH)
        train, val = carve(found["train"], self.val_share)
        return {"train": train, "val": val, "test": found["test"]}
