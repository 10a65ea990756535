"""From a config to objects, and the check that they go together before anything is read or downloaded."""

import contextlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError
from yaml import YAMLError

from . import checkpoints, runs
from .callbacks.base import NoProfiler
from .checkpoints import CheckpointFiles
from .data.base import DataModule
from .data.images import ImageData
from .data.tokenizer import load_codec
from .durations import Duration, Plan
from .errors import UserError
from .show import failing_layer
from .tasks.base import Task
from .weights import load_weights
from .zoo import GROUPS, config_text, model_card, nearest, options

# A config that came with a checkpoint or a run folder may be somebody else's: only what is defined here may be called.
TRUSTED = (
    "torchatlas.models.", "torchatlas.tasks.", "torchatlas.data.", "torchatlas.callbacks.", "torchatlas.schedules.",
    "torchatlas.optimizers.", "torch.optim.", "lightning.pytorch.trainer.", "lightning.pytorch.profilers.",
    "lightning.pytorch.callbacks.early_stopping.", "lightning.pytorch.callbacks.lr_monitor.",
)  # fmt: skip

LONG = Plan(steps_per_epoch=10**6, samples_per_step=100, total=10**9, seconds_per_step=1e-3)  # of a dry run


def register_resolvers() -> None:
    """The functions that configs may call: what a folder or a file of the user's holds, and a new run folder."""
    from .data.conll import count_tags
    from .data.encoded_text import count_vocabulary
    from .data.glue import count_glue_classes
    from .data.image_folder import find_classes
    from .data.mask_folder import count_mask_classes
    from .data.masked_texts import count_pieces
    from .data.parallel_files import count_pair_tokens
    from .data.series_csv import count_csv_series, count_series
    from .data.text_csv import count_text_classes
    from .data.text_file import count_tokens
    from .data.token_file import count_stored_tokens
    from .data.ucr import count_ucr_classes
    from .data.wikitext103 import count_wikitext103_tokens
    from .runs import new_folder

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


def require_trusted(config: Any) -> None:
    """Refuse a config that could call anything but this package's classes, torch's optimisers and Lightning's trainer.

    Names are resolved and judged by where the object was defined, so that a path through a module's own
    imports (`torchatlas.models.mlp.torch.hub.load`) does not pass. Interpolations, which could build a config after
    this check, are refused too: what was saved is resolved. Packages of your own are trusted when the
    environment variable TORCHATLAS_TRUST names them, separated by commas.

    Args:
        config: nested mappings, sequences and plain values.

    Raises:
        UserError: it names the target.
    """
    own = tuple(f"{name.strip()}." for name in os.environ.get("TORCHATLAS_TRUST", "").split(",") if name.strip())
    trusted = TRUSTED + own
    if isinstance(config, dict):
        if config.get("dirpath") is not None or Path(str(config.get("filename", "x"))).name != str(
            config.get("filename", "x")
        ):
            raise UserError("the saved config would write files outside of its run folder, which is not allowed")
        if "_target_" in config:
            target = str(config["_target_"])
            found: Any = None
            if target.startswith((*trusted, "lightning.")):
                with contextlib.suppress(ImportError, ValueError):
                    found = get_object(target)
            home = f"{getattr(found, '__module__', None)}."
            allowed = isinstance(found, type) or home == "torchatlas.schedules." or home.startswith(own or ("-",))
            if not allowed or not home.startswith(trusted):
                raise UserError(
                    f"the saved config would call {target}, which is not allowed or not installed: if it is your own "
                    "package, name it in the environment variable TORCHATLAS_TRUST"
                )
        for value in config.values():
            require_trusted(value)
    elif isinstance(config, list | tuple):
        for value in config:
            require_trusted(value)
    elif isinstance(config, str):
        if "${" in config:
            raise UserError(f"the saved config has an interpolation, {config}, where only values are allowed")
    elif not isinstance(config, int | float | bool | None):
        raise UserError(f"the saved config holds a {type(config).__name__}, where only plain values are allowed")


def build_network(config: Any) -> torch.nn.Module:
    network: torch.nn.Module = instantiate(config, _convert_="all")
    return network


def build_data(config: Any) -> DataModule:
    data: DataModule = instantiate(config, _convert_="all")
    return data


def build_task(config: Any, network: torch.nn.Module, optim: Any = None, schedule: Any = None) -> Task:
    task: Task = instantiate(
        config,
        network=network,
        optimizer=None if optim is None else instantiate(optim, _convert_="all"),
        schedule=None if schedule is None else instantiate(schedule, _convert_="all"),
        _convert_="all",
        _recursive_=False,
    )
    return task


def limits(config: Any) -> list[str]:
    """The durations that end a run: `duration`, or else the trainer's epochs and steps.

    Raises:
        UserError: none of them is a positive number.
    """
    if config["duration"] is not None:
        duration = Duration.parse(config["duration"], "duration")
        if duration.unit == "%" or duration.number == 0:
            raise UserError(f"duration={config['duration']} must be a length of its own, as in 20ep, 3000st or 2h")
        return [str(duration)]
    epochs, steps = config["trainer"]["max_epochs"], config["trainer"]["max_steps"]
    found = [f"{epochs}ep"] if _positive(epochs) else []
    found += [f"{steps}st"] if _positive(steps) else []
    if not found:
        raise UserError(f"trainer.max_epochs={epochs} must be a positive number, or trainer.max_steps one")
    return found


def _positive(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def build_trainer(config: Any, folder: Path, callbacks: Sequence[lightning.Callback] = ()) -> lightning.Trainer:
    """The trainer of a resolved config, whose run folder is `folder`.

    Args:
        config: plain values; the precision in it becomes the chosen one.
        folder: the run folder.
        callbacks: beside those of the config.

    Raises:
        UserError: a device or precision that is not there.
    """
    options = config["trainer"]
    options["precision"] = precision(options["precision"], options["accelerator"])
    if options["gradient_clip_algorithm"] not in ("norm", "value"):
        raise UserError(f"trainer.gradient_clip_algorithm={options['gradient_clip_algorithm']} must be norm or value")
    made = [instantiate(callback, _convert_="all") for callback in config["callbacks"].values()]
    _require_devices(options)
    # The run's end is the task's plan, since Lightning repeats part of an epoch when a run that is limited by steps
    # goes on; the number of epochs follows when the data are known.
    trainer: lightning.Trainer = instantiate(
        options | {"max_epochs": -1, "max_steps": -1},
        callbacks=[callback for callback in made if getattr(callback, "enabled", True)] + list(callbacks),
        logger=[instantiate(logger, folder) for logger in config["logger"].values()],
        plugins=[CheckpointFiles()],
        profiler=instantiate(options["profiler"]) or NoProfiler(),
        default_root_dir=str(folder),
    )
    trainer.run_config = config  # type: ignore[attr-defined]  # for the record and the checkpoint
    return trainer


def _require_devices(options: dict[str, Any]) -> None:
    """Refuse more GPUs than there are, before Lightning does so with a traceback."""
    wanted, there = options["devices"], torch.cuda.device_count()
    number = len(wanted) if isinstance(wanted, list) else int(wanted) if str(wanted).lstrip("-").isdigit() else 0
    if options["accelerator"] in ("gpu", "cuda") and there and number > there:
        raise UserError(
            f"trainer.devices={wanted} asks for {number} GPUs and there are {there}: use trainer.devices={there}"
        )


def compile_network(network: torch.nn.Module) -> None:
    """`torch.compile` in place, which leaves the names in checkpoints as they are.

    Raises:
        UserError: the CPU's code cannot be compiled, since there is no C++ compiler.
    """
    if not torch.cuda.is_available() and not any(map(shutil.which, ("g++", "clang++", "c++", "cl"))):
        raise UserError("compile=true needs a C++ compiler, which is not there: install g++, or leave compile=false")
    network.compile()


def check(config: DictConfig, model: str, data: str) -> None:
    """Refuse a network, a task and data that cannot go together, before anything is read or downloaded.

    One step of the task is computed on the meta device, where tensors have shapes and no values, with a
    batch of the shape that the data declare.

    Args:
        config: the composed config.
        model, data: the names that were chosen, for the message.

    Raises:
        UserError: they do not fit; it names a choice of data that does.
    """
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise UserError(f"seed={config.seed} must be a whole number from 0 to 4294967295, as in seed=1")
    check_numbers(config)
    if config.weights is not None:
        config.weights = of_network(str(config.weights), model)
    require_images_to_augment(config, data)
    card = model_card(model) if model in options("model") else None
    advice = f": try data={card.data}" if card and card.data != data else ""
    task_class: type[Task] = get_class(config.task._target_)  # type: ignore[assignment]
    require_images_to_make(config, task_class, data, advice)
    module = build_data(config.data)
    if not {task_class.name, task_class.batches} & set(module.tasks):
        # a network that answers what the data ask for; one that reads both directions cannot ask for the next token
        answers = "targets" in config.model or "horizon" in config.model
        both = getattr(get_class(config.model._target_), "paired", False) and module.tasks[0] == "language_modeling"
        fits = answers and not both
        raise UserError(
            f"data={data} is for {' or '.join(module.tasks)} and cannot serve model={model} with the task "
            f"{task_class.name}{f': try task={module.tasks[0]}' if fits else advice}"
        )
    try:
        _dry_run(config)
    except _BadTraining as error:
        raise UserError(f"{_root(error)}: change it under task=, optim= or schedule=") from error
    except NotImplementedError:
        return  # an operation of the user's network has no shape rule: the run itself will tell
    except Exception as error:
        shape = "x".join(str(n) for n in module.example_batch(1)[0].shape[1:])
        layer = _layer_that_fails(config, module)
        raise UserError(
            f"model={model} cannot take the batches of data={data}, whose inputs are {shape} ({layer}{_root(error)})"
            f"{advice or _size_that_works(config)}"
        ) from error


def require_images_to_augment(config: DictConfig, data: str) -> None:
    """Refuse an augmentation of data that are no images."""
    if "augment" in config.data and not issubclass(get_class(config.data._target_), ImageData):
        raise UserError(f"augment= is for images, and data={data} has none: leave it out")


def require_images_to_make(config: DictConfig, task: type[Task], data: str, advice: str) -> None:
    """Refuse data that are no images for a task that makes images, and pixels on another scale than it makes."""
    scale = getattr(task, "pixels", None)
    if scale is None:
        return
    if not issubclass(get_class(config.data._target_), ImageData):
        raise UserError(f"the task {task.name} makes images, and data={data} has none{advice}")
    black, white = scale
    mean, std = -black / (white - black), 1 / (white - black)
    for wanted, given in ((mean, config.data.mean), (std, config.data.std)):
        values = given if isinstance(given, ListConfig) else [given]
        if all(value == wanted for value in values):
            continue
        raise UserError(
            f"the task {task.name} needs pixels from {black:g} to {white:g}: leave out data.mean and data.std"
        )


def of_network(weights: str, model: str) -> str:
    """`torchvision:IMAGENET1K_V2` with the network's name in it, which a saved config then tells."""
    source, _, rest = weights.partition(":")
    return f"torchvision:{model}/{rest}" if source == "torchvision" and re.fullmatch(r"[A-Z\d_]+", rest) else weights


def begin_with(weights: str, network: torch.nn.Module, data: DataModule, given: dict[str, Any]) -> str:
    """Load weights into a new network; the data are normalised as the weights expect it, unless the user said how.

    Args:
        weights: see `torchatlas.load_weights`.
        network: it is changed.
        data: images get the mean and spread that come with the weights.
        given: the config of the data.

    Returns:
        What was loaded and what was not, for the log.
    """
    require_tokenizer(weights, data)
    report = load_weights(network, weights)
    lines = [report.describe()]
    if (found := report.preprocessing) is not None and isinstance(data, ImageData):
        if given.get("mean") is None and given.get("std") is None:
            same = data.in_channels == len(found.mean)
            mean, std = (list(v) if same else [sum(v) / len(v)] * data.in_channels for v in (found.mean, found.std))
            data.load_state_dict({"mean": mean, "std": std})
            lines.append(f"images are normalised as for these weights: mean {_short(mean)}, spread {_short(std)}")
        if data.image_size != found.image_size:
            lines.append(
                f"the weights were trained with images of {found.image_size} pixels, and data.image_size is "
                f"{data.image_size}"
            )
    return "\n".join(lines)


def require_tokenizer(weights: str, data: DataModule) -> None:
    """Refuse weights that were trained with other tokens: token 7 has to mean what it meant then.

    Args:
        weights: of a run or a folder of Hugging Face, where a tokeniser stands beside them; with others it is the
            user who knows.
        data: text that is cut by a tokeniser.

    Raises:
        UserError: it names the tokeniser that fits.
    """
    source = Path(weights).expanduser()
    if source.is_file() and (source.parent / "config.json").is_file():
        source = source.parent
    known = getattr(data, "known_codec", None)
    if known is not None and (source / "checkpoints").is_dir():  # of characters, which the class fixes
        theirs, ours = saved_config_data(source), known.describe()
        if {key: theirs.get(key) for key in ours} != ours:
            raise UserError(f"weights={weights} were trained with other characters or words: use data of the same ones")
    if not hasattr(data, "tokenizer") or not (weights.startswith("hf:") or source.exists()):
        return
    try:
        theirs_codec = load_codec(source if source.exists() else weights)
    except UserError:
        return
    given = data.tokenizer
    if given is None or load_codec(given).fingerprint != theirs_codec.fingerprint:
        raise UserError(f"weights={weights} were trained with a tokeniser of their own: add data.tokenizer={weights}")


def saved_config_data(folder: Path) -> dict[str, Any]:
    """What the best checkpoint of a run folder says of its data."""
    found: dict[str, Any] = checkpoints.read(runs.find_checkpoint(str(folder), "best"))["torchatlas"]["data"]
    return found


def _short(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def check_numbers(config: DictConfig) -> None:
    """Refuse numbers of the trainer that no run can have.

    Raises:
        UserError: it names the first of them.
    """
    limits(config)
    levels = config.task.get("quantiles")
    if levels is not None and not (isinstance(levels, ListConfig) and all(isinstance(q, int | float) for q in levels)):
        raise UserError(f"task.quantiles={levels} must be a list of numbers, as in task.quantiles=[0.1,0.5,0.9]")
    trainer = config.trainer
    for key in ("check_val_every_n_epoch", "accumulate_grad_batches", "log_every_n_steps"):
        if not _positive(trainer[key]):
            raise UserError(f"trainer.{key}={trainer[key]} must be a positive whole number, as in trainer.{key}=1")
    for key in ("limit_train_batches", "gradient_clip_val"):
        if trainer[key] is not None and not (isinstance(trainer[key], int | float) and trainer[key] > 0):
            raise UserError(f"trainer.{key}={trainer[key]} must be a positive number or null")


def check_training(config: DictConfig) -> None:
    """Refuse, before a resumed run has changed anything, an optimiser or a schedule that cannot be made.

    Raises:
        UserError: it says why.
    """
    check_numbers(config)
    try:
        _dry_run(config)
    except _BadTraining as error:
        raise UserError(f"{_root(error)}: change it under task=, optim= or schedule=") from error
    except NotImplementedError:
        return


class _BadTraining(Exception):
    """The task, its optimiser or its schedule cannot be made."""


def _dry_run(config: DictConfig) -> None:
    # What fits a short sequence fits a long one, and a recurrent network takes its time.
    for key in ("context", "length"):
        if isinstance(config.data.get(key), int) and config.data[key] > 16:
            shorter = OmegaConf.merge(config, {"data": {key: 16}})
            assert isinstance(shorter, DictConfig)
            config = shorter
    with torch.device("meta"):
        network = build_network(config.model)
        try:
            task = build_task(config.task, network, config.optim, config.schedule)
        except Exception as error:
            raise _BadTraining from error
        task.step(build_data(config.data).example_batch(2))
        try:
            assert task.make_schedule is not None
            task.make_schedule(task.build_optimizer(), LONG)
        except Exception as error:
            raise _BadTraining from error


def _layer_that_fails(config: DictConfig, data: DataModule) -> str:
    """«features.23 (MaxPool2d) gets 512x1x1: », where the network can be made and a layer of it fails."""
    with contextlib.suppress(Exception), torch.device("meta"):
        x = data.example_batch(2)[0]
        found = failing_layer(build_network(config.model), (x,))
        return f"{found}: " if found else ""
    return ""


def _size_that_works(config: DictConfig) -> str:
    for size in _sizes(config):
        changed = OmegaConf.merge(config, {"data": {"image_size": size}})
        assert isinstance(changed, DictConfig)
        with contextlib.suppress(Exception):
            _dry_run(changed)
            return f": try data.image_size={size}"
    return ""


def _sizes(config: DictConfig) -> Sequence[int]:
    """Sides to try: the next one that the network says to take, or usual ones."""
    if "image_size" not in config.data:
        return ()
    with contextlib.suppress(Exception), torch.device("meta"):
        network: Any = build_network(config.model)
        return (network.fits(config.data.image_size), 28, 32, 64, 224)
    return (28, 32, 64, 224)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def precision(wanted: str, accelerator: str) -> str:
    """`auto` becomes bf16-mixed on a CUDA GPU that computes in bf16, and 32-true elsewhere."""
    if wanted != "auto":
        return wanted
    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def saved_config(folder: Path) -> DictConfig:
    """The resolved config of a run folder.

    Raises:
        UserError: it is damaged, or would call something that is not allowed.
    """
    path = folder / "config.yaml"
    try:
        config = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(config, DictConfig) or not set(PARTS) <= set(config):
        raise UserError(f"{path} is no config of a run: it has to have {', '.join(PARTS)}")
    require_trusted(OmegaConf.to_container(config))
    return config


PARTS = (
    "name", "seed", "duration", "test", "compile", "model", "task", "data", "optim", "schedule", "trainer", "callbacks",
    "logger",
)  # fmt: skip


def resumed_config(folder: Path, overrides: Sequence[str], path: Path) -> tuple[DictConfig, list[tuple[str, Any, Any]]]:
    """The config with which a run was started, with what is given anew.

    What was found in the data when the run began (classes and statistics of a user's folder) is taken from the
    checkpoint, so that a folder that has changed since cannot change the meaning of the labels.

    Args:
        folder: the run folder.
        overrides: words of the command line.
        path: the checkpoint.

    Returns:
        The config, and what was changed: key, value before, value now.

    Raises:
        UserError: the config would call something that is not allowed, an override is of no known key, or of one
            that cannot change within a run.
    """
    config = saved_config(folder)
    found = checkpoints.read(path)["torchatlas"]["data"]
    require_trusted(found)
    before: Any = OmegaConf.to_container(config)
    OmegaConf.set_struct(config, True)
    limits_given = False
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if key == "resume":
            continue
        require_changeable(key, value)
        if key in GROUPS:
            change_group(config, key, str(value))
            continue
        if key in ("trainer.max_epochs", "trainer.max_steps"):  # the limits given anew replace the old ones
            config.duration = None
            if not limits_given:
                config.trainer.max_epochs = config.trainer.max_steps = -1
            limits_given = True
        known = list(flat(before))
        try:
            OmegaConf.update(config, key, value)
        except ConfigAttributeError as error:
            raise UserError(f"the run's config has no key {key!r}{nearest(key, known)}") from error
    after: Any = OmegaConf.to_container(config)
    for key in {"classes", "mean", "std"} & set(config.data) & set(found):
        config.data[key] = found[key]
    one, two = flat(before), flat(after)
    return config, [(k, one.get(k), two.get(k)) for k in {**one, **two} if one.get(k) != two.get(k)]


def progress(path: Path) -> tuple[int, int, bool]:
    """Whole epochs and steps that a checkpoint has behind it, and whether it was the end of its run.

    Raises:
        UserError: the checkpoint holds weights only.
    """
    checkpoint = checkpoints.read(path)
    about = checkpoint["torchatlas"]
    if "processes" not in about:
        raise UserError(f"{path} holds weights only, from which no run can go on: use resume={path.parent.parent}")
    return checkpoint["epoch"] + (about["batches"] == 0), checkpoint["global_step"], about["ended"]


# What decides which numbers the steps so far have computed: with another of these it is another run.
FIXED = {
    "model": "the network is that of the checkpoint",
    "task._target_": "the task is that of the checkpoint",
    "task.monitor": "the best weights so far were chosen by it",
    "task.layer_decay": "the optimiser's state is divided by it",
    "task.carry": "the order of the data follows from it",
    "task.freeze": "the run has its plan of what is trained when",
    "task.noise_schedule": "the network has learnt the noise of its steps",
    "task.steps": "the network has learnt the noise of its steps",
    "task.prediction": "the network has learnt to answer with it",
    "task.likelihood": "the network's outputs are of it",
    "trainer.accumulate_grad_batches": "it decides how many steps an epoch has",
    "trainer.limit_train_batches": "it decides how many steps an epoch has",
    "data": "the data are those of the checkpoint",
    "augment": "the data are those of the checkpoint",
    "weights": "the weights are those of the checkpoint",
    "optim._target_": "the optimiser's state is that of the checkpoint",
    "seed": "the order of the data follows from the seed",
    "name": "the run has its name",
    "experiment": "an experiment is a run of its own",
    "debug": "a debugging run is a run of its own",
    "seeds": "the seeds are those that the series began with",
}
FREE = ("data.root", "data.path", "data.num_workers", "data.memory")
CHANGEABLE = "trainer.max_epochs=40, duration=40ep, optim.lr=0.01, schedule=linear, trainer=gpu, data.root=FOLDER"


def require_changeable(key: str, value: Any) -> None:
    """Refuse what cannot change within a run, with the reason."""
    groups = ("trainer", "schedule", "logger")
    for fixed, reason in FIXED.items():
        if key not in FREE and f"{key}.".startswith(f"{fixed}."):
            raise UserError(
                f"{key}={value} cannot change in a resumed run, since {reason}: leave out resume= for a new run; what "
                f"can change is, for example, {CHANGEABLE}"
            )
    if key in GROUPS and key not in groups:
        raise UserError(
            f"{key}={value} cannot change in a resumed run as a whole: change its values, as in {CHANGEABLE}"
        )


def change_group(config: DictConfig, group: str, name: str) -> None:
    """A trainer's choice changes the devices; a schedule or a logger takes the place of the old one."""
    chosen: Any = OmegaConf.create(config_text(group, name))
    chosen.pop("defaults", None)
    default: Any = OmegaConf.create(config_text("trainer", "default"))
    devices = {key: default[key] for key in ("accelerator", "devices", "strategy")} | {"sync_batchnorm": False}
    with open_dict(config):
        config[group] = OmegaConf.merge(config[group], devices, chosen) if group == "trainer" else chosen


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
