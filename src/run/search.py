"""What a sweep searches: the words that have several values, and Optuna's distributions of these."""

import itertools
import json
import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, Transformer

from ..errors import UserError
from ..metrics.figures import Figure
from ..packages import taken
from ..zoo import GROUPS, options
from .compose import require_config_words
from .mistakes import in_a_sentence
from .own_classes import renamed_sections
from .quoting import together
from .trust import require_trusted

TRIALS = 20
SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "hyperband", "none")
QUIET = ("test=false", "logger=none")  # where nothing else is given; the test set must not choose
LOG = re.compile(r"([^=]+=)(int\()?log\(([^()]*)\)(\)?)")  # the short form of tag(log,interval(...))


@dataclass
class Search:
    """What is searched, and where.

    Attributes:
        arguments: Hydra's words; `fixed` are those of all trials, `quiet` what is added to them.
        trials: how many there are to be in the end.
        folder, resumed: of the sweep, and whether it goes on.
        space: Optuna's distribution for each searched key.
        seed, figure, mode: the config's seed, and the figure by which its task compares.
        reported: what is known of the task's figures.
        epochs: the length of a trial, where it is epochs that end it.
    """

    arguments: list[str]
    trials: int
    sampler: str
    pruner: str
    folder: Path = Path()
    resumed: bool = False
    fixed: list[str] = field(default_factory=list)
    quiet: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    figure: str = "val/loss"
    mode: str = "min"
    reported: dict[str, Figure] = field(default_factory=dict)
    epochs: int | None = None

    def words(self, values: dict[str, Any]) -> list[str]:
        """What `torchatlas train` would be given."""
        return self.fixed + [f"{key}={as_word(values[key])}" for key in self.space]

    def command(self, values: dict[str, Any]) -> str:
        return shlex.join(["torchatlas", "train", *self.words(values)])

    def about(self) -> dict[str, Any]:
        """What `sweep.json` says, with which the sweep can go on."""
        return {key: getattr(self, key) for key in ("arguments", "trials", "sampler", "pruner")}

    def combinations(self) -> list[dict[str, Any]]:
        """All there are, where no more than the trials; else none."""
        values = [values_of(distribution) for distribution in self.space.values()]
        few = math.prod(map(len, values)) <= self.trials
        return [dict(zip(self.space, chosen, strict=True)) for chosen in itertools.product(*values)] if few else []


def begun(words: Sequence[str], trials: int | None, sampler: str | None, pruner: str | None) -> Search:
    """A new search.

    Raises:
        UserError: a word is wrong, or nothing is searched.
    """
    return searched(Search(list(words), TRIALS if trials is None else trials, sampler or "tpe", pruner or "median"))


def continued(resume: str, words: Sequence[str], trials: int | None, **others: str | None) -> Search:
    """The search of a folder.

    Raises:
        UserError: it is no folder of a sweep, or something else than the number of trials is to change.
    """
    if wrong := [*words, *(f"{key}={value}" for key, value in others.items() if value is not None)]:
        raise UserError(f"a sweep goes on as it began, only trials= can change: leave out {shlex.join(wrong)}")
    folder = Path(resume).expanduser().absolute()
    try:
        saved = json.loads((folder / "sweep.json").read_text())
        arguments, number = [str(word) for word in saved["arguments"]], int(saved["trials"])
        sampler, pruner = (
            known[known.index(saved[key])] for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS))
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"resume={resume} is no folder of a sweep, or its sweep.json is damaged") from error
    for target in renamed_sections([word.lstrip("+") for word in arguments]).values():
        require_trusted({"_target_": target})  # before it is imported
    return searched(Search(arguments, number if trials is None else trials, sampler, pruner, folder, resumed=True))


def searched(search: Search) -> Search:
    """With its words read."""
    if search.trials < 1:
        raise UserError(f"trials={search.trials} must be a positive whole number, as in trials=20")
    for word in search.arguments:
        add_word(search, word)
    if not search.space:
        example = "optim.lr=log(1e-4,1e-1) or optim=adamw,momentum"
        raise UserError(f"nothing is searched: give at least one key several values, as in {example}")
    search.quiet = [word for word in QUIET if key_of(word) not in {*search.space, *map(key_of, search.fixed)}]
    return search


def key_of(word: str) -> str:
    return word.partition("=")[0]


def add_word(search: Search, word: str) -> None:
    """Put one word among the fixed or the searched ones.

    Raises:
        UserError: Hydra cannot read it, it has no place in a sweep, or its key is given twice.
    """
    word = together(word)
    require_config_words(
        [word],
        "in a sweep, each of whose trials is one run",
        ("-", "hydra.", "hydra/", "seeds=", "folds=", "folds_group="),
    )
    if taken([word]) == []:
        search.fixed.append(word)
        return
    with in_a_sentence([word]):
        override = OverridesParser.create().parse_override(LOG.sub(r"\1\2tag(log,interval(\3))\4", word))
    key = override.get_key_element()
    if key in {*search.space, *map(key_of, search.fixed)}:
        raise UserError(f"{key} is given twice: leave one out")
    if override.is_sweep_override():
        search.space[key] = distribution_of(override)
    else:
        search.fixed.append(word)


def distribution_of(override: Override) -> Any:
    """Optuna's distribution for Hydra's choice, interval or range, whose end is left out.

    Raises:
        UserError: there is nothing in it, its ends are reversed, or the like.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    tags: set[str] = getattr(value, "tags", set())
    try:
        if tags - (set() if isinstance(value, ChoiceSweep) else {"log"}):
            raise ValueError("the only tag is log, of an interval or a range")
        if isinstance(value, Glob):
            group = override.key_or_group
            return CategoricalDistribution(value.filter(options(group) if group in GROUPS else []))
        if isinstance(value, ChoiceSweep):
            choices: list[Any] = [Transformer.encode(choice) for choice in value.list]
            kinds = set(map(type, choices))
            if len(kinds) > 1:  # TensorBoard compares what is of one kind
                choices = list(map(float if kinds == {int, float} else as_word, choices))
            return CategoricalDistribution(list(dict.fromkeys(choices)))
        how: dict[str, Any] = {"log": "log" in tags}
        if isinstance(value, IntervalSweep):
            ends = [value.start, value.end]
        else:
            found = [x if isinstance(x, int) else float(f"{x:.12g}") for x in (value.range() if value.step else ())]
            if not found:
                raise ValueError("the range is empty, or has no step")
            ends, how["step"] = [min(found), max(found)], abs(value.step)
        make: Any = IntDistribution if isinstance(ends[0], int) else FloatDistribution
        return make(*ends, **how)
    except ValueError as error:
        raise UserError(f"{override.input_line} cannot be searched: {' '.join(str(error).split())}") from error


def as_word(value: Any) -> str:
    """A value as Hydra reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def values_of(distribution: Any) -> Sequence[Any]:
    """All values; of a continuous distribution, something too long to be gone through."""
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(low, int):
        return range(low, high + 1, step)
    return [low + i * step for i in range(round((high - low) / step) + 1)] if step else range(sys.maxsize)
