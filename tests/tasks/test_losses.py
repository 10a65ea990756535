"""Losses of a user's choice: torch's where they fit, with the numbers that torch gives; others are refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.errors import UserError
from torchatlas.tasks.autoencoding import Autoencoding
from torchatlas.tasks.classification import Classification
from torchatlas.tasks.forecasting import Forecasting
from torchatlas.tasks.losses import FITTING, FUNCTIONS, ChosenLoss, chosen, is_known, make_loss, name_in_torch
from torchatlas.tasks.regression import Regression
from torchatlas.tasks.segmentation import Segmentation


class Given(nn.Module):
    """Answers with what it was given, for tests of the loss alone."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, *_: Any) -> Tensor:
        return self.output


def loss_of(task: Any, batch: Any, *, training: bool = False) -> dict[str, Tensor]:
    task.train(training)
    return task.step(batch)  # type: ignore[no-any-return]


LOGITS, LABELS = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 3, 0])
ONES = F.one_hot(LABELS, 4).float()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.1), F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)),
        (F.cross_entropy, F.cross_entropy(LOGITS, LABELS)),
        (nn.MultiMarginLoss(margin=0.5), F.multi_margin_loss(LOGITS, LABELS, margin=0.5)),
        (nn.MSELoss(), F.mse_loss(LOGITS, ONES)),
        (F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits(LOGITS, ONES)),
        (lambda z, y: (z.argmax(1) != y).float().mean() + z.sum() * 0, (LOGITS.argmax(1) != LABELS).float().mean()),
    ],
)
def test_classes(loss: Any, expected: Tensor, training: bool) -> None:
    out = loss_of(Classification(Given(LOGITS), loss=loss), (torch.zeros(6, 1), LABELS), training=training)
    assert torch.allclose(out["loss"], expected)
    assert torch.equal(out["metrics/accuracy"], (LOGITS.argmax(1) == LABELS).float().mean())
    if not training:
        assert torch.allclose(out["metrics/cross_entropy"], F.cross_entropy(LOGITS, LABELS))


def test_as_many_samples_as_classes_are_not_mixed_up() -> None:
    """Labels `4` under logits `4 4` would be stretched to them."""
    out = loss_of(Classification(Given(LOGITS[:4]), loss=nn.MSELoss()), (torch.zeros(4, 1), LABELS[:4]))
    assert torch.allclose(out["loss"], F.mse_loss(LOGITS[:4], ONES[:4]))


def test_mixed_images() -> None:
    shares = torch.full((6, 4), 0.25)
    out = loss_of(Classification(Given(LOGITS), loss=nn.CrossEntropyLoss()), (torch.zeros(6, 1), shares), training=True)
    assert torch.allclose(out["loss"], F.cross_entropy(LOGITS, shares))
    with pytest.raises(UserError, match="no shares of mixed ones"):
        loss_of(Classification(Given(LOGITS), loss=nn.MultiMarginLoss()), (torch.zeros(6, 1), shares), training=True)


@pytest.mark.parametrize("loss", [nn.L1Loss(), nn.HuberLoss(delta=0.3), F.smooth_l1_loss])
def test_numbers(loss: Any) -> None:
    output, y = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    for make in (Regression, Forecasting):
        out = loss_of(make(Given(output), loss=loss), (torch.zeros(5, 8, 2), y), training=True)
        assert torch.allclose(out["loss"], loss(output, y))
        assert torch.allclose(out["metrics/mse"], F.mse_loss(output, y))
        assert torch.allclose(out["metrics/mae"], F.l1_loss(output, y))


def test_pixels_that_do_not_count() -> None:
    logits, mask = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    mask[0, :2] = 255
    for training in (True, False):
        task = Segmentation(Given(logits), loss=nn.MultiMarginLoss())
        out = loss_of(task, (torch.zeros(2, 1, 4, 4), mask), training=training)
        rows = logits.movedim(1, -1)[mask != 255]
        assert torch.allclose(out["loss"], F.multi_margin_loss(rows, mask[mask != 255]))
        out = loss_of(task, (torch.zeros(2, 1, 4, 4), torch.full_like(mask, 255)), training=training)
        assert out["loss"].detach() == 0
    seen = []
    own = Segmentation(Given(logits), loss=lambda z, m: (seen.append((z.shape, m.shape)), z.mean())[1])
    loss_of(own, (torch.zeros(2, 1, 4, 4), mask))
    assert seen == [(logits.shape, mask.shape)]


def test_pixels_of_an_image() -> None:
    from torchatlas.models.autoencoder import Autoencoder

    x = torch.rand(3, 1, 8, 8)
    task = Autoencoding(Autoencoder(image_size=8), loss=nn.L1Loss()).eval()
    out = task.step((x,))
    assert torch.allclose(out["loss"], F.l1_loss(task.network(x), x))
    assert torch.allclose(out["metrics/mse"], F.mse_loss(task.network(x), x))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: chosen(nn.NLLLoss(), "classes"), "is not made for logits and labels: use one of CrossEntropyLoss"),
        (lambda: chosen(F.nll_loss, "classes"), "is not made for logits and labels"),
        (lambda: chosen(nn.CrossEntropyLoss(), "numbers"), "is not made for two numbers"),
        (lambda: chosen(nn.MSELoss(reduction="sum"), "numbers"), "leave reduction out"),
        (lambda: chosen(Given(LOGITS), "classes"), "has weights of its own"),
        (lambda: chosen("torch.nn.L1Loss", "numbers"), "name a class or a function"),  # type: ignore[arg-type]
        (lambda: chosen(lambda z, y: z, "numbers")(LOGITS, ONES), r"shape \[6, 4\] where one number"),  # type: ignore[misc]
        (lambda: chosen(lambda z, y: 3.0, "numbers")(LOGITS, ONES), "type float where one number"),  # type: ignore[misc]
        (lambda: chosen(lambda z, y: z @ y, "numbers")(LOGITS, ONES), "cannot be computed of outputs"),  # type: ignore[misc]
        (lambda: make_loss(nn.HuberLoss, {"delto": 1}, "task.loss=torch.nn.HuberLoss"), "cannot be made"),
    ],
)
def test_refusals(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        (Classification, {"label_smoothing": 0.1}, "give them to the loss"),
        (Classification, {"class_weights": "balanced"}, "give them to the loss"),
        (Segmentation, {"criterion": "dice"}, "takes the place of task.criterion"),
        (Forecasting, {"quantiles": [0.1, 0.5, 0.9]}, "leave out task.loss"),
    ],
)
def test_options_of_the_loss_that_is_replaced(task: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(Given(LOGITS), loss=lambda z, y: z.mean(), **options)


def test_a_loss_of_a_config() -> None:
    """Lists are tensors, a function of torch is the class that does the same, and what it keeps moves with the task."""
    loss = chosen(make_loss(F.cross_entropy, {"weight": [1.0, 2.0, 1.0, 3.0]}, "task.loss=x"), "classes")
    assert loss is not None
    assert torch.allclose(loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, torch.tensor([1.0, 2.0, 1.0, 3.0])))
    assert loss.half().function.weight.dtype == torch.float16  # type: ignore[union-attr]
    own = chosen(make_loss(lambda z, y, by: by * z.mean(), {"by": 3}, "task.loss=y"), "classes")
    assert own is not None
    assert torch.allclose(own(LOGITS, LABELS), 3 * LOGITS.mean())


def test_each_function_does_what_the_class_does() -> None:
    assert set(FUNCTIONS.values()) == {name for names in FITTING.values() for name in names}
    for function, cls in FUNCTIONS.items():
        assert name_in_torch(getattr(F, function)) == cls == name_in_torch(getattr(nn, cls))
        target: Any = LABELS if cls in ("CrossEntropyLoss", "MultiMarginLoss") else ONES
        assert torch.allclose(getattr(F, function)(LOGITS, target), getattr(nn, cls)()(LOGITS, target))
    for other in (nn.Linear, F.relu, nn.TripletMarginWithDistanceLoss, F.nll_loss, SimpleNamespace, print):
        assert not is_known(other)


def test_no_state_where_nothing_is_chosen() -> None:
    assert not [key for key in Classification(Given(LOGITS)).state_dict() if "loss" in key]
    assert isinstance(Classification(Given(LOGITS), loss=nn.L1Loss()).chosen_loss, ChosenLoss)
