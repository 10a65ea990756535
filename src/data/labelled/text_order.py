"""Sentences of a user's own text in their order, or with two words swapped."""

from typing import Any

from ...errors import UserError
from ..text.text_file import read_splits
from .labeled_text import Examples, LabeledText
from .pydoc_order import CLASSES, make_examples, places_to_swap, split_sentences


class TextOrder(LabeledText):
    """Is a sentence of your text in its order, or have two neighbouring words changed places?

    The task of `PydocOrder` on another text: "bigram shift" of Conneau et al. 2018, arXiv:1805.01070, section 2.3.
    Sentences of prose in English are taken, see `split_sentences`, each once. They are split by their place in the
    text, see `text_file.read_splits`; a sentence that comes in two splits stays in the later one.

    Args:
        num_classes: 2.
        path: a text file, or a folder of .txt files, or of one for each split.
        encoding: of the files.
        parts: what the splits are, see `own_splits`.
        share: of the characters, for validation and for test each.
        swaps: how often a training sentence comes as it is, and with a swap; validation and test have one of each.
        common: see `LabeledText`.

    Raises:
        UserError: there is no such text, or it has too few sentences.
    """

    classes = CLASSES
    vocabulary = 4_000

    indivisible = "a sentence is in several training samples, which would be in several folds"

    def __init__(
        self, *, num_classes: int = 2, path: str | None = None, encoding: str = "utf-8",
        parts: str | None = "position", share: float = 0.05,        swaps: int = 2, **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(num_classes=num_classes, **common)
        if swaps < 1:
            raise UserError(f"data.swaps={swaps} must be at least 1")
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.05")
        self.path, self.encoding, self.parts, self.share, self.swaps = path, encoding, parts, share, swaps

    def read_examples(self) -> dict[str, Examples]:
        texts, seen = read_splits(self.path, self.share, self.encoding, self.parts), set[str]()
        found: dict[str, Examples] = {}
        for split in ("test", "val", "train"):
            new = [s for s in dict.fromkeys(split_sentences(texts[split])) if places_to_swap(s) and s not in seen]
            if not new:
                raise UserError(f"the {split} part of {self.path} has no sentence of English prose: give a longer text")
            seen |= set(new)
            found[split] = make_examples(new, self.swaps if split == "train" else 1)
        return found
