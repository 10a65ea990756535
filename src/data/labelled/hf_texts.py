"""Texts of a data set of Hugging Face."""

from collections.abc import Sequence
from typing import Any

from ...errors import UserError
from ..hub import classes_of, column_of, first, labels_of, splits_of
from .labeled_text import Examples, LabeledText
from .text_csv import MADE_CLASSES, cut


class HFTexts(LabeledText):
    """Texts with classes, of a data set of Hugging Face: on the hub, saved on this machine, or a folder of its files.

    The splits are those that are called train, validation and test; one that is not there is cut from the training
    texts by a checksum of each text, so that a text that comes twice is in one split. Classes have the names of their
    ClassLabel, or are the values of the column, sorted.

    Args:
        num_classes: see `declare_num_classes`.
        name, subset: see `hub.load`.
        text, pair, label: names of the columns; text None: the only one with texts; pair None: there is one text.
        share: of the training texts, for each split that has to be cut, about.
        classes: names in the order of the labels; None: those of the data set. A checkpoint gives its own.
        common: see `LabeledText`.
    """

    vocabulary = 8_000
    free = ("name",)

    def __init__(
        self, *, num_classes: int, name: str | None = None, subset: str | None = None, text: str | None = None,
        pair: str | None = None, label: str = "label", share: float = 0.1, classes: Sequence[str] | None = None,
        **common: Any,
    ) -> None:  # fmt: skip
        if classes:
            self.classes = list(map(str, classes))
        super().__init__(num_classes=num_classes, **common)
        if not 0 < share < 0.5:
            raise UserError(f"data.share={share} must be between 0 and 0.5, as in data.share=0.1")
        self.name, self.subset, self.columns, self.share = name, subset, (text, pair, label), share
        self.pair = pair is not None

    @classmethod
    def declare_num_classes(
        cls, name: str | None = None, subset: str | None = None, label: str = "label",
        classes: Sequence[str] | None = None, fake: bool = False,
    ) -> int:  # fmt: skip
        """Those of the data set."""
        if classes is not None:
            return len(classes)
        return MADE_CLASSES if fake else len(classes_of(splits_of(name, subset, label), label))

    def read_examples(self) -> dict[str, Examples]:
        text, pair, label = self.columns
        splits = splits_of(self.name, self.subset, label)
        self.classes = self.classes or classes_of(splits, label)
        if len(self.classes) != self.num_classes:
            raise UserError(
                f"data.name={self.name} has {len(self.classes)} classes, not data.num_classes={self.num_classes}: "
                "leave data.num_classes out"
            )
        columns = [column_of(first(splits), text, "string", "text", label)]
        columns += [column_of(first(splits), pair, "string", "pair", label)] if pair else []
        examples = {}
        for split, table in splits.items():
            sides = [texts_of(table, split, column) for column in columns]
            labels = labels_of(table, split, label, self.classes).tolist()
            key = "train" if split == "all" else split
            examples[key] = Examples(sides[0], sides[1] if pair else None, labels)
        return cut(examples, self.share, f"data.name={self.name}")


def texts_of(table: Any, split: str, column: str) -> list[str]:
    """A column of texts.

    Raises:
        UserError: a cell is empty or no text; its row is named.
    """
    found = []
    for row, value in enumerate(table[column]):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"row {row} of the split {split} has no text in its column {column}")
        found.append(value.strip())
    return found
