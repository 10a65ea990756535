"""Dates as people write them, and the same dates in ISO 8601: a small translation task that needs no file."""

import random
import string
from collections.abc import Callable
from datetime import date
from typing import Any

from ...errors import UserError
from ..base import SPLIT_SEED
from ..text.tokenizer import TRANSLATION, TokenizerCodec
from .base import Pair, ParallelData, train_codecs

FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
PIVOT = 50  # '50 to '99 are 1950 to 1999, '00 to '49 are 2000 to 2049
TEST_SIZE = 1000
LARGEST = 500_000  # training pairs: enough forms of enough days are left to choose from
SEPARATOR = " "  # between the dates of an answer
JOINTS = (" and ", " then ", " until ", " but not ", "; also ")  # between the dates of a question

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
ONES = (
    "", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = (
    "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
    "twentieth",
)  # fmt: skip

SOURCE_CHARACTERS = string.ascii_letters + string.digits + " ',-./;"
TARGET_CHARACTERS = string.digits + "-" + SEPARATOR


def nth(number: int) -> str:
    """A day with its ending.

    >>> [nth(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '22nd', '23rd', '30th']
    """
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def ordinal(number: int) -> str:
    """A day in words, 1 to 31.

    >>> [ordinal(n) for n in (3, 12, 20, 23, 30, 31)]
    ['third', 'twelfth', 'twentieth', 'twenty-third', 'thirtieth', 'thirty-first']
    """
    if number <= 20:
        return ORDINALS[number]
    return "thirtieth" if number == 30 else f"{TENS[number // 10]}-{ORDINALS[number % 10]}"


def year_in_words(year: int) -> str:
    """A year as it is spoken, 1900 to 2099.

    >>> [year_in_words(y) for y in (1900, 1905, 1911, 1984, 1990, 2000, 2007, 2014, 2060)]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['nineteen hundred', 'nineteen oh five', 'nineteen eleven', 'nineteen eighty-four', 'nineteen ninety',
     'two thousand', 'two thousand seven', 'twenty fourteen', 'twenty sixty']
    """
    century, rest = divmod(year, 100)
    if year // 10 == 200:
        return f"two thousand {ONES[rest]}".strip()
    if rest < 10:
        return f"{ONES[century]} oh {ONES[rest]}" if rest else f"{ONES[century]} hundred"
    words = ONES[rest] if rest < 20 else f"{TENS[rest // 10]}-{ONES[rest % 10]}".removesuffix("-")
    return f"{ONES[century] or TENS[century // 10]} {words}" if century < 20 else f"twenty {words}"


def short_year(day: date) -> str:
    return f"'{day.year % 100:02d}"


def month(day: date) -> str:
    return MONTHS[day.month - 1]


def short_month(day: date) -> str:
    return month(day)[:3]


def weekday(day: date) -> str:
    return DAYS[day.weekday()]


def american(day: date) -> str:
    return f"{day.month}/{day.day}/"


# Years in full: they serve all dates.
FORMATS: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.year}-{d.month:02d}-{d.day:02d}",
    lambda d: f"{d.year}/{d.month}/{d.day}",
    lambda d: f"{d.year}.{d.month:02d}.{d.day:02d}",
    lambda d: f"{d.year}{d.month:02d}{d.day:02d}",
    lambda d: f"{d.day}.{d.month}.{d.year}",
    lambda d: f"{d.day:02d}-{d.month:02d}-{d.year}",
    lambda d: f"{d.day} {d.month:02d} {d.year}",
    lambda d: f"{american(d)}{d.year}",
    lambda d: f"{d.day}.{ROMAN[d.month - 1]}.{d.year}",
    lambda d: f"{d.day:02d}-{short_month(d)}-{d.year}",
    lambda d: f"{d.day:02d}{short_month(d)}{d.year}",
    lambda d: f"{d.day} {month(d)} {d.year}",
    lambda d: f"{d.day}. {short_month(d)}. {d.year}",
    lambda d: f"{d.day}. of {month(d)}, {d.year}",
    lambda d: f"the {nth(d.day)} of {month(d)}, {d.year}",
    lambda d: f"{month(d)} {d.day}, {d.year}",
    lambda d: f"{short_month(d)} {nth(d.day)} {d.year}",
    lambda d: f"{d.year}, {month(d)} {d.day}",
    lambda d: f"{d.year} {short_month(d)} {d.day:02d}",
    lambda d: f"{weekday(d)}, {d.day} {month(d)} {d.year}",
    lambda d: f"{weekday(d)[:3]} {short_month(d)} {d.day:02d} {d.year}",
    lambda d: f"{weekday(d)} the {nth(d.day)} of {month(d)}, {d.year}",
    lambda d: f"{month(d)} {d.year}, on {weekday(d)} the {nth(d.day)}",
    lambda d: f"in {d.year} on the {ordinal(d.day)} of {month(d)}",
    lambda d: f"the {ordinal(d.day)} of {month(d)} {year_in_words(d.year)}",
    lambda d: f"{month(d)} the {ordinal(d.day)}, {year_in_words(d.year)}",
    lambda d: f"{weekday(d)}, {month(d)} {ordinal(d.day)}, {year_in_words(d.year)}",
)
# Years in two digits: they serve 1950 to 2049.
SHORT_FORMATS: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.day}.{d.month}.{short_year(d)}",
    lambda d: f"{american(d)}{short_year(d)}",
    lambda d: f"{d.day} {short_month(d)} {short_year(d)}",
    lambda d: f"{month(d)} {nth(d.day)}, {short_year(d)}",
    lambda d: f"{weekday(d)[:3]}, {d.day} {short_month(d)} {short_year(d)}",
)
CASES: tuple[Callable[[str], str], ...] = (str, str, str.lower, str.upper)  # as it is, twice as often


def formats(day: date) -> tuple[Callable[[date], str], ...]:
    """What can write a date."""
    return FORMATS + SHORT_FORMATS if 1900 + PIVOT <= day.year < 2000 + PIVOT else FORMATS


class Dates(ParallelData):
    """Dates in many human forms, to be written as yyyy-mm-dd: a translation by character, made here.

    The task of the exercise on attention in deeplearning.ai's course "Sequence Models", with more forms, true weekdays
    and no ambiguity: one string has one answer, in any letter case, by these rules. Where numbers end with the year,
    dots, hyphens and blanks stand between day, month and year, strokes between month, day and year; where they begin
    with it, the month comes before the day. Years in two digits have an apostrophe: '50 to '99 are 1950 to 1999, '00 to
    '49 are 2000 to 2049, and other years are never written so. Weekdays are true, and nothing hangs on them.

    The 32 forms of Friday, the 23rd of November 1984:

    >>> for write in formats(date(1984, 11, 23)):
    ...     print(write(date(1984, 11, 23)))
    1984-11-23
    1984/11/23
    1984.11.23
    19841123
    23.11.1984
    23-11-1984
    23 11 1984
    11/23/1984
    23.XI.1984
    23-Nov-1984
    23Nov1984
    23 November 1984
    23. Nov. 1984
    23. of November, 1984
    the 23rd of November, 1984
    November 23, 1984
    Nov 23rd 1984
    1984, November 23
    1984 Nov 23
    Friday, 23 November 1984
    Fri Nov 23 1984
    Friday the 23rd of November, 1984
    November 1984, on Friday the 23rd
    in 1984 on the twenty-third of November
    the twenty-third of November nineteen eighty-four
    November the twenty-third, nineteen eighty-four
    Friday, November twenty-third, nineteen eighty-four
    23.11.'84
    11/23/'84
    23 Nov '84
    November 23rd, '84
    Fri, 23 Nov '84

    Half of the inputs are written so, a quarter each in small letters and in capitals. Days of the year and weeks by
    number are left out: they would ask for a table of the calendar.

    The 73,049 days from 1900 to 2099 are divided between the splits: 90 % for training, 5 % each for validation and
    test. So no date of an evaluation has been trained in any form, and splits share no input. Within a split no input
    comes twice. All is fixed, whatever the run's seed. Validation and test have 1,000 pairs each.

    Args:
        dates: how many dates one input holds, with words between them, as in "23.XI.1984 until 11/25/'84": the answer
            has them in the same order with blanks between. One is a short input, more are long ones.
        train_size: pairs for training.
        source_vocab_size, target_vocab_size: the characters of both sides and four special tokens, declared and
            checked.
        common: longest inputs, batch size and so on, see `ParallelData`. Made data (`fake`) are those of all parallel
            data.

    Raises:
        UserError: a size out of range.
    """

    length_option = None

    def __init__(self, *, dates: int = 1, train_size: int = 20_000, **common: Any) -> None:
        super().__init__(by="character", **common)
        if dates < 1:
            raise UserError(f"data.dates={dates} must be a positive number, as in data.dates=1")
        if not 1 <= train_size <= LARGEST:
            raise UserError(
                f"data.train_size={train_size} must be between 1 and {LARGEST}, as in data.train_size=20000"
            )
        self.dates, self.train_size = dates, train_size

    def read_pairs(self) -> dict[str, list[Pair]]:
        days = range(FIRST.toordinal(), LAST.toordinal() + 1)
        numbers = random.Random(SPLIT_SEED)
        order = sorted(days, key=lambda _: numbers.random())
        evaluated = len(days) // 20
        parts = {"test": order[:evaluated], "val": order[evaluated : 2 * evaluated], "train": order[2 * evaluated :]}
        sizes = {"test": TEST_SIZE, "val": TEST_SIZE, "train": self.train_size}
        return {split: draw(parts[split], sizes[split], self.dates, numbers) for split in ("train", "val", "test")}

    def make_codecs(self, pairs: list[Pair]) -> tuple[TokenizerCodec, TokenizerCodec]:
        """Of the characters with which dates can be written, so that they are the same for each number of dates."""
        sizes = (len(SOURCE_CHARACTERS) + len(TRANSLATION), len(TARGET_CHARACTERS) + len(TRANSLATION))
        return train_codecs([SOURCE_CHARACTERS], [TARGET_CHARACTERS], by=self.by, sizes=sizes)


def draw(days: list[int], size: int, dates: int, numbers: random.Random) -> list[Pair]:
    """Different inputs and their answers.

    Args:
        days: ordinals of the days that may come.
        size: pairs.
        dates: in one pair.
        numbers: random numbers; only its `random` is used, whose sequence Python guarantees for a seed.
    """

    def choose(options: Any) -> Any:
        return options[int(numbers.random() * len(options))]

    found: dict[str, str] = {}
    while len(found) < size:
        chosen = [date.fromordinal(choose(days)) for _ in range(dates)]
        text = choose(formats(chosen[0]))(chosen[0])
        for day in chosen[1:]:
            text += choose(JOINTS) + choose(formats(day))(day)
        found[choose(CASES)(text)] = SEPARATOR.join(map(date.isoformat, chosen))
    return list(found.items())
