"""Who answers for a checkpoint."""

import importlib
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from torchatlas import cli
from torchatlas.commands import completion, signature
from torchatlas.errors import UserError
from torchatlas.predict import registry
from torchatlas.predict.registry import Answerer, Trained, find, fitting, other_way, taken, usage, wrong_command
from torchatlas.tasks.distillation import Distillation

PHOTOS = Trained(("classification",), "image", True)
DENOISED = Trained(("diffusion",), "image", True)
SUMS = Trained(("regression",), "adding", False)


def test_names_of_a_task_are_those_of_its_ancestors_too() -> None:
    task = object.__new__(Distillation)
    assert registry.names_of(task) == ("distillation", "classification")
    learnt = Trained(registry.names_of(task), "image", True)
    assert find("predict", learnt) == find("predict", PHOTOS) is not None


def test_what_is_typed_at_the_end() -> None:
    assert usage(PHOTOS) == ("predict", " input=FILE")
    assert usage(DENOISED) == ("sample", "")
    assert usage(SUMS) == ("evaluate", "")
    assert usage(PHOTOS._replace(reads=False)) == ("evaluate", "")  # data that cannot read a file


def test_a_task_of_another_name_is_known_by_what_it_can_do() -> None:
    own = Trained(("flow",), "image", True, frozenset({"sample", "step"}))
    assert usage(own) == ("sample", "")
    assert find("sample", own) is not None
    assert find("inpaint", own) is None


def test_a_wrong_command_is_answered_by_the_right_one() -> None:
    sentence = str(wrong_command(Path("best.ckpt"), DENOISED))
    assert sentence == "best.ckpt was trained for diffusion: use torchatlas sample ckpt=..."
    assert other_way("inpaint", Trained(("elbo",), "image", True)) == "use sample"
    assert other_way("sample", Trained(("autoencoding",), "image", True)) == "use reconstruct"
    assert other_way("sample", PHOTOS) == "that is for task=elbo and task=diffusion"
    assert other_way("interpolate", PHOTOS) == "that is for task=autoencoding, task=elbo and task=diffusion"


def test_options_that_do_nothing_are_refused() -> None:
    answerer = Answerer("predict", "here", "classify", ("classification",), options=("top", "seed", "output"))
    options = {"top": None, "seed": 0}
    assert taken(answerer, PHOTOS, options, own=("output",)) == {"seed": 0}
    for key, value, word in (("tile", 512, "512"), ("probabilities", False, "false")):
        with pytest.raises(UserError) as error:
            taken(answerer, PHOTOS, {**options, key: value}, own=("output",))
        assert str(error.value) == (
            f"{key}={word} does nothing for image data and the task classification, for which predict takes top and "
            "seed: leave it out"
        )
    with pytest.raises(UserError, match=r"^class=cat does nothing .* explain takes no options: leave it out$"):
        taken(Answerer("explain", "here", "look", ("regression",)), SUMS, {"class_": "cat"})


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with a file that answers for points, and a command."""
    (tmp_path / "own_points.py").write_text(
        '"""Points."""\n'
        "from torchatlas.predict.registry import answers\n\n\n"
        '@answers(tasks=("classification",), kinds=("points",), ends=" input=FILE")\n'
        "def classify_points(task, data, given, *, nearest=3, top: int = 2):\n"
        '    """Points.\n\n    Args:\n'
        "        nearest: neighbours that are asked.\n        top: classes of a point.\n"
        '    """\n'
        "    return [{'class': given}]\n"
    )
    (tmp_path / "own_sums.py").write_text(
        '@answers(tasks=("regression",), kinds=("adding",), ends="")\n'
        "def add(ckpt: str) -> None: ...\n\n\n"
        '@answers(tasks=("classification",), kinds=("points",), ends="")\n'
        "def no_command(ckpt: str) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def points(group: str) -> list[EntryPoint]:
        names = {"torchatlas.predict": "points", "torchatlas.commands": "add"}
        value = "own_sums:add" if group == "torchatlas.commands" else "own_points"
        return [EntryPoint(names[group], value, group)] if group in names else []

    monkeypatch.setattr(registry, "entry_points", lambda group: points(group))
    registry.answerers.cache_clear()
    importlib.invalidate_caches()
    yield
    registry.answerers.cache_clear()
    sys.modules.pop("own_points", None)


def test_a_package_of_ones_own_answers(own_package: None) -> None:
    """It is found by its entry points, goes before what takes any kind, and is not imported until it is asked."""
    trained = Trained(("classification",), "points", True)
    first, second = fitting("predict", trained)
    assert (first.module, first.function, first.options) == ("own_points", "classify_points", ("nearest", "top"))
    assert second.function == "classify"
    assert usage(trained) == ("predict", " input=FILE")
    assert usage(SUMS) == ("add", "")
    assert "own_points" not in sys.modules
    assert first.load()(None, None, "here") == [{"class": "here"}]


def test_its_options_are_those_of_the_command(own_package: None, capsys: pytest.CaptureFixture[str]) -> None:
    key = signature.read("predict").keys["nearest"]
    assert (key.kind, key.default, key.help, key.optional) == ("int", 3, "neighbours that are asked.", True)
    assert ("nearest=", key.help) in completion.candidates(["predict", "near"])
    cli.run(["predict", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "nearest=INTEGER neighbours that are asked. [3]" in text
    assert "sound or text; classes of a point." in text, "both functions have it, with defaults of their own"
    with pytest.raises(UserError, match=r"^nearest=few must be a whole number, as in nearest=3$"):
        cli.run(["predict", "ckpt=x", "input=y", "nearest=few"])
    assert "own_points" not in sys.modules
