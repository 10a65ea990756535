"""Images and their augmentation: a function of seed, epoch and index; no waiting for the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from omegaconf import OmegaConf
from torch import Tensor

from torchatlas.data.images.augment import NUMBERS, Augmentation
from torchatlas.data.images.base import crop_and_flip, fit_images
from torchatlas.data.images.cifar import CIFAR10
from torchatlas.data.images.policies import POLICIES
from torchatlas.errors import UserError
from torchatlas.zoo import config_text, options

# --- order, random numbers, augmentation


def test_crop_and_flip_equals_torchvision() -> None:
    images = torch.randint(256, (64, 3, 9, 9), dtype=torch.uint8)
    random = torch.rand(64, 3)
    got = crop_and_flip(images, random, padding=2, flip=True)
    for image, r, result in zip(images, random, got, strict=True):
        expected = TF.crop(TF.pad(image, [2] * 4), int(r[0] * 5), int(r[1] * 5), 9, 9)
        assert torch.equal(result, TF.horizontal_flip(expected) if r[2] < 0.5 else expected)
    assert len({(int(r[0] * 5), int(r[1] * 5)) for r in random}) > 15


def test_evaluation_is_not_augmented(make_data: Callable[..., Any]) -> None:
    data = make_data("cifar10")
    images, labels, indices, epoch = next(iter(data.loader("train")))
    assert epoch == -1
    plain = (images.float() / 255 - torch.tensor(data.mean)[:, None, None]) / torch.tensor(data.std)[:, None, None]
    torch.testing.assert_close(data.transform((images, labels, indices, epoch))[0], plain)


def test_channels_and_sizes_are_fitted() -> None:
    grey = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(fit_images(grey, 3, 8), grey.expand(-1, 3, -1, -1))
    assert torch.equal(fit_images(grey.expand(-1, 3, -1, -1), 1, 8), grey)
    colour = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    pillow = TF.pil_to_tensor(TF.to_pil_image(colour[0]).convert("L")).float()
    assert (fit_images(colour, 1, 8)[0].float() - pillow).abs().max() <= 1
    large = fit_images(grey, 1, 32)
    assert large.shape == (3, 1, 32, 32)
    assert large.dtype == torch.uint8
    assert abs(float(large.float().mean() - grey.float().mean())) < 2


# --- in the data module

ALL = {
    "rotation": 10.0, "translate": 0.1, "scale": 0.1, "shear": 5.0, "brightness": 0.4, "contrast": 0.4,
    "saturation": 0.4, "hue": 0.1, "policy": "randaugment", "erasing": 0.5, "cutout": 4, "mixup": 0.4, "cutmix": 1.0,
}  # fmt: skip


def made(**options: Any) -> Any:
    sizes = {"in_channels": 3, "image_size": 16, "num_classes": 4, "batch_size": 32, "fake": True, "crop_padding": 2}
    data = CIFAR10(**{**sizes, "flip": True, **options})
    data.setup()
    return data


def batch_of(data: Any, indices: Tensor, epoch: int) -> tuple[Tensor, ...]:
    images, labels, _, _ = data.splits["train"][epoch, indices]
    return data.transform((images, labels, indices, epoch))


def test_a_resumed_run_sees_the_same_pictures() -> None:
    """The same epoch and indices give the same bits in any object, at any time; other epochs and seeds do not."""
    indices = torch.arange(5, 37)
    one = made(augment=ALL)
    batch_of(one, indices.flip(0), 0)
    images, soft = batch_of(one, indices, 2)
    again = batch_of(made(augment=ALL), indices, 2)
    assert torch.equal(images, again[0])
    assert torch.equal(soft, again[1])
    assert soft.shape == (32, 4)
    for other in (batch_of(one, indices, 3), batch_of(made(augment=ALL, seed=1), indices, 2)):
        assert (other[0] != images).flatten(1).any(1).all()


@pytest.mark.parametrize(
    "options",
    [{key: value} for key, value in ALL.items() if key not in ("mixup", "cutmix")],
    ids=lambda o: next(iter(o)),
)
def test_a_sample_does_not_depend_on_its_batch(options: dict[str, Any]) -> None:
    """Each has parameters of its own, the same alone and among others."""
    data = made(augment=options)
    indices = torch.arange(64)
    images, labels = batch_of(data, indices, 1)
    part = torch.tensor([40, 3, 17])
    torch.testing.assert_close(batch_of(data, part, 1)[0], images[part], atol=0.02, rtol=0)
    assert labels.shape == (64,)
    plain = batch_of(made(), indices, 1)[0]
    assert 0.2 < (images != plain).flatten(1).any(1).float().mean() <= 1


def test_without_augmentation_and_in_evaluation_nothing_changes() -> None:
    indices = torch.arange(16)
    plain = made()
    for epoch, section in ((3, {}), (3, {"operations": 5}), (-1, ALL)):
        got, expected = batch_of(made(augment=section), indices, epoch), batch_of(plain, indices, epoch)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
    assert Augmentation().draws == 3


def test_parts_do_not_disturb_one_another() -> None:
    """Cropping and mirroring, and colours, are those of a run that has not the rest."""
    indices = torch.arange(64)
    colour = {"brightness": 0.4, "hue": 0.1}
    images = batch_of(made(augment=colour), indices, 1)[0]
    hidden = batch_of(made(augment={**colour, "erasing": 1.0}), indices, 1)[0]
    kept = hidden != 0
    assert 0.5 < kept.float().mean() < 1
    assert torch.equal(hidden[kept], images[kept])
    ends = [0, *(part.stop for part in NUMBERS.values())]
    assert [part.start for part in NUMBERS.values()] == ends[:-1]  # no number decides two things


def test_erased_is_the_mean_of_the_data() -> None:
    """Zero after normalisation; no pixel of whole levels becomes that."""
    images = batch_of(made(augment={"cutout": 9}), torch.arange(32), 0)[0]
    hidden = (images == 0).flatten(1).float().mean(1)
    assert ((hidden >= 25 / 256) & (hidden <= 81 / 256)).all()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_step_waits_for_the_device(policy: str, channels: int) -> None:
    """On the meta device, which has no values, whatever asks for one fails."""
    if policy == "autoaugment" and channels == 1:
        return
    data = made(augment={**ALL, "policy": policy}, in_channels=channels)
    batch = torch.zeros(8, channels, 16, 16, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64), torch.arange(8)
    images, soft = data.transform((*(x.to("meta") for x in batch), 0))
    assert images.device.type == "meta"
    assert (images.shape, soft.shape) == ((8, channels, 16, 16), (8, 4))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_pictures() -> None:
    for policy in POLICIES:
        data = made(augment={**ALL, "policy": policy})
        images, labels, _, _ = data.splits["train"][0, torch.arange(64)]
        batch = images, labels, torch.arange(64)
        here, there = data.transform((*batch, 1)), data.transform((*(x.cuda() for x in batch), 1))
        torch.testing.assert_close(there[1].cpu(), here[1])
        assert ((there[0].cpu() - here[0]).abs() > 0.05).float().mean() < 0.02


# --- configs and mistakes


@pytest.mark.parametrize("name", options("augment"))
def test_every_config_changes_training_images_and_says_where_it_goes(name: str) -> None:
    text = config_text("augment", name)
    assert text.startswith("# @package data.augment\n")
    values = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(values, dict)
    changed = batch_of(made(augment=values), torch.arange(32), 0)[0]
    assert torch.equal(changed, batch_of(made(), torch.arange(32), 0)[0]) == (name == "none")
    if name == "none":
        assert Augmentation(**values) == Augmentation()
        assert list(values) == list(Augmentation.__dataclass_fields__)


def test_choices_are_merged_over_those_of_the_data(compose: Callable[..., Any]) -> None:
    config = compose("model=resnet18", "data=cifar10", "augment=randaugment", "data.augment.magnitude=4", "name=test")
    assert Augmentation(**config.data.augment) == Augmentation(policy="randaugment", magnitude=4)
    assert Augmentation(**compose("data=mnist", "name=test").data.augment) == Augmentation()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cutmx": 1.0}, "no key 'cutmx': did you mean cutmix"),
        ({"policy": "trivial"}, "there is no data.augment.policy=trivial: did you mean trivialaugment"),
        ({"policy": "autoaugment", "in_channels": 1}, "these images are grey: use data.augment.policy=trivialaugment"),
        ({"erasing": 1.5}, "erasing=1.5 must be a number from 0 to 1, a probability"),
        ({"mixup": -0.1}, "mixup=-0.1 must be a number from 0"),
        ({"cutmix": float("nan")}, "cutmix=nan must be a number"),
        ({"hue": 0.7}, "hue=0.7 must be a number from 0 to 0.5"),
        ({"rotation": "far"}, "rotation=far must be a number"),
        ({"brightness": True}, "brightness=True must be a number"),
        ({"cutout": 17}, "cutout=17 must be a whole number from 0 to 16, the side of the images"),
        ({"cutout": 4.5}, "cutout=4.5 must be a whole number"),
        ({"magnitude": 31}, "magnitude=31 must be a whole number from 0 to 30"),
        ({"operations": 0}, "operations=0 must be a whole number from 1 to 16"),
    ],
)
def test_mistakes_are_told_in_a_sentence(options: dict[str, Any], sentence: str) -> None:
    options = dict(options)
    channels = options.pop("in_channels", 3)
    with pytest.raises(UserError, match=sentence) as error:
        made(augment=options, in_channels=channels)
    assert "\n" not in str(error.value)
