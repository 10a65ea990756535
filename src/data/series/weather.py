"""Daily weather in Seattle."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...errors import UserError
from .base import SeriesData
from .tables import Table, read_table

YEARS = ("2014-01-01", "2015-01-01", "2016-01-01")  # at which training, validation and test end


class Weather(SeriesData):
    """Temperatures, precipitation and wind in Seattle, each day of 2012 to 2015: nothing to download.

    1,461 days from the Global Historical Climatology Network of NOAA, which is in the public domain; the file comes
    with the Python package vega_datasets (MIT). There is no official split: 2012 and 2013 train, 2014 validates and
    2015 tests, so that validation and test each have all seasons. Units: degrees Celsius, millimetres, metres per
    second. The year is the season (`period`), of which the training has two.
    """

    at_hand = True

    def read_table(self) -> Table:
        package = find_spec("vega_datasets")  # the package itself is not imported: only its file is wanted
        if package is None or package.origin is None:
            raise UserError("data=weather reads a file of vega_datasets: pip install vega_datasets")
        path = Path(package.origin).parent / "_data" / "seattle-weather.csv"
        return read_table(path, time="date", series=self.series, covariates=self.covariates)

    def borders(self, table: Table) -> tuple[int, int, int]:
        train, val, test = (int(np.searchsorted(table.times, np.datetime64(year))) for year in YEARS)
        return train, val, test
