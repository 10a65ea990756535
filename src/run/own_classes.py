"""Classes of a user's own, named by `_target_`: found, and given what they take and no more.

`model._target_=mine.Net` takes the place of the class of the choice, whose other values go to the new one as far as it
takes arguments of these names. What is typed for it has to be among its arguments, and what it needs has to be there.
"""

import importlib
import inspect
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

import lightning
from omegaconf import DictConfig, open_dict
from torch import nn

from ..data.base import DataModule
from ..errors import UserError, nearest, some
from ..tasks.base import Task
from ..tasks.losses import name_in_torch

log = logging.getLogger(__name__)
PARTS = ("model", "data", "task", "optim", "schedule", "callbacks", "logger")
OURS = ("torchatlas.", "torch.", "lightning.")
GIVEN = {"task": 1, "optim": 1, "schedule": 2, "logger": 1}  # arguments that come first and are given by the program
DECLARED = ("in_channels", "image_size", "num_classes", "vocab_size", "horizon")  # by data, to networks that ask
TARGET = re.compile(r"\+{0,2}([\w.]+)\._target_=(.*)", re.DOTALL)


def is_own(target: Any) -> bool:
    """Whether a `_target_` is none of this package, torch or Lightning."""
    return not str(target).startswith(OURS)


def renamed_sections(words: Sequence[str]) -> dict[str, str]:
    """The sections whose class is given by words such as `model._target_=mine.Net`, and the class."""
    found = (match for match in map(TARGET.fullmatch, words) if match)
    return {match[1]: match[2].strip("'\"") for match in found if match[1].partition(".")[0] in PARTS}


def with_own_classes(words: Sequence[str]) -> list[str]:
    """Words as Hydra takes them where some name a class: its arguments need not be in the config yet.

    The run is called by the class, where no name is given.
    """
    sections = renamed_sections(words)
    if not sections:
        return list(words)
    begins = tuple(f"{section}." for section in sections)
    found = [f"++{word.lstrip('+')}" if word.lstrip("+").startswith(begins) else word for word in words]
    words_of_loss = [word for word in found if re.match(r"\+*task\.loss\.", word)]
    if "task.loss" in sections:  # the key holds null, which has no keys inside
        inside = ",".join(word.lstrip("+").removeprefix("task.loss.").replace("=", ":", 1) for word in words_of_loss)
        found = [*(word for word in found if word not in words_of_loss), f"task.loss={{{inside}}}"]
    parts = {part: sections.get(part, "") for part in ("model", "data")}
    if any(parts.values()) and not any(re.match(r"\+*name=|resume=(?!auto$).", word) for word in words):
        names = [
            target.rpartition(".")[2].lower() if target else f"${{hydra:runtime.choices.{part}}}"
            for part, target in parts.items()
        ]
        if all(re.fullmatch(r"\w+|\$.*", name) for name in names):
            found.append(f"name={'-'.join(names)}")
    return found


def adopt(config: DictConfig, words: Sequence[str]) -> set[str]:
    """Find the classes of a config that are a user's own, and give each what it takes.

    Args:
        config: composed; values that a class of the user's own does not take, and which nobody has typed, leave it.
        words: what was given for it.

    Returns:
        The sections whose class was given by a word.

    Raises:
        UserError: a class that cannot be found or imported, an argument that it does not have or that is missing.
    """
    sections = renamed_sections(words)
    for key, section in own_sections(config, sections):
        target = find(str(section["_target_"]), f"{key}._target_")
        typed = {name for word in words if (name := argument_in(word, key))}
        require_kind(key, target)
        if key in sections:
            fit(config, key, section, target, typed)
        require_arguments(key, section, target)
    adopt_loss(config)
    return set(sections)


def adopt_loss(config: DictConfig) -> None:
    """A loss that is named by a text becomes a section, which saved runs check as any other."""
    loss = config.task.get("loss")
    if loss is None or not getattr(find(config.task._target_, "task._target_"), "takes_loss", False):
        return
    if isinstance(loss, str):
        config.task.loss = loss = DictConfig({"_target_": loss})
    if not isinstance(loss, DictConfig) or "_target_" not in loss:
        raise UserError(f"task.loss={loss} has to name a class or a function, as in task.loss=torch.nn.L1Loss")
    target = str(loss["_target_"])
    if "." not in target and hasattr(nn, target):
        raise UserError(f"task.loss={target} has no module: type task.loss=torch.nn.{target}")
    found = find(target, "task.loss")
    if target.startswith("torch.") and name_in_torch(found) is None:
        raise UserError(f"task.loss={target} is no loss: name a class or a function that is one, as in torch.nn.L1Loss")
    require_arguments("task.loss", loss, found)


def require_kind(key: str, target: Any) -> None:
    """Refuse a class of another kind than its part of a config has; a function may stand for any class.

    Raises:
        UserError: it names the class from which it has to derive.
    """
    kinds: dict[str, type] = {"model": nn.Module, "data": DataModule, "task": Task, "callbacks": lightning.Callback}
    kind = kinds.get(key.partition(".")[0], object)
    if isinstance(target, type) and not issubclass(target, kind):
        home = "torch.nn.Module" if kind is nn.Module else f"{kind.__module__}.{kind.__name__}"
        raise UserError(f"{key}._target_={target.__module__}.{target.__qualname__} has to derive from {home}")
    if not isinstance(target, type) and kind in (DataModule, Task):
        raise UserError(f"{key}._target_: {target.__module__}.{target.__qualname__} has to be a class")


def own_sections(config: DictConfig, sections: Collection[str]) -> Iterator[tuple[str, DictConfig]]:
    """The parts of a config whose class is not one of this package, torch or Lightning, or was found by a word."""
    for part in PARTS:
        node = config.get(part)
        inside = {part: node}
        if part in ("callbacks", "logger"):
            inside = {f"{part}.{name}": node._get_node(name) for name in map(str, node or {})}
        for key, section in inside.items():
            known = isinstance(section, DictConfig) and not (section._is_none() or section._is_missing())
            if known and "_target_" in section and (key in sections or is_own(section["_target_"])):
                yield key, section


def argument_in(word: str, key: str) -> str:
    """`hidden` of the word `++model.hidden=3` for the key `model`; else nothing."""
    name = word.lstrip("+").partition("=")[0]
    return name.removeprefix(f"{key}.").partition(".")[0] if name.startswith(f"{key}.") else ""


def find(target: str, key: str) -> Any:
    """What a dotted name means.

    Args:
        target: as in "mine.networks.Net".
        key: where it stands, for the message.

    Raises:
        UserError: it says at which part of the name, or of the file, it ends.
    """
    parts = target.split(".")
    if len(parts) < 2 or not all(parts):
        name = parts[-1] or "Net"
        raise UserError(f"{key}={target} is no name of a class: put its module before it, as in {key}=mine.{name}")
    found, name = imported(target, key)
    for part in parts[name.count(".") + 1 :]:
        if not hasattr(found, part):
            known = [
                n for n, x in vars(found).items()
                if isinstance(x, type | FunctionType) and x.__module__ == found.__name__
            ] if isinstance(found, ModuleType) else []  # fmt: skip
            raise UserError(f"{key}={target}: {name} has no {part!r}{nearest(part, known) if known else ''}")
        found, name = getattr(found, part), f"{name}.{part}"
    if not callable(found):
        raise UserError(f"{key}={target} is of the type {type(found).__name__} where a class or a function has to be")
    return found


def imported(target: str, key: str) -> tuple[ModuleType, str]:
    """The longest part of a name that is a module, and that part."""
    parts = target.split(".")
    for n in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:n])
        try:
            return importlib.import_module(name), name
        except Exception as error:  # of any kind: it runs a user's file
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{name}.".startswith(f"{missing}."):
                continue
            raise UserError(f"{key}={target}: {name} cannot be imported ({place_of(error)})") from error
    raise UserError(
        f"{key}={target}: there is no module {parts[0]!r}, neither installed nor in this folder: install its package, "
        "or go to the folder in which it is"
    )


def place_of(error: Exception) -> str:
    """What went wrong, and in which line of which file."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if isinstance(error, SyntaxError) or trace is None:
        return said
    return f"{said}, in line {trace.tb_lineno} of {trace.tb_frame.f_code.co_filename}"


def parameters_of(target: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments of a class or a function, and whether it takes others too.

    A class's keywords that it hands on are those of its bases.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in target.__mro__ if isinstance(target, type) else (target,):
        function = vars(owner).get("__init__") if isinstance(owner, type) else owner
        if function is None:
            continue
        if owner is object or f"{getattr(owner, '__module__', '')}." == "torch.nn.modules.module.":
            return found, False
        try:
            given = list(inspect.signature(function).parameters.values())[isinstance(owner, type) :]
        except (TypeError, ValueError):  # written in C
            return found, True
        for parameter in given:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in given):
            return found, False
    return found, True


def fit(config: DictConfig, key: str, section: DictConfig, target: Any, typed: set[str]) -> None:
    """Take out of a section what its new class does not take, and give it the sizes that it asks for."""
    known, _ = parameters_of(target)
    given = [name for name in map(str, section) if not name.startswith("_")]
    left = [name for name in given if name not in known and name not in typed]
    with open_dict(config):
        for name in left:
            del section[name]
        for name in DECLARED if key == "model" else ():
            if name in known and name not in section and name in config.data:
                section[name] = config.data[name]
    kept = [f"{name}={section[name]}" for name in map(str, section) if not name.startswith("_")]
    if kept or left:
        without = f", and none of {some(left)}, which it does not take" if left else ""
        log.info("%s: %s gets %s%s", key, section["_target_"], some(kept) or "no arguments", without)


def require_arguments(key: str, section: DictConfig, target: Any) -> None:
    """Refuse arguments that a class does not have, and where some are missing."""
    known, more = parameters_of(target)
    number = GIVEN.get(key.partition(".")[0], 0)
    if key == "task.loss":  # a function gets output and target
        number = 0 if isinstance(target, type) else 2
    by_program = list(known)[:number]
    for name in map(str, section):
        if name.startswith("_") or name in known or more:
            continue
        hint = nearest(name, [n for n in known if n not in by_program]) if len(known) > len(by_program) else ""
        what = f"{key}.{name}: {section['_target_']} has no argument {name!r}{hint}"
        raise UserError(what if hint else f"{what}: leave it out")
    missing = [
        name
        for name, parameter in known.items()
        if parameter.default is parameter.empty
        and name not in section and name not in by_program and name not in ("config", "self")
    ]  # fmt: skip
    if missing and not section.get("_partial_"):
        example = " ".join(f"{key}.{name}=VALUE" for name in missing)
        raise UserError(f"{section['_target_']} needs {' and '.join(missing)}: type {example}")
