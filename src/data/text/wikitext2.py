"""WikiText-2."""

import zipfile
from pathlib import Path
from typing import Any, ClassVar

from ...errors import UserError
from ..decoding import read_text
from ..download import fetch
from .base import WordData

MD5 = "542ccefacc6c27f945fb54453812b3cd"  # of wikitext-2-v1.zip, as in torchtext
FILES = {"train": "wiki.train.tokens", "val": "wiki.valid.tokens", "test": "wiki.test.tokens"}
LINES = {"train": 36_718, "val": 3_760, "test": 4_358}  # as in torchtext


class WikiText2(WordData):
    """Articles of Wikipedia by word, as distributed: 2,088,628 + 217,646 + 245,569 words, the official splits.

    Merity, Xiong, Bradbury and Socher 2016, "Pointer Sentinel Mixture Models", arXiv:1609.07843, section 4.3. The
    authors have divided the text into words with blanks between them, and replaced those that come less than three
    times by <unk>. With <eos>, which ends each of the 36,718 + 3,760 + 4,358 lines, and <unk> there are 33,278 types.

    The authors' address has stopped answering; the second is the one of the first author, and each file has to have
    the checksum. A folder `wikitext-2` with the three unpacked files is used, if their numbers of lines are right.

    Args:
        root: folder that has, or gets, `wikitext-2`.
        arguments: see `TextData`.
    """

    rule = "blanks"
    addresses: ClassVar[tuple[str, ...]] = (
        "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
        "https://wikitext.smerity.com/wikitext-2-v1.zip",
        "https://web.archive.org/web/2020id_/https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip",
    )

    def __init__(self, *, root: str = "data", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.folder = Path(root).expanduser() / "wikitext-2"

    def prepare_data(self) -> None:
        if self.fake or all((self.folder / name).is_file() for name in FILES.values()):
            return
        packed = fetch(self.addresses, self.folder.with_name("wikitext-2-v1.zip"), MD5)
        with zipfile.ZipFile(packed) as archive:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in FILES.values():
                path = self.folder / name
                unpacking = path.with_name(name + ".part")
                unpacking.write_bytes(archive.read(f"wikitext-2/{name}"))
                unpacking.rename(path)

    def read_texts(self) -> dict[str, str]:
        texts = {}
        for split, name in FILES.items():
            path = self.folder / name
            texts[split] = read_text(path)
            if (lines := texts[split].count("\n")) != LINES[split]:
                raise UserError(
                    f"{path} has {lines} lines where {LINES[split]} are right: name another folder "
                    "with data.root=FOLDER, or read this with data=text_file data.by=word"
                )
        return texts
