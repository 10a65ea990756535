"""How figures are printed, and what is known of them."""

import os

import pytest

from torchatlas.metrics.figures import Figure, amount, duration, figure_of, format_figure, reported


def test_numbers_are_short() -> None:
    assert [amount(n, "B") for n in (0, 999, 1000, 9_994, 99_940, 999_600)] == [
        "0 B", "999 B", "1.00 kB", "9.99 kB", "99.9 kB", "1.00 MB",
    ]  # fmt: skip
    assert duration(59.94) == "59.9 s"
    assert os.linesep not in duration(0.5)


# --- what is known

KNOWN = {
    "loss": Figure("lower"),
    "accuracy": Figure("higher", "%"),
    "masked_accuracy": Figure("higher", "nats"),
    "exact_match_long": Figure("higher", "%"),
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("accuracy", "12.35 %"),
        ("val/accuracy", "12.35 %"),
        ("test/majority_accuracy", "12.35 %"),
        ("masked_accuracy", "0.1235"),
        ("exact_match_long", "12.35 %"),
        ("inaccuracy", "0.1235"),
        ("loss", "0.1235"),
        ("unheard_of", "0.1235"),
    ],
)
def test_shares_are_in_per_cent(name: str, text: str) -> None:
    assert format_figure(name, 0.12345, KNOWN) == text


def test_a_baseline_is_of_the_kind_of_its_figure() -> None:
    assert figure_of("val/usual_masked_accuracy", KNOWN) is KNOWN["masked_accuracy"]
    assert figure_of("accuracy_of_all", KNOWN) is None


def test_a_class_adds_to_its_bases_and_replaces() -> None:
    class Base:
        reports = {"loss": Figure("lower"), "mse": Figure("lower", headline=True)}  # noqa: RUF012

    class Own(Base):
        reports = {"ratio": Figure("lower"), "loss": Figure("lower", "nats")}  # noqa: RUF012

    class Data:
        reports = {"mean_mse": Figure("lower", tabled=True)}  # noqa: RUF012

    assert list(reported(Own, Data)) == ["loss", "mse", "ratio", "mean_mse"]
    assert reported(Own)["loss"].unit == "nats"
    assert [Figure(better).mode for better in ("lower", "higher")] == ["min", "max"]
