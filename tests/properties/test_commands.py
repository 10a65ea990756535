"""What holds for every command that is found, and mistakes in the words of each."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchatlas import cli
from torchatlas.commands import completion, help, signature, words
from torchatlas.commands.signature import REQUIRED, Command, Key
from torchatlas.errors import UserError
from torchatlas.predict.registry import answerers
from torchatlas.zoo import GROUPS

COMMANDS = sorted(name for name, place in signature.places().items() if place.path.parent == signature.FOLDER)


KEYS = [(name, key) for name in COMMANDS for key in signature.read(name).keys.values()]


def good(key: Key) -> str:
    """A text that the key takes."""
    if key.key in ("model", "data", "task"):
        return {"model": "mlp", "data": "digits", "task": "segmentation"}[key.key]
    return (key.choices or [{"int": "3", "float": "0.5", "bool": "true", "str": "x", "Path": "x"}[key.kind]])[0]


def needed(command: Command, *but: str) -> list[str]:
    """Words for what must be given."""
    return [f"{k.key}={good(k)}" for k in command.keys.values() if k.default is REQUIRED and k.key not in but]


def refused(*typed: str) -> str:
    """The sentence."""
    with pytest.raises(UserError) as error:
        cli.run(typed)
    return str(error.value)


def test_all_are_found() -> None:
    today = {
        "train", "list", "show", "preview", "lr_range", "plan", "evaluate", "predict", "generate", "translate", "fill",
        "sample", "reconstruct", "interpolate", "inpaint", "quality", "explain", "export", "prepare", "sweep",
        "serve",
    }  # fmt: skip
    assert today | {"help", "completion"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_source_says_what_python_says(name: str) -> None:
    command = signature.read(name)
    function = getattr(importlib.import_module(command.place.module), command.place.function)
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    own, answers = list(command.keys.values())[: len(named)], list(command.keys.values())[len(named) :]
    assert [key.name for key in own] == [p.name for p in named]
    assert [key.default for key in own] == [REQUIRED if p.default is p.empty else p.default for p in named]
    assert (command.words is None) == all(p.kind is not p.VAR_POSITIONAL for p in parameters)
    assert bool(answers) == any(p.kind is p.VAR_KEYWORD for p in parameters)
    answering, without = signature.LENT.get(name, (name, ()))
    assert {key.name for key in answers} == {
        option for each in answerers() for option in each.options if each.command == answering
    } - {key.name for key in own} - set(without) or not answers
    assert command.words in (None, "", "bare", "training", "raw")


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    command = signature.read(name)
    cli.run(["help", name])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: torchatlas {name}")
    assert command.headline in text
    assert len(command.headline) <= 105
    assert all(len(line) <= 120 for line in text.splitlines())
    assert command.examples.count(f"torchatlas {name}"), "there is an example"
    assert command.words is None or command.words_help
    if name != "train":
        cli.run([name, "--help"])
        cli.run([name.replace("_", "-"), "-h"])
        cli.run([name, "help"])
        assert capsys.readouterr().out == 3 * text


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_every_key(name: str, key: Key, capsys: pytest.CaptureFixture[str]) -> None:
    """It has help, is completed, can be typed in three ways, and refuses what is of another kind."""
    command = signature.read(name)
    assert key.help
    assert key.key.upper() in help.page(command) if key.positional else f"{key.key}=" in help.page(command)
    found = dict(completion.candidates([name, ""]))
    assert key.positional or f"{key.key}=" in found
    assert (
        key.default is REQUIRED
        or key.default is None
        or words.converted(key, words.written(key.default)) == key.default
    )
    rest, text = needed(command, key.key), good(key)
    same = [words.parse(command, [*rest, *typed]) for typed in
            ([f"{key.key}={text}"], [f"--{key.key}={text}"], [f"--{key.key.replace('_', '-')}", text])]  # fmt: skip
    assert same[0] == same[1] == same[2]
    if key.kind in ("int", "float", "bool"):
        assert refused(name, *rest, f"{key.key}=abc").startswith(f"{key.key}=abc must be ")
        assert "is empty" in refused(name, *rest, f"{key.key}=")
    if key.choices:
        assert key.open or key.choices[-1] in refused(name, *rest, f"{key.key}={key.choices[-1]}x")
    if key.choices or key.kind == "bool":
        typed = [f"{key.key}={choice}" for choice in key.choices or ("true", "false")]
        assert list(dict(completion.candidates([name, f"{key.key}="]))) == typed
        assert list(dict(completion.candidates([name, f"--{key.key}="]))) == [f"--{word}" for word in typed]
    elif key.kind == "str" and key.key not in (*GROUPS, "command"):
        listed = re.match(r"(\w+, )*\w+ or \w+", key.help)
        assert not listed or "file" in listed[0] or listed[0].startswith("a "), (
            f"{listed and listed[0]}: a Literal would say so"
        )
    if key.default is REQUIRED:
        assert "is missing" in refused(name, *rest)
    if key.optional:
        args, named = words.parse(command, [*rest, f"{key.key}=null"])
        in_order = [each.name for each in command.keys.values()]
        assert {**dict(zip(in_order, args, strict=False)), **named}[key.name] is None


@pytest.mark.parametrize("name", [name for name in COMMANDS if signature.read(name).words in (None, "training")])
def test_an_unknown_key(name: str) -> None:
    command = signature.read(name)
    assert "there is no key 'qqqq'" in refused(name, *needed(command), "qqqq=1")
    assert "there is no key 'qqqq'" in refused(name, *needed(command), "--qqqq=1")
    for key in command.keys:
        if len(key) > 4:
            assert key in refused(name, *needed(command), f"{key[1]}{key[0]}{key[2:]}=1")


def test_mistakes_and_help_take_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom torchatlas import cli\nfrom torchatlas.errors import UserError\n"
        f"for name in {COMMANDS}:\n"
        "    cli.run(['help', name])\n"
        "    cli.run(['--complete', name, ''])\n"
        "    for words in ([name, 'qqqq=1'], [name, '--qqqq']):\n"
        "        try:\n            name in ('train', 'show') or cli.run(words)\n"
        "        except UserError: pass\n"
        "        else: assert name in ('train', 'show')\n"
        "cli.run([]); cli.run(['list'])\n"
        "assert not {'torch', 'hydra', 'lightning', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=os.environ, check=True, capture_output=True)
    assert not list(tmp_path.iterdir()), "nothing is written"


# --- mistakes

MISTAKES = {
    "unknown command": (["trian"], "did you mean train"),
    "missing key": (["evaluate"], "ckpt=... is missing"),
    "unknown key": (["predict", "ckpt=x", "inptu=y"], "did you mean input"),
    "no equals sign": (["evaluate", "runs/x"], "not of the form KEY=VALUE"),
    "no checkpoint": (["evaluate", "ckpt=nowhere"], "there is no checkpoint nowhere"),
    "list takes nothing": (["list", "x=1"], "there is no key 'x'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake: str, command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = MISTAKES[mistake]
    with pytest.raises(SystemExit) as exit_:
        command(*arguments)
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err


# --- other commands


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "there is no command 'trian': did you mean train"),
        (["model=mlp"], "'model=mlp' is no command: did you mean torchatlas train model=mlp?"),
        (["list", "resnet18", "vgg"], "'vgg' is not of the form KEY=VALUE, with a KEY out of filter, task"),
        (["evaluate"], "ckpt=... is missing"),
        (["evaluate", "ckpt=nowhere"], "there is no checkpoint nowhere"),
        (["predict", "ckpt=x", "top"], "'top' is not of the form KEY=VALUE"),
        (["predict", "ckpt=x", "input=y", "top=many"], "top=many must be a whole number"),
        (["export", "ckpt=nowhere"], "there is no checkpoint nowhere"),
        (["export", "chkpt=x"], "there is no key 'chkpt': did you mean ckpt"),
        (["sweep", "model=mlp"], "optim.lr=log(1e-4,1e-1)"),
    ],
)
def test_mistakes_of_other_commands(arguments: list[str], expected: str, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["torchatlas", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err
