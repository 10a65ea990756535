"""The windows of ETT."""

import numpy as np
import pytest
from helpers.series import RNG

from torchatlas.data.series.ett import ETT
from torchatlas.data.series.tables import Table
from torchatlas.errors import UserError


def test_ett_has_the_windows_of_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """8,209 of training, 2,785 of validation and of test with 336 hours back and 96 ahead; four times the rows by
    quarters of an hour.
    """
    columns = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    for subset, per_hour in (("ETTh1", 1), ("ETTm2", 4)):
        data = ETT(subset=subset, series=columns, in_channels=7, out_channels=7, lookback=336, horizon=96)
        rows = 17420 * per_hour
        values = RNG.normal(size=(rows, 7))
        values[8640 * per_hour :] += 100
        times = np.datetime64("2016-07-01T00:00:00") + np.arange(rows) * np.timedelta64(3600 // per_hour, "s")
        monkeypatch.setattr(data, "read_table", lambda t=times, v=values: Table("date", columns, [], t, "h", v))
        data.setup()
        sizes = {name: len(split) for name, split in data.splits.items()}
        month = 2880 * per_hour
        assert sizes == {"train": 3 * month - 336 - 96 + 1, "val": month - 95, "test": month - 95}
        assert np.abs(data.mean).max() < 0.1  # validation and test are elsewhere
    with pytest.raises(UserError, match="ETTh1, ETTh2"):
        ETT(subset="ETTh3", series=columns, in_channels=7, out_channels=7, lookback=336, horizon=96)
