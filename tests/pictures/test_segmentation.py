"""Pictures of masks."""

import math
from pathlib import Path

import pytest
import torch
from helpers.segmentation import Batches, Given, K, MakeTrainer, made
from torchmetrics.classification import MulticlassJaccardIndex

from torchatlas.data.masks.base import SegmentationData
from torchatlas.loggers.tensorboard import EventLogger
from torchatlas.models.unet import UNet
from torchatlas.pictures.segmentation import SegmentationPictures
from torchatlas.tasks.segmentation import Segmentation


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
