"""The command `quality`, of a folder and of a checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from torchatlas.commands import quality as command
from torchatlas.commands.quality import Extractor, classifier_extractor, generate, quality, score
from torchatlas.data.images.unlabelled_folder import UnlabelledFolder
from torchatlas.errors import UserError
from torchatlas.metrics.images import frechet_distance, inception_score, kernel_distance
from torchatlas.models.lenet5 import LeNet5
from torchatlas.tasks.classification import Classification


def stub(path: Path, device: str) -> Extractor:
    """In place of Inception: means of quarters as features, and as logits."""

    def run(images: Tensor) -> tuple[Tensor, ...]:
        features = nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)
        return features, features

    return Extractor("stub", run, True, True, {"inception_sha256": path.name})


def save(images: Tensor, folder: Path) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:03}.png")
    return folder


def test_quality_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(command, "inception_extractor", stub)
    real, made = (torch.randint(256, (30, 3, 8, 8), dtype=torch.uint8) for _ in range(2))
    made[:20] = real[5:25]
    folders: dict[str, Any] = {
        "input": str(save(made, tmp_path / "made")),
        "reference": str(save(real, tmp_path / "real")),
    }
    output = tmp_path / "new" / "figures.json"
    found = quality(**folders, inception="weights", batch=7, output=str(output))
    run = stub(Path(), "cpu").network
    assert found["fid"] == pytest.approx(frechet_distance(run(made)[0], run(real)[0]))
    assert found["kid"] == kernel_distance(run(made)[0], run(real)[0])[0]
    assert found["inception_score"] == inception_score(run(made)[1])[0]
    assert (found["fid_images"], found["reference_images"], found["inception_sha256"]) == (30, 30, "weights")
    assert "too high" in caplog.text
    assert found["nearest_training"] == found["nearest_training_in_inception"] == 0
    assert json.loads(output.read_text()) == found
    with Image.open(found["neighbours_picture"]) as picture:
        assert min(picture.size) > 100

    for wrong, told in (
        ({"metrics": ("fid",)}, r"add inception=FILE"),
        ({"metrics": ("neighbours",), "reference": "train"}, r"add ckpt=RUN"),
        ({"metrics": ("neighbours",), "steps": 5}, r"steps= is for samples of a checkpoint"),
        ({"metrics": ("neighbours",), "n": 1}, r"n=1 must"),
        ({"metrics": ("neighbours",), "output": "x.txt"}, r"must end in \.json"),
    ):
        with pytest.raises(UserError, match=told):
            quality(**{**folders, **wrong})
    Image.new("RGB", (9, 8)).save(tmp_path / "made" / "other.png")
    with pytest.raises(UserError, match=r"000\.png has 8 x 8 pixels and other\.png has 9 x 8"):
        quality(**folders, metrics=("neighbours",))


class Maker(nn.Module):
    """A task that makes noise."""

    name, conditional = "elbo", False

    def sample(self, n: int, *, seed: int = 0, first: int = 0, labels: Tensor | None = None, **_: Any) -> Tensor:
        return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed + first))


def test_quality_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "restore", lambda _: (Path("best.ckpt"), Maker(), {}))
    monkeypatch.setattr(
        command,
        "restored_data",
        lambda *_: UnlabelledFolder(in_channels=3, image_size=8, batch_size=16, fake=True),
    )

    def run(seed: int) -> Any:
        return quality("run", metrics=("neighbours",), n=12, seed=seed, batch=5, output=str(tmp_path / "figures.json"))

    one, again, other = run(0), run(0), run(1)
    assert one == again != other
    assert (one["images"], one["reference"], one["samples"]) == (12, "train", "best.ckpt")
    # Noise without the pattern of the data is farther from them than held-out images are.
    assert one["nearest_training_ratio"] > 1.2
    assert one["nearer_than_held_out"] == 0


def test_no_two_samples_share_their_noise() -> None:
    made = [torch.cat(list(generate(Maker(), 10, seed=seed, batch=3, labels=None, options={}))) for seed in (0, 1)]
    assert [len(x) for x in made] == [10, 10]
    assert len({image.numpy().tobytes() for x in made for image in x}) == 20


def test_features_of_a_classifier_are_the_input_of_its_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LeNet5().eval()
    about = {"kind": "image", "in_channels": 1, "image_size": network.image_size, "mean": [0.2], "std": [0.5]}
    said = {"data": about, "config": {"name": "lenet5_mnist"}}
    monkeypatch.setattr(command, "restore", lambda _: (Path("best.ckpt"), Classification(network), said))
    images = torch.randint(256, (4, 1, network.image_size, network.image_size), dtype=torch.uint8)
    found = classifier_extractor("run", "cpu")
    head = network.get_submodule(network.heads[-1])
    with torch.no_grad():
        torch.testing.assert_close(head(found.network(images)[0]), network((images / 255 - 0.2) / 0.5))
        features = found.network(images)
    figures = score(found, features, features, [], 0)
    assert figures["classifier"] == "LeNet5 of lenet5_mnist"
    assert {"frechet_distance", "kernel_distance"} < figures.keys()
    assert not {"fid", "kid"} & figures.keys()
