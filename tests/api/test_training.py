"""Training from Python."""

import logging
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import torchatlas
from torchatlas import UserError
from torchatlas.api.words import words_of

SMALL: dict[str, object] = {"trainer": "cpu", "duration": "2ep", "model__widths": [16], "logger": "none"}


def small_run(*words: str, **settings: object) -> torchatlas.Run:
    return torchatlas.train("mlp", *words, **(SMALL | settings))


def test_words_and_arguments_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py", "-m", "--own=1"])
    one = small_run(optim__lr=0.1, data="digits", folder="one")
    words = ["model=mlp", "trainer=cpu", "duration=2ep", "model.widths=[16]", "logger=none", "optim.lr=0.1"]
    two = torchatlas.train(*words, "hydra.run.dir=two")
    assert sys.argv == ["script.py", "-m", "--own=1"]
    assert one.figures == two.figures
    assert {"val/accuracy", "test/accuracy"} <= set(one.figures)
    assert one.config == two.config | {"name": "mlp-digits"}
    assert [epoch["epoch"] for epoch in one.history] == [1, 2]
    assert one.finished
    assert one.folder == tmp_path / "one"
    assert "plan: " in (one.folder / "train.log").read_text()
    assert "test/accuracy" in repr(one)
    assert one.predict(np.zeros((8, 8), np.uint8))[0].keys() == {"input", "class", "probability"}


def test_a_second_run_and_one_that_goes_on_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = small_run(duration="3ep")
    assert whole.folder.parent == tmp_path / "runs" / "mlp-digits"
    assert "epoch 3/3" in capsys.readouterr().out
    part = small_run()
    assert part.folder != whole.folder
    more = part.resume(duration="3ep")
    assert more.folder == part.folder
    assert [e["epoch"] for e in more.history] == [1, 2, 3]
    assert len(more.history) == len(whole.history)
    out = capsys.readouterr().out
    assert out.count("going on from") == 1  # the handlers of the first runs are gone
    assert out.count("epoch 3/3") == 1
    with pytest.raises(UserError, match="seed=1 cannot change in a resumed run"):
        part.resume(seed=1)


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    logger = logging.getLogger("torchatlas")
    before = (logger.level, logger.propagate, list(logger.handlers), torch.get_num_threads())
    small_run(duration="1ep")
    assert (logger.level, logger.propagate, logger.handlers, torch.get_num_threads()) == before
    assert (torch.rand(1), random.random(), np.random.rand()) == expected


def test_outside_of_the_main_thread_with_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cells of a notebook may run, and graphical programs train."""
    monkeypatch.chdir(tmp_path)
    found: list[object] = []

    def work() -> None:
        try:
            found.append(small_run(duration="1ep", data__num_workers=1))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(found[0], torchatlas.Run), found


def test_several_seeds_are_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = small_run(seeds=2, duration="1ep")
    assert [each.folder.name for each in run.members] == ["seed-0", "seed-1"]
    accuracies = [each.figures["test/accuracy"] for each in run.members]
    assert run.figures["test/accuracy"] == pytest.approx(sum(accuracies) / 2)


@pytest.mark.parametrize(
    ("words", "settings", "sentence"),
    [
        (["mlpp"], {}, "there is no model 'mlpp': did you mean mlp"),
        (["mlp"], {"data": "digit"}, "there is no data 'digit': did you mean digits"),
        (["mlp"], {"lr": 0.1}, r"no key 'lr': did you mean optim.lr=0.1\?"),
        (["mlp"], {"optim__lrr": 0.1}, "no key 'optim.lrr': did you mean optim.lr"),
        (["mlp", "-m"], {"seed": "1,2"}, "-m starts several runs: call train in a loop"),
        (["mlp", "hydra.job.name=x"], {}, "hydra.job.name=x is for the command line"),
        (["mlp"], {"trainer": "ddp_cpu"}, "several devices have a process each"),
        (["mlp"], {"optim__lr": object()}, "optim.lr= is a object, and values are numbers"),
        ([3], {}, "a int is no word"),
        (["mlp"], {"seed": "abc"}, "seed=abc must be a whole number"),
        (["mlp"], {"resume": "nowhere"}, "there is no checkpoint"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(
    words: list[str], settings: dict[str, object], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        torchatlas.train(*words, **settings)
    assert list(tmp_path.iterdir()) == []


def test_values_are_written_as_the_command_line_has_them() -> None:
    settings = {
        "a": "runs/a b", "b": "x(1).csv", "c": [1, "two", None], "d": Path("a/b"), "e": np.float32(0.5), "f": False,
        "g": 1e-5, "h": {"k": 1}, "i": torch.tensor([1, 2]), "j": "1,2", "k": "it's",
    }  # fmt: skip
    assert words_of([], settings) == [
        "a=runs/a b", "b='x(1).csv'", "c=[1,two,null]", "d=a/b", "e=0.5", "f=false", "g=1e-05", "h={k:1}", "i=[1,2]",
        "j='1,2'", "k='it\\'s'",
    ]  # fmt: skip


PROGRAMS = {
    "called first": "import torchatlas; torchatlas.train; import torchatlas.train as m; main = m.main",
    "imported first": "import torchatlas.train as m; from torchatlas.train import main; import torchatlas",
    "from the package": "from torchatlas import train; import torchatlas; import torchatlas.train as m; main = m.main",
}


@pytest.mark.parametrize("order", PROGRAMS)
def test_train_is_a_module_and_a_function_in_any_order(order: str, tmp_path: Path) -> None:
    program = (
        f"{PROGRAMS[order]}\nassert m is torchatlas.train and callable(m) and m.main is main\n"
        "try:\n    torchatlas.train('mlpp')\nexcept torchatlas.UserError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "did you mean mlp" in done.stdout, done.stderr


def test_importing_the_package_imports_no_torch() -> None:
    program = "import torchatlas, sys; dir(torchatlas); print({'torch', 'lightning', 'hydra'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "set()"
