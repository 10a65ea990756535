"""The command `quality`, of a folder and of a checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from torchatlas.commands import quality as command
from torchatlas.commands.quality import quality
from torchatlas.data.images.unlabelled_folder import UnlabelledFolder
from torchatlas.errors import UserError
from torchatlas.metrics.images import frechet_distance, inception_score, kernel_distance
from torchatlas.predict import image_sets
from torchatlas.predict.image_features import Extractor
from torchatlas.tasks.base import Task


def stub(path: Path, device: torch.device) -> Extractor:
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
    run = stub(Path(), torch.device("cpu")).network
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


class Maker(Task):
    """A task that makes noise."""

    name, conditional = "elbo", False

    def sample(self, n: int, *, seed: int = 0, first: int = 0, labels: Tensor | None = None, **_: Any) -> Tensor:
        return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed + first))


def test_quality_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "restore", lambda _: (Path("best.ckpt"), Maker(nn.Identity()), {}))
    monkeypatch.setattr(
        image_sets,
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
