"""FID and the like against closed forms, the weights' file against its network, folders without classes."""

import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor, nn

from torchatlas.commands import quality as command
from torchatlas.commands.quality import Extractor, classifier_extractor, generate, quality, score
from torchatlas.data.images.unlabelled_folder import UnlabelledFolder
from torchatlas.errors import UserError
from torchatlas.metrics.images import frechet_distance, inception_score, kernel_distance, neighbours
from torchatlas.models.lenet5 import LeNet5
from torchatlas.tasks.classification import Classification
from torchatlas.weights.inception import (
    OUTPUT,
    blank,
    complete,
    from_program,
    is_program,
    load_inception,
    names,
    read_program,
)

# --- figures


def test_frechet_distance_is_that_of_two_normal_distributions() -> None:
    a, b = torch.randn(300, 8), torch.randn(200, 8) @ torch.randn(8, 8) + 0.5
    (mu_a, s_a), (mu_b, s_b) = ((x.double().mean(0).numpy(), np.cov(x.double().numpy().T)) for x in (a, b))
    expected = np.square(mu_a - mu_b).sum() + np.trace(s_a + s_b - 2 * np.real(sqrtm(s_a @ s_b)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_the_unbiased_mmd() -> None:
    a, b = torch.randn(20, 5), torch.randn(20, 5) + 0.3

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x.double() @ y.double()) / 5 + 1) ** 3

    within = [np.mean([kernel(x[i], x[j]) for i in range(20) for j in range(20) if i != j]) for x in (a, b)]
    expected = sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    state = torch.get_rng_state()
    mean, spread = kernel_distance(a, b, subsets=3, subset=1000)  # of all: each subset is the whole
    assert (mean, spread) == (pytest.approx(expected), pytest.approx(0, abs=1e-9))
    small = [kernel_distance(a, b, seed=seed, subsets=5, subset=10) for seed in (0, 0, 1)]
    assert small[0] == small[1] != small[2]
    assert torch.equal(state, torch.get_rng_state())


def test_inception_score_runs_from_1_to_the_number_of_classes() -> None:
    assert inception_score(torch.zeros(50, 7))[0] == pytest.approx(1)
    certain = 60 * torch.eye(7).repeat(10, 1)
    assert inception_score(certain, splits=1) == (pytest.approx(7), 0)
    assert 1 < inception_score(certain, splits=10)[0] < 7  # parts of 7 do not have all classes


def test_neighbours_are_exact_and_find_copies() -> None:
    references = torch.randint(256, (103, 3, 4, 4), dtype=torch.uint8)
    queries = torch.cat([references[[57, 3]], torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)])
    distances, places = neighbours(queries, iter(references.split(10)), 3)
    rows, columns = (x.flatten(1).double() / 255 for x in (queries, references))
    expected = (rows[:, None] - columns).square().sum(2).sqrt().sort(1)
    torch.testing.assert_close(distances, expected.values[:, :3].float())
    assert torch.equal(places, expected.indices[:, :3])
    assert distances[:2, 0].tolist() == [0, 0]
    assert places[:2, 0].tolist() == [57, 3]


# --- the command


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
        "given": str(save(made, tmp_path / "made")),
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
        ({"metrics": "fid"}, r"add inception=FILE"),
        ({"metrics": "fdi", "inception": "x"}, r"no metric 'fdi'.*fid"),
        ({"metrics": "neighbours", "reference": "train"}, r"add ckpt=RUN"),
        ({"metrics": "neighbours", "options": {"steps": 5}}, r"steps= is for samples of a checkpoint"),
        ({"metrics": "neighbours", "n": 1}, r"n=1 must"),
        ({"metrics": "neighbours", "output": "x.txt"}, r"must end in \.json"),
    ):
        with pytest.raises(UserError, match=told):
            quality(**{**folders, **wrong})
    Image.new("RGB", (9, 8)).save(tmp_path / "made" / "other.png")
    with pytest.raises(UserError, match=r"000\.png has 8 x 8 pixels and other\.png has 9 x 8"):
        quality(**folders, metrics="neighbours")


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
        return quality("run", metrics="neighbours", n=12, seed=seed, batch=5, output=str(tmp_path / "figures.json"))

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


# --- the weights of Inception


@pytest.fixture(scope="module")
def wanted() -> dict[str, Tensor]:
    with torch.device("meta"):
        return blank(["2048"]).state_dict()


def test_nvidias_names_are_torch_fidelitys(wanted: dict[str, Tensor]) -> None:
    """Both sources have the convolutions in the same order, and every tensor that is read has a name."""
    table = names()
    ours = [name for name in table.values() if name.endswith("conv.weight")]
    assert ours == [name for name in wanted if name.endswith("conv.weight")]
    read = {name for name in wanted if not name.endswith(("bn.weight", "num_batches_tracked"))}
    assert sorted(table.values()) == sorted(read)

    full = {f"net.{theirs}": torch.zeros(1).expand(wanted[name].shape) for theirs, name in table.items()}
    state = complete(from_program(full), wanted, Path("file"))
    assert {key: x.shape for key, x in state.items()} == {key: x.shape for key, x in wanted.items()}
    assert bool((state["Mixed_7c.branch_pool.bn.weight"] == 1).all())
    less = from_program({key: x for key, x in full.items() if key.removeprefix("net.") not in OUTPUT})
    assert "fc.weight" not in less
    assert complete(less, wanted, Path("file")).keys() == wanted.keys()
    for wrong, told in (
        (state | {"fc.bias": torch.zeros(1000)}, r"differs in fc\.bias"),
        (state | {"AuxLogits.fc.bias": torch.zeros(8)}, r"differs in AuxLogits"),
        ({key: x for key, x in state.items() if "Mixed_6e" not in key}, r"differs in Mixed_6e"),
    ):
        with pytest.raises(UserError, match=told):
            complete(wrong, wanted, Path("file"))


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.beta = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(6)[1::2])
        self.register_buffer("count", torch.tensor(3))
        self.padding = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.padding[0]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    module = nn.Sequential(Part(), nn.ReLU(), nn.Conv2d(2, 3, 1).half())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; files in it stay
        torch.jit.script(module).save(str(tmp_path / "program.pt"))
    yield tmp_path / "program.pt", module.state_dict()


def test_a_program_is_read_and_not_run(program: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, state = program
    found = read_program(path)
    assert is_program(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) and found[key].dtype == state[key].dtype for key in state)
    with pytest.raises(UserError, match=r"not the Inception network of FID .* fetch https"):
        load_inception(path)

    harm = tmp_path / "harm.pt"
    with zipfile.ZipFile(harm, "w") as archive:
        archive.writestr("x/code/x.py", "")
        archive.writestr("x/data.pkl", b"cos\nmkdir\n(V" + os.fsencode(tmp_path / "harmed") + b"\ntR.")
    with pytest.raises(UserError, match=r"no whole TorchScript archive \(it asks for os\.mkdir\)"):
        load_inception(harm)
    assert not (tmp_path / "harmed").exists()


def test_other_files_are_refused(program: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, state = program
    (tmp_path / "text.pth").write_text("these are no weights")
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:1000])
    torch.save(state, tmp_path / "other.pth")
    for name, told in (
        ("text.pth", "no file of weights, or is cut off"),
        ("cut.pt", "no file of weights, or is cut off"),
        ("other.pth", "not the Inception network of FID"),
        ("none.pth", r"is no file: fetch https"),
        (".", "is no file: fetch https"),
    ):
        with pytest.raises(UserError, match=told):
            load_inception(tmp_path / name)


# --- folders without classes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for i in range(24):
        where = root / ("deep/er" if i % 2 else "flat")
        where.mkdir(parents=True, exist_ok=True)
        size = (20 + i, 33, 3) if i % 3 else (17, 40)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(where / f"{i:02}.png")
    (root / "flat" / "notes.txt").write_text("no picture")
    (root / "flat" / "._00.png").write_text("what another system leaves")
    return root


def unlabelled(root: Path, **options: Any) -> UnlabelledFolder:
    sizes = {"in_channels": 3, "image_size": 12, "batch_size": 4, "share": 0.25}
    data = UnlabelledFolder(root=str(root), **{**sizes, **options})
    data.setup()
    return data


def test_unlabelled_folder(folder: Path) -> None:
    def contents(data: UnlabelledFolder) -> dict[str, set[bytes]]:
        read = {name: split[-1, torch.arange(len(split))][0] for name, split in data.splits.items()}
        return {name: {image.numpy().tobytes() for image in images} for name, images in read.items()}

    data = unlabelled(folder)
    images, labels, *_ = data.splits["train"][-1, torch.arange(4)]
    assert images.shape == (4, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0, 0, 0, 0]
    assert "classification" not in data.tasks
    parts = contents(data)
    assert sum(map(len, parts.values())) == 24 == len(set().union(*parts.values()))
    assert parts == contents(unlabelled(folder, memory=0)) == contents(unlabelled(folder, seed=5))

    Image.new("RGB", (30, 30), "red").save(folder / "new.png")
    more = contents(unlabelled(folder))
    assert all(parts[name] <= more[name] for name in parts)  # a new file moves no other
    for name in ("Train", "Val", "test"):
        (folder / name).mkdir()
        Image.new("RGB", (30, 30), "blue").save(folder / name / "a.png")
    assert {name: len(split) for name, split in unlabelled(folder, batch_size=1).splits.items()} == {
        "train": 1, "val": 1, "test": 1,
    }  # fmt: skip


def test_unlabelled_folder_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist: name one with images, data\.root=FOLDER"):
        unlabelled(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no image \(\.jpg"):
        unlabelled(tmp_path / "empty")
    Image.new("RGB", (9, 9)).save(tmp_path / "empty" / "one.png")
    with pytest.raises(UserError, match=r"1 images in .* are too few"):
        unlabelled(tmp_path / "empty")
    with pytest.raises(UserError, match=r"data\.batch_size=100 is more than the"):
        next(iter(unlabelled(folder, batch_size=100).train_dataloader()))
    (folder / "flat" / "torn.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"torn\.png cannot be read as an image"):
        unlabelled(folder)
