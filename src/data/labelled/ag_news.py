"""AG News."""

import csv
import io
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..download import fetch
from ..text.base import read_text
from .glue import carve
from .labeled_text import Examples, LabeledText

ADDRESS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
MD5 = {"train": "b1a00f826fdfbd249f79597b59e1dc12", "test": "d52ea96a97a2d943681189a97654912d"}  # as in torchtext
SIZES = {"train": 120_000, "test": 7_600}


class AGNews(LabeledText):
    """Titles and first sentences of news, of four kinds: 120,000 for training, of which a share validates, 7,600 tests.

    Zhang, Zhao and LeCun 2015, "Character-level Convolutional Networks for Text Classification", arXiv:1509.01626,
    section 4. The authors' files on a file-sharing service cannot be fetched by a program; these are copies of them
    that torchtext takes too, `train.csv` and `test.csv` in `root/ag_news`.

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
        if not self.fake:
            for part, md5 in MD5.items():
                fetch([f"{ADDRESS}{part}.csv"], self.folder / f"{part}.csv", md5)

    def read_examples(self) -> dict[str, Examples]:
        found = {}
        for part, right in SIZES.items():
            path = self.folder / f"{part}.csv"
            texts, labels = [], []
            for row in csv.reader(io.StringIO(read_text(path), newline="")):
                if len(row) != 3 or row[0] not in ("1", "2", "3", "4"):
                    raise UserError(
                        f"{path} does not have a class from 1 to 4, a title and a text in each row: delete it"
                    )
                texts.append(" ".join(row[1:]).replace("\\", " "))  # it stands for a line break
                labels.append(int(row[0]) - 1)
            if len(texts) != right:
                raise UserError(f"{path} has {len(texts)} texts where {right} are right: delete it")
            found[part] = Examples(texts, None, labels)
        train, val = carve(found["train"], self.val_share)
        return {"train": train, "val": val, "test": found["test"]}
