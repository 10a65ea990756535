"""Every network through the command line: one step, and one batch by heart."""

import json

from helpers import Train, network_class, small_data, tiny_overrides
from helpers.runs import metrics

from torchatlas.zoo import model_card

FAST = ("trainer=cpu", "data.batch_size=8")


def small(tiny_name: str) -> list[str]:
    """The model's own data without files, and its class's tiny defaults."""
    return [*small_data(model_card(tiny_name).data), *tiny_overrides(tiny_name)]


def test_one_batch(tiny_name: str, train: Train) -> None:
    """Every model by its own name alone, with its own task and data, small."""
    folder = train(f"model={tiny_name}", "debug=one_batch", *FAST, *small(tiny_name))
    found = metrics(folder)
    assert found["epochs"] == found["steps"] == 1
    assert "test/loss" in found["test"]
    assert folder.parent.name == f"{tiny_name}-{model_card(tiny_name).data}"


def test_overfits_one_batch(class_name: str, train: Train) -> None:
    epochs = 150 if getattr(network_class(class_name), "convolutional", False) else 500
    # Grey values have a cross-entropy and, in nats, an error of their own that no network can go below.
    floor = {"elbo": 0.97, "autoencoding": 0.2}.get(model_card(class_name).task, 0.1)
    folder = train(
        f"model={class_name}", "debug=overfit", "trainer=cpu", "data.batch_size=4", f"trainer.max_epochs={epochs}",
        *small(class_name), "schedule=constant", "optim=adam", "optim.lr=0.007", "callbacks=default", "logger=none",
        "callbacks.progress._target_=helpers.by_heart.ByHeart", f"+callbacks.progress.share={floor}",
    )  # fmt: skip
    losses = [json.loads(line)["train/loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < floor * losses[0]
