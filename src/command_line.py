"""What surrounds the program on the command line: help, resume, and mistakes answered in one sentence."""

import functools
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from . import building, runs, seeds
from .errors import UserError
from .zoo import GROUPS, headline, nearest, options

MISTAKES = (UserError, HydraException, OmegaConfBaseException, MisconfigurationException, OSError)
USAGE = """\
torchatlas trains the reference architectures of deep learning.

    python train.py model=resnet18 data=cifar10          choose by group
    python train.py optim.lr=0.01 trainer.max_epochs=5   change a value
    python train.py -m model=mlp,resnet18 seed=0,1,2     one run for each combination
    python train.py resume=auto                          go on with the newest run, exactly where it was
    python train.py duration=2h seeds=5                  five runs of two hours; mean, spread, interval
    python train.py model=lenet5 --cfg job               show the config and do nothing
    python train.py ... debug=true                       tracebacks for mistakes
    torchatlas list | show | plan | preview | lr_range | evaluate | predict | generate | translate | fill | explain
               | export | sweep | prepare   what else there is

`torchatlas train` and `python -m torchatlas.train` are the same program. --hydra-help tells of Hydra's own options.
"""


def help_text() -> str:
    """The zoo by group, a line each."""
    parts = [USAGE]
    for group in GROUPS:
        names = options(group)
        width = max(len(name) for name in names)
        lines = "\n".join(f"    {name:<{width}}  {headline(group, name)}" for name in names)
        parts.append(f"{group}=\n{lines}\n")
    return "\n".join(parts)


def run_program(run: Callable[[], Any]) -> None:
    """Run a Hydra main function. A user's mistake is told in one sentence, with exit status 2.

    `debug=true`, or TORCHATLAS_TRACEBACK=1 in the environment, shows the traceback too.
    """
    if any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        print(help_text())
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and ends the program
    quiet_libraries()
    building.register_resolvers()
    try:
        runs.typed[:] = sys.argv[1:]
        sys.argv[1:] = debug_arguments(sys.argv[1:])
        for argument in sys.argv[1:]:
            if argument.startswith("hydra.run.dir=") and not Path(argument.split("=", 1)[1].strip("'\"")).exists():
                runs.made.add(Path(argument.split("=", 1)[1].strip("'\"")).absolute())
            group, _, name = argument.partition("=")
            if group in GROUPS and re.fullmatch(r"[\d.eE+-]+", name):  # Hydra's answer is a traceback
                raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
        # Lightning starts the other processes with the arguments that the first one has made of what was typed.
        if not any(argument.startswith("hydra.job.name=train_ddp_process_") for argument in sys.argv[1:]):
            sys.argv[1:] = resume_arguments(sys.argv[1:])
        run()
    except MISTAKES as error:
        runs.discard()
        _refuse(error)
    except KeyboardInterrupt:
        logging.shutdown()
        runs.discard()
        print("torchatlas: interrupted", file=sys.stderr)
        sys.exit(130)
    except ValueError as error:
        if "Unable to configure handler" not in str(error):
            raise
        _refuse(error.__cause__ if isinstance(error.__cause__, OSError) else error)


def debug_arguments(arguments: list[str]) -> list[str]:
    """`debug=true` asks for tracebacks; other values of debug are configs."""
    if "debug=true" in arguments:
        os.environ["TORCHATLAS_TRACEBACK"] = "1"  # also for further processes
    return [a for a in arguments if a not in ("debug=true", "debug=false")]


def answer_mistakes(run: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Around the function that Hydra calls: a user's mistake ends the program before Hydra reports a failed job."""

    @functools.wraps(run)
    def wrapped(config: DictConfig) -> Any:
        try:
            return run(config)
        except (*MISTAKES, KeyboardInterrupt) as error:
            logging.shutdown()
            if isinstance(error, KeyboardInterrupt):
                raise
            runs.discard()
            _refuse(error)
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # which Lightning has made an exit with status 1
                raise KeyboardInterrupt from error
            raise

    return wrapped


def refuse_or_raise(error: Exception) -> NoReturn:
    """End the program with one sentence if the error is a mistake in the config, and go on with it otherwise."""
    if isinstance(error, MISTAKES):
        _refuse(error)
    raise error


def _refuse(error: Exception) -> NoReturn:
    if os.environ.get("TORCHATLAS_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error)
    print(f"torchatlas: {explain(error)}", file=sys.stderr)
    sys.exit(2)


def quiet_libraries() -> None:
    """Advice of the libraries that does not apply here stays out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*`training_step` and `validation_step` should.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*recommended to use `self.log.*sync_dist=True.*")  # they are reduced
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.* in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # its order is, see Checkpoint
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided.*")


def resume_arguments(arguments: list[str]) -> list[str]:
    """With `resume=...`, Hydra is told to use the old run's folder."""
    resume = [a.split("=", 1)[1] for a in arguments if a.startswith("resume=")]
    if not resume or resume[-1] in ("", "null"):
        return arguments
    if {"-m", "--multirun"} & set(arguments):
        raise UserError("resume= goes on with one run: leave out -m")
    rest = [a for a in arguments if not a.startswith("resume=")]
    if refused := [a for a in rest if a.startswith(("~", "hydra.run.dir="))]:
        raise UserError(f"a resumed run keeps its folder and its keys: leave out {' '.join(refused)}")
    where = Path(resume[-1]).expanduser()
    if seeds.is_series(where):
        if changed := [a for a in rest if not a.startswith(("hydra.", "-"))]:
            raise UserError(f"runs with several seeds go on as they began: leave out {' '.join(changed)}")
        return [f"resume={_quote(where.absolute())}", f"hydra.run.dir={_quote(where.absolute())}", *rest]
    for override in OverridesParser.create().parse_overrides(
        [a for a in rest if "=" in a and not a.startswith(("-", "hydra."))]
    ):
        building.require_changeable(override.key_or_group, override.get_value_string())
    checkpoint = runs.find_checkpoint(resume[-1])
    folder = runs.folder_of(checkpoint)
    runs.require_plain(folder)
    if seeds.is_series(folder.parent) and resume[-1] == "auto":  # its newest run is the newest of all
        return resume_arguments([f"resume={folder.parent}", *rest])
    if (folder.parent.parent / "sweep.json").exists() and resume[-1] == "auto":
        raise UserError(
            f"the newest run is a trial of a sweep: torchatlas sweep resume={runs.shown(folder.parent.parent)} goes on "
            "with the sweep"
        )
    # Hydra composes the default config beside it, which need not have the key.
    values = re.compile(r"\+*([\w-]+\.[^=]+=.*)")
    rest = [f"++{m[1]}" if (m := values.fullmatch(a)) and not a.startswith("hydra.") else a for a in rest]
    return [f"resume={_quote(checkpoint.absolute())}", f"hydra.run.dir={_quote(folder)}", *rest]


def _quote(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def explain(error: Exception) -> str:
    """One sentence for a mistake: what is wrong, and the nearest right word."""
    message = str(error)
    if "Original Traceback" in message:  # from a worker: torch puts its whole traceback into the message
        return message.strip().splitlines()[-1].split(": ", 1)[-1]
    if match := re.search(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^']+)'", message):
        group, name = match["group"], match["name"]
        return f"there is no {group} {name!r}{nearest(name, options(group))}" if group in GROUPS else message
    if match := re.search(r"Could not override '([^']+)'", message):
        return _unknown_key(match[1])
    if match := re.search(r"No supported (\w+) backend found|`(\w+)Accelerator` can not run", message):
        device = match[1] or match[2]
        return f"there is no {device} here: use trainer=cpu, or trainer=auto for the best device that is there"
    if match := re.search(r"No match in the defaults list\.|Could not find group", message):
        return message.splitlines()[0]
    if isinstance(error, OmegaConfBaseException) and error.__cause__ and isinstance(error.__cause__, UserError):
        return str(error.__cause__)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} cannot be read or written: {error.strerror}"
    cause: BaseException = error
    while isinstance(cause.__cause__, Exception) and not isinstance(cause, UserError):
        cause = cause.__cause__
    said = str(cause).removeprefix("UserError raised while resolving interpolation: ")
    return " ".join(said.split("\n    full_key:")[0].split())


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


KINDS: tuple[tuple[Any, Any, str], ...] = (
    (bool, bool, "true or false"),
    (int, int, "a whole number"),
    (float, int | float, "a number"),
    (str, str | int | float, "text"),
    (ListConfig, ListConfig, "a list"),
    (DictConfig, DictConfig, "a section with keys of its own"),
)


def _unknown_key(key: str) -> str:
    """The nearest key to one that no config has; keys are looked for in the config that was composed."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    group = key.split(".")[0]
    GlobalHydra.instance().clear()
    chosen = [a for a in sys.argv[1:] if re.match(rf"({'|'.join(GROUPS)})=", a)]
    with initialize_config_module("torchatlas.configs", version_base="1.3"):
        config = compose("train", overrides=chosen)

    def keys(node: DictConfig, prefix: str = "") -> list[str]:
        found = []
        for name in map(str, node):
            found.append(f"{prefix}{name}")
            child = node._get_node(name)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                found += keys(child, f"{prefix}{name}.")
        return found

    known = [k for k in keys(config) if "_target_" not in k and "_partial_" not in k]
    inside = [k for k in known if k.startswith(group + ".")]
    if "." in key and inside:
        return f"the config has no key {key!r}{nearest(key, inside)}"
    words = list(dict.fromkeys([*GROUPS, *(k for k in known if "." not in k)]))
    return f"the config has no key {key!r}{nearest(key, words)}"
