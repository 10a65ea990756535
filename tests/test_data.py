"""Data modules: declarations hold, splits are apart, everything is a function of seed, epoch and index."""

import functools
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from conftest import model_for, without_files
from hydra.utils import instantiate
from PIL import Image

from torchatlas.counter import uniform
from torchatlas.data.download import fetch
from torchatlas.data.images.base import crop_and_flip, fit_images
from torchatlas.data.images.image_folder import ImageFolder
from torchatlas.data.loading import Loader, Order
from torchatlas.data.text.base import CharacterCodec
from torchatlas.errors import UserError


@pytest.fixture
def make(compose: Callable[..., Any]) -> Callable[..., Any]:
    def made(name: str, *overrides: str) -> Any:
        config = compose(
            f"model={model_for(name)}", f"data={name}", "data.batch_size=16", *without_files(name), *overrides
        )
        data = instantiate(config.data, _convert_="all")
        data.prepare_data()
        data.setup()
        return data

    return made


def test_declaration_holds(data_name: str, make: Callable[..., Any]) -> None:
    """Batches have the declared shape and type, and labels and tokens are inside the declared range."""
    data = make(data_name)
    for split in ("train", "val", "test"):
        batch = data.transform(next(iter(data.loader(split, shuffle=split == "train"))))
        example = data.example_batch(len(batch[0]))
        assert [(x.shape, x.dtype) for x in batch] == [(x.shape, x.dtype) for x in example]
        if "classification" in data.tasks:
            assert 0 <= int(batch[-1].min()) <= int(batch[-1].max()) < data.num_classes
            assert len(data.classes) == data.num_classes
        elif hasattr(data, "vocab_size"):
            assert 0 <= int(batch[0].min()) <= int(batch[0].max()) < data.vocab_size


def test_same_seed_same_batches(data_name: str, make: Callable[..., Any]) -> None:
    def batches(data: Any, epoch: int) -> list[torch.Tensor]:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [data.transform(batch)[0] for batch in loader]

    one, two, other = make(data_name), make(data_name), make(data_name, "seed=1")
    for a, b in zip(batches(one, 3), batches(two, 3), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(batches(one, 3)[0], batches(one, 4)[0])
    assert not torch.equal(batches(one, 3)[0], batches(other, 3)[0])


def test_description_is_plain(data_name: str, make: Callable[..., Any]) -> None:
    """Only what a checkpoint may hold: no objects, so that it loads with weights_only."""

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return type(value) in (str, int, float, bool, type(None))

    assert plain(make(data_name).describe())


def test_digits_are_stratified_and_apart(make: Callable[..., Any]) -> None:
    data = make("digits")
    rows = {s: data.splits[s].images.flatten(1) for s in ("train", "val", "test")}
    assert {s: len(r) for s, r in rows.items()} == {"train": 1293, "val": 144, "test": 360}
    assert {int(n) for n in torch.bincount(data.splits["test"].labels)} <= {35, 36, 37}
    hashes = {s: {bytes(row.tolist()) for row in r} for s, r in rows.items()}
    assert not hashes["test"] & hashes["train"]
    assert not hashes["test"] & hashes["val"]
    assert not hashes["val"] & hashes["train"]
    images = torch.cat([rows["train"], rows["val"]]).float() / 255
    assert float(images.mean()) == pytest.approx(data.mean[0], abs=0.01)
    assert float(images.std()) == pytest.approx(data.std[0], abs=0.01)


def test_pydoc_splits_share_no_text(make: Callable[..., Any]) -> None:
    texts = make("pydoc").read_texts()
    total = sum(map(len, texts.values()))
    assert 300_000 < total < 500_000
    assert all(0.07 < len(texts[s]) / total < 0.101 for s in ("val", "test"))
    lines = {s: {line for line in text.splitlines() if len(line) > 60} for s, text in texts.items()}
    for one, two in (("test", "train"), ("test", "val"), ("val", "train")):
        assert len(lines[one] & lines[two]) < 0.01 * len(lines[one])


# --- order, random numbers, augmentation


def test_order_in_training_is_a_permutation_shared_by_processes() -> None:
    def batches(rank: int, world: int, epoch: int = 0) -> list[list[int]]:
        order = Order(50, 8, shuffle=True, seed=3, rank=rank, world=world)
        order.set_epoch(epoch)
        return [indices.tolist() for _, indices in order]

    whole = batches(0, 1)
    assert [len(b) for b in whole] == [8] * 6
    assert len({i for b in whole for i in b}) == 48
    halves = zip(batches(0, 2), batches(1, 2), strict=True)
    for together, (left, right) in zip(whole, halves, strict=True):
        assert sorted(left + right) == sorted(together)  # so a step sees the same samples on any number of devices
    assert batches(0, 1) == whole
    assert batches(0, 1, epoch=1) != whole


@pytest.mark.parametrize(("size", "world"), [(50, 1), (50, 2), (17, 2), (19, 4), (4, 4), (33, 2)])
def test_order_in_evaluation_has_each_sample_once_and_equal_numbers_of_batches(size: int, world: int) -> None:
    orders = [Order(size, 8, shuffle=False, rank=r, world=world) for r in range(world)]
    batches = [[indices.tolist() for _, indices in order] for order in orders]
    assert sorted(i for share in batches for batch in share for i in batch) == list(range(size))
    assert len({len(share) for share in batches}) == 1
    assert all(len(share) == len(order) for share, order in zip(batches, orders, strict=True))
    assert all(0 < len(batch) <= 8 // world for share in batches for batch in share)


def test_order_refuses_what_cannot_be() -> None:
    with pytest.raises(UserError, match=r"more than the 5 training samples: use data.batch_size=5"):
        Order(5, 8, shuffle=True)
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        Order(50, 7, shuffle=True, world=2)
    with pytest.raises(UserError, match="cannot be divided"):
        Order(1, 2, shuffle=False, world=2)


def test_counter_depends_on_seed_epoch_and_index_alone() -> None:
    index = torch.arange(20_000)
    random = uniform(0, 5, index, 3)
    assert torch.equal(uniform(0, 5, index[7:9], 3), random[7:9])
    assert torch.equal(uniform(0, 5, index[:4], 2), random[:4, :2])
    assert random.min() >= 0
    assert random.max() < 1
    for other in (uniform(1, 5, index, 3), uniform(0, 6, index, 3), uniform(0, 5, index + 1, 3)[:, [1, 2, 0]]):
        joint = torch.histogramdd(torch.stack([random[:, 0], other[:, 0]], 1), 8, range=[0.0, 1, 0, 1]).hist
        expected = len(index) / 64  # chi-square over 64 cells: mean 63, standard deviation 11
        assert float(((joint - expected) ** 2 / expected).sum()) < 63 + 5 * 11
    one = torch.histc(random.flatten(), 100, 0, 1)
    assert float(((one - 600) ** 2 / 600).sum()) < 99 + 5 * 14


def test_counter_is_splitmix64() -> None:
    """The finalizer against the published algorithm in Python's own integers."""

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    gamma = 0x9E3779B97F4A7C15
    for seed, epoch, index in ((0, 0, 0), (7, 3, 12345), (2**40, 199, 49_999)):
        state = mix((seed + gamma) % 2**64)
        state = mix((state + gamma * (epoch + 1)) % 2**64)
        state = mix((state + gamma * (index + 1)) % 2**64)
        expected = [(mix((state + gamma * d) % 2**64) >> 40) / 2**24 for d in (1, 2)]
        assert uniform(seed, epoch, torch.tensor([index]), 2)[0].tolist() == expected


def test_crop_and_flip_equals_torchvision() -> None:
    images = torch.randint(256, (64, 3, 9, 9), dtype=torch.uint8)
    random = torch.rand(64, 3)
    got = crop_and_flip(images, random, padding=2, flip=True)
    for image, r, result in zip(images, random, got, strict=True):
        expected = TF.crop(TF.pad(image, [2] * 4), int(r[0] * 5), int(r[1] * 5), 9, 9)
        assert torch.equal(result, TF.horizontal_flip(expected) if r[2] < 0.5 else expected)
    assert len({(int(r[0] * 5), int(r[1] * 5)) for r in random}) > 15


def test_evaluation_is_not_augmented(make: Callable[..., Any]) -> None:
    data = make("cifar10")
    images, labels, indices, epoch = next(iter(data.loader("train")))
    assert epoch == -1
    plain = (images.float() / 255 - torch.tensor(data.mean)[:, None, None]) / torch.tensor(data.std)[:, None, None]
    torch.testing.assert_close(data.transform((images, labels, indices, epoch))[0], plain)


def test_workers_give_the_same_batches(make: Callable[..., Any]) -> None:
    data = make("digits")
    state = torch.get_rng_state()
    alone = [b[2] for b in Loader(data.splits["train"], Order(1293, 64, shuffle=True))]
    helped = [b[2] for b in Loader(data.splits["train"], Order(1293, 64, shuffle=True), num_workers=1)]
    assert all(map(torch.equal, alone, helped))
    assert torch.equal(state, torch.get_rng_state())


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


def test_codec() -> None:
    codec = CharacterCodec()
    assert codec.vocab_size == 104
    text = "def f(x):\n    return “x” … {1}\n"
    assert codec.decode(codec.encode(text)) == text
    assert codec.decode(codec.encode("naïve")) == "na\N{REPLACEMENT CHARACTER}ve"


# --- a user's own folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 3), ("test", 4)):
        for k, name in enumerate(("cat", "dog")):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(0, 100, (20, 30, 3), dtype=np.uint8) + 100 * k
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / split / name / f"{i}.png")
    return tmp_path / "set"


def image_folder(root: Path, **options: Any) -> ImageFolder:
    sizes = {"in_channels": 3, "image_size": 16, "num_classes": 2, "batch_size": 4, "share": 0.25}
    data = ImageFolder(root=str(root), **{**sizes, **options})
    data.setup()
    return data


def test_image_folder(folder: Path, compose: Callable[..., Any]) -> None:
    config = compose("model=resnet18", "data=image_folder", f"data.root={folder}")
    assert config.data.num_classes == 2
    in_memory, on_disk = image_folder(folder), image_folder(folder, memory=0)
    assert in_memory.classes == ["cat", "dog"]
    assert {s: len(d) for s, d in in_memory.splits.items()} == {"val": 6, "test": 8, "train": 24}
    for a, b in zip(in_memory.loader("test"), on_disk.loader("test"), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    pixels = in_memory.splits["train"].images.double() / 255
    assert in_memory.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-6)
    assert in_memory.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), rel=1e-4)
    assert on_disk.mean == pytest.approx(in_memory.mean)
    normal = in_memory.normalize(in_memory.splits["train"].images)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


def test_image_folder_without_splits_is_split_by_a_fixed_seed(folder: Path) -> None:
    def contents(data: ImageFolder) -> dict[str, set[bytes]]:
        return {split: {image.numpy().tobytes() for image in d.images} for split, d in data.splits.items()}

    one, two = (contents(image_folder(folder / "train", seed=s)) for s in (0, 1))
    assert one == two
    assert all(2 <= len(one[split]) <= 10 for split in ("val", "test"))
    assert len(one["train"] | one["val"] | one["test"]) == 24 == sum(map(len, one.values()))
    shutil.copy(folder / "val" / "cat" / "0.png", folder / "train" / "cat" / "00.png")
    more = contents(image_folder(folder / "train"))
    assert all(one[split] <= more[split] for split in one)  # a new file moves no other
    assert sum(map(len, more.values())) == 25


def test_image_folder_takes_other_names_of_splits(folder: Path) -> None:
    (folder / "train").rename(folder / "Training")
    (folder / "test").rename(folder / "Testing")
    data = image_folder(folder)
    assert data.classes == ["cat", "dog"]
    assert {s: len(d) for s, d in data.splits.items()} == {"val": 6, "test": 8, "train": 24}


def test_image_folder_names_what_is_wrong(folder: Path) -> None:
    (folder / "test" / "dog" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"0\.png cannot be read as an image"):
        image_folder(folder)
    (folder / "val" / "bird").mkdir()
    with pytest.raises(UserError, match="bird is none of the training classes cat, dog"):
        image_folder(folder)
    (folder / "train" / "emu").mkdir()
    with pytest.raises(UserError, match="emu holds no image"):
        image_folder(folder, num_classes=3)
    with pytest.raises(UserError, match=r"has 3 classes, not data.num_classes=2"):
        image_folder(folder)
    with pytest.raises(UserError, match="does not exist"):
        image_folder(folder / "nowhere")
    with pytest.raises(UserError, match="0 class folders where at least 2"):
        image_folder(folder / "train" / "cat")


# --- downloads, from a server on this machine


class Server(BaseHTTPRequestHandler):
    """Serves `content`, by ranges if asked and allowed; can cut the connection after some bytes."""

    content = bytes(range(256)) * 5000
    ranges, cut = True, None
    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        content = b"damaged" if self.path == "/damaged" else self.content
        asked = self.headers.get("Range")
        type(self).seen.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        self.wfile.write(body[: self.cut] if self.cut else body)
        type(self).cut = None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.ranges, Server.cut, Server.seen = True, None, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=functools.partial(http.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


MD5 = hashlib.md5(Server.content).hexdigest()


def test_download_tries_mirrors_and_checks(server: str, tmp_path: Path) -> None:
    path = fetch([f"{server}/missing", f"{server}/damaged", f"{server}/good"], tmp_path / "sub" / "file", MD5)
    assert path.read_bytes() == Server.content
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    Server.seen = []
    fetch([f"{server}/good"], path, MD5)
    assert Server.seen == []  # what is there is not asked for again
    path.write_bytes(b"damaged")
    assert fetch([f"{server}/good"], path, MD5).read_bytes() == Server.content


@pytest.mark.parametrize("ranges", [True, False])
def test_download_continues_a_partial_file(server: str, tmp_path: Path, ranges: bool) -> None:
    Server.cut, Server.ranges = 300_000, ranges
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch([f"{server}/good"], tmp_path / "file", MD5)
    assert (tmp_path / "file.part").stat().st_size == 300_000
    assert not (tmp_path / "file").exists()
    fetch([f"{server}/good"], tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == Server.content
    assert Server.seen == [None, "bytes=300000-"]


@pytest.mark.parametrize("partial", [b"something else", Server.content, Server.content + b"more"])
def test_download_recovers_from_any_partial_file(server: str, tmp_path: Path, partial: bytes) -> None:
    (tmp_path / "file.part").write_bytes(partial)
    assert fetch([f"{server}/good"], tmp_path / "file", MD5).read_bytes() == Server.content


def test_download_says_every_reason(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"404.*wrong checksum.*data.root=FOLDER"):
        fetch([f"{server}/missing", f"{server}/damaged"], tmp_path / "file", MD5)


def test_torn_files_are_refused(make: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
    for name in names:
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(b"torn")
    with pytest.raises(UserError, match="data_batch_1 has a wrong checksum"):
        make("cifar10", "data.fake=false", f"data.root={tmp_path}")
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"has 4 bytes where 47040016 are right"):
        make("mnist", "data.fake=false", f"data.root={tmp_path}")
