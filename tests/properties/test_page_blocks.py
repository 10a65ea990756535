"""Every command and every block of Python on a page is tried, as far as it can be in seconds.

Of a training the config is composed, so that each choice, key and kind of value is right; words of other commands are
read by their signatures; commands that need no run are run; Python runs block after block in an empty folder. What
cannot be tried has a line `<!-- not run: REASON -->` above it; a block below "`NAME.py`:" is written as a file.
"""

import functools
import itertools
import re
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY, pages
from helpers.pages import PAGES, TERMINAL, Block, blocks

from torchatlas import cli, packages
from torchatlas.commands import signature
from torchatlas.commands import words as grammar
from torchatlas.run.compose import composed
from torchatlas.zoo import create_model

LANGUAGES = {*TERMINAL, "python", "pycon", "yaml", "csv", "toml", "json", "text", "dockerfile", "mermaid", "bibtex"}
BEFORE = ("uv run", "poetry run")  # what stands before a command
TRAINING = ("python train.py", "python -m torchatlas.train", "python src/train.py", "torchatlas train")
NO_RUN = ("help", "list", "show", "completion", "new")  # commands that are run, in an empty folder
OTHERS = {  # programs that are not ours, and what is looked at: that files they name are there
    "uv", "pip", "pytest", "tensorboard", "eval", "source", "git", "cd", "sbatch", "docker", "curl", "mlflow", "wandb",
    "ruff", "mypy", "pre-commit", "zensical", "export", "jupyter", "ls", "cat", ".", "torchrun", "scontrol",
    "exit", "if", "status=$?",
}  # fmt: skip
CIFAR_FILE = "resnet18_cifar10.pth"  # a file that pages load
RESUMED = re.compile(r"(resume|--config|--resume)=")  # of a run that is not here


def of_terminal(path: Path) -> list[tuple[int, str]]:
    """Each command of a page, with its line; CONTRIBUTING's examples have a test of their own."""
    text = path.read_text()
    if path.name == "CONTRIBUTING.md":
        start = text.index("## How the tree is kept")
        text = "\n" * text[:start].count("\n") + text[start:]
    found = [block for block in blocks(text) if block.language in TERMINAL and not block.reason]
    return [(block.line, line) for block in found for line in pages.lines(block) if not is_tree(block)]


def is_tree(block: Block) -> bool:
    """Whether a block shows files, as that of a run folder."""
    return block.text.startswith("runs/<")


def runs(words: list[str]) -> list[list[str]]:
    """The trainings of a multirun, one of them for each value of each word.

    >>> runs(["-m", "model=a,b", "seed=0"])
    [['model=a', 'seed=0'], ['model=b', 'seed=0']]
    """
    if not {"-m", "--multirun"} & set(words):
        return [words]
    split = [re.split(r",(?![^\[({]*[\])}])", word) for word in words if not word.startswith("-")]
    named = [[first, *(f"{first.partition('=')[0]}={value}" for value in rest)] for first, *rest in split]
    number = max(map(len, named))
    return [[values[i % len(values)] for values in named] for i in range(number)]


@functools.cache
def train(words: tuple[str, ...]) -> None:
    """Compose what a training is told; of a run that is to go on nothing can be said here."""
    if {"--help", "-h", "--hydra-help"} & set(words):
        return
    kept = [word for word in words if not re.match(r"(seeds=|folds=|hydra\.(?!searchpath))", word)]
    if any(RESUMED.match(word) or word == "--config" for word in kept):
        return
    for run in runs([word for word in kept if word not in ("--cfg", "job")]):
        composed(run)


@functools.cache
def other(words: tuple[str, ...]) -> None:
    """Hold the words of a command of ours against its signature, and compose those of training."""
    first, *typed = words
    command = signature.read(first if first not in ("--help", "-h") else "help")
    if {"--help", "-h"} & set(words) or command.words == "raw":
        return
    typed = list(typed) if command.words == "training" else packages.taken(typed)
    _, named = grammar.parse(command, typed)
    others = grammar.sorted_out(command, typed)[1]
    spread = any("," in word or "(" in word for word in others)  # of a search
    if command.words == "training" and not spread and not any(word.startswith("resume=") for word in others):
        chosen = [f"{key}={value}" for key, value in named.items() if key in ("model", "data") and value]
        composed([*others, *chosen])


def attempt(line: str) -> None:
    """Try one command."""
    for part in re.split(r" (?:&&|\|\||\||;) ", line):
        command = functools.reduce(lambda text, word: text.removeprefix(f"{word} "), BEFORE, part.strip())
        command = re.sub(r"^(--\S+( [a-z]+)? )+", "", command)  # uv's own
        command = re.sub(r"^\.venv/bin/|^srun |^exec ", "", command)
        typed = pages.words(re.sub(r" [12]?>+ ?\S+", "", command))
        if not typed:
            continue
        plain = " ".join(typed)
        if typed[0] == "train.py":
            plain, typed = f"python {plain}", ["python", *typed]
        start = next((s for s in TRAINING if plain == s or plain.startswith(f"{s} ")), None)
        if start is not None:
            train(tuple(typed[len(start.split()) :]))
        elif typed[0] == "torchatlas":
            other(tuple(typed[1:]) or ("help",))
        else:
            require_known(typed)


def require_known(typed: list[str]) -> None:
    """Refuse programs that nobody has, and files that are not in the tree."""
    if typed[0] == "python":
        assert typed[1] == "-m" or (REPOSITORY / typed[1]).is_file(), typed
        return
    script = REPOSITORY / typed[0]
    assert typed[0] in OTHERS or (typed[0].startswith("scripts/") and script.is_file()), f"what is {typed[0]}?"


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_command_is_right(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    pages.write_files(page.read_text(), tmp_path)
    packages.named.clear()
    wrong = []
    for number, line in of_terminal(page):
        try:
            attempt(line)
        except Exception as error:
            wrong.append(f"{pages.name(page)}:{number}: {line}\n    {error}")
    assert not wrong, "\n".join(wrong)


def test_commands_that_need_no_run_are_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [page for page in PAGES if page.parent.name != "families"]  # of which each network was built for its picture
    done: set[str] = set()
    for page in told:
        lines = [line for _, line in of_terminal(page) if line.startswith("torchatlas ") and "|" not in line]
        typed = [line for line in lines if pages.words(line)[1] in NO_RUN and line not in done]
        folder = tmp_path / page.stem
        folder.mkdir()
        monkeypatch.chdir(folder)
        pages.write_files(page.read_text(), folder)
        packages.named.clear()
        for line in typed:
            cli.run(pages.words(line)[1:])
        done |= set(typed)
    assert done
    packages.named.clear()
    assert len(capsys.readouterr().out) > 1000


SHOWN = [page for page in PAGES if any(block.language == "python" for block in blocks(page.read_text()))]


@pytest.mark.parametrize("page", [page for page in SHOWN if page.name != "CONTRIBUTING.md"], ids=pages.name)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Block after block, as one program, beside the files that the page shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pages.write_files(page.read_text(), tmp_path)
    monkeypatch.delenv("TORCHATLAS_DATA", raising=False)
    space: dict[str, object] = {"__name__": "__main__"}
    text = page.read_text()
    if CIFAR_FILE in text:
        torch.save(create_model("resnet18", num_classes=10, image_size=32).state_dict(), CIFAR_FILE)
    for block in blocks(text):
        if block.language == "python" and not block.reason and not block.file:
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, space)


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert block.language in LANGUAGES, f"{page.name}:{block.line}"
        assert block.reason == "" or len(block.reason) > 10


def test_files_are_seen(tmp_path: Path) -> None:
    text = "So.\n\n`a/b.py`, in your folder:\n\n```python\nx = 1\n```\n\nAs in `b.py`.\n\n```python\ny\n```\n"
    pages.write_files(text, tmp_path)
    assert (tmp_path / "a" / "b.py").read_text() == "x = 1\n"
    assert [block.file for block in blocks(text)] == ["a/b.py", ""]


def test_these_eyes_see() -> None:
    text = "a\n<!-- not run: wants a GPU -->\n```python\nx\n```\n\n```\npython train.py a=1 \\\n  b=2   # said\n```\n"
    first, second = blocks(text)
    assert (first.language, first.reason, first.line) == ("python", "wants a GPU", 4)
    assert pages.lines(second) == ["python train.py a=1 b=2"]
    assert list(itertools.chain(*runs(["-m", "data.a=[1,2]", "seed=0,1"]))) == [
        "data.a=[1,2]", "seed=0", "data.a=[1,2]", "seed=1",
    ]  # fmt: skip
    for wrong in ("python train.py model=resnt18", "torchatlas predict cpkt=x input=y", "python scripts/no.py", "foo"):
        with pytest.raises((Exception, AssertionError)):
            attempt(wrong)
