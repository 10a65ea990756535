"""Help fits a terminal, and other programs get whole lines."""

import os
import shutil
import sys

import pytest

from torchatlas.run.usage import fitted, help_text

LINE = "    resnet50  ResNet-50. He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 4.1, table 1, right-hand side."


def test_in_a_terminal_what_stands_behind_a_name_goes_on_below_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(LINE) == LINE
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    assert fitted(LINE).split("\n") == [
        "    resnet50  ResNet-50. He, Zhang, Ren, Sun 2015,",
        "              arXiv:1512.03385, section 4.1, table 1,",
        "              right-hand side.",
    ]
    shown = fitted(help_text())
    assert max(map(len, shown.split("\n"))) <= 60
    assert shown.split() == help_text().split()
