"""Keys of the next frame: the published likelihood, padding, accuracy."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tasks import Answer
from torch import Tensor

from torchatlas.tasks.polyphonic import Polyphonic


def rolls(*lengths: int) -> list[Tensor]:
    return [(torch.rand(n, 88) < 0.05).to(torch.uint8) for n in lengths]


def test_padding_changes_nothing() -> None:
    """Figures of two pieces in a padded batch are the weighted means of the figures of each alone."""
    pieces = [piece.float() for piece in rolls(9, 5)]
    logits = torch.randn(2, 8, 88)

    def figures(batch: tuple[Tensor, Tensor], rows: slice) -> tuple[dict[str, Tensor], int]:
        task = Polyphonic(Answer(logits[rows]))
        out = task.step(batch)
        return {k: v.detach() for k, v in out.items() if k != "logits"}, task.weight(batch)

    one, n1 = figures((pieces[0][None], torch.tensor([9])), slice(0, 1))
    two, n2 = figures((pieces[1][None], torch.tensor([5])), slice(1, 2))
    assert (n1, n2) == (8, 4)
    for noise in (0.0, 1.0):
        padded = torch.stack([pieces[0], torch.cat([pieces[1], torch.full((4, 88), noise)])])
        both, n = figures((padded, torch.tensor([9, 5])), slice(0, 2))
        assert n == 12
        for key, value in both.items():
            torch.testing.assert_close(value, (8 * one[key] + 4 * two[key]) / 12)


def test_padding_gets_no_gradient() -> None:
    logits = torch.randn(2, 8, 88)
    task = Polyphonic(Answer(logits))
    x = torch.stack([torch.rand(9, 88).round(), F.pad(torch.rand(5, 88).round(), (0, 0, 0, 4))])
    task.step((x, torch.tensor([9, 5])))["loss"].backward()
    gradient = task.network.logits.grad
    assert not gradient[1, 4:].any()
    assert gradient[0].all()
    assert gradient[1, :4].all()


def test_music_nll_is_that_of_the_published_code() -> None:
    """Bai et al. 2018: -trace(y log(p)ᵀ + (1 - y) log(1 - p)ᵀ), summed over pieces and divided by their frames."""
    pieces = [piece.double() for piece in rolls(9, 5)]
    logits = torch.randn(2, 8, 88)
    total = frames = 0.0
    for piece, z in zip(pieces, logits, strict=True):
        y, p = piece[1:], torch.sigmoid(z[: len(piece) - 1].double())
        total -= float(torch.trace(y @ p.log().T + (1 - y) @ (1 - p).log().T))
        frames += len(y)
    x = torch.nn.utils.rnn.pad_sequence([p.float() for p in pieces], batch_first=True)
    task = Polyphonic(Answer(logits))
    loss = task.step((x, torch.tensor([9, 5])))["loss"]
    assert loss.item() == pytest.approx(total / frames, rel=1e-5)
    assert Polyphonic(Answer(torch.zeros(2, 8, 88))).step((x, torch.tensor([9, 5])))["loss"].item() == pytest.approx(
        88 * math.log(2), rel=1e-5
    )


def test_frame_accuracy_worked_example() -> None:
    """Keys down 0, 1 and 2; said 1, 2, 3 and 4: two of five. The frame after next is padding."""
    x = torch.zeros(1, 3, 88)
    x[0, 1, :3] = 1
    x[0, 2, 10:] = 1
    logits = torch.full((1, 2, 88), -1.0)
    logits[0, 0, 1:5] = 1
    task = Polyphonic(Answer(logits))
    out = task.step((x, torch.tensor([2])))
    figures = task.derive({k: out[f"metrics/{k}"] for k in ("hits", "errors")} | {"loss": out["loss"]})
    assert float(figures["frame_accuracy"]) == pytest.approx(2 / 5)
    assert set(figures) == {"loss", "nll", "frame_accuracy"}
    perfect = Polyphonic(Answer(100 * (2 * x[:, 1:] - 1)))
    out = perfect.step((x, torch.tensor([3])))
    assert out["loss"].item() == pytest.approx(0, abs=1e-6)
    assert float(out["metrics/errors"]) == 0


def test_a_network_that_sees_the_future_is_refused() -> None:
    network = Answer(torch.zeros(1, 2, 88))
    network.causal = False  # type: ignore[assignment]
    with pytest.raises(ValueError, match="sees the future"):
        Polyphonic(network)
