"""TensorBoard: what a network for segmentation sees, says, and gets wrong."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..drawing.classes import draw_confusion
from ..drawing.masks import Sample, draw_inputs, draw_ious, draw_masks
from ..drawing.text import plain
from ..tasks.segmentation import Segmentation
from ..tasks.segmentation_losses import confusion, region_figures
from .base import STAGES, Pictures, Shown

SAMPLES = 4  # of each kind
INPUTS = 8  # training samples that are drawn


class SegmentationPictures(Pictures):
    """Pictures of segmentation on validation, and once on the test set.

    Training samples as the network gets them, with their masks and, where they have some, the weights of pixels; of the
    first and of the worst images: the image, the true mask, the predicted one and where they differ; IoU of each class;
    confusion of pixels. Drawn every `every_n_epochs` and in the last epoch; between those nothing is computed.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
    """

    task_class = Segmentation

    def __init__(self, every_n_epochs: int = 10, share: float | None = 0.1) -> None:
        super().__init__(every_n_epochs, share)

    def inputs(self, data: Any, batch: Any) -> Figure | None:
        x, *weights, mask = (part[:INPUTS].cpu() for part in batch)
        return draw_inputs(visible(data, x), mask, weights[0] if weights else None, *look_of(data))

    def start(self, task: Segmentation, data: Any, split: str) -> None:
        self.counts: Any = None
        self.first: list[Sample] = []
        self.worst: list[Sample] = []

    def collect(self, task: Segmentation, outputs: Any, batch: Any) -> None:
        x, *_, masks = batch
        said, k = outputs["logits"].argmax(1), outputs["logits"].shape[1]
        self.counts = outputs["confusion"] if self.counts is None else self.counts + outputs["confusion"]
        names = [str(i) for i in range(k)]
        for image, truth, answer in zip(x, masks, said, strict=True):
            score = region_figures(confusion(answer, truth, k), names).get("mean_iou")
            if score is None:  # no pixel of the image counts
                continue
            fills = len(self.first) < SAMPLES
            if fills or len(self.worst) < SAMPLES or score < self.worst[-1].score:
                sample = Sample(score, image.float().cpu(), truth.cpu(), answer.cpu())
                self.first += [sample] if fills else []
                self.worst = sorted([*self.worst, sample], key=lambda s: s.score)[:SAMPLES]

    def gather(self, task: Segmentation, split: str) -> None:
        if self.counts is not None:
            self.counts = task.trainer.strategy.reduce(self.counts, reduce_op="sum")

    def draw(self, task: Segmentation, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        if self.counts is None or not self.counts.any():
            return
        stage, counts, (names, colours) = STAGES[split], self.counts.cpu(), look_of(data)
        for samples, title in ((self.first, "first images"), (self.worst, "worst images")):
            if samples:
                images = visible(data, torch.stack([s.image for s in samples]))
                yield f"predictions {stage}/{title}", draw_masks(images, samples, names, colours)
        yield f"{stage}/IoU per class", draw_ious(counts, names, colours)
        figure = draw_confusion((100 * counts / counts.sum(1, keepdim=True).clamp(min=1)).round(), names)
        figure.axes[0].set_title("per cent of the true class's pixels", fontsize=9)
        yield f"{stage}/confusion matrix", figure


def look_of(data: Any) -> tuple[list[str], NDArray[np.float64]]:
    """The names of the classes, and their colours, `k 3` from 0 to 1."""
    return [plain(name) for name in data.classes], np.array(data.colours, dtype=np.float64) / 255


def visible(data: Any, images: Tensor) -> NDArray[np.float64]:
    """Normalised images `b c h w` as people see them, `b h w 3` from 0 to 1."""
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (data.mean, data.std))
    levels = (images.double().cpu() * std + mean).clamp(0, 1)
    return levels.expand(-1, 3, -1, -1).movedim(1, -1).numpy()
