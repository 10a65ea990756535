"""AG News."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError, some
from ..download import fetch
from ..tables import Cells, read_cells
from .base import joined
from .glue import carve, tell_numbers
from .labeled_text import Examples, LabeledText

ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
MD5 = {"train": "b1a00f826fdfbd249f79597b59e1dc12", "test": "d52ea96a97a2d943681189a97654912d"}  # as in torchtext
SIZES = {"train": 120_000, "test": 7_600}
LABELS = ("1", "2", "3", "4")


class AGNews(LabeledText):
    """Titles and first sentences of news, of four kinds: 120,000 for training, of which a share validates, 7,600 tests.

    Zhang, Zhao and LeCun 2015, "Character-level Convolutional Networks for Text Classification", arXiv:1509.01626,
    section 4. The authors' files on a file-sharing service cannot be fetched by a program; these are copies of them
    that torchtext takes too, `train.csv` and `test.csv` in `root/ag_news`. Files that are there are used, with a line
    of names or without, and the log says if there are more texts or fewer.

    Args:
        num_classes: 4.
        root: folder that has, or gets, `ag_news`.
        val_share: of the training texts of each class, for validation: always the same ones.
        common: see `LabeledText`.
    """

    classes = ("World", "Sports", "Business", "Sci/Tech")
    vocabulary = 20_000

    def __init__(self, *, num_classes: int = 4, root: str = "data", val_share: float = 0.05, **common: Any) -> None:
        super().__init__(num_classes=num_classes, **common)
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share} must be between 0 and 1, as in data.val_share=0.05")
        self.folder, self.val_share = Path(root).expanduser() / "ag_news", val_share

    def prepare_data(self) -> None:
        for part, md5 in MD5.items():
            path = self.folder / f"{part}.csv"
            if not self.fake and not path.is_file():
                fetch([f"{ADDRESS}{part}.csv"], path, md5)

    def columns_of(self, cells: Cells) -> tuple[Sequence[str], Sequence[str]]:
        """Title and text of a table such as the authors', with names or without."""
        return (cells.names[1:], []) if len(cells.names) == 3 else super().columns_of(cells)

    def clean(self, text: str) -> str:
        return plain(text)

    def read_examples(self) -> dict[str, Examples]:
        found = {}
        for part, right in SIZES.items():
            path = self.folder / f"{part}.csv"
            cells = read_cells(path)
            if len(cells.names) != 3:
                raise UserError(
                    f"{path} does not have three columns, a class from 1 to 4, a title and a text: name another folder "
                    "with data.root=FOLDER, or read it with data=text_csv"
                )
            classes, *sides = cells.names
            for row, label in enumerate(cells.column(classes)):
                if label not in LABELS:
                    raise UserError(f"{cells.place(row)}: the class is {some([label])}, not one of {', '.join(LABELS)}")
            texts = list(map(plain, joined(cells, sides)))
            tell_numbers(path, len(texts), right, "texts", speaks=self.speaks)
            found[part] = Examples(texts, None, [int(label) - 1 for label in cells.column(classes)])
        train, val = carve(found["train"], self.val_share)
        return {"train": train, "val": val, "test": found["test"]}


def plain(text: str) -> str:
    """A text with blanks for backslashes, which stand for line breaks."""
    return text.replace("\\", " ")
