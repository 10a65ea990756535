"""Multi30k."""

import gzip
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..download import fetch
from .base import Pair, ParallelData

LANGUAGES = ("cs", "de", "en", "fr")
FILES = {"train": "train", "val": "val", "test": "test_2016_flickr"}
SIZES = {"train": 29_000, "val": 1_014, "test": 1_000}
# Of the packed files, as torchtext's raw translation data sets had them.
MD5 = {
    "train.cs.gz": "d9a5fc268917725a2b0efce3a0cc8607",
    "train.de.gz": "81ff90b99829c0cd4b1b587d394afd39",
    "train.en.gz": "0065d13af80720a55ca8153d126e6627",
    "train.fr.gz": "6cb767741dcad3931f966fefbc05203f",
    "val.cs.gz": "83cdc082f646b769095615384cf5c0ca",
    "val.de.gz": "6e0e229eb049e3fc99a1ef02fb2d5f91",
    "val.en.gz": "2b69aa9253948ac9f67e94917272dd40",
    "val.fr.gz": "93fc564584b7e5ba410c761ea5a1c682",
    "test_2016_flickr.cs.gz": "3104872229daa1bef3b401d44dd2220b",
    "test_2016_flickr.de.gz": "efd67d314d98489b716b145475101932",
    "test_2016_flickr.en.gz": "ff2c0fcb4893a13bd73414306bc250ae",
    "test_2016_flickr.fr.gz": "08dc7cd4a662f31718412de95ca9bfe3",
}


class Multi30k(ParallelData):
    """Captions of photographs in four languages: 29,000 + 1,014 + 1,000 pairs, the official splits of task 1.

    Elliott, Frank, Sima'an and Specia 2016, "Multi30K: Multilingual English-German Image Descriptions",
    arXiv:1605.00459; French and Czech by the later shared tasks. English captions of Flickr30k and translations by
    professionals. The test set is that of 2016. The files are the raw text of the authors' repository
    (github.com/multi30k/dataset, data/task1/raw), packed, in `root/multi30k`. The authors publish no checksum; these
    are torchtext's.

    By word in small letters (see `train_codec`) 7,877 German and 5,944 English words come twice or more in training. A
    network that knows these alone, and writes them with blanks between, could reach a BLEU of 95.0 on the English test
    set; by BPE it is 100.

    Args:
        root: folder that has `multi30k` with the packed files, or gets them.
        source, target: languages: cs, de, en or fr.
        arguments: vocabularies and so on, see `ParallelData`.

    Raises:
        UserError: no such language, or a file that is not what it should be.
    """

    addresses: ClassVar[tuple[str, ...]] = (
        "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/",
        "https://github.com/multi30k/dataset/raw/master/data/task1/raw/",
    )

    def __init__(self, *, root: str = "data", source: str = "de", target: str = "en", **arguments: Any) -> None:
        super().__init__(**arguments)
        for key, language in (("source", source), ("target", target)):
            if language not in LANGUAGES:
                raise UserError(f"data.{key}={language} must be one of {', '.join(LANGUAGES)}")
        if source == target:
            raise UserError(f"data.source={source} and data.target={target} must be two languages")
        self.folder, self.source, self.target = Path(root).expanduser() / "multi30k", source, target

    def prepare_data(self) -> None:
        if self.fake:
            return
        for language in (self.source, self.target):
            for name in (f"{file}.{language}.gz" for file in FILES.values()):
                fetch([address + name for address in self.addresses], self.folder / name, MD5[name])

    def read_pairs(self) -> dict[str, list[Pair]]:
        def lines(split: str, language: str) -> list[str]:
            path = self.folder / f"{FILES[split]}.{language}.gz"
            try:
                text = gzip.decompress(path.read_bytes()).decode()
            except (OSError, EOFError) as error:
                raise UserError(
                    f"{path} cannot be unpacked ({error}): name a folder without it with data.root=FOLDER"
                ) from error
            found = [line.strip() for line in text.removesuffix("\n").split("\n")]
            if len(found) != SIZES[split]:
                raise UserError(
                    f"{path} has {len(found)} lines where {SIZES[split]} are right: read it with data=parallel_files"
                )
            return found

        return {split: list(zip(lines(split, self.source), lines(split, self.target), strict=True)) for split in FILES}
