"""What the runs of a cross-validation say of the samples that they have not trained on."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

import torch

from ..data.base import DataModule
from ..data.folds import names_of
from ..run.devices import device_of
from ..run.restore import restore, restored_data
from ..storage.files import read_json, write_text
from ..storage.run_folder import shown
from ..tasks.classification import Classification, inputs_of
from .classes import row_of_classes

log = logging.getLogger(__name__)
FILE = "predictions.csv"


def write_out_of_fold(folder: Path) -> None:
    """Write the answers of a run on a fold into its folder, and behind the last fold those of all of them beside it.

    Each sample of training and validation is in one fold, and so in the file once, with its true class under "label".
    The network is that of the best epoch. Tasks that give no class for a sample have none.

    Args:
        folder: of a run that has come to its end.
    """
    path = folder / FILE
    if not path.exists():
        _, task, about = restore(str(folder))
        if not isinstance(task, Classification):
            return
        data = restored_data(about)
        data.setup("fit")
        task.place(device_of())
        write_text(path, as_csv(answers_of(task, data)))
    folds = read_json(folder.parent / "folds.json").get("folds", [])
    if folds and folder.name == f"fold-{folds[-1]}":
        _join(folder.parent, folds)


@torch.no_grad()
def answers_of(task: Classification, data: DataModule) -> list[dict[str, Any]]:
    """A row for each sample of the validation split: what it is, its fold, its class, and what it is taken for."""
    assert data.fold is not None
    val, numbers, names = data.splits["val"], data.places["val"].tolist(), names_of(data.pool)
    texts = isinstance(data.pool[0], list)
    classes = [str(name) for name in data.classes]
    rows = []
    for indices in torch.arange(len(numbers)).split(data.batch_size):
        batch = val[-1, indices]
        moved = tuple(part.to(task.device) if isinstance(part, torch.Tensor) else part for part in batch)
        x, *rest, labels = data.transform(moved)
        probabilities = task.predict(*inputs_of(task.claims, x, rest)).cpu()
        for place, label, row in zip(indices.tolist(), labels.tolist(), probabilities, strict=True):
            number = numbers[place]
            about: dict[str, Any] = {"sample": number}
            if names is not None:
                about["text" if texts else "file"] = names[number]
            about |= {"fold": data.fold["number"], "label": classes[label]}
            rows.append(about | row_of_classes(row, None, classes, 1))
    return rows


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _join(folder: Path, folds: list[int]) -> None:
    """The rows of all folds, in the order of the samples, when each fold has its own."""
    parts = [folder / f"fold-{number}" / FILE for number in folds]
    if not all(part.exists() for part in parts):
        return
    rows = []
    for part in parts:
        with part.open(newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    rows.sort(key=lambda row: int(row["sample"]))
    write_text(folder / FILE, as_csv(rows))
    right = sum(row["label"] == row["class"] for row in rows)
    log.info(
        "out of fold, %d of %d samples are taken for their class (%.2f %%): %s",
        right, len(rows), 100 * right / len(rows), shown(folder / FILE),
    )  # fmt: skip
