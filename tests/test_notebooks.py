"""The notebooks: what they hold and, in a slow test, that they run and that their answers are right."""

import ast
import base64
import importlib
import io
import re
import runpy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from helpers import REPOSITORY
from omegaconf import OmegaConf
from PIL import Image

import torchatlas
from torchatlas.run.compose import composed
from torchatlas.zoo import config_text, list_models

made = SimpleNamespace(**runpy.run_path(str(REPOSITORY / "scripts" / "notebooks.py")))
FOLDER = REPOSITORY / "notebooks"
NAMES = made.names()
LIMIT = 1_500_000  # bytes of all notebooks
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

each = pytest.mark.parametrize("name", NAMES)


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def prose(name: str) -> str:
    return "\n\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")


def blocks(text: str, language: str) -> list[str]:
    """What stands between fences of a language; "": of none, as commands do."""
    return [block for said, block in FENCED.findall(text) if said == language]


def code(name: str) -> Iterator[str]:
    """Of cells, and of answers to exercises."""
    yield from (cell.source for cell in read(name).cells if cell.cell_type == "code")
    yield from blocks(prose(name), "python")


def test_there_are_six() -> None:
    assert [name[0] for name in NAMES] == list("123456")


@each
def test_a_notebook_is_its_source_executed(name: str) -> None:
    assert made.fault(name) == ""


@each
def test_a_notebook_is_of_the_format_and_holds_nothing_of_a_machine(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not any(cell.metadata for cell in notebook.cells)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not re.search(r"/(home|root|work|tmp|Users|usr)/", (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


@each
def test_outputs_are_text_and_small_pictures(name: str) -> None:
    outputs = [output for cell in read(name).cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in outputs} == {"stream", "display_data"}
    for output in outputs:
        if output.output_type == "stream":
            assert output.name == "stdout"
            assert max(map(len, output.text.splitlines())) <= 125
        else:
            picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            assert picture.width <= 900
            assert not picture.info.keys() & {"Software", "date:create"}


def test_all_of_them_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < LIMIT


@each
def test_claims_are_asserted_and_exercises_answered(name: str) -> None:
    claims = [node for text in code(name) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
    assert len(claims) >= 10
    text = prose(name)
    exercises = re.findall(r"^\*\*(\d)\.\*\* ", text, re.MULTILINE)
    assert exercises == [str(n + 1) for n in range(len(exercises))]
    assert len(exercises) >= 3
    assert text.count("<details><summary>Answer</summary>\n\n") == text.count("\n\n</details>") == len(exercises)


@each
def test_names_of_torchatlas_exist(name: str) -> None:
    for text in code(name):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchatlas"):
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torchatlas":
                assert hasattr(torchatlas, node.attr), node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torchatlas.create_model":
                known_model(node)


def known_model(call: ast.Call) -> None:
    """A call of `create_model` names a model, where it names one itself, and arguments that this model has."""
    (model,) = call.args
    if isinstance(model, ast.Constant):
        assert model.value in list_models()
        known = OmegaConf.create(config_text("model", str(model.value))).model
        assert [key.arg for key in call.keywords if key.arg and key.arg not in known] == []


@each
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose(name))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        if not path.startswith("http"):
            assert (FOLDER / path).is_file(), link
            if anchor:
                heads = re.findall(r"^#+ (.+)$", (FOLDER / path).read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads], link


@each
def test_commands_are_understood(name: str) -> None:
    lines = [line for block in blocks(prose(name), "") for line in block.splitlines()]
    assert lines
    for line in lines:
        words = line.split()
        if words[:2] == ["python", "train.py"]:
            composed(words[2:])
        else:
            assert words[:2] == ["torchatlas", "show"]
            assert words[2] in list_models()


@pytest.mark.slow
@each
def test_a_notebook_runs_and_its_answers_hold(name: str) -> None:
    notebook = made.read_source(name)
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cells += [
                nbformat.v4.new_code_cell(text, id=f"answer-{len(cells)}") for text in blocks(cell.source, "python")
            ]
    notebook.cells = cells
    made.tidy(made.execute(notebook))
