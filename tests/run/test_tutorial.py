"""A tutorial's data set gives the samples that ours gives."""

from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from torchatlas.data.base import DataModule
from torchatlas.errors import UserError
from torchatlas.run.compose import composed
from torchatlas.run.tutorial import samples_of


def data_of(*words: str) -> DataModule:
    data: DataModule = instantiate(composed(words).plain()["data"], _convert_="all")
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_images_are_those_of_evaluation(name: str) -> None:
    """Without cropping and mirroring, through PIL and torchvision, to the last bits of a division."""
    data = data_of(f"data={name}", "data.fake=true", "data.batch_size=16", "data.crop_padding=0", "data.flip=false")
    samples: Any = samples_of(data)
    train: Any = data.splits["train"]
    expected, labels = data.transform(train[-1, torch.arange(len(train))])
    assert len(samples) == len(train)
    assert [label for _, label in samples] == labels.tolist()
    torch.testing.assert_close(torch.stack([x for x, _ in samples]), expected, rtol=1e-5, atol=1e-5)


def test_crops_and_mirrors_are_there() -> None:
    data = data_of("data=cifar10", "data.fake=true", "data.batch_size=16")
    assert [type(t).__name__ for t in samples_of(data).transform.transforms] == [  # type: ignore[attr-defined]
        "RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize",
    ]  # fmt: skip


def test_texts_are_windows_of_one_shape() -> None:
    data = data_of("model=gpt_char_cpu", "data=tiny_shakespeare", "data.fake=true", "data.context=8")
    samples: Any = samples_of(data)
    tokens: Tensor = samples[0][0]
    assert tokens.shape == (9,)
    assert all(x.shape == tokens.shape for (x,) in samples)


def test_what_a_tutorial_has_not_is_refused() -> None:
    with pytest.raises(UserError, match="augment="):
        samples_of(data_of("data=cifar10", "data.fake=true", "augment=randaugment"))
