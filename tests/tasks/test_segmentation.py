"""Segmentation: weights of classes and pixels, figures over all pixels of an epoch."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.segmentation import Batches, Given, K, MakeTrainer, made
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.functional.segmentation import dice_score

from torchatlas.callbacks.checkpoint import Checkpoint
from torchatlas.commands.lr_range import range_test
from torchatlas.data.masks.base import SegmentationData
from torchatlas.errors import UserError
from torchatlas.metrics.classification import inverse_frequency
from torchatlas.models.unet import UNet
from torchatlas.tasks.segmentation import CRITERIA, Segmentation
from torchatlas.tasks.segmentation_losses import median_frequency

# --- losses


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_perfect_prediction_has_the_minimal_loss(criterion: Any) -> None:
    masks = made()[1]
    known = torch.where(masks == 255, 0, masks)
    perfect = 100 * F.one_hot(known, K).movedim(-1, 1).float()
    task = Segmentation(Given(), criterion=criterion, gamma=0.5).train()
    x = perfect.clone().requires_grad_()
    loss = task.step((x, masks))["loss"]
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert task.step((perfect + torch.randn(perfect.shape) * 60, masks))["loss"].item() > 0.01
    everything_ignored = task.step((torch.randn(perfect.shape), torch.full_like(masks, 255)))["loss"]
    assert everything_ignored.item() == 0


def test_weights_of_classes_and_pixels_are_for_training_only() -> None:
    logits, masks = made()
    given, pixel = [0.5, 2.0, 1.0], torch.rand(masks.shape)
    nll = F.cross_entropy(logits, masks, ignore_index=255, reduction="none")
    counted = masks != 255
    task = Segmentation(Given(), class_weights=given).train()
    expected = F.cross_entropy(logits, masks, torch.tensor(given), ignore_index=255)
    torch.testing.assert_close(task.step((logits, masks))["loss"], expected)
    plain = Segmentation(Given()).train()
    weighted = (pixel * nll)[counted].sum() / pixel[counted].sum()
    torch.testing.assert_close(plain.step((logits, pixel, masks))["loss"], weighted)
    torch.testing.assert_close(plain.weight((logits, pixel, masks)), pixel[counted].sum())
    unweighted = nll[counted].mean()
    for batch in ((logits, masks), (logits, pixel, masks)):
        torch.testing.assert_close(task.eval().step(batch)["loss"], unweighted)
        assert task.weight(batch) == counted.sum()


class WithAuxiliary(Given):
    """Two outputs in training."""

    auxiliary_weight = 0.5

    def forward(self, x: Tensor) -> Any:
        return (x, 2 * x) if self.training else x


def test_auxiliary_losses_count_in_training_only() -> None:
    logits, masks = made()
    plain, other = (F.cross_entropy(s * logits, masks, ignore_index=255) for s in (1, 2))
    task = Segmentation(WithAuxiliary())
    torch.testing.assert_close(task.train().step((logits, masks))["loss"], plain + 0.5 * other)
    torch.testing.assert_close(task.eval().step((logits, masks))["loss"], plain)


def test_balanced_weights() -> None:
    """Two images: 6 and 2 pixels of classes 0 and 1; 4 of class 0 alone, of 8. Class 2 is nowhere."""
    masks = torch.tensor([[[0, 0, 0, 0], [0, 0, 1, 1]], [[0, 0, 0, 0], [255, 255, 255, 255]]])
    counts, around = torch.tensor([10, 2, 0]), torch.tensor([12, 8, 0])
    torch.testing.assert_close(inverse_frequency(counts), torch.tensor([12 / 20, 12 / 4, 0]))
    shares = torch.tensor([10 / 12, 2 / 8])
    expected = torch.cat([shares.median() / shares, torch.zeros(1)]) * (shares.mean() / shares.median())
    torch.testing.assert_close(median_frequency(counts, around), expected)
    data = SimpleNamespace(num_classes=3, loader=lambda split: [masks[:1], masks[1:]], transform=lambda m: (m, m))
    task = Segmentation(Given(), class_weights="median_frequency")
    torch.testing.assert_close(task.weights_of_classes("median_frequency", data), expected)
    torch.testing.assert_close(task.weights_of_classes("inverse_frequency", data), inverse_frequency(counts))


def test_balanced_weights_are_there_in_all_steps_of_training(make_trainer: MakeTrainer) -> None:
    """Before steps are measured for the plan, and in the range test, which has no trainer."""
    data = SegmentationData(in_channels=1, image_size=8, num_classes=K, batch_size=4, fake=True, num_workers=0)
    data.setup()
    planned: list[Any] = []

    class Watched(Segmentation):
        def step(self, batch: Any) -> dict[str, Tensor]:
            planned.append(self.class_weights)
            return super().step(batch)

    network = UNet(num_classes=K, depth=1, padding="same")
    task = Watched(network, partial(torch.optim.SGD, lr=0.1), class_weights="inverse_frequency")
    task.train()
    range_test(task, data, torch.optim.SGD(network.parameters(), lr=0.1), low=1e-3, high=1.0, steps=10)
    task.class_weights = None
    task.limits = ("0.001s",)
    make_trainer(logger=False, limit_val_batches=0).fit(task, datamodule=data)
    expected = inverse_frequency(torch.bincount(data.splits["train"].masks.flatten(), minlength=K))
    assert len(planned) > 20
    for weights in planned:
        torch.testing.assert_close(weights, expected)


def test_half_precision_loses_no_weights() -> None:
    """Their sum is larger than the largest number of float16, and each weight has more digits."""
    logits, masks = torch.randn(1, K, 300, 300), torch.randint(K, (1, 300, 300))
    task = Segmentation(Given(), class_weights=[1.0001, 2.0, 70000.0]).train()
    expected = task.step((logits, masks))["loss"]
    task.half()
    torch.testing.assert_close(task.step((logits.half(), masks))["loss"], expected, rtol=1e-3, atol=0)
    batch = (logits.half(), torch.full(masks.shape, 3.0).half(), masks)
    plain = Segmentation(Given()).half().train()
    torch.testing.assert_close(plain.step(batch)["loss"], F.cross_entropy(logits, masks), rtol=1e-3, atol=0)
    assert float(plain.weight(batch)) == 3 * masks.numel()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"criterion": "dicee"}, "criterion"),
        ({"monitor": "iou"}, "monitor"),
        ({"gamma": -1.0}, "gamma"),
        ({"class_weights": "balanced"}, "median_frequency"),
        ({"class_weights": [1.0, -1.0]}, "negative"),
        ({"class_weights": [1.0, 2.0], "criterion": "dice"}, "dice_cross_entropy"),
    ],
)
def test_mistakes_are_named(arguments: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Segmentation(Given(), **arguments)


def test_class_weights_of_another_number_are_refused() -> None:
    with pytest.raises(UserError, match="2 numbers where there are 3 classes"):
        Segmentation(Given(), class_weights=[1.0, 2.0]).train().step(made())


# --- figures


def test_figures_are_torchmetrics_over_uneven_batches_with_ignored_pixels(make_trainer: MakeTrainer) -> None:
    """Of class 2, which is in no mask and in no answer, nothing is told, and it is in no mean."""
    logits, masks = made()
    cuts = [(logits[:1], masks[:1]), (logits[1:], masks[1:])]
    task = Segmentation(Given(), criterion="dice_cross_entropy")
    make_trainer(logger=False).validate(task, datamodule=Batches(cuts), verbose=False)
    found = task.figures
    options: dict[str, Any] = {"num_classes": K, "ignore_index": 255}
    predicted = logits.argmax(1)
    iou = MulticlassJaccardIndex(**options)(predicted, masks)
    each = MulticlassJaccardIndex(**options, average="none")(predicted, masks)
    accuracy = MulticlassAccuracy(**options, average="micro")(predicted, masks)
    counted = masks != 255
    dice = dice_score(
        predicted[counted][None], masks[counted][None], 2, average="macro", input_format="index",
        aggregation_level="global",
    )  # fmt: skip
    expected = {"pixel_accuracy": accuracy, "mean_iou": iou, "dice": dice, "iou_ground": each[0], "iou_a_cell": each[1]}
    assert {f"val/{key}" for key in expected} | {"val/loss"} == set(found)
    for key, value in expected.items():
        assert found[f"val/{key}"] == pytest.approx(float(value), rel=1e-6), key

    flat = logits.movedim(1, -1)[counted]
    p, there = flat.softmax(1)[:, :2], F.one_hot(masks[counted], K)[:, :2]
    soft = 1 - (2 * (p * there).sum(0) / (p.sum(0) + there.sum(0))).mean()
    whole = F.cross_entropy(flat, masks[counted]) + soft
    assert found["val/loss"] == pytest.approx(float(whole), rel=1e-5)


def test_a_run_that_goes_on_within_an_epoch_has_the_figures_of_all_of_it(
    tmp_path: Path, make_trainer: MakeTrainer
) -> None:
    """From the checkpoint after the first of its two steps."""
    folder = tmp_path / "checkpoints"

    def run(start: Path | None) -> dict[str, float]:
        data = SegmentationData(in_channels=1, image_size=8, num_classes=K, batch_size=2, fake=True, num_workers=0)
        torch.manual_seed(0)
        task = Segmentation(UNet(num_classes=K, depth=1, padding="same"), partial(torch.optim.SGD, lr=0.1))
        options: dict[str, Any] = {"default_root_dir": tmp_path, "enable_checkpointing": True, "logger": False}
        trainer = make_trainer(**options, callbacks=[Checkpoint(every="1st")])
        trainer.run_config = {}  # type: ignore[attr-defined]
        trainer.fit(task, datamodule=data, ckpt_path=start)
        return task.figures

    figures = run(None)
    first = (folder / "previous.ckpt").rename(tmp_path / "first.ckpt")
    about = torch.load(first)["torchatlas"]
    counts = about["processes"][0]["sums"]["train/confusion"]
    assert about["batches"] == 1
    assert counts.dtype == torch.int64
    assert int(counts.sum()) == 2 * 8 * 8
    assert run(first) == figures
    assert {"train/mean_iou", "val/mean_iou"} <= set(figures)
