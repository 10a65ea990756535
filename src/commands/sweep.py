"""A search for good values: trials of one training run each, whose values Optuna chooses."""

import contextlib
import csv
import gc
import io
import logging
import math
import os
import shlex
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import rich
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from rich.table import Table
from tensorboard.plugins.hparams import summary_v2 as board
from torch.utils.tensorboard.writer import SummaryWriter

from ..errors import UserError
from ..metrics.figures import format_figure, reported
from ..run.build import build_trainer
from ..run.check import fits, limits
from ..run.compose import Composed, composed, register_resolvers
from ..run.console import ConsoleHandler, logged_by, quiet_libraries
from ..run.mistakes import in_a_sentence
from ..run.reopen import reopened
from ..run.search import Search, as_word, begun, continued, values_of
from ..run.trust import require_trusted
from ..storage import run_folder
from ..storage.files import read_metrics, write_json, write_text
from ..storage.run_folder import find_checkpoint, new_folder
from ..tasks.base import Task
from ..train import execute
from ..training.durations import Duration
from ..zoo import GROUPS

log = logging.getLogger(__name__)


class Report(lightning.Callback):
    """Tells Optuna the monitored figure after each validation, and ends a trial that is not worth going on with."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial
        self.told = set(trial.study.trials[trial.number].intermediate_values)  # epochs; a resumed one may repeat some

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        epoch = trainer.current_epoch + 1
        if trainer.sanity_checking:
            return
        if epoch not in self.told:
            self.trial.report(pl_module.figures[f"val/{pl_module.monitor}"], epoch)
        if trainer.global_step < pl_module.plan.total and self.trial.should_prune():
            self.trial.set_user_attr("pruned", True)  # first, so that a trial killed here does not go on later
            trainer.should_stop = True
            log.info("pruned after epoch %d: other trials were better by then", epoch)


def sweep(
    *words: Annotated[str, "training"], trials: int | None = None, sampler: Literal["tpe", "random"] | None = None,
    pruner: Literal["median", "hyperband", "none"] | None = None, resume: str = "",
) -> Path:  # fmt: skip
    """Trials of a training with values that Optuna chooses, and a report.

    At least one key has values to search among: optim.lr=log(1e-4,1e-1), model.dropout=interval(0,0.5),
    optim=adamw,momentum.

    Trials are numbered from 1. The folder has sweep.json (what was asked, and the best), results.csv, Optuna's
    study.journal, the runs in trials/NUMBER, and in dashboard what TensorBoard compares them by.

    Args:
        words: those of training, with values to search among.
        trials: how many; else 20, or as many as the sweep that goes on began with.
        sampler: what chooses values; else tpe.
        pruner: what stops trials that are worse than others; else median.
        resume: the folder of a sweep that goes on as it began.

    Returns:
        The sweep's folder.

    Raises:
        UserError: a mistake in the words, or no trial has a figure.

    Examples:
        torchatlas sweep trials=30 model=mlp 'optim.lr=log(1e-4,1e-1)' 'model.dropout=interval(0,0.5)'
        torchatlas sweep resume=runs/sweeps/2026-01-31 trials=40
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError("the sweep needs Optuna: pip install 'torchatlas[sweep]'") from error
    register_resolvers()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings(), logged_by(ConsoleHandler(), "%(message)s"):
        quiet_libraries()
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if resume:
            search = continued(resume, words, trials, sampler=sampler, pruner=pruner)
        else:
            search = begun(words, trials, sampler, pruner)
        prepare(search)
        if not search.resumed:
            search.folder = Path(new_folder("sweeps")).absolute()
            write_json(search.folder / "sweep.json", search.about())  # first: with it alone a sweep can go on
        try:
            study = open_study(search)
            write_results(study, search)
            while (trial := next_trial(study, search)) is not None:
                run_trial(study, trial, search)
                write_results(study, search)
                gc.collect()  # a trainer is a ring of references, which would hold the memory of its network
        except BaseException:
            say("go on", f"torchatlas sweep resume={shlex.quote(str(run_folder.shown(search.folder)))}")
            raise
        print_results(study, search)
    return search.folder


def prepare(search: Search) -> None:
    """Refuse what cannot be trained before any folder is made, and learn by what trials are compared.

    The config with the first value of each key is tried, and each choice of a group once.

    Raises:
        UserError: in one sentence, what does not go together.
    """
    first = {key: d.choices[0] if hasattr(d, "choices") else d.low for key, d in search.space.items()}
    groups = [key for key in search.space if key in GROUPS]
    for values in [*({**first, key: name} for key in groups for name in values_of(search.space[key])[1:]), first]:
        with in_a_sentence(search.words(values)):
            config = compose(search, values).config
            plain: Any = OmegaConf.to_container(config)
            if build_trainer(plain, Path()).world_size > 1:
                raise UserError("the trials of a sweep have one process each: add trainer=cpu or trainer=gpu")
    task: type[Task] = get_class(config.task._target_)  # type: ignore[assignment]
    monitor, search.mode = task.compared_by(config.task)
    search.seed, search.figure, search.reported = config.seed, f"val/{monitor}", reported(task)
    lengths = [Duration.parse(limit, "duration") for limit in limits(plain)]
    search.epochs = min((math.ceil(length.number) for length in lengths if length.unit == "ep"), default=None)
    search.trials = len(search.combinations()) or search.trials


def compose(search: Search, values: dict[str, Any]) -> Composed:
    """The resolved and checked config of a run; words from a folder may call what saved configs may, and no more."""
    asked = composed(search.quiet + search.words(values))
    plain = asked.plain()
    if search.resumed:
        require_trusted(plain)
    asked = replace(asked, config=DictConfig(plain))
    fits(asked)
    return asked


def open_study(search: Search) -> Any:
    """Optuna's study in the folder, new or as it was left, whenever the program was killed."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = search.folder / "study.journal"
    path.with_name(path.name + ".lock").unlink(missing_ok=True)  # of a killed process
    with path.open("a+b") as file:  # a last line that it did not finish counts as not written
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    backend = JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
    pruner: Any = optuna.pruners.NopPruner()
    if search.pruner == "median":
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=(search.epochs or 0) // 5)
    elif search.pruner == "hyperband":
        pruner = optuna.pruners.HyperbandPruner(max_resource=search.epochs or "auto")
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend), study_name="sweep", load_if_exists=True, pruner=pruner,
        direction="maximize" if search.mode == "max" else "minimize",
    )  # fmt: skip


def next_trial(study: Any, search: Search) -> Any:
    """The trial that was interrupted, or else a new one; None when there have been as many as there are to be.

    The sampler begins each trial from the seed and the trial's number, so that those after an interruption are what
    they would have been (unless it fell between two values of one trial). Where there are no more combinations than
    trials, each is taken once.
    """
    from optuna.samplers import RandomSampler, TPESampler
    from optuna.trial import Trial, TrialState

    known = study.get_trials(deepcopy=False)
    begun = [trial for trial in known if trial.state != TrialState.WAITING]
    running = [trial for trial in begun if trial.state == TrialState.RUNNING]
    number = running[0].number if running else len(begun)
    make = RandomSampler if search.sampler == "random" else TPESampler
    study.sampler = make(seed=(search.seed * 1_000_003 + number) % 2**32)
    if running:
        return Trial(study, running[0]._trial_id)
    if len(begun) >= search.trials:
        return None
    left = [chosen for chosen in search.combinations() if chosen not in [trial.params for trial in begun]]
    if left and len(begun) == len(known):
        study.enqueue_trial(left[0])
    return study.ask()


def run_trial(study: Any, trial: Any, search: Search) -> None:
    """One trial to its end, from its checkpoint where it has one; that it failed is told and does not end the sweep."""
    from optuna.trial import TrialState

    values = {key: trial._suggest(key, distribution) for key, distribution in search.space.items()}
    folder = search.folder / "trials" / str(trial.number + 1)
    path, figure = None, None
    with contextlib.suppress(UserError):
        path = find_checkpoint(str(folder))
    if path is None:  # without one, what was done is to be done again
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with logged_by(logging.FileHandler(folder / "train.log"), "%(asctime)s %(levelname)s %(message)s"):
        shown = " ".join(f"{key}={short(value)}" for key, value in values.items())
        log.info("trial %d of %d: %s", trial.number + 1, search.trials, shown)
        try:
            if "pruned" not in trial.user_attrs:
                words = search.quiet + search.words(values)
                with in_a_sentence(words):
                    asked = compose(search, values) if path is None else reopened(folder, path, words=words)
                    figure = execute(asked, folder, path, alone=True, callbacks=[Report(trial)])
            if "pruned" in trial.user_attrs:
                study.tell(trial, state=TrialState.PRUNED)
            elif figure is None or not math.isfinite(figure):
                raise UserError(f"there is no finite {search.figure} by which the trial could be compared")
            else:
                study.tell(trial, figure)
        except Exception as error:
            if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
                raise  # no space, no file: not the fault of the values, so the trial is to go on
            expected = isinstance(error, UserError)
            reason = str(error) if expected else f"{type(error).__name__}: {error}"
            log.warning("trial %d failed: %s", trial.number + 1, reason, exc_info=not expected)
            trial.set_user_attr("error", reason)
            study.tell(trial, state=TrialState.FAIL)


def results(study: Any, search: Search) -> list[dict[str, Any]]:
    """A row for each trial that is over: the best first, then those that were pruned, then the failed ones."""
    from optuna.trial import TrialState

    states = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    sign = -1 if search.mode == "max" else 1
    rows = []
    for trial in study.get_trials(deepcopy=False, states=tuple(states)):
        row = {"trial": trial.number + 1} | {key: trial.params[key] for key in search.space}
        reported = [trial.value] if trial.state == TrialState.COMPLETE else trial.intermediate_values.values()
        row[search.figure] = min(filter(math.isfinite, reported), key=lambda figure: sign * figure, default=None)
        row["epochs"] = read_metrics(search.folder / "trials" / str(row["trial"])).get("epochs", 0)
        rows.append(row | {"state": states[trial.state], "error": trial.user_attrs.get("error", "")})
    order = list(states.values())
    return sorted(rows, key=lambda row: (order.index(row["state"]), sign * (row[search.figure] or 0)))


def write_results(study: Any, search: Search) -> None:
    """`results.csv`, `sweep.json` with the best trial, and what the dashboard lacks."""
    rows = results(study, search)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["trial", *search.space, search.figure, "epochs", "state", "error"])
    writer.writeheader()
    writer.writerows(rows)
    write_text(search.folder / "results.csv", text.getvalue())
    about = search.about()
    if rows and rows[0]["state"] == "done":
        values = {key: rows[0][key] for key in ("trial", search.figure, *search.space)}
        about["best"] = values | {"command": search.command(values)}
    write_json(search.folder / "sweep.json", about)
    for row in rows:
        write_events(search, row)


def write_events(search: Search, row: dict[str, Any]) -> None:
    """One trial for TensorBoard's HPARAMS: searched keys, their domains, the figure; written once, and whole."""
    folder, part = search.folder / "dashboard" / str(row["trial"]), search.folder / "dashboard.part"
    if folder.exists() or row[search.figure] is None:
        return
    parameters = []
    for key, d in search.space.items():
        interval = board.IntInterval if isinstance(row[key], int) else board.RealInterval
        domain = board.Discrete(list(d.choices)) if hasattr(d, "choices") else interval(d.low, d.high)
        parameters.append(board.HParam(key, domain))
    shutil.rmtree(part, ignore_errors=True)
    with SummaryWriter(str(part)) as writer:
        file: Any = writer._get_file_writer()
        file.add_summary(board.hparams_config_pb(parameters, [board.Metric(search.figure)]))
        file.add_summary(board.hparams_pb({key: row[key] for key in search.space}, trial_id=str(row["trial"])))
        writer.add_scalar(search.figure, row[search.figure], row["epochs"])
    folder.parent.mkdir(exist_ok=True)
    part.replace(folder)


def print_results(study: Any, search: Search) -> None:
    """The table, which keys mattered, and what to type next.

    Raises:
        UserError: no trial has a figure.
    """
    from optuna.importance import get_param_importances

    rows, folder = results(study, search), shlex.quote(str(run_folder.shown(search.folder)))
    table = Table(title=f"trials by the {search.figure} of their best epoch", title_justify="left")
    for column in ("trial", *search.space, search.figure, "epochs", "state"):
        table.add_column(column.replace(".", ".\n"), overflow="fold")
    for row in rows:
        figure = row[search.figure]
        shown = "" if figure is None else format_figure(search.figure, figure, search.reported)
        table.add_row(str(row["trial"]), *(short(row[key]) for key in search.space), shown,
                      str(row["epochs"]), row["state"])  # fmt: skip
    rich.get_console().print(table)
    done = [row for row in rows if row["state"] == "done"]
    if len(done) > 1 and len(search.space) > 1:
        with contextlib.suppress(ImportError, RuntimeError, ValueError):  # no scikit-learn, nothing varies
            shares = get_param_importances(study)
            say("importance", ", ".join(f"{key} {100 * share:.0f} %" for key, share in shares.items()))
    if done:
        say("best", f"trial {done[0]['trial']}, in {folder}/trials/{done[0]['trial']}")
        say("train it", search.command(done[0]))
    say("dashboard", f"tensorboard --logdir {folder}/dashboard")
    say("go on", f"torchatlas sweep resume={folder} trials=NUMBER")
    if all(row[search.figure] is None for row in rows):
        raise UserError(f"no trial has a figure; trial {rows[-1]['trial']} failed: {rows[-1]['error']}")


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_word(value)


def say(label: str, text: str) -> None:
    uv = "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ and text.startswith(("torchatlas", "tensorboard")) else ""
    rich.get_console().print(f"{label:<11} {uv}{text}", markup=False, highlight=False, soft_wrap=True)
