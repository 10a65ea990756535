"""What a data set tells networks of itself: `num_classes: ${declared:num_classes}` in a config asks the class.

Networks are built before the data are set up, and some sizes are known only from a user's files. The class named by
`_target_` in the same section answers by a method of the name `declare_<key>`, whose parameters are keys of that
section:

    class Words(DataModule):
        @staticmethod
        def declare_vocab_size(path: str, fake: bool = False) -> int: ...

No other module of data is imported for that, and a class of another package answers in the same way.
"""

import importlib
import inspect
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import UserError


def declared(key: str, *, _parent_: DictConfig, _root_: DictConfig) -> Any:
    """What the class of a section declares for a key: the resolver `${declared:KEY}`.

    Each answer is kept in the composed config, by what was asked with, so that files are read once.

    Args:
        key: "num_classes", "vocab_size" and so on.
        _parent_, _root_: the section and the whole config, which OmegaConf passes.

    Raises:
        UserError: the class declares nothing of the kind, or what it says of the user's files.
    """
    module, _, name = str(_parent_["_target_"]).rpartition(".")
    declare = getattr(getattr(importlib.import_module(module), name), f"declare_{key}", None)
    if declare is None:
        raise UserError(f"{name} does not declare {key}: write its value into the config, as in data.{key}=10")
    asked = inspect.signature(declare).parameters
    options = {option: _plain(_parent_[option]) for option in asked if option in _parent_}
    answers = OmegaConf.get_cache(_root_)["declared"]
    place = f"{module}.{name}.{key} {options}"
    if place not in answers:
        answers[place] = declare(**options)
    return answers[place]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
