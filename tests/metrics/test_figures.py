"""How figures are printed."""

import os

from torchatlas.metrics.figures import amount, duration


def test_numbers_are_short() -> None:
    assert [amount(n, "B") for n in (0, 999, 1000, 9_994, 99_940, 999_600)] == [
        "0 B", "999 B", "1.00 kB", "9.99 kB", "99.9 kB", "1.00 MB",
    ]  # fmt: skip
    assert duration(59.94) == "59.9 s"
    assert os.linesep not in duration(0.5)
