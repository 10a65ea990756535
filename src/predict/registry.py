"""Which function answers for which checkpoint, and what is typed to use one.

A function that answers says so above itself, in plain words and numbers:

    @answers(tasks=("forecasting",), kinds=("series",), reads=True, ends=" input=FILE")
    def forecast(task, data, given, *, mode="forecast", threshold=5.0): ...

What is in `predict/` answers for the command `predict` and what is in `explain/` for `explain`; a command of its own
answers for itself. The keyword arguments are options of the command, with the annotations and the help in the docstring
that `commands.signature` knows; `METHODS` of a file in `explain/` are values of `methods=`. All of this is read without
importing the file, so that a run which ends with the command to use imports nothing of other kinds of data. A package
of your own takes part by entry points of the groups `torchatlas.predict`, `torchatlas.explain` and
`torchatlas.commands`, whose values are modules.
"""

import ast
import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import UserError
from ..packages import file_of

GROUPS = {"torchatlas.predict": "predict", "torchatlas.explain": "explain", "torchatlas.commands": ""}  # "": their own
Function = TypeVar("Function", bound=Callable[..., Any])


class Trained(NamedTuple):
    """What decides which functions answer for a checkpoint.

    Attributes:
        tasks: the name of its task, and those of the tasks that it derives from.
        kind: of its data.
        reads: whether these read a user's files, see `DataModule.read`.
        methods: names of what its task can do.
    """

    tasks: tuple[str, ...]
    kind: str
    reads: bool
    methods: frozenset[str] = frozenset()

    @classmethod
    def of(cls, task: object, data: Any, kind: str) -> "Trained":
        """What decides it: a task, and the data of its training or their class, which describe themselves as `kind`."""
        return cls(names_of(task), kind, bool(data.endings), frozenset(dir(type(task))))

    @classmethod
    def of_checkpoint(cls, task: object, about: dict[str, Any]) -> "Trained":
        """The same of what `restore` gives."""
        from hydra.utils import get_class  # late: commands import this file to be told from one another

        return cls.of(task, get_class(about["config"]["data"]["_target_"]), about["data"]["kind"])


@dataclass(frozen=True)
class Answerer:
    """A function that answers for some checkpoints.

    Attributes:
        command: the one that calls it.
        module, function: where it is.
        tasks: see `answers`.
        options: its keyword arguments: what a user may say beside the checkpoint and the input.
        kinds, reads, method, ends: see `answers`.
        methods: names in the `METHODS` of its file.
        written: the function as it stands there.
    """

    command: str
    module: str
    function: str
    tasks: tuple[str, ...]
    options: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    reads: bool = False
    method: str = ""
    ends: str | None = None
    methods: tuple[str, ...] = ()
    written: ast.FunctionDef | None = field(default=None, compare=False, repr=False)

    def fits(self, trained: Trained) -> bool:
        of_task = not set(self.tasks).isdisjoint(trained.tasks) or self.method in trained.methods
        of_kind = not self.kinds or trained.kind in self.kinds
        return of_task and of_kind and (trained.reads or not self.reads)

    def file(self) -> Any:
        """The module, which is imported here."""
        return importlib.import_module(self.module)

    def load(self) -> Callable[..., Any]:
        """The function."""
        found: Callable[..., Any] = getattr(self.file(), self.function)
        return found


def answers(
    *, tasks: tuple[str, ...], kinds: tuple[str, ...] = (), reads: bool = False, method: str = "",
    ends: str | None = None,
) -> Callable[[Function], Function]:  # fmt: skip
    """Say for which checkpoints a function answers; the function stays as it is.

    All arguments are written out, as they are read without running the file.

    Args:
        tasks: names of tasks, see `Task.name`; those that derive from them are meant too.
        kinds: of data, see `DataModule.describe`; none: any.
        reads: whether the function asks the data to read a user's files, which not all can.
        method: of a task, which is enough for a task of another name.
        ends: what stands behind the command at the end of a run, where this is the way to use it, as in " input=FILE".
    """
    return lambda function: function


def sources() -> Iterator[tuple[str, str, str]]:
    """The modules in which functions may answer, the command of each, and the function; "": any of the module's."""
    for group, command in GROUPS.items():
        for entry in entry_points(group=group):
            yield entry.module, command or entry.name, "" if command else entry.attr
        package = find_spec(group)
        assert package is not None
        for module in pkgutil.iter_modules(package.submodule_search_locations):
            yield f"{group}.{module.name}", command or module.name, "" if command else module.name


def declared(module: str, command: str, source: str) -> Iterator[Answerer]:
    r"""The functions of a file that say for what they answer.

    >>> text = "@answers(tasks=('span',), ends=' input=FILE')\ndef answer(task, data, given, *, top=1): ..."
    >>> (found,) = declared("package.questions", "predict", text)
    >>> found.function, found.tasks, found.options
    ('answer', ('span',), ('top',))
    """
    body = ast.parse(source).body
    methods = tuple(name for node in body for name in methods_in(node))
    for node in body:
        if not isinstance(node, ast.FunctionDef):
            continue
        options = tuple(argument.arg for argument in node.args.kwonlyargs)
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == answers.__name__:
                said = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
                yield Answerer(command, module, node.name, options=options, methods=methods, written=node, **said)


def methods_in(node: ast.stmt) -> Iterator[str]:
    """The names in `METHODS = {"name": function, ...}`."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    if "METHODS" in [target.id for target in targets if isinstance(target, ast.Name)]:
        assert isinstance(node, ast.Assign | ast.AnnAssign)
        if isinstance(node.value, ast.Dict):
            yield from (str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))


@cache
def answerers() -> tuple[Answerer, ...]:
    """All functions that answer, those that name kinds of data before those that take any."""
    found: list[Answerer] = []
    for module, command, function in sources():
        path = file_of(module)
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        if f"@{answers.__name__}(" in source:
            found += (each for each in declared(module, command, source) if function in ("", each.function))
    return tuple(sorted(found, key=lambda answerer: not answerer.kinds))


def names_of(task: object) -> tuple[str, ...]:
    """The name of a task, and those of the tasks that it derives from."""
    names = (vars(base).get("name") for base in type(task).__mro__)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def fitting(command: str, checkpoint: Trained) -> Iterator[Answerer]:
    """The functions that answer for a checkpoint when a command is called, the most particular one first."""
    return (each for each in answerers() if each.command == command and each.fits(checkpoint))


def find(command: str, checkpoint: Trained) -> Answerer | None:
    """The first of `fitting`."""
    return next(fitting(command, checkpoint), None)


def usage(checkpoint: Trained) -> tuple[str, str]:
    """The command that uses a checkpoint, and what is typed behind it; any checkpoint can be evaluated."""
    found = (each for each in answerers() if each.ends is not None and each.fits(checkpoint))
    return next(((each.command, each.ends or "") for each in found), ("evaluate", ""))


def taken(
    answerer: Answerer, checkpoint: Trained, options: Mapping[str, Any], own: Collection[str] = ()
) -> dict[str, Any]:
    """The options that a user has given; None is none.

    Args:
        answerer, checkpoint: which function answers, and for what.
        options: as they were given.
        own: names of those that the command itself has, and which it may hand on.

    Raises:
        UserError: the function that answers does not have one of them; it names those that it has.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key, value in given.items():
        if key not in answerer.options:
            known = listed([name.rstrip("_") for name in answerer.options if name not in own]) or "no options"
            said = f"{key.rstrip('_')}={str(value).lower() if isinstance(value, bool) else value}"
            raise UserError(
                f"{said} does nothing for {checkpoint.kind} data and the task {checkpoint.tasks[0]}, for which "
                f"{answerer.command} takes {known}: leave it out"
            )
    return given


def listed(words: Sequence[str]) -> str:
    """Words as they stand in a sentence.

    >>> listed(["top", "tta", "seed"]), listed(["mode"])
    ('top, tta and seed', 'mode')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def wrong_command(path: Path, checkpoint: Trained) -> UserError:
    """What is said to one who gives a checkpoint to a command for others."""
    return UserError(f"{path} was trained for {checkpoint.tasks[0]}: use torchatlas {usage(checkpoint)[0]} ckpt=...")


def other_way(command: str, checkpoint: Trained) -> str:
    """What one does who wants of a checkpoint what it cannot: another command for such tasks, or another task."""
    asked = {task for each in answerers() if each.command == command for task in each.tasks}
    use, _ = usage(checkpoint)
    if any(each.command == use and not asked.isdisjoint(each.tasks) for each in answerers()):
        return f"use {use}"
    tasks = [f"task={task}" for each in answerers() if each.command == command for task in each.tasks]
    return f"that is for {listed(tasks)}"
