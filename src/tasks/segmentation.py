"""Segmentation: one class for each pixel."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..analysis.tiling import crop, mirror_to_fit
from ..errors import UserError
from ..metrics.classification import inverse_frequency
from ..metrics.figures import Figure, Reports
from .base import MakeOptimizer, MakeSchedule, Task
from .losses import LossFunction, chosen
from .segmentation_losses import (
    IGNORED,
    confusion,
    dice_loss,
    focal,
    median_frequency,
    overlap,
    pixels,
    pixels_by_image,
    region_figures,
)

CRITERIA = ("cross_entropy", "focal", "dice", "dice_cross_entropy")
BALANCES = ("inverse_frequency", "median_frequency")


class Segmentation(Task):
    """One class out of K for each pixel.

    Network: x `b c h w` -> logits `b k h w`, and in training those of auxiliary heads behind them. Where the network's
    `margin` is over 0, its answer is smaller than its input by as many pixels at each border: then the image is
    mirrored at its borders (Ronneberger et al. 2015, arXiv:1505.04597, figure 2), so that each pixel has an answer.
    Batch: (x, mask `b h w`), or (x, weights `b h w`, mask) with a weight for each pixel, as in equation 2 of that
    paper. Pixels of class 255 count nowhere.

    Figures: loss (averaged over pixels), pixel accuracy, mean IoU, Dice, and in evaluation IoU of each class; from the
    pixels of the whole split, see `region_figures`. The loss of evaluation is that of the criterion without any
    weights, of classes or of pixels, so that runs with other weights compare; Dice in it is of all pixels of the
    split, where training has that of its batch. Gradients that are accumulated are the plain mean of those of the
    batches, however many pixels count in each.

    Args:
        network, optimizer, schedule: see `Task`. A network with auxiliary heads has `auxiliary_weight`, the weight of
            their losses.
        criterion: "cross_entropy", "focal", "dice", or "dice_cross_entropy", the sum of two; see
            `segmentation_losses`. Weights are those of cross-entropy and focal loss.
        class_weights: a number for each class; "inverse_frequency" or "median_frequency" of the classes in the training
            split; None: 1.
        gamma: of the focal loss.
        loss: one in place of the criterion, in evaluation too; see `losses`. Torch's losses get the pixels that count,
            logits `n k` and labels `n`, those of one's own logits `b k h w` and mask `b h w`, with 255 where no pixel
            counts. It has no weights of classes or pixels.
        monitor: validation figure by which the best weights are chosen: "mean_iou", "dice", "pixel_accuracy" or "loss".
        common: L1 penalty and so on, see `Task`.

    Raises:
        ValueError: an unknown criterion, monitor or kind of weights, or weights that the criterion does not have.
    """

    name = "segmentation"
    takes_loss = True
    reports: ClassVar[Reports] = {
        "mean_iou": Figure("higher", headline=True, chooses=True, tabled=True),
        "dice": Figure("higher", headline=True, chooses=True, tabled=True),
        "pixel_accuracy": Figure("higher", "%", headline=True, chooses=True, tabled=True),
    }

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        criterion: Literal["cross_entropy", "focal", "dice", "dice_cross_entropy"] = "cross_entropy",
        class_weights: str | Sequence[float] | None = None,
        gamma: float = 2.0,
        loss: LossFunction | None = None,
        monitor: Literal["loss", "pixel_accuracy", "mean_iou", "dice"] = "mean_iou",
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if criterion not in CRITERIA:
            raise ValueError(f"task.criterion={criterion} must be one of {', '.join(CRITERIA)}")
        self.monitor, self.mode = self.compared_by({"monitor": monitor})
        if gamma < 0:
            raise ValueError(f"task.gamma={gamma} must not be negative")
        if class_weights is not None and criterion == "dice":
            raise ValueError(
                f"task.class_weights={class_weights} cannot weigh Dice, in which all classes count alike: use "
                f"task.criterion=dice_cross_entropy or task.class_weights=null"
            )
        self.chosen_loss = chosen(loss, "classes")
        if loss is not None and (criterion != "cross_entropy" or class_weights is not None):
            raise ValueError("task.loss takes the place of task.criterion and task.class_weights: leave these out")
        self.balance: str | None = None
        self.class_weights: Tensor | None = None  # no buffer, which would lose digits in pure half precision
        if isinstance(class_weights, str):
            if class_weights not in BALANCES:
                raise ValueError(f"task.class_weights={class_weights} must be {', '.join(BALANCES)}, a list or null")
            self.balance = class_weights
        elif class_weights is not None:
            given = [float(w) for w in class_weights]
            if not all(w >= 0 for w in given) or not any(given):
                raise ValueError(f"task.class_weights={given} must not be negative, nor all 0")
            self.class_weights = torch.tensor(given)
        self.criterion, self.gamma = criterion, gamma

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        """Logits `b k h w` of each pixel of x, and in training those of auxiliary heads, in a tuple.

        Training refuses images that the network cannot divide, as evaluation does not: it has images of any size.
        """
        if self.training and not self.claims.margin:
            return self.network(x)
        h, w = x.shape[-2:]
        output = self.network(mirror_to_fit(self.network, x))
        if isinstance(output, tuple):
            return tuple(crop(part, h, w) for part in output)
        return crop(output, h, w)

    def step(self, batch: Any) -> dict[str, Tensor]:
        x, *_, mask = batch
        output = self(x)
        logits, *auxiliary = output if isinstance(output, tuple) else (output,)
        k = logits.shape[1]
        if self.class_weights is not None and len(self.class_weights) != k:
            raise UserError(f"task.class_weights has {len(self.class_weights)} numbers where there are {k} classes")
        labels = mask.flatten()
        out = {"confusion": confusion(logits.detach().argmax(1), mask, k)}
        if self.chosen_loss is not None:
            loss = self.of_choice(batch, logits)
            for other in auxiliary:
                loss = loss + self.claims.auxiliary_weight * self.of_choice(batch, other)
            return out | {"loss": loss, "logits": logits.detach()}
        if self.training:
            weights = self.weights_of(batch)
            loss = self.loss(pixels(logits), labels, weights)
            for other in auxiliary:
                loss = loss + self.claims.auxiliary_weight * self.loss(pixels(other), labels, weights)
            return out | {"loss": loss}
        flat = pixels(logits)
        if "dice" in self.criterion:
            out["metrics/overlap"] = overlap(flat, labels) / self.weight(batch).clamp(min=1)
        if self.criterion == "dice_cross_entropy":
            out["metrics/nll"] = focal(flat, labels, 0.0)
        return out | {"loss": self.loss(flat, labels, None), "logits": logits.detach()}

    def of_choice(self, batch: Any, logits: Tensor) -> Tensor:
        """The loss that is chosen in place of the criterion; 0 where no pixel counts."""
        _, *weights, mask = batch
        assert self.chosen_loss is not None
        if weights:
            raise UserError(f"{self.chosen_loss.said} has no weights of pixels: leave out those of the data, or it")
        if self.chosen_loss.torch_name is None:
            return self.chosen_loss(logits.float(), mask)  # type: ignore[no-any-return]
        flat, labels = pixels(logits), mask.flatten()
        if labels.device.type != "meta":  # which has no values to choose by
            flat, labels = flat[labels != IGNORED], labels[labels != IGNORED]
        return self.chosen_loss(flat, labels) if len(labels) else 0 * logits.sum()

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """The criterion of pixels: logits `n k`, labels `n`, weights `n` or None."""
        if self.criterion == "dice":
            return dice_loss(overlap(logits, labels))
        loss = focal(logits, labels, self.gamma if self.criterion == "focal" else 0.0, weights)
        return loss + dice_loss(overlap(logits, labels)) if self.criterion == "dice_cross_entropy" else loss

    def weights_of(self, batch: Any) -> Tensor | None:
        """What each pixel counts in the loss of training, float32 `n`: its weight in the batch times its class's."""
        _, *given, mask = batch
        if self.criterion == "dice" or (not given and self.class_weights is None):
            return None
        weights = given[0].flatten().float() if given else None
        if self.class_weights is None:
            return weights
        self.class_weights = self.class_weights.to(mask.device)
        labels = mask.flatten()
        of_classes = self.class_weights[torch.where(labels == IGNORED, 0, labels)]
        return of_classes if weights is None else weights * of_classes

    def weight(self, batch: Any) -> Tensor:
        """The pixels that count; in training the sum of their weights."""
        counted: Tensor = batch[-1] != IGNORED
        if self.training and (weights := self.weights_of(batch)) is not None:
            return (weights * counted.flatten()).sum()
        return counted.sum()

    def derive(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Dice in the loss of evaluation is that of all pixels of the split, however it was cut into batches."""
        sums, nll = means.pop("overlap", None), means.pop("nll", None)
        if sums is None:
            return means
        loss = dice_loss(sums)
        return means | {"loss": loss if nll is None else loss + nll}

    def _accumulate(self, batch: Any) -> dict[str, Tensor]:
        out = super()._accumulate(batch)
        self._add(f"{self.stage}/confusion", out["confusion"])  # with the sums it is in checkpoints within an epoch
        return out

    def close_epoch(self, stage: str) -> None:
        confused = self.sums.pop(f"{stage}/confusion", None)  # whole numbers, which the base would make averages of
        if confused is not None:
            counts = self.trainer.strategy.reduce(confused, reduce_op="sum")
            names = self.required_data().classes
            found = region_figures(counts, names)  # type: ignore[arg-type]
            each = stage != "train"
            self.figures |= {f"{stage}/{key}": v for key, v in found.items() if each or not key.startswith("iou_")}
        super().close_epoch(stage)

    def balance_classes(self, data: Any) -> None:
        if self.balance is not None:
            self.class_weights = self.weights_of_classes(self.balance, data)

    def weights_of_classes(self, balance: str, data: Any) -> Tensor:
        """Weights from the classes of the training split, which is read once, without augmentation."""
        sums = torch.zeros(2, data.num_classes, dtype=torch.int64)
        for batch in data.loader("train"):
            counts = pixels_by_image(data.transform(batch)[-1], data.num_classes)
            sums += torch.stack([counts.sum(0), (counts.sum(1, keepdim=True) * (counts > 0)).sum(0)])
        if self._trainer is not None:
            sums = self.trainer.strategy.reduce(sums.to(self.device), reduce_op="sum")  # type: ignore[assignment]
        counts, around = sums.unbind()
        return inverse_frequency(counts) if balance == "inverse_frequency" else median_frequency(counts, around)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Probabilities of the classes at each pixel, `b k h w`; in eval mode."""
        self.network.eval()
        return self(x).float().softmax(1)  # type: ignore[no-any-return]
