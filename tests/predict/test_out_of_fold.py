"""Answers of all folds in one table."""

import csv
from pathlib import Path

import pytest

from torchatlas.predict.out_of_fold import FILE, write_out_of_fold
from torchatlas.storage.files import write_json


def test_a_series_that_goes_on_says_once_what_all_folds_came_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each fold has had its answers: of every one the series asks for them again."""
    caplog.set_level("INFO")
    write_json(tmp_path / "folds.json", {"folds": [1, 2, 3], "figures": {}})
    for fold in (1, 2, 3):
        (tmp_path / f"fold-{fold}").mkdir()
        rows = f"sample,fold,label,class,probability\n{3 - fold},{fold},a,{'a' if fold > 1 else 'b'},0.9\n"
        (tmp_path / f"fold-{fold}" / FILE).write_text(rows)
    for fold in (1, 2, 3):
        write_out_of_fold(tmp_path / f"fold-{fold}")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("out of fold, 2 of 3 samples are taken for their class (66.67 %)")
    with (tmp_path / FILE).open(newline="") as file:
        assert [(row["sample"], row["fold"]) for row in csv.DictReader(file)] == [("0", "3"), ("1", "2"), ("2", "1")]
