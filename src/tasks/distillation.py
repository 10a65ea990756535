"""Knowledge distillation."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..models.contract import claims
from ..training.memory_format import lay_out
from .base import MakeOptimizer, MakeSchedule
from .classification import Classification, inputs_of


class Distillation(Classification):
    """A student that learns from the labels and from a teacher's probabilities.

    Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2. With the
    logits z of the student and v of the teacher, softened by the temperature T:

        loss = (1 - w) H(y, softmax(z)) + w T² KL(softmax(v / T) || softmax(z / T))

    T² keeps the size of the second term's gradient where T changes. The paper has the cross-entropy H in place of KL:
    they differ by the teacher's entropy, which has no gradient, and KL is 0 where student and teacher agree. Validation
    and test figures are those of `Classification`.

    Touvron et al. 2020, arXiv:2012.12877, section 4, take the teacher's decision for a second label (equation 3):

        loss = (1 - w) H(y, softmax(z)) + w H(argmax v, softmax(z)),        w = 1/2

    and give their network, DeiT, a head for each of the two terms of either loss: the z of the second term are then the
    network's second logits in training.

    Args:
        network, optimizer, schedule: see `Task`.
        teacher: a run folder or a checkpoint of a classifier of the same classes; it is read when training begins,
            and a student's checkpoint does not need it.
        temperature: T.
        weight: w, from 0 (the labels alone) to 1 (the teacher alone); None: 0.9, and 0.5 with `hard`.
        hard: learn from the teacher's decision in place of its probabilities; there is no temperature then.
        common: see `Classification`.

    Raises:
        ValueError: a temperature that is not positive or a weight outside 0..1.
        UserError: at the start of training: no teacher, or one of other classes or inputs. Images that the teacher
            wants normalised otherwise are renormalised for it.
    """

    name = "distillation"
    batches = "classification"

    def __init__(
        self,
        network: nn.Module,
        optimizer: MakeOptimizer | None = None,
        schedule: MakeSchedule | None = None,
        teacher: str | None = None,
        temperature: float = 4.0,
        weight: float | None = None,
        hard: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(network, optimizer, schedule, **common)
        if weight is None:
            weight = 0.5 if hard else 0.9
        if temperature <= 0 or not 0 <= weight <= 1:
            raise ValueError(f"task.temperature={temperature} must be positive and task.weight={weight} from 0 to 1")
        self.teacher_checkpoint, self.temperature, self.weight_of_teacher = teacher, temperature, weight
        self.hard = hard
        self.teachers: list[nn.Module] = []  # in a list: the teacher is no part of the task's state
        self.scale, self.shift = torch.ones(()), torch.zeros(())  # from our normalisation of images to the teacher's

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and not self.teachers:
            self.teachers.append(self.read_teacher())

    def read_teacher(self) -> nn.Module:
        """The teacher's network in eval mode, on the task's device.

        Raises:
            UserError: see the class.
        """
        if self.teacher_checkpoint is None:
            raise UserError("task=distillation needs a teacher: name its run folder, task.teacher=runs/NAME/TIME")
        if self._trainer is None:
            raise UserError("a teacher teaches in training only: leave out task=distillation here")
        assert self.restore is not None
        path, teacher, about = self.restore(self.teacher_checkpoint)
        theirs, ours = about["data"], self.trainer.datamodule.describe()  # type: ignore[attr-defined]
        if not isinstance(teacher, Classification) or teacher.name == "perceptron":
            raise UserError(f"{path} was trained for {teacher.name}, and a teacher has to be a classifier")
        same = {"kind", "classes", "in_channels", "image_size"} if ours["kind"] == "image" else {*theirs, *ours}
        for key in sorted(same):
            if theirs.get(key) != ours.get(key):
                raise UserError(
                    f"the teacher {path} was trained with other data: {key} is {theirs.get(key)} there and "
                    f"{ours.get(key)} here: name a teacher that was trained with these data"
                )
        if ours["kind"] == "image":
            (mean, std), (own_mean, own_std) = (
                (torch.tensor(about[key])[:, None, None] for key in ("mean", "std")) for about in (theirs, ours)
            )
            self.scale, self.shift = own_std / std, (own_mean - mean) / std
        dtype = next(self.network.parameters()).dtype
        network = teacher.network.requires_grad_(False).to(self.device, dtype)
        lay_out(network, self.trainer.strategy.root_device)
        return network.eval()

    def criterion(
        self, x: Tensor, lengths: list[Tensor], logits: Tensor, auxiliary: list[Tensor], labels: Tensor
    ) -> Tensor:
        if not self.teachers:  # a dry run, before there is a teacher
            return super().criterion(x, lengths, logits, auxiliary, labels)
        teacher, seen = self.teachers[0], x
        if x.is_floating_point():  # tokens are what they are
            if (self.scale.device, self.scale.dtype) != (x.device, x.dtype):  # in the first step
                self.scale, self.shift = self.scale.to(x), self.shift.to(x)
                teacher.to(x.device, x.dtype)
            seen = x * self.scale + self.shift
        with torch.no_grad():
            v = teacher(*inputs_of(claims(teacher), seen, lengths))
        taught = logits
        if self.claims.distilled:
            taught, *auxiliary = auxiliary
        w = self.weight_of_teacher
        return self.of_labels(logits, auxiliary, labels, 1 - w) + w * self.imitation(taught, v)

    def imitation(self, z: Tensor, v: Tensor) -> Tensor:
        """The second term of the loss: how far the student's logits are from the teacher."""
        if self.hard:
            return F.cross_entropy(z, v.argmax(1))
        t = self.temperature
        z, v = (z / t).log_softmax(1), (v / t).log_softmax(1)
        return t**2 * F.kl_div(z, v, reduction="batchmean", log_target=True)
