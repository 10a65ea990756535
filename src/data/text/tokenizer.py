"""Subword tokens by the library `tokenizers`: training, foreign tokenisers, and the codec that a checkpoint keeps."""

import base64
import binascii
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from ...errors import UserError
from ...storage.checkpoints import read
from ...storage.run_folder import find_checkpoint

KINDS = ("bpe", "wordpiece", "word", "character")
TRANSLATION = ("<pad>", "<bos>", "<eos>", "<unk>")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GPT = ("<|endoftext|>",)
KNOWN = (*TRANSLATION, *BERT, *GPT, "<s>", "</s>", "<mask>")  # special tokens of foreign vocabularies without a list
UNKNOWN = ("<unk>", "[UNK]")
INSIDE = "##"  # begins a WordPiece token that does not begin a word
WORDS = r"\n|\w+(?:['’]\w+)*|[^\w\s]"  # as in the rule "punctuation" of `words.split_words`
UNITS = {"word": "word", "character": "character"}
CHARACTER = r"[\s\S]"
FILE = "tokenizer.json"
HUB = "hf:"
PIECE = 2**16  # characters of a long text that are encoded together
LONGEST = 16 * PIECE  # characters in which a place to cut is looked for
CUT = re.compile(r"(?<=\S)[ \n](?=\S)")


def cut(text: str, size: int = PIECE) -> Iterator[str]:
    """A text in pieces of about `size` characters; with the tokenisers trained here these have its tokens.

    A piece begins with the blank or line feed between two words. Where there is none for a million characters it begins
    anywhere.
    """
    start = 0
    while start + size < len(text):
        place = CUT.search(text, start + size, start + size + LONGEST)
        end = place.start() if place else min(start + size + LONGEST, len(text))
        yield text[start:end]
        start = end
    if start < len(text) or not text:
        yield text[start:]


class TokenizerDescription(TypedDict):
    """Text by subword tokens.

    Attributes:
        by: "bpe", "wordpiece", "unigram", "word" or "character".
        tokenizer: its JSON in base64.
    """

    kind: Literal["tokenizer"]
    by: str
    tokenizer: str


class TokenizerCodec:
    """Text to token numbers and back by a tokeniser of the library `tokenizers`; a `text.Codec`.

    Text is only text: one that spells out a special token, as `<|endoftext|>`, does not get its number.

    Args:
        tokenizer: with its vocabulary. Truncation and padding that it may have asked for are switched off.
        by: "bpe", "wordpiece", "word", "character", or another model's name; null: read from the tokeniser.

    Attributes:
        unit: what a token is: "word", "character", or else "token".
        joint: what stands between two decoded pieces of text: a blank, unless pieces bring their own.
    """

    def __init__(self, tokenizer: Tokenizer, by: str | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.text = tokenizer.to_str()  # before the next line, which is no part of it
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.by = by or _kind(tokenizer)
        self.unit = UNITS.get(self.by, "token")
        self.joint = " " if self.by in ("word", "wordpiece") else ""
        self.divisible = _divisible(self.text)
        numbers = tokenizer.get_vocab(with_added_tokens=True)
        if not numbers:
            raise UserError("the tokeniser has no tokens")
        self._size = max(numbers.values()) + 1
        self._unknown = {numbers[name] for name in UNKNOWN if name in numbers}

    @property
    def vocab_size(self) -> int:
        """One more than the largest token number."""
        return self._size

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of the SHA-256 of the tokeniser's JSON."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def encode(self, text: str) -> Tensor:
        """int64 tokens of shape `t`, without special tokens around them."""
        if len(text) <= PIECE or not self.divisible:
            return torch.tensor(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=torch.int64)
        return torch.from_numpy(np.concatenate([tokens.astype(np.int64) for tokens in self.stream(text)]))

    def stream(self, text: str) -> Iterator[np.ndarray[Any, Any]]:
        """The tokens of a long text, some pieces of it at a time, as unsigned numbers of 16 or 32 bits."""
        pieces = cut(text)
        while some := list(itertools.islice(pieces, 16)):
            for numbers in self.encode_many(some):
                yield np.array(numbers, dtype=self.dtype)

    @property
    def dtype(self) -> str:
        """The smallest unsigned whole numbers that hold each token: "uint16" or "uint32"."""
        return "uint16" if self.vocab_size <= 2**16 else "uint32"

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """What `encode` gives, of many texts in one call, on all threads that the library may use."""
        return [e.ids for e in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        """Text without the special tokens. Words stand with one blank between them."""
        return str(self.tokenizer.decode(_numbers(tokens), skip_special_tokens=True))

    def pieces(self, tokens: Tensor | Sequence[int]) -> list[str]:
        """Each token as text of its own, special ones too. Half a character shows as a replacement character."""
        return list(self.tokenizer.decode_batch([[i] for i in _numbers(tokens)], skip_special_tokens=False))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """First character, and the one after the last, of each token of `encode(text)`.

        A byte-level token has the blank before a word in its span.
        """
        return list(self.tokenizer.encode(text, add_special_tokens=False).offsets)

    def number(self, *names: str) -> int:
        """The number of the first of these special tokens that the tokeniser has.

        Raises:
            UserError: it has none.
        """
        for name in names:
            if (found := self.tokenizer.token_to_id(name)) is not None:
                return int(found)
        raise UserError(f"the tokeniser has no token {' or '.join(names)}: name another with data.tokenizer=PATH")

    def unknown(self, text: str) -> Counter[str]:
        """How often each piece of text comes that the vocabulary lacks; bytes are always known."""
        if not self._unknown:
            return Counter()
        counts: Counter[str] = Counter()
        for piece in cut(text):
            found = self.tokenizer.encode(piece, add_special_tokens=False)
            pairs = zip(found.ids, found.offsets, strict=True)
            counts.update(piece[a:b] for i, (a, b) in pairs if i in self._unknown)
        return counts

    def describe(self) -> TokenizerDescription:
        """Plain values for `text.codec_of`; base64, since a text of `$` and `{` would look like an interpolation."""
        return {"kind": "tokenizer", "by": self.by, "tokenizer": base64.b64encode(self.text.encode()).decode()}

    def save(self, path: Path) -> None:
        """Write the tokeniser's JSON; every program that uses `tokenizers` can read it."""
        path.write_text(self.text, encoding="utf-8")

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_text, (self.text, self.by)


def _from_text(text: str, by: str | None = None) -> TokenizerCodec:
    return TokenizerCodec(Tokenizer.from_str(text), by)


def _numbers(tokens: Tensor | Sequence[int]) -> list[int]:
    return tokens.tolist() if isinstance(tokens, Tensor) else [int(i) for i in tokens]


def _kind(tokenizer: Tokenizer) -> str:
    kind = type(tokenizer.model).__name__.lower()
    if kind != "wordlevel":
        return kind
    return "character" if isinstance(tokenizer.decoder, decoders.Fuse) else "word"


def _divisible(text: str) -> bool:
    """Whether a text may be encoded in the pieces of `cut`: it is divided at blanks, and nothing is put before it."""
    about = json.loads(text)
    before, normalizer = about["pre_tokenizer"] or {}, about["normalizer"] or {"type": None}
    divides = {
        "ByteLevel": not before.get("add_prefix_space", True) and before.get("use_regex", True),
        "BertPreTokenizer": True,
        "WhitespaceSplit": True,
        "Split": before.get("pattern") in ({"Regex": WORDS}, {"Regex": CHARACTER}),
    }
    local = normalizer["type"] in (None, "BertNormalizer", "Lowercase") or normalizer.get("pattern") == {"String": "\n"}
    return local and bool(divides.get(str(before.get("type")), False))


def tokenizer_of(about: Mapping[str, Any]) -> TokenizerCodec:
    """The codec that `TokenizerCodec.describe` has described.

    Raises:
        UserError: the tokeniser is damaged.
    """
    try:
        return _from_text(base64.b64decode(about["tokenizer"], validate=True).decode(), str(about["by"]))
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"the checkpoint's tokeniser is damaged ({_first_line(error)}): give another one") from error
    except Exception as error:  # the library raises nothing more special
        if type(error) is not Exception:
            raise
        raise UserError(f"the checkpoint's tokeniser is damaged ({_first_line(error)}): give another one") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _blank(by: str, specials: Sequence[str], lowercase: bool) -> Tokenizer:
    """A tokeniser without a vocabulary."""
    unknown = next((name for name in specials if name in UNKNOWN), None)
    if by != "bpe" and unknown is None:
        raise ValueError(f"a vocabulary by {by} needs one of the special tokens {' and '.join(UNKNOWN)}")
    if by == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    elif by == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=INSIDE)
        return tokenizer
    else:
        tokenizer = Tokenizer(models.WordLevel(vocab={}, unk_token=unknown))
        if by == "word":
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER), "isolated")
            tokenizer.decoder = decoders.Fuse()
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def train_codec(
    texts: Iterable[str], by: str, vocab_size: int, specials: Sequence[str], *, lowercase: bool = False
) -> TokenizerCodec:
    r"""A tokeniser of a training text; the same text gives the same one, to the byte.

    - "bpe": byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of bytes, as in GPT-2 (Radford et al. 2019,
      "Language Models are Unsupervised Multitask Learners", section 2.2): text is divided by GPT-2's rule, where a word
      has the blank before it, and the most frequent pair of neighbouring tokens becomes a token, again and again. Of
      pairs that are equally frequent the one with the smaller first number comes first, then that with the smaller
      second number. Numbers: special tokens, the 256 bytes in the order of the signs that stand for them, then tokens
      in the order of their merges. Nothing is unknown, and decoding gives the text back.
    - "wordpiece": the vocabulary by merges as above within words, which blanks and punctuation end, and where `##`
      begins what does not begin a word; text is divided by the longest token that fits, from the left, as in BERT
      (Devlin et al. 2018, arXiv:1810.04805; Schuster and Nakajima 2012). Numbers: special tokens, single characters
      with `##` by code point, those without, then the merges. `lowercase` takes accents away too, as in BERT.
    - "word": letters and digits in a row, with apostrophes inside, or any other sign that is no blank, or a line feed;
      the most frequent ones, the most frequent first, ties in the order of code points. Decoding joins them by blanks.
    - "character": likewise; decoding gives back a text whose characters are all known.

    Args:
        texts: pieces of the training text, each divided into words on its own; they may come from a generator.
        by: see above.
        vocab_size: tokens, special ones included. A short text may give fewer: `TokenizerCodec.vocab_size` is true.
        specials: get the numbers from 0 on.
        lowercase: capital letters become small ones.

    Raises:
        UserError: an unknown kind, or not even special tokens and single characters have room.
    """
    if by not in KINDS:
        raise UserError(f"data.by={by} must be one of {', '.join(KINDS)}")
    tokenizer = _blank(by, specials, lowercase)
    common: dict[str, Any] = {"vocab_size": vocab_size, "show_progress": False}
    trainer: Any
    if by == "bpe":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(special_tokens=list(specials), initial_alphabet=alphabet, **common)
    elif by == "wordpiece":
        # The library numbers characters with ## as a hash table yields them, another way in each process. Tokens that
        # it is told of keep the order of the list; the vocabulary goes into a tokeniser where they are not special.
        texts = list(texts) if isinstance(texts, Iterator) else texts
        inside = [INSIDE + c for c in sorted(_inside(texts, tokenizer))]
        trainer = trainers.WordPieceTrainer(special_tokens=[*specials, *inside], **common)
    else:
        trainer = trainers.WordLevelTrainer(special_tokens=list(specials), **common)
    tokenizer.train_from_iterator(texts, trainer)
    if by == "wordpiece":
        numbers, tokenizer = tokenizer.get_vocab(), _blank(by, specials, lowercase)
        tokenizer.model = models.WordPiece(
            vocab=numbers,
            unk_token=next(name for name in specials if name in UNKNOWN),
            continuing_subword_prefix=INSIDE,
        )
        tokenizer.add_special_tokens(list(specials))
    codec = TokenizerCodec(tokenizer, by)
    least = max(codec.vocab_size, len(specials) + 1)
    if vocab_size < least:
        raise UserError(
            f"data.vocab_size={vocab_size} has no room for the special tokens and single characters of this text: use "
            f"at least {least}"
        )
    return codec


def _inside(texts: Iterable[str], tokenizer: Tokenizer) -> set[str]:
    """Characters that come in a word elsewhere than at its beginning."""
    found: set[str] = set()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        words = {word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal)}
        found.update(*(word[1:] for word in words))
    return found


_trained: dict[tuple[Any, ...], TokenizerCodec] = {}


def codec_of_text(text: str, by: str, vocab_size: int, specials: Sequence[str]) -> TokenizerCodec:
    """`train_codec` on the pieces of a text, once in a process: networks are built before the data are set up."""
    key = (hashlib.sha256(text.encode()).digest(), by, vocab_size, tuple(specials))
    if key not in _trained:
        _trained[key] = train_codec(cut(text), by, vocab_size, specials)
    return _trained[key]


def made_codec(vocab_size: int) -> TokenizerCodec:
    """A byte-level tokeniser of a size, for made data: its merges have nothing to do with any language.

    Raises:
        UserError: no room for the bytes and <|endoftext|>.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*GPT, *alphabet]
    if vocab_size < len(tokens):
        raise UserError(f"data.vocab_size={vocab_size} must be at least {len(tokens)}, one for each byte and one more")
    merges = [(a, b) for a, b in itertools.islice(_pairs(tokens, alphabet), vocab_size - len(tokens))]
    tokenizer = _blank("bpe", GPT, lowercase=False)
    tokenizer.model = models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    tokenizer.add_special_tokens(list(GPT))
    return TokenizerCodec(tokenizer, "bpe")


def _pairs(tokens: list[str], alphabet: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a token and a byte without end; each becomes a token itself."""
    for place in itertools.count(1):
        for sign in alphabet:
            tokens.append(tokens[place] + sign)
            yield tokens[place], sign


def load_codec(path: str | Path) -> TokenizerCodec:
    """A tokeniser from files.

    Args:
        path: a tokenizer.json; a folder as Hugging Face's models have it, with tokenizer.json, or vocab.txt (WordPiece,
            in lower case unless tokenizer_config.json says otherwise), or vocab.json and merges.txt (byte-level BPE);
            a checkpoint or run folder of this program whose data have a tokeniser; `hf:NAME`, a model of the hub.

    Raises:
        UserError: there is none, or it is damaged.
    """
    where = _fetched(str(path)[len(HUB) :]) if str(path).startswith(HUB) else Path(path).expanduser()
    try:
        if where.is_file() and where.suffix == ".json":
            return _from_text(where.read_text(encoding="utf-8"))
        if (where / FILE).is_file():
            return _from_text((where / FILE).read_text(encoding="utf-8"))
        if (where / "vocab.txt").is_file():
            return _wordpiece(where)
        if (where / "vocab.json").is_file() and (where / "merges.txt").is_file():
            return _byte_level(where)
    except UserError:
        raise
    except Exception as error:  # the library raises nothing more special for a file that is no tokeniser
        raise UserError(f"{where} holds no tokeniser that can be read: {_first_line(error)}") from error
    if where.is_file() or (where / "checkpoints").is_dir():
        about = read(find_checkpoint(str(where), "best"))["torchatlas"]["data"]
        about = about if about.get("kind") == "tokenizer" else about.get("tokenizer")
        if isinstance(about, dict):
            return tokenizer_of(about)
        raise UserError(f"{where} has no tokeniser of its own: give a tokenizer.json or another run")
    raise UserError(
        f"there is no tokeniser {where}: give a tokenizer.json, a folder with one (or with vocab.txt, or with "
        "vocab.json and merges.txt), or a run folder"
    )


def _fetched(name: str) -> Path:
    """The folder with the tokeniser's files of a model on the hub, from its cache where they are there."""
    from huggingface_hub import snapshot_download

    wanted = [FILE, "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # of the network, the disk, the name: the hub's client has many
        raise UserError(
            f"the tokeniser of {name} cannot be had from huggingface.co ({_first_line(error)}): fetch the folder "
            "elsewhere and name it"
        ) from error


def _wordpiece(folder: Path) -> TokenizerCodec:
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    config = folder / "tokenizer_config.json"
    lowercase = json.loads(config.read_text(encoding="utf-8")).get("do_lower_case", True) if config.is_file() else True
    tokenizer = _blank("wordpiece", BERT, lowercase)
    tokenizer.model = models.WordPiece(
        vocab={word: i for i, word in enumerate(words)}, unk_token="[UNK]", continuing_subword_prefix=INSIDE
    )
    tokenizer.add_special_tokens([name for name in KNOWN if name in words])
    return TokenizerCodec(tokenizer, "wordpiece")


def _byte_level(folder: Path) -> TokenizerCodec:
    numbers, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = _blank("bpe", (), lowercase=False)
    tokenizer.model = models.BPE(vocab=numbers, merges=merges)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in KNOWN if name in numbers])
    return TokenizerCodec(tokenizer, "bpe")
