"""Properties that all data have: declarations hold, everything is a function of seed, epoch and index."""

from collections.abc import Callable
from typing import Any

import torch
from helpers import data_class, model_for, without_files


def test_declaration_holds(data_name: str, make_data: Callable[..., Any]) -> None:
    """Batches have the declared shape and type, and labels and tokens are inside the declared range."""
    data = make_data(data_name)
    for split in ("train", "val", "test"):
        batch = data.transform(next(iter(data.loader(split, shuffle=split == "train"))))
        example = data.example_batch(len(batch[0]))
        assert [(x.shape, x.dtype) for x in batch] == [(x.shape, x.dtype) for x in example]
        if "classification" in data.tasks:
            assert 0 <= int(batch[-1].min()) <= int(batch[-1].max()) < data.num_classes
            assert len(data.classes) == data.num_classes
        elif hasattr(data, "vocab_size"):
            assert 0 <= int(batch[0].min()) <= int(batch[0].max()) < data.vocab_size


def test_classes_can_be_balanced(data_name: str, compose: Callable[..., Any]) -> None:
    """Where samples have classes, the config has the key; a null of it is each sample once."""
    config = compose(f"model={model_for(data_name)}", f"data={data_name}", *without_files(data_name)).data
    has_classes = "classification" in data_class(data_name).tasks
    assert ("sampling" in config) == has_classes
    assert not has_classes or config.sampling is None


def test_same_seed_same_batches(data_name: str, make_data: Callable[..., Any]) -> None:
    def batches(data: Any, epoch: int) -> list[torch.Tensor]:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [data.transform(batch)[0] for batch in loader]

    one, two, other = make_data(data_name), make_data(data_name), make_data(data_name, "seed=1")
    for a, b in zip(batches(one, 3), batches(two, 3), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(batches(one, 3)[0], batches(one, 4)[0])
    assert not torch.equal(batches(one, 3)[0], batches(other, 3)[0])


def test_description_is_plain(data_name: str, make_data: Callable[..., Any]) -> None:
    """Only what a checkpoint may hold: no objects, so that it loads with weights_only."""

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return type(value) in (str, int, float, bool, type(None))

    assert plain(make_data(data_name).describe())
