"""What all checkpoints have: a command that uses them, and data that read a user's files as in training."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers import Train, model_for, without_files
from omegaconf import OmegaConf
from PIL import Image

import torchatlas.tasks
from torchatlas import cli
from torchatlas.commands.signature import places, read
from torchatlas.data.base import DataModule
from torchatlas.predict.registry import Answerer, Trained, answerers, find, usage
from torchatlas.run.restore import reader
from torchatlas.tasks.base import Task

EVALUATED = {  # kinds of data and tasks that have figures alone
    ("adding", "regression"), ("copy_memory", "sequence_labeling"), ("labelled_series", "classification"),
    ("logic", "classification"), ("piano_roll", "polyphonic"), ("series", "regression"),
}  # fmt: skip


@pytest.mark.parametrize("answerer", answerers(), ids=lambda answerer: f"{answerer.command}-{answerer.function}")
def test_each_answer_is_what_it_says(answerer: Answerer) -> None:
    """Its tasks exist, its options have defaults, and its command takes them."""
    for module in pkgutil.iter_modules(torchatlas.tasks.__path__):
        importlib.import_module(f"torchatlas.tasks.{module.name}")
    ours = (task for task in subclasses(Task) if task.__module__.startswith("torchatlas.tasks."))  # not those of a test
    tasks = {vars(task)["name"]: task for task in ours if "name" in vars(task)}
    assert set(answerer.tasks) <= set(tasks)
    if answerer.method:
        named = {task for each in answerers() if each.command == answerer.command for task in each.tasks}
        assert named == {name for name, task in tasks.items() if hasattr(task, answerer.method)}
    parameters = inspect.signature(answerer.load()).parameters
    for name in answerer.options:
        assert parameters[name].default is not inspect.Parameter.empty
    assert set(answerer.options) <= {key.name for key in read(answerer.command).keys.values()}


def subclasses(cls: type) -> set[type]:
    return {cls, *(each for child in cls.__subclasses__() for each in subclasses(child))}


def test_each_kind_of_data_with_each_of_its_tasks_has_a_use(data_name: str, make_data: Callable[..., Any]) -> None:
    """One command is named at the end of a run, and it takes the run."""
    data = make_data(data_name)
    kind = data.describe()["kind"]
    for task in data.tasks:
        trained = Trained((task,), kind, bool(data.endings))
        command, _ = usage(trained)
        assert command in places()
        assert (command == "evaluate") == ((kind, task) in EVALUATED), f"{kind}, {task}"
        assert command == "evaluate" or find(command, trained) is not None
        assert sum(each.ends is not None and each.fits(trained) for each in answerers()) <= 1
    assert bool(data.endings) == (type(data).read is not DataModule.read)


def a_file(data: Any, kind: str, folder: Path) -> str:
    """A file such as a user has."""
    if (own := data.example_file(folder)) is not None:
        return str(own)
    draw = np.random.default_rng(0)
    if kind in ("image", "pixels", "segmentation"):
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / "a.PNG")
        return str(folder)
    if kind == "sound":
        soundfile.write(folder / "a.wav", 0.1 * draw.standard_normal(9000), 8000)
        return str(folder / "a.wav")
    path = folder / ("a.csv" if kind == "series" else "a.txt")
    if kind == "series":
        import pandas as pd

        rows = data.lookback + 5
        columns = {name: draw.standard_normal(rows) for name in [*data.series, *data.covariates]}
        times = {data.time: pd.date_range("2024-01-01", periods=rows, freq=data.step)}
        pd.DataFrame({**times, **columns}).to_csv(path, index=False)
    else:
        words = "word1 word2 class0ba\tword1 ba word2"
        path.write_text(f"{words if kind == 'text_spans' or getattr(data, 'pair', False) else words[:11]}\n")
    return str(path)


def test_a_checkpoint_alone_reads_a_users_files(
    data_name: str, compose: Callable[..., Any], make_data: Callable[..., Any], tmp_path: Path
) -> None:
    """The data set is nowhere, and what the network gets has the type and, where all inputs have one, the shape."""
    trained = make_data(data_name)
    described = dict(trained.describe())
    words = [f"model={model_for(data_name)}", f"data={data_name}", "data.batch_size=16", *without_files(data_name)]
    config: Any = OmegaConf.to_container(compose(*words).data, resolve=True)
    nowhere = {key: str(tmp_path / "nowhere") for key in ("root", "path") if key in config}
    data = reader({"config": {"data": {**config, **nowhere}}, "data": described})
    assert dict(data.describe()) == described
    if not data.endings:
        return
    kind = described["kind"]
    given = data.read(a_file(trained, kind, tmp_path))
    assert given.about
    x, *rest = next(iter(data.batches(given, "cpu")))
    example = trained.example_batch(len(x))
    assert x.dtype == example[0].dtype
    assert [part.dtype for part in rest] == [part.dtype for part in example[1:]] or kind == "segmentation"
    if kind in ("image", "pixels", "sound"):
        assert x.shape == example[0].shape
    elif kind == "series":
        assert x.shape[1:] == example[0].shape[1:]


RUNS = {
    "predict": (("model=mlp", "data=digits", "model.widths=[4]"), ("input=a.png",)),
    "reconstruct": (("model=autoencoder", "data=digits", "model.widths=[4]"), ("input=a.png",)),
    "sample": (("model=vae", "data=digits", "model.widths=[4]"), ("n=2",)),
    "generate": (("model=lstm_lm", "data=pydoc", "model.dim=4"), ('prompt="a"', "length=2")),
    "translate": (("model=seq2seq", "data=dates", "model.dim=4", "data.train_size=400"), ('input="3 May"',)),
    "evaluate": (("model=perceptron", "data=logic"), ()),
}  # fmt: skip


@pytest.mark.parametrize("command", RUNS)
def test_the_command_at_the_end_of_a_run_takes_it(
    command: str, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, more = RUNS[command]
    train(*words, "debug=one_batch", "trainer=cpu", "logger=none", "callbacks=default")
    (said,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("use it"))
    _, _, typed = said.partition("torchatlas ")
    name, checkpoint, *_ = typed.split()
    assert name == command
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    cli.run([name, checkpoint, *(word.replace('"', "") for word in more)])


def test_the_end_of_a_run_imports_nothing_of_other_data() -> None:
    """Who answers is read, not imported."""
    code = (
        "import sys; from torchatlas.predict.registry import Trained, usage\n"
        "assert usage(Trained(('seq2seq',), 'translation', True)) == ('translate', ' input=\"...\"')\n"
        "assert not {'torch', 'torchatlas.data', 'torchatlas.tasks', 'torchatlas.predict.masks'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
