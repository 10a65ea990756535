"""Words that Hydra cannot read as they stand, and how they are quoted."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from ..errors import UserError

PATHS = ("resume", "config")  # words whose values are paths, which `path_in` reads in whatever form
PLAIN = "letters without accents, digits and _ - . / : + @ % $ * ? |"


def require_readable(words: Sequence[str]) -> None:
    """Refuse words of which Hydra cannot tell what the value is.

    Raises:
        UserError: it shows the word in quotes.
    """
    many = {"-m", "--multirun"} & set(words)  # then a,b are two runs
    for word in words:
        key, equals, value = word.partition("=")
        if key in PATHS or not equals or word.startswith("-") or not re.fullmatch(r"[~+]*[\w./@:-]+", key):
            continue
        override = _parsed(word)
        if override is not None and (many or "," not in value or not override.is_sweep_override()):
            continue
        if value.startswith("[") != value.endswith("]"):
            raise UserError(
                f"{word} has a bracket without the other one: write the whole word in double quotes, and names with "
                f"blanks and other signs in single ones, as in \"{key}=['a b','c']\""
            )
        within = "; a comma within a name stands within its quotes" if value.startswith("[") else ""
        if override is not None:  # a,b
            raise UserError(f'{word} is several values: add -m for a run of each, or write "{key}={quoted(value)}"')
        raise UserError(
            f'{word} needs quotes, since it has other signs than {PLAIN}: write it as "{key}={quoted(value)}"{within}'
        )


def quoted(value: str) -> str:
    r"""A value with quotes where Hydra needs them: of a list each entry for itself.

    >>> quoted("a (1).csv"), quoted("[T (degC),load]"), quoted("it's")
    ("'a (1).csv'", "['T (degC)',load]", "'it\\'s'")
    """
    if value.startswith("[") and value.endswith("]"):
        entries = [entry.strip() for entry in value[1:-1].split(",")]
        return f"[{','.join(entry if _parsed(f'x={entry}') else quoted(entry) for entry in entries)}]"
    inside = value.replace("'", "\\'")
    return f"'{inside}'"


def path_in(word: str) -> str:
    r"""The value of a word that names a path, without quotes.

    >>> path_in("resume='it\\'s here'"), path_in("resume=it's here"), path_in("resume=auto")
    ("it's here", "it's here", 'auto')
    """
    override = _parsed(word)
    value = None if override is None or override.is_sweep_override() else override.value()
    return value if isinstance(value, str) else word.partition("=")[2]


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def together(word: str) -> str:
    """Several loggers at once, which Hydra would have in brackets, as the values of a multirun have none.

    >>> together("logger=tensorboard,csv"), together("logger=csv"), together("optim=sgd,adam")
    ('logger=[tensorboard,csv]', 'logger=csv', 'optim=sgd,adam')

    Raises:
        UserError: one is to be added to the one that there is.
    """
    if match := re.fullmatch(r"\++logger=(.+)", word):
        raise UserError(f"{word} is another one beside those chosen: name all, as in logger=tensorboard,{match[1]}")
    if (match := re.fullmatch(r"logger=\[?([\w, ]*,[\w, ]*)\]?", word)) is None:
        return word
    return f"logger=[{','.join(dict.fromkeys(name.strip() for name in match[1].split(',') if name.strip()))}]"
