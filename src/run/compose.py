"""From words to a config: the one place that composes and checks types."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ..errors import UserError
from ..storage.run_folder import typed
from ..zoo import GROUPS
from .check import check
from .mistakes import MISTAKES, explain

PROGRAM = Path(__file__).parents[1] / "train.py"
KINDS: tuple[tuple[Any, Any, str], ...] = (
    (bool, bool, "true or false"),
    (int, int, "a whole number"),
    (float, int | float, "a number"),
    (str, str | int | float, "text"),
    (ListConfig, ListConfig, "a list"),
    (DictConfig, DictConfig, "a section with keys of its own"),
)


def register_resolvers() -> None:
    """The functions that configs may call: what a folder or a file of the user's holds, and a new run folder."""
    from ..data.images.image_folder import find_classes
    from ..data.labelled.base import count_vocabulary
    from ..data.labelled.conll import count_tags
    from ..data.labelled.glue import count_glue_classes
    from ..data.labelled.text_csv import count_text_classes
    from ..data.masked.masked_texts import count_pieces
    from ..data.masks.mask_folder import count_mask_classes
    from ..data.pairs.parallel_files import count_pair_tokens
    from ..data.series.series_csv import count_csv_series, count_series
    from ..data.series.ucr import count_ucr_classes
    from ..data.text.text_file import count_tokens
    from ..data.text.token_file import count_stored_tokens
    from ..data.text.wikitext103 import count_wikitext103_tokens
    from ..storage.run_folder import new_folder

    def count_classes(root: str, fake: bool) -> int:
        return 10 if fake else len(find_classes(root))

    OmegaConf.register_new_resolver("count_series", count_series, replace=True)
    for name, resolver in (
        ("run_folder", new_folder),
        ("count_classes", count_classes),
        ("count_mask_classes", count_mask_classes),
        ("count_tokens", count_tokens),
        ("count_csv_series", count_csv_series),
        ("count_pair_tokens", count_pair_tokens),
        ("count_pieces", count_pieces),
        ("count_stored_tokens", count_stored_tokens),
        ("count_ucr_classes", count_ucr_classes),
        ("count_vocabulary", count_vocabulary),
        ("count_wikitext103_tokens", count_wikitext103_tokens),
        ("count_glue_classes", count_glue_classes),
        ("count_text_classes", count_text_classes),
        ("count_tags", count_tags),
    ):
        OmegaConf.register_new_resolver(name, resolver, replace=True, use_cache=True)


def default_config(overrides: Sequence[str]) -> DictConfig:
    """The config with the same choices and without the values of the command line."""
    from hydra import compose

    return compose("train", overrides=[o for o in overrides if o.split("=")[0] in GROUPS])


def check_types(config: DictConfig, default: DictConfig) -> None:
    """Refuse values of another kind than those they replace.

    Raises:
        UserError: a text where a number is meant, a number where a list is, and so on; it shows the old value.
    """

    def compare(old: Any, new: Any, key: str) -> None:
        if old is None or new is None or key == "trainer.devices":
            return
        if isinstance(old, DictConfig) and isinstance(new, DictConfig):
            for name in map(str, old):
                if name in new and not OmegaConf.is_interpolation(old, name) and not OmegaConf.is_missing(new, name):
                    compare(old[name], new[name], f"{key}.{name}" if key else name)
            return
        for kinds, accepted, meant in KINDS:
            if isinstance(old, kinds):
                if not isinstance(new, accepted) or (isinstance(new, bool) and kinds is not bool):
                    shown = str(OmegaConf.to_container(old)) if isinstance(old, ListConfig) else str(old).lower()
                    example = (
                        f"{key}={shown.replace(' ', '')}" if kinds is not DictConfig else f"{key}.{next(iter(old))}="
                    )
                    raise UserError(f"{key}={new} must be {meant}, as in {example}")
                return

    compare(default, config, "")


def composed(words: Sequence[str]) -> tuple[DictConfig, str, str]:
    """The checked config of a run, and the names of its model and its data."""
    register_resolvers()
    with hydra.initialize_config_module("torchatlas.configs", version_base="1.3"):
        config = hydra.compose("train", ["name=lr_range", *words], return_hydra_config=True)
        choices = dict(config.hydra.runtime.choices)
        with open_dict(config):
            del config["hydra"]  # not to be resolved: it would make a run folder
        default = default_config(words)
    with open_dict(default):
        default.name = "lr_range"
    check_types(config, default)
    check(config, choices["model"], choices["data"])
    return config, choices["model"], choices["data"]


@contextlib.contextmanager
def as_typed(words: list[str]) -> Iterator[None]:
    """As if `torchatlas train` had been typed with these words, for the record and for what is said of mistakes.

    Raises:
        UserError: for the libraries' exceptions, in one sentence.
    """
    before = sys.argv[:], typed[:]
    sys.argv[:], typed[:] = [str(PROGRAM), *words], words
    try:
        yield
    except MISTAKES as error:
        if isinstance(error, UserError):
            raise
        raise UserError(explain(error).removeprefix("UserError raised while resolving interpolation: ")) from error
    finally:
        sys.argv[:], typed[:] = before
