"""Electricity transformer temperature."""

from pathlib import Path
from typing import Any

from ...errors import UserError
from ..download import fetch
from .base import SeriesData
from .tables import Table, read_table

# MD5 as darts (unit8co/darts) publishes them. The first address is the authors', the second a benchmark's copy.
FILES = {
    "ETTh1": "8381763947c85f4be6ac456c508460d6",
    "ETTh2": "51a229a3fc13579dd939364fefe9c7ab",
    "ETTm1": "82d6bd89109c63d075d99c1077b33f38",
    "ETTm2": "7687e47825335860bf58bccb31be0c56",
}
ADDRESSES = (
    "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small",
    "https://huggingface.co/datasets/thuml/Time-Series-Library/resolve/main/ETT-small",
)
MONTHS = (12, 16, 20)  # of 30 days, at which training, validation and test end


class ETT(SeriesData):
    """Six loads and the oil temperature (OT) of a transformer, July 2016 to June 2018, hourly or every 15 minutes.

    Zhou et al. 2020, "Informer", arXiv:2012.07436. The splits are the authors': 12 months of 30 days train, four
    validate and four test; what comes after is not used. The first windows of validation and test look back into the
    split before, so that each split has (rows - horizon + 1) windows, 2,785 of ETTh1's test with a horizon of 96.

    Args:
        subset: ETTh1, ETTh2 (hours, two stations), ETTm1 or ETTm2 (15 minutes).
        root: folder that has ETT-small/ETTh1.csv, or gets it.
        others: see `SeriesData`.
    """

    def __init__(self, *, subset: str = "ETTh1", root: str = "data", **others: Any) -> None:
        super().__init__(**others)
        if subset not in FILES:
            raise UserError(f"data.subset={subset} must be {', '.join(list(FILES)[:-1])} or {list(FILES)[-1]}")
        self.subset, self.root = subset, Path(root).expanduser()

    @property
    def path(self) -> Path:
        return self.root / "ETT-small" / f"{self.subset}.csv"

    def prepare_data(self) -> None:
        if not self.fake:
            fetch([f"{address}/{self.path.name}" for address in ADDRESSES], self.path, FILES[self.subset])

    def read_table(self) -> Table:
        return read_table(self.path, time="date", series=self.series, covariates=self.covariates)

    def borders(self, table: Table) -> tuple[int, int, int]:
        month = 30 * 24 * (4 if self.subset.startswith("ETTm") else 1)
        train, val, test = (month * number for number in MONTHS)
        return train, val, test
