"""Execute the notebooks under `notebooks/` and write them with what they print and draw.

    python scripts/notebooks.py [NAME ...]

Each `notebooks/NAME.py` is the source: Python whose cells begin with `# %%` (jupytext's percent format), so that a
change is read and reviewed as code. From it comes `notebooks/NAME.ipynb`, executed from the first cell to the last on
one thread, without times, versions and paths, its pictures with a palette. With --check nothing is executed or written,
and the status is 1 if a notebook does not hold the cells of its source, or shows an error; its name is printed.
"""

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent.parent / "notebooks"
SECONDS = 900  # a cell may take
COLOURS = 256  # of a picture
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def names() -> list[str]:
    """Of all notebooks, in the order of the lectures."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def read_source(name: str) -> Any:
    """The notebook of a source, without outputs; its cells are numbered, where nbformat would draw names at random."""
    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number:02}"
        cell["metadata"] = {}
    notebook.metadata = dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: Any) -> Any:
    """The same notebook with outputs, made by a new kernel.

    Raises:
        CellExecutionError: a cell fails.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel's: another number adds in another order
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    client.resources = {"metadata": {"path": str(FOLDER)}}
    client.extra_arguments = ["--IPKernelApp.log_level=ERROR"]  # it warns of TCP, over which nothing secret goes here
    client.execute()
    return notebook


def tidy(notebook: Any) -> Any:
    """What execution leaves that differs from time to time goes; pictures shrink.

    Raises:
        ValueError: a cell writes to the standard error, as warnings do.
    """
    notebook.metadata = dict(METADATA)  # the kernel wrote its version there
    number = 0
    for cell in notebook.cells:
        cell["metadata"] = {}
        if cell.cell_type != "code":
            continue
        number += 1
        cell["execution_count"] = number
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise ValueError(f"{cell.id} writes to the standard error: {output.text}")
            output.pop("execution_count", None)
            if "image/png" in output.get("data", {}):
                output["data"], output["metadata"] = {"image/png": shrink(output["data"]["image/png"])}, {}
    return notebook


def shrink(encoded: str) -> str:
    """A picture in base64 with a palette, and without what the program wrote beside it."""
    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    small = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def cells(notebook: Any) -> list[tuple[str, str]]:
    """Kinds and texts."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def fault(name: str) -> str:
    """What is wrong with a notebook as it lies in the folder; empty: nothing."""
    path = FOLDER / f"{name}.ipynb"
    if not path.exists():
        return f"{path.name} is not there"
    notebook = nbformat.read(path, as_version=4)
    if cells(notebook) != cells(read_source(name)):
        return f"{path.name} is not made from {name}.py as it is now"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if not outputs or any(output.output_type == "error" for output in outputs):
        return f"{path.name} was not executed to its end"
    return ""


def main(arguments: list[str]) -> int:
    """Check, or execute and write those that are named, or all."""
    check = "--check" in arguments
    chosen = [argument for argument in arguments if argument != "--check"] or names()
    faults = 0
    for name in chosen:
        if check:
            said = fault(name)
            faults += bool(said)
            print(said or f"{name}.ipynb: good")
        else:
            nbformat.write(tidy(execute(read_source(name))), FOLDER / f"{name}.ipynb")
            print(f"notebooks/{name}.ipynb: {(FOLDER / f'{name}.ipynb').stat().st_size / 1000:.0f} kB")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
