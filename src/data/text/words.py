"""Words as tokens: two rules that divide a text into words, and the codec of a vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor

UNKNOWN_WORD = "<unk>"
LINE_ENDS = {"blanks": "<eos>", "punctuation": "\n"}  # the word that ends a line, by rule
WORD = re.compile(r"\n|\w+(?:['’]\w+)*|[^\w\s]")


def split_words(text: str, rule: str) -> list[str]:
    r"""Words of a text.

    Args:
        text: lines end with a line feed.
        rule: "blanks": what stands between blanks is a word, and each line ends with the word <eos> (as WikiText is
            meant to be read: Merity et al. 2016, arXiv:1609.07843). "punctuation": letters and digits in a row, with
            apostrophes inside, are a word; any other sign that is no blank is a word of its own; so is a line feed.

    >>> split_words("It's  here:\n(x_1)", "punctuation")
    ["It's", 'here', ':', '\n', '(', 'x_1', ')']
    >>> split_words(" = Robin = \n \n", "blanks")
    ['=', 'Robin', '=', '<eos>', '<eos>']
    """
    if rule == "punctuation":
        return WORD.findall(text)
    return [word for line in text.removesuffix("\n").split("\n") for word in (*line.split(), LINE_ENDS[rule])]


def most_frequent(tokens: Iterable[str], size: int, unknown: Sequence[str] = ()) -> list[str]:
    """The `size` most frequent tokens, the most frequent first, ties in alphabetical order; `unknown` do not count."""
    counts = Counter(tokens)
    for token in unknown:
        counts.pop(token, None)
    return sorted(counts, key=lambda token: (-counts[token], token))[:size]


class WordDescription(TypedDict):
    """Text by word.

    Attributes:
        words: in the order of their numbers.
        rule: by which a text is divided, see `split_words`.
    """

    kind: Literal["words"]
    words: list[str]
    rule: str


class WordCodec:
    """Words to token numbers and back; a word that the vocabulary lacks becomes <unk>.

    Args:
        words: the vocabulary in the order of the numbers; <unk> is added at the end if it is not there.
        rule: see `split_words`.
    """

    unit = "word"
    joint = " "  # stands between two decoded pieces of text

    def __init__(self, words: Sequence[str], rule: str) -> None:
        self.words = list(words) if UNKNOWN_WORD in words else [*words, UNKNOWN_WORD]
        self.rule = rule
        self.number = {word: i for i, word in enumerate(self.words)}

    @property
    def vocab_size(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> Tensor:
        """int64 tokens of shape `t`."""
        unknown = self.number[UNKNOWN_WORD]
        return torch.tensor([self.number.get(w, unknown) for w in split_words(text, self.rule)], dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str:
        """Words with one blank between them, line by line: other blanks are not kept."""
        end = LINE_ENDS[self.rule]
        words = ("\n" if self.words[i] == end else self.words[i] for i in tokens.tolist())
        return re.sub(r" ?\n ?", "\n", " ".join(words))

    def unknown(self, text: str) -> Counter[str]:
        """How often each word comes that the vocabulary lacks."""
        return Counter(word for word in split_words(text, self.rule) if word not in self.number)

    def describe(self) -> WordDescription:
        """Plain values for `text.codec_of`."""
        return {"kind": "words", "words": self.words, "rule": self.rule}
