"""Classification on stub networks, with numbers that can be worked out by hand."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import Train, tiny_network
from helpers.runs import FOLDER, make_folder
from helpers.stopping import StopsWithin, equal, stopped
from helpers.tasks import Constant

from torchatlas.errors import UserError
from torchatlas.models.bert import Bert
from torchatlas.models.contract import claims
from torchatlas.models.lstm import LSTM
from torchatlas.run.check import check
from torchatlas.storage.checkpoints import read
from torchatlas.storage.files import read_epochs, read_metrics
from torchatlas.tasks.classification import Classification, inputs_of
from torchatlas.tasks.language_modeling import LanguageModeling

# --- classification of texts


def test_segments_go_to_paired_networks() -> None:
    tokens, lengths, segments = torch.randint(16, (3, 6)), torch.tensor([6, 4, 5]), torch.randint(2, (3, 6))
    bert, lstm = Bert(targets="sequence"), LSTM(vocab_size=16, num_classes=2)
    assert len(inputs_of(claims(bert), tokens, [lengths, segments])) == 3
    assert len(inputs_of(claims(lstm), tokens, [lengths, segments])) == 2
    assert len(inputs_of(claims(torch.nn.Identity()), tokens, [lengths, segments])) == 1
    assert len(inputs_of(claims(bert), tokens, [lengths])) == 2
    for network in (bert, lstm):
        task = Classification(network).eval()
        labels = torch.tensor([0, 1, 1])
        out = task.step((tokens, lengths, segments, labels))
        more = torch.nn.functional.pad(tokens, (0, 3), value=7)
        padded = task.step((more, lengths, torch.nn.functional.pad(segments, (0, 3), value=1), labels))
        torch.testing.assert_close(padded["logits"], out["logits"])
        assert out["metrics/tallies"].shape == (3, 2)
    changed = Classification(bert).eval().step((tokens, lengths, 1 - segments, labels))
    assert not torch.allclose(
        changed["logits"], Classification(bert).eval().step((tokens, lengths, segments, labels))["logits"]
    )


def test_classification_worked_example() -> None:
    """Logits (1.2, 2.5, 0.8) for class 1: p = (.187279, .687184, .125537), loss .375154, gradient p - y."""
    task = Classification(Constant(torch.tensor([[1.2, 2.5, 0.8]])))
    out = task.step((torch.zeros(1, 1), torch.tensor([1])))
    assert out["loss"].item() == pytest.approx(0.375154, abs=1e-6)
    assert float(out["metrics/accuracy"]) == 1
    out["loss"].backward()
    expected = torch.tensor([[0.187279, 0.687184 - 1, 0.125537]])
    torch.testing.assert_close(task.network.logits.grad, expected, rtol=0, atol=1e-6)


def test_a_perfect_prediction_has_the_minimal_loss() -> None:
    labels = torch.tensor([2, 0])
    perfect = torch.full((2, 3), -50.0).scatter(1, labels[:, None], 50.0)
    loss = Classification(Constant(perfect)).step((torch.zeros(2, 1), labels))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    tokens = torch.tensor([[1, 2, 0, 1]])
    perfect = torch.full((1, 3, 3), -50.0).scatter(2, tokens[:, 1:, None], 50.0)
    loss = LanguageModeling(Constant(perfect)).step((tokens,))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_label_smoothing_is_for_training_only() -> None:
    """E of K classes gives the true class 1 - e + e/K."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    task = Classification(Constant(logits), label_smoothing=0.125)
    batch = (torch.zeros(1, 1), torch.tensor([4]))
    log_p = logits.log_softmax(1)[0]
    target = torch.tensor([0.025, 0.025, 0.025, 0.025, 0.9])
    assert task.train().step(batch)["loss"].item() == pytest.approx(float(-(target * log_p).sum()), rel=1e-6)
    assert task.eval().step(batch)["loss"].item() == pytest.approx(float(-log_p[4]), rel=1e-6)
    with pytest.raises(ValueError, match="monitor"):
        Classification(Constant(logits), monitor="f1")  # which only two classes have


def test_mixed_labels() -> None:
    """The loss of 0.7 of one class and 0.3 of another is that mixture of their losses; the larger share counts."""
    logits = torch.tensor([[1.2, 2.5, 0.8]])
    task = Classification(Constant(logits)).train()
    out = task.step((torch.zeros(1, 1), torch.tensor([[0.3, 0.7, 0.0]])))
    log_p = logits.log_softmax(1)[0]
    assert out["loss"].item() == pytest.approx(float(-0.3 * log_p[0] - 0.7 * log_p[1]), rel=1e-6)
    assert float(out["metrics/accuracy"]) == 1


class WithAuxiliary(Constant):
    """Two outputs in training."""

    auxiliary_weight = 0.3

    def forward(self, x: torch.Tensor) -> Any:
        return (self.logits, 2 * self.logits) if self.training else self.logits


def test_auxiliary_losses_count_in_training_only() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    task = Classification(WithAuxiliary(logits))
    plain, other = F.cross_entropy(logits, labels), F.cross_entropy(2 * logits, labels)
    torch.testing.assert_close(task.train().step((torch.zeros(4, 1), labels))["loss"], plain + 0.3 * other)
    torch.testing.assert_close(task.eval().step((torch.zeros(4, 1), labels))["loss"], plain)


# --- weights of classes


class Labels:
    """Data of which only the labels are asked for."""

    classes = ("often", "rare", "never")
    sampling: str | None = None

    def class_counts(self, split: str) -> torch.Tensor:
        assert split == "train"
        return torch.tensor([30, 10, 0])


def weighted(logits: torch.Tensor, **options: Any) -> Classification:
    task = Classification(Constant(logits), **options).train()
    task.balance_classes(Labels())
    return task


@pytest.mark.parametrize("given", ["balanced", [1.0, 3.0, 5.0], [10.0, 30.0, 0.0]])
def test_balanced_weights(given: Any) -> None:
    """Those of scikit-learn: 40 / (2 * 30) and 40 / (2 * 10), whose mean over the training samples is 1."""
    task = weighted(torch.randn(40, 3), class_weights=given)
    assert task.class_weights is not None
    assert task.class_weights[:2].tolist() == pytest.approx([2 / 3, 2])
    labels = torch.tensor([0] * 30 + [1] * 10)
    out = task.step((torch.zeros(40, 1), labels))
    logits = task.network.logits
    torch.testing.assert_close(out["loss"], F.cross_entropy(logits, labels, torch.tensor([1.0, 3.0, 1.0])))
    losses = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(
        out["loss"], (losses[:30].mean() + losses[30:].mean()) / 2
    )  # a class is as much as another
    plain = Classification(Constant(logits.detach()))
    assert torch.equal(out["metrics/accuracy"], plain.train().step((torch.zeros(40, 1), labels))["metrics/accuracy"])
    evaluated = [each.eval().step((torch.zeros(40, 1), labels)) for each in (task, plain)]
    assert torch.equal(evaluated[0]["loss"], evaluated[1]["loss"])


def test_weights_beside_balanced_sampling(compose: Callable[..., Any]) -> None:
    """A list has the mean 1 over what is drawn; two ways to balance are one too many."""
    data = Labels()
    data.sampling = "balanced"
    task = Classification(Constant(torch.randn(2, 3)), class_weights=[1.0, 3.0, 5.0])
    task.balance_classes(data)
    assert task.class_weights is not None
    assert task.class_weights[:2].tolist() == pytest.approx([0.5, 1.5])
    config = compose("model=mlp", "data.sampling=balanced", "task.class_weights=balanced")
    with pytest.raises(UserError, match="together rare ones count twice: leave one of them out"):
        check(config, "mlp", "digits")


def test_weights_with_smoothed_and_mixed_labels() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    weights = torch.tensor([2 / 3, 2.0, 0.0])
    smooth = weighted(logits, class_weights="balanced", label_smoothing=0.1).step((torch.zeros(4, 1), labels))["loss"]
    target = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    torch.testing.assert_close(smooth, -(weights * target * logits.log_softmax(1)).sum(1).mean())
    mixed = weighted(logits, class_weights="balanced").step((torch.zeros(4, 1), target))["loss"]
    torch.testing.assert_close(mixed, smooth)
    half = weighted(logits.bfloat16(), class_weights="balanced").step((torch.zeros(4, 1), labels))["loss"]
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("rare", "must be balanced, a list or null"),
        ([1.0, -1.0, 1.0], "numbers from 0"),
        ([0.0, 0.0, 0.0], "not all of them 0"),
        ([1.0, 2.0], "has 2 numbers where there are 3 classes"),
        ([0.0, 0.0, 1.0], "leaves no training sample that counts"),
    ],
)
def test_weights_that_cannot_be(given: Any, reason: str) -> None:
    with pytest.raises(Exception, match=reason) as raised:
        weighted(torch.randn(2, 3), class_weights=given)
    assert isinstance(raised.value, ValueError | UserError)


TINY = ("model.widths=[8]", "trainer=cpu", "callbacks=default", "logger=none")


# --- around a step


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]
    return found


def test_l1_makes_weights_small_and_leaves_the_figures(train: Train) -> None:
    base = ["trainer.max_epochs=3", "optim=sgd", "schedule=constant", *TINY]
    without, with_ = train(*base), train(*base, "task.l1=0.01")
    size = [sum(float(v.abs().sum()) for v in weights(folder).values()) for folder in (without, with_)]
    assert size[1] < 0.7 * size[0]
    assert read_metrics(with_)["final"]["train/loss"] < 3  # the penalty itself would be more


def test_a_rare_class_in_a_run(train: Train, tmp_path: Path) -> None:
    """Chosen by balanced accuracy, with weights or with balanced sampling; the figures are those of scikit-learn."""
    make_folder(tmp_path / "set")
    for i in range(4, 40):
        (tmp_path / "set" / "light" / f"{i}.png").unlink()
    for split in ("train", "val", "test"):
        for name in ("dark", "light"):
            (tmp_path / "sorted" / split / name).mkdir(parents=True)
    for path in (tmp_path / "set").rglob("*.png"):
        for split in ("train", "val", "test"):
            shutil.copy(path, tmp_path / "sorted" / split / path.parent.name / path.name)
    words = ["model=mlp", "model.widths=[8]", *FOLDER, f"data.root={tmp_path / 'sorted'}", "duration=3ep"]
    for more in ("task.class_weights=balanced", "task.class_weights=[1,9]", "data.sampling=balanced"):
        folder = train(*words, "task.monitor=balanced_accuracy", more)
        metrics, epochs = read_metrics(folder), read_epochs(folder)
        assert metrics["monitor"] == "val/balanced_accuracy"
        assert metrics["best"]["val/balanced_accuracy"] == max(epoch["val/balanced_accuracy"] for epoch in epochs)
        assert {"test/balanced_accuracy", "test/macro_f1", "test/f1", "test/matthews_correlation"} <= set(
            metrics["test"]
        )
        assert "train/macro_f1" not in epochs[0]  # nothing is counted in training
        log = (folder / "train.log").read_text()
        assert "val balanced accuracy" in log
        if "weights" in more:
            weights = [0.55, 5.5] if "balanced" in more else [1 / (76 / 44), 9 / (76 / 44)]
            said = f"from {weights[0]:.3g} for dark (40) to {weights[1]:.3g} for light (4)"
            assert said in log
    part = stopped(train, StopsWithin, *words, "data.sampling=balanced", "data.flip=true", status=128 + signal.SIGTERM)
    whole = train(*words, "data.sampling=balanced", "data.flip=true")
    train(f"resume={part}")
    assert equal(whole, part) == []


def test_label_smoothing_is_torchs() -> None:
    from torchatlas.tasks.classification import Classification

    network = tiny_network("mlp")
    x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    task = Classification(network, label_smoothing=0.1).train()
    p = network(x).log_softmax(1)
    by_hand = -(0.9 * p[range(4), y] + 0.1 * p.mean(1)).mean()
    assert torch.allclose(task.step((x, y))["loss"], by_hand)
