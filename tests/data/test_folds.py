"""Folds of cross-validation."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers import model_for, without_files
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from torchatlas.data.folds import divided, groups_of, places
from torchatlas.errors import UserError
from torchatlas.run.build import build_data

LABELS = np.random.default_rng(0).integers(0, 3, 60)
GROUPS = [f"speaker{k}" for k in np.random.default_rng(1).integers(0, 12, 60)]


@pytest.mark.parametrize("of", [2, 5])
def test_they_are_those_of_scikit_learn(of: int) -> None:
    theirs = [sorted(val) for _, val in StratifiedKFold(of, shuffle=True, random_state=0).split(LABELS, LABELS)]
    assert [part.tolist() for part in places(LABELS, of)] == theirs
    grouped = StratifiedGroupKFold(of, shuffle=True, random_state=0).split(LABELS, LABELS, GROUPS)
    found = places(LABELS, of, GROUPS)
    assert [part.tolist() for part in found] == [sorted(val) for _, val in grouped]
    assert sorted(np.concatenate(found).tolist()) == list(range(60))
    of_part = [{GROUPS[i] for i in part} for part in found]
    assert sum(map(len, of_part)) == len(set(GROUPS))


def test_columns_are_divided_together() -> None:
    """Whatever they are: files, tensors, texts, nothing; and the test split is left alone."""
    names = np.array([f"{k}/{i}.wav".encode() for i, k in enumerate(LABELS)])
    columns = (names, torch.arange(60), None, [str(i) for i in range(60)], torch.from_numpy(LABELS))

    def part(a: int, b: int) -> tuple[Any, ...]:
        return tuple(None if column is None else column[a:b] for column in columns)

    splits = {"train": part(0, 40), "val": part(40, 50), "test": part(50, 60)}
    found, numbers = divided(splits, {"number": 2, "of": 4, "group": None})
    assert found["test"] is splits["test"]
    for split in ("train", "val"):
        own = numbers[split]
        assert found[split][0].tolist() == names[own].tolist()
        assert found[split][1].tolist() == [int(text) for text in found[split][3]] == own.tolist()
        assert found[split][2] is None
        assert found[split][4].tolist() == LABELS[own].tolist()


@pytest.mark.parametrize(
    ("labels", "of", "groups", "said"),
    [
        ([0] * 9 + [1] * 9, 10, None, "folds=10 is more than the 9 samples that the largest class has"),
        ([0] * 9 + [1], 3, None, "nothing is left to train class 1"),
        ([0] * 9 + [1] * 9, 3, ["a"] * 9 + ["b"] * 9, "folds=3 is more than the 2 groups (a, b)"),
        ([0] * 9 + [1] * 9, 2, ["a"] * 9 + ["b"] * 9, "nothing is left to train class"),
    ],
)
def test_too_few(labels: list[int], of: int, groups: list[str] | None, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        places(np.array(labels), of, groups)


@pytest.mark.parametrize(
    ("group", "said"),
    [("(", "no regular expression"), ("x", "needs parentheses"), ("(z)", "finds nothing in 2 of 2 (a/x.png, b/y.png)")],
)
def test_groups_that_cannot_be(group: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        groups_of(["a/x.png", "b/y.png"], group)


def test_all_data_are_divided_or_refuse(data_name: str, compose: Callable[..., Any]) -> None:
    """Each sample of training and validation is in one fold's validation, and in training of all others."""

    def made(fold: int | None) -> Any:
        config = compose(
            f"model={model_for(data_name)}", f"data={data_name}", "data.batch_size=16", *without_files(data_name)
        )
        given = {"_fold_": {"number": fold, "of": 3, "group": None}} if fold else {}
        data = build_data({**dict(config.data), **given})
        data.prepare_data()
        try:
            data.setup("fit")
        except UserError as error:
            return str(error)
        return data

    whole = made(None)
    folds = [made(fold) for fold in (1, 2, 3)]
    if isinstance(folds[0], str):
        assert "folds= cannot divide these data" in folds[0] or "more than the" in folds[0] or "to train" in folds[0]
        return
    if not folds[0].places:
        labels = getattr(whole.splits["train"], "labels", None)
        in_a_program = data_name == "own_samples"  # whose made samples are no Dataset of anybody's
        assert whole.indivisible or in_a_program or not isinstance(labels, torch.Tensor) or labels.ndim != 1
        return
    total = len(whole.splits["train"]) + len(whole.splits["val"])
    assert sorted(np.concatenate([data.places["val"] for data in folds]).tolist()) == list(range(total))
    labels = torch.cat([whole.labels_of("train"), whole.labels_of("val")])
    for data in folds:
        assert sorted([*data.places["train"], *data.places["val"]]) == list(range(total))
        assert len(data.splits["test"]) == len(whole.splits["test"])
        for split in ("train", "val"):
            assert data.labels_of(split).tolist() == labels[torch.from_numpy(data.places[split])].tolist()
        batch = data.transform(next(iter(data.loader("val"))))
        assert len(batch[0]) == len(batch[-1])
