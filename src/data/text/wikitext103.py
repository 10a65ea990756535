"""WikiText-103."""

import logging
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from ...errors import UserError
from ..download import fetch, fetch_checked
from .base import Codec, Tokens
from .same_tokens import require_same
from .token_file import StoredText, require_complete
from .token_writing import INDEX, MakeCodec, checksum, given, read_index, trainer, whole, write_tokens
from .tokenizer import GPT, TokenizerCodec, load_codec
from .words import LINE_ENDS, UNKNOWN_WORD, WordCodec

log = logging.getLogger(__name__)
TYPES = 267_735  # with <eos> and <unk>
MADE = 1000  # types of made data
BY = ("word", "bpe")
MD5 = "9ddaacaf6af0710eda8c456decff7832"  # of wikitext-103-v1.zip, as in torchtext
SHA256 = (
    "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794"  # of wikitext-103-raw-v1.zip, as in datasets
)
OFFICIAL = "https://s3.amazonaws.com/research.metamind.io/wikitext"
MIRRORS = ("https://wikitext.smerity.com", f"https://web.archive.org/web/2020id_/{OFFICIAL}")
SPLITS = {"train": "train", "val": "valid", "test": "test"}  # and their names in the files
LINES = {"train": 1_801_350, "val": 3_760, "test": 4_358}  # as in torchtext


class WikiText103(StoredText):
    """Articles of Wikipedia: 103,227,021 + 217,646 + 245,569 words, the official splits.

    Merity, Xiong, Bradbury and Socher 2016, "Pointer Sentinel Mixture Models", arXiv:1609.07843, section 4.3. By word
    it is the distributed text, which the authors have divided by blanks and in which words that come less than three
    times are <unk>; with <eos>, which ends each line, there are 267,735 types, the most frequent first. By BPE it is
    the raw text, without <unk>, and figures are per byte of that.

    The tokens are written once, into `wikitext-103-tokens` in the data folder, and read by memory map: see
    `token_writing.write_tokens`, which goes on where it was stopped. The authors' address has stopped answering; the
    second is the one of the first author, and each file has to have the checksum. Folders `wikitext-103` or
    `wikitext-103-raw` with the three unpacked files are used, if their numbers of lines are right.

    Args:
        root: folder that has, or gets, all these.
        by: "word" or "bpe".
        tokenizer: of BPE, a given one: see `tokenizer.load_codec`; null: trained with `max_tokens`.
        max_tokens: tokens of BPE.
        arguments: see `TextData`.
    """

    def __init__(
        self, *, root: str = "data", by: str = "word", tokenizer: str | None = None, max_tokens: int = 16_384,
        **arguments: Any,
    ) -> None:  # fmt: skip
        super().__init__(**arguments)
        if by not in BY:
            raise UserError(f"data.by={by} must be word or bpe")
        if by == "word" and tokenizer is not None:
            raise UserError("data.tokenizer is for subwords: add data.by=bpe")
        self.root, self.by, self.tokenizer, self.max_tokens = Path(root).expanduser(), by, tokenizer, max_tokens
        self.unit = "word" if by == "word" else "token"

    @classmethod
    def declare_vocab_size(
        cls, by: str = "word", max_tokens: int = 16_384, tokenizer: str | None = None, fake: bool = False
    ) -> int:
        """All types of words, or the tokens of a given tokeniser or of one that is trained.

        Raises:
            UserError: an unknown `by`.
        """
        if by not in BY:
            raise UserError(f"data.by={by} must be word or bpe")
        if fake:
            return MADE
        if by == "word":
            return TYPES
        return max_tokens if tokenizer is None else load_codec(tokenizer).vocab_size

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the tokens, beside the text."""
        if self.by == "word":
            return {"by": "word"}
        if self.tokenizer is not None:
            return {"tokenizer": load_codec(self.tokenizer).fingerprint}
        return {"by": "bpe", "vocab_size": self.max_tokens}

    @property
    def folder(self) -> Path:
        """Of the tokens."""
        return self.root / "wikitext-103-tokens" / "-".join(map(str, self.settings.values()))

    def prepare_data(self) -> None:
        if self.fake or ((self.folder / INDEX).is_file() and read_index(self.folder)["complete"]):
            return
        paths = self.texts()
        splits = {name: [whole(path)] for name, path in paths.items()}
        write_tokens(splits, self.folder, self.settings, self.maker(paths["train"]), log.info)

    def maker(self, train: Path) -> MakeCodec:
        """What makes the tokeniser."""
        if self.by == "word":
            return lambda _: word_codec(train)
        if self.tokenizer is not None:
            return given(load_codec(self.tokenizer))
        return trainer("bpe", self.max_tokens, GPT)

    def texts(self) -> dict[str, Path]:
        """The unpacked text of each split; it is downloaded where it is missing.

        Raises:
            UserError: a file has another number of lines.
        """
        name, ending = ("wikitext-103", "tokens") if self.by == "word" else ("wikitext-103-raw", "raw")
        paths = {split: self.root / name / f"wiki.{part}.{ending}" for split, part in SPLITS.items()}
        if not all(path.is_file() for path in paths.values()):
            file = f"{name}-v1.zip"
            addresses = [f"{address}/{file}" for address in (OFFICIAL, *MIRRORS)]
            if self.by == "word":
                packed = fetch(addresses, self.root / file, MD5)
            else:
                packed = fetch_checked(addresses, self.root / file, _fault)
            unpack(packed, name, list(paths.values()))
        for split, path in paths.items():
            with path.open("rb") as lines:
                if (found := sum(1 for _ in lines)) != LINES[split]:
                    raise UserError(
                        f"{path} has {found} lines where {LINES[split]} are right: name another "
                        "folder with data.root=FOLDER, or read this with data=text_file data.by=word"
                    )
        return paths

    def read_tokens(self) -> Mapping[str, Tokens]:
        return super().read_tokens() if self.fake else self.open_folder(*require_complete(self.folder))

    def fake_codec(self) -> Codec:
        if self.by == "word":
            return WordCodec([f"word{i}" for i in range(self.vocab_size - 1)], "blanks")
        return super().fake_codec()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        require_same(self.known_codec, self.tokenizer)


def _fault(path: Path) -> str:
    return "" if checksum(path) == SHA256 else "the file has a wrong checksum"


def unpack(packed: Path, folder: str, paths: list[Path]) -> None:
    """Files of a folder of an archive, each whole or not there."""
    with zipfile.ZipFile(packed) as archive:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            with archive.open(f"{folder}/{path.name}") as source, part.open("wb") as target:
                while chunk := source.read(2**20):
                    target.write(chunk)
            part.replace(path)


def word_codec(path: Path) -> TokenizerCodec:
    """The words of a text that stand between blanks, and <eos> at the end of each line; the most frequent first.

    Ties are in the order of code points; <unk>, a word of the text, is the last, as in `words.WordCodec`.
    """
    counts: Counter[str] = Counter()
    end = LINE_ENDS["blanks"]
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            counts.update(line.split())
            counts[end] += 1
    del counts[UNKNOWN_WORD]
    words = [*sorted(counts, key=lambda word: (-counts[word], word)), UNKNOWN_WORD]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN_WORD))
    tokenizer.normalizer = normalizers.Replace("\n", f" {end} ")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # Nothing begins with a zero character: each word gets a blank before it.
    tokenizer.decoder = decoders.Sequence([decoders.WordPiece(prefix="\0", cleanup=False), decoders.Replace(end, "\n")])
    return TokenizerCodec(tokenizer, "word")
