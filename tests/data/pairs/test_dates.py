"""Made dates in 32 forms."""

import contextlib
from datetime import date, datetime

import pytest

from torchatlas.data.pairs.dates import FORMATS, SHORT_FORMATS, Dates, formats
from torchatlas.errors import UserError


@pytest.fixture(scope="module")
def made_dates() -> Dates:
    data = Dates(source_vocab_size=73, target_vocab_size=16, batch_size=64)
    data.setup()
    return data


def test_dates_have_one_answer_and_splits_are_apart(made_dates: Dates) -> None:
    raw = {split: made_dates.raw(split) for split in ("train", "val", "test")}
    assert {split: len(pairs) for split, pairs in raw.items()} == {"train": 20_000, "val": 1000, "test": 1000}
    answers: dict[str, str] = {}
    for pairs in raw.values():
        assert len({source for source, _ in pairs}) == len(pairs)
        for source, target in pairs:
            assert answers.setdefault(source.lower(), target) == target
            assert date(1900, 1, 1) <= date.fromisoformat(target) <= date(2099, 12, 31)
    days = {split: {target for _, target in pairs} for split, pairs in raw.items()}
    assert not days["train"] & days["test"]
    assert not days["train"] & days["val"]
    assert not days["val"] & days["test"]
    assert made_dates.long < 20


def test_dates_mean_one_day_in_every_form() -> None:
    answers: dict[str, date] = {}
    for year in (1900, 1904, 1911, 1949, 1950, 1984, 1999, 2000, 2001, 2012, 2049, 2050, 2099):
        for number in range(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() + 1):
            day = date.fromordinal(number)
            for write in formats(day):
                assert answers.setdefault(write(day).lower(), day) == day
    assert len(FORMATS + SHORT_FORMATS) == 32
    # All strings differ; 7 of the years, 3 of them leap years, have the short forms too.
    assert len(answers) == 32 * (3 * 366 + 4 * 365) + 27 * (366 + 5 * 365)


def test_dates_are_true() -> None:
    """Against Python's own reading of some of the forms."""
    days = [date(1984, 11, 23), date(2000, 2, 29), date(1950, 1, 1), date(2049, 12, 31)]
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y", "%A, %d %B %Y", "%d-%b-%Y", "%Y%m%d"):
        for day in days:
            read = set()
            for write in formats(day):
                with contextlib.suppress(ValueError):
                    read.add(datetime.strptime(write(day), form).date())
            assert read == {day}
    assert formats(days[0])[24](days[0]) == "the twenty-third of November nineteen eighty-four"
    assert any(write(days[0]) == "Fri, 23 Nov '84" for write in formats(days[0]))
    assert not any("'" in write(date(1949, 5, 5)) for write in formats(date(1949, 5, 5)))


@pytest.mark.parametrize("dates", [1, 4])
def test_dates_are_known_characters_and_nothing_is_lost(dates: int) -> None:
    data = Dates(source_vocab_size=73, target_vocab_size=16, dates=dates, train_size=300, batch_size=50)
    data.setup()
    for source, target in data.raw("train"):
        assert not data.source_codec.unknown(source)
        assert data.source_codec.decode(data.source_codec.encode(source)) == source
        assert data.target_codec.decode(data.target_codec.encode(target)) == target
        assert len(data.target_codec.encode(target)) == len(target) == 11 * dates - 1
        parts = target.split(" ")
        joints = sum(source.lower().count(joint) for joint in (" and ", " then ", " until ", " but not ", "; also "))
        assert joints + 1 == len(parts) == dates


def test_all_forms_are_drawn_and_letters_in_any_case() -> None:
    data = Dates(source_vocab_size=73, target_vocab_size=16, train_size=4000)
    pairs = data.read_pairs()["train"]
    day_forms = [0] * 32
    for source, target in pairs:
        day = date.fromisoformat(target)
        found = [i for i, write in enumerate(formats(day)) if write(day).lower() == source.lower()]
        assert len(found) == 1
        day_forms[found[0]] += 1
    assert min(day_forms) > 20
    named = [source for source, _ in pairs if any(c.isalpha() for c in source)]
    assert 0.2 < sum(source.isupper() for source in named) / len(named) < 0.3
    assert 0.2 < sum(source.islower() for source in named) / len(named) < 0.3
    again = Dates(source_vocab_size=73, target_vocab_size=16, train_size=4000, seed=7).read_pairs()
    assert again["train"] == pairs  # whatever the run's seed


def test_dates_refuse_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"data\.dates=0 must be a positive number"):
        Dates(source_vocab_size=73, target_vocab_size=16, dates=0)
    with pytest.raises(UserError, match=r"data\.train_size=0 must be between"):
        Dates(source_vocab_size=73, target_vocab_size=16, train_size=0)
    with pytest.raises(UserError, match=r"use data\.source_vocab_size=73"):
        Dates(source_vocab_size=80, target_vocab_size=16, train_size=30, batch_size=10).setup()
    with pytest.raises(UserError, match=r"use data\.target_vocab_size=16"):  # too few would lose a digit
        Dates(source_vocab_size=73, target_vocab_size=15, train_size=30, batch_size=10).setup()
