"""Data of sounds."""

from typing import Any

import pytest
import torch
from helpers.sound import LOGMEL

from torchatlas.data.sound.features import real
from torchatlas.data.sound.fsdd import FSDD
from torchatlas.errors import UserError

AUGMENTED: dict[str, Any] = {
    "speed": 0.1, "shift": 50.0, "noise": [10, 30], "frequency_masks": 2, "frequency_width": 8, "time_masks": 2,
    "time_width": 80.0,
}  # fmt: skip


def fake(**options: Any) -> FSDD:
    data = FSDD(num_classes=10, fake=True, batch_size=16, **{**LOGMEL, **options})
    data.setup()
    return data


@pytest.mark.parametrize("kind", ["waveform", "logmel"])
def test_without_augmentation_training_is_evaluation(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    raw = data.splits["train"][-1, torch.arange(16)]
    for one, two in zip(data.transform(raw), data.transform((*raw[:4], 3)), strict=True):
        assert torch.equal(one, two)


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    data, raw_of = fake(**AUGMENTED), lambda i, epoch: data.splits["train"][epoch, i]
    i = torch.arange(16)
    x, steps, _ = data.transform(raw_of(i, 3))
    part, part_steps, _ = data.transform(raw_of(i[5:8], 3))
    torch.testing.assert_close(part, x[5:8])
    assert torch.equal(part_steps, steps[5:8])
    assert not torch.equal(x, data.transform(raw_of(i, 4))[0])
    assert not torch.equal(x, fake(**AUGMENTED, seed=1).transform(raw_of(i, 3))[0])
    evaluated = data.transform(raw_of(i, -1))[0]
    assert torch.equal(evaluated, fake().transform(raw_of(i, -1))[0])
    for key in AUGMENTED:
        if not key.endswith("width"):
            alone = fake(**{key: AUGMENTED[key]})
            assert not torch.equal(alone.transform(raw_of(i, 3))[0], evaluated), key


@pytest.mark.parametrize("kind", ["waveform", "logmel", "mfcc"])
def test_inputs_are_normalised_and_zero_behind_their_lengths(kind: str) -> None:
    data = fake(features=kind, in_channels=1 if kind == "waveform" else 40)
    x, steps, _ = data.transform(data.splits["train"][-1, torch.arange(32)])
    within = real(steps, x.shape[1])
    torch.testing.assert_close(x[within].mean(0), torch.zeros(x.shape[2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(x[within].std(0), torch.ones(x.shape[2]), atol=1e-3, rtol=0)
    assert float(x[~within].abs().sum()) == 0
    other = FSDD(num_classes=10, fake=True, batch_size=4, **{**data.about_features})
    other.load_state_dict(data.describe())  # a resumed run has the statistics of its first start
    other.setup()
    assert (other.mean, other.std) == (data.mean, data.std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 0.6}, "under 0.5"),
        ({"noise": [30, 10]}, r"as in data.noise=\[10,40\]"),
        ({"time_masks": -1}, "must not be negative"),
        ({"features": "mfcc", "frequency_masks": 1}, "use data.features=logmel or data.frequency_masks=0"),
        ({"held_out_speaker": "gorge"}, "did you mean george"),
        ({"num_classes": 9}, "must be 10"),
        ({"targets": "step"}, "one target for each sequence"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FSDD(**{"num_classes": 10, "fake": True, **LOGMEL, **change})
