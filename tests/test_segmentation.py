"""Segmentation: losses, figures over pixels, tiles, files and pictures."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.functional.segmentation import dice_score

from torchatlas.analysis import tiling
from torchatlas.analysis.tiling import mirror_places, mirror_to_fit, predict_tiled, predict_whole, reach_of
from torchatlas.callbacks.checkpoint import Checkpoint
from torchatlas.callbacks.curves import EventLogger
from torchatlas.commands.lr_range import lr_range
from torchatlas.data.base import DataModule
from torchatlas.data.masks.base import SegmentationData
from torchatlas.errors import UserError
from torchatlas.models.unet import UNet
from torchatlas.pictures.segmentation import SegmentationPictures
from torchatlas.predict.masks import names_of, segment_files
from torchatlas.run.console import quiet_libraries
from torchatlas.tasks.segmentation import CRITERIA, Segmentation
from torchatlas.tasks.segmentation_losses import (
    dice_loss,
    focal,
    inverse_frequency,
    median_frequency,
    overlap,
    region_figures,
)

K = 3
MakeTrainer = Callable[..., lightning.Trainer]


class Given(nn.Module):
    """Answers with its input, whose channels are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def two_classes(p: Sequence[float]) -> Tensor:
    """Logits `n 2` for which class 1 has the probabilities p."""
    one = torch.tensor(p)
    return torch.stack([(1 - one).log(), one.log()], 1)


def made(n: int = 5, side: int = 6) -> tuple[Tensor, Tensor]:
    """Logits and masks; of later images more is ignored, and class 2 is nowhere."""
    logits, masks = torch.randn(n, K, side, side), torch.randint(2, (n, side, side))
    logits[:, 2] -= 20
    for i in range(1, n):
        masks[i, : side - n + i + 1] = 255
    return logits, masks


# --- losses


def test_worked_examples() -> None:
    """Dice of p (.9, .8, .1, .2) with (1, 1, 0, 0): 2 * 1.7 / (2 + 2) = .85; focal loss with gamma 2."""
    logits, labels = two_classes([0.9, 0.8, 0.1, 0.2]), torch.tensor([1, 1, 0, 0])
    both, predicted, labelled = overlap(logits, labels)
    torch.testing.assert_close(2 * both / (predicted + labelled), torch.tensor([0.85, 0.85]))
    assert float(dice_loss(overlap(logits, labels))) == pytest.approx(0.15, abs=1e-6)
    for p, expected in ((0.9, 0.00105361), (0.1, 1.86509393)):
        assert float(focal(two_classes([p]), torch.tensor([1]), 2.0)) == pytest.approx(expected, rel=1e-4)
    plain = F.cross_entropy(logits, labels)
    torch.testing.assert_close(focal(logits, labels, 0.0), plain)
    empty = torch.full((4,), 255)
    assert float(dice_loss(overlap(logits, empty))) == float(focal(logits, empty, 2.0)) == 0
    absent = torch.tensor([0, 0, 0, 0])  # class 1 has no pixel: its Dice does not count, what was given to it does
    assert float(dice_loss(overlap(logits, absent))) == pytest.approx(1 - 2 * 2 / (2 + 4), abs=1e-6)


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
    lr_range(task, data, torch.optim.SGD(network.parameters(), lr=0.1), low=1e-3, high=1.0, steps=10)
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


class Batches(DataModule):
    """Given batches of one split."""

    classes, num_classes = ("ground", "a cell", "none"), K

    def __init__(self, batches: list[tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.batches = batches

    def val_dataloader(self) -> Any:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def transform(self, batch: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return batch


@pytest.fixture
def make_trainer() -> Iterator[MakeTrainer]:
    with warnings.catch_warnings():
        quiet_libraries()
        yield partial(
            lightning.Trainer, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, max_epochs=1,
        )  # fmt: skip


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


def test_dice_of_two_classes_is_that_of_the_second() -> None:
    figures = region_figures(torch.tensor([[6, 1], [2, 3]]), ["ground", "cell"])
    assert figures["dice"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert figures["mean_iou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert "dice" not in region_figures(torch.tensor([[6, 0], [0, 0]]), ["ground", "cell"])
    assert region_figures(torch.zeros(2, 2, dtype=torch.int64), ["ground", "cell"]) == {}


# --- tiles


@pytest.mark.parametrize(("size", "before", "after"), [(5, 3, 4), (3, 11, 8), (1, 4, 2), (2, 5, 0)])
def test_mirror_is_numpys_reflection_of_any_width(size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode="reflect")
    assert mirror_places(size, before, after).tolist() == expected.tolist()


@pytest.mark.parametrize("options", [{}, {"upsampling": "bilinear"}, {"padding": "same", "batch_norm": True}])
def test_tiles_give_the_answer_for_the_whole_image(options: Any) -> None:
    network = UNet(**options).eval()
    x = torch.randn(1, 1, 101, 67)
    with torch.no_grad():
        whole = predict_whole(network, x)
        assert whole.shape == (1, 2, 101, 67)
        torch.testing.assert_close(predict_tiled(network, x, 60), whole, rtol=0, atol=1e-4)
        torch.testing.assert_close(predict_tiled(network, x, 100), whole, rtol=0, atol=1e-4)
        if network.margin == 0:
            blended = predict_tiled(network, x, 60, 8)  # near the edges of tiles it is another
            assert (blended - whole).abs().max() > 1e-3
            torch.testing.assert_close(blended[..., :20, :8], whole[..., :20, :8], rtol=0, atol=1e-4)
            with pytest.raises(UserError, match="use tile=44 or more"):
                predict_tiled(network, x, 40, 40)


class Strided(nn.Module):
    """Takes any side, to which its scores, one for each 2x2 pixels, are interpolated."""

    margin = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.layer(x), size=x.shape[2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("followed", [True, False])
def test_tiles_of_a_network_for_any_side_are_multiples_of_its_stride(
    followed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a tile's scores would be stretched otherwise than those of the whole image."""
    network = Strided().eval()
    if not followed:
        monkeypatch.setattr(tiling, "reach_of", lambda *_: None)
    x = torch.randn(1, 1, 260, 64)
    with torch.no_grad():
        whole, tiled = predict_whole(network, x), predict_tiled(network, x, 101)
    assert tiled.shape == whole.shape
    inside = slice(None) if followed else slice(60)  # where no tile ends
    torch.testing.assert_close(tiled[..., inside, :], whole[..., inside, :], rtol=0, atol=1e-5)


def test_tiles_of_which_nothing_is_left_are_refused() -> None:
    network = UNet(depth=3).eval()
    x = torch.randn(1, 1, 101, 67)
    with pytest.raises(UserError, match="use tile=96 or more"):
        predict_tiled(network, x, 64)
    with torch.no_grad():
        torch.testing.assert_close(predict_tiled(network, x, 96), predict_whole(network, x), rtol=0, atol=1e-4)


def test_no_pixel_reaches_farther_than_is_said_and_one_does() -> None:
    """By gradients with all weights positive, which do not cancel: a pooling passes on its largest input alone."""
    network = UNet(width=1, depth=1, padding="same").eval()
    for p in network.parameters():
        nn.init.ones_(p)
    pools = [module for module in network.modules() if isinstance(module, nn.MaxPool2d)]
    for pool in pools:
        pool.forward = lambda x: F.avg_pool2d(x, 2)  # type: ignore[method-assign, assignment]
    reach = reach_of(network, 1)
    assert reach is not None
    farthest = 0
    for i in (32, 33):
        x = torch.rand(1, 1, 64, 64, requires_grad=True)
        network(x)[0, 0, i, i].backward()
        assert x.grad is not None
        seen = x.grad[0, 0].nonzero()
        farthest = max(farthest, int((seen - i).abs().max()))
    assert farthest == reach.radius
    assert reach.stride == 2


def test_a_network_with_a_margin_answers_for_each_pixel() -> None:
    """Its answer for the inner pixels is that for the image without mirrored borders."""
    network = UNet(depth=1).eval()
    task = Segmentation(network).eval()
    x = torch.randn(2, 1, 44, 40)
    with torch.no_grad():
        y, inner = task(x), network(x)
    m = network.margin
    shift = m % 2  # the pooling begins at the same pixel
    assert y.shape == (2, 2, 44, 40)
    assert shift == 0
    torch.testing.assert_close(y[..., m:-m, m:-m], inner, rtol=0, atol=1e-4)
    assert mirror_to_fit(network, x).shape[-1] - 2 * m >= 40
    assert task.train().step((x, torch.randint(2, (2, 44, 40))))["loss"].isfinite()


# --- files


def about(**others: Any) -> dict[str, Any]:
    return {
        "kind": "segmentation", "classes": ["ground", "cell"], "colours": [[0, 0, 0], [250, 90, 60]], "in_channels": 1,
        "image_size": 32, "full_size": 64, "mean": [0.5], "std": [0.25], "ignore_index": 255, **others,
    }  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = []
    for name, shape in (("a.png", (37, 61)), ("b/a.png", (3, 5)), ("b/c.jpg", (90, 64, 3)), ("b/c.png", (16, 16, 3))):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_masks_of_files_of_any_size(
    pictures: list[Path], tmp_path: Path, padding: Any, caplog: pytest.LogCaptureFixture
) -> None:
    network = UNet(padding=padding)
    task, out = Segmentation(network).eval(), tmp_path / "masks"
    rows = segment_files(task, about(), pictures, out, tile=60, probabilities=True)
    assert "1 of 4 images are larger than the 64 pixels of training" in caplog.text
    assert names_of(pictures) == ["a", "b/a", "b/c_jpg", "b/c_png"]
    for path, row, name in zip(pictures, rows, names_of(pictures), strict=True):
        with (
            Image.open(path) as image,
            Image.open(row["mask"]) as mask,
            Image.open(out / f"{name}_overlay.png") as over,
        ):
            assert mask.mode == "P"
            assert mask.size == over.size == image.size
            assert (mask.getpalette() or [])[:6] == [0, 0, 0, 250, 90, 60]
            classes, grey = np.asarray(mask), np.asarray(image.convert("L"))
            painted = np.asarray(over.convert("RGB"))
        x = (torch.tensor(grey)[None, None] / 255 - 0.5) / 0.25
        with torch.no_grad():
            logits = predict_whole(network, x)[0]
        decided = (logits[0] - logits[1]).abs() > 1e-3
        assert (torch.tensor(classes) == logits.argmax(0))[decided].all()
        assert row["share_ground"] + row["share_cell"] == pytest.approx(1, abs=1e-5)
        assert row["share_cell"] == pytest.approx(float((classes == 1).mean()), abs=1e-5)
        assert (painted[classes == 0] == grey[classes == 0][:, None]).all()
        with np.load(out / f"{name}.npz") as saved:
            assert saved["probabilities"].shape == (2, *classes.shape)
            np.testing.assert_allclose(saved["probabilities"], logits.softmax(0).numpy(), atol=2e-3)


def test_resized_masks_have_the_size_of_the_file(pictures: list[Path], tmp_path: Path) -> None:
    (row,) = segment_files(Segmentation(UNet()), about(), pictures[2:3], tmp_path / "masks", resize=45)
    with Image.open(row["mask"]) as mask:
        assert mask.size == (64, 90)
    task = Segmentation(UNet())
    assert "mask" not in (plain := segment_files(task, about(), pictures[:1])[0])
    assert segment_files(task, about(), pictures[:1], resize=90)[0] == plain  # it is smaller, as it may be in training


def test_what_cannot_be_segmented_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    task = Segmentation(UNet())
    (tmp_path / "x.png").write_text("no image")
    for arguments, word in (
        ({"about": about(kind="image")}, "of image data"),
        ({"tile": 0}, "tile=0"),
        ({"overlap": -1}, "overlap=-1"),
        ({"resize": 0}, "resize=0"),
        ({"probabilities": True}, "output=FOLDER"),
        ({"paths": [tmp_path / "x.png"]}, "cannot be read as an image"),
    ):
        with pytest.raises(UserError, match=word):
            segment_files(task, **{"about": about(), "paths": pictures, **arguments})


# --- pictures


def test_pictures_of_the_test_set(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    """The worst images are those with the lowest IoU, and what was drawn stands in the event file."""
    data = SegmentationData(in_channels=1, image_size=8, num_classes=K, batch_size=6, fake=True, num_workers=0)
    task = Segmentation(UNet(num_classes=K, depth=1, padding="same"))
    pictures = SegmentationPictures()
    logger = EventLogger(tmp_path)
    trainer = make_trainer(logger=logger, callbacks=[pictures])
    trainer.test(task, datamodule=data, verbose=False)
    x, mask = next(iter(data.test_dataloader()))[:2]
    assert len(pictures.first) == len(pictures.worst) == 4
    scores = []
    with torch.no_grad():
        said = task.eval()(data.normalize(x)).argmax(1)
    for answer, truth in zip(said, mask, strict=True):
        known = truth != 255
        scores.append(float(MulticlassJaccardIndex(num_classes=K)(answer[known], truth[known].long())))
    assert [s.score for s in pictures.worst] == pytest.approx(sorted(scores)[:4], rel=1e-5)
    assert [s.score for s in pictures.first] == pytest.approx(scores[:4], rel=1e-5)
    pictures.on_fit_start(trainer, task)
    weights = torch.rand(6, 8, 8)
    pictures.on_train_batch_start(trainer, task, (data.normalize(x), weights, mask.long()), 0)
    logger.save()
    tags = b"".join(path.read_bytes() for path in tmp_path.glob("events*"))
    for tag in (
        "inputs/training samples as the network gets them", "predictions test/first images",
        "predictions test/worst images", "test/IoU per class", "test/confusion matrix",
    ):  # fmt: skip
        assert tag.encode() in tags
    assert math.isfinite(task.figures["test/mean_iou"])


def test_nothing_is_drawn_of_masks_without_a_pixel_that_counts(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    logits, masks = made()
    trainer = make_trainer(logger=EventLogger(tmp_path), callbacks=[pictures := SegmentationPictures()])
    task = Segmentation(Given())
    trainer.validate(task, datamodule=Batches([(logits, torch.full_like(masks, 255))]), verbose=False)
    assert pictures.first == []
    assert "val/mean_iou" not in task.figures
