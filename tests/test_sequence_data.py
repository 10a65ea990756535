"""Benchmarks of sequence models: the problems are what their papers say, and their tasks count what is real."""

import hashlib
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.data.download import fetch_checked
from torchatlas.data.images.digits import Digits
from torchatlas.data.images.mnist import MNIST
from torchatlas.data.images.pixels import DigitSequences, MNISTSequences, permutation
from torchatlas.data.sequences.adding import Adding
from torchatlas.data.sequences.copy_memory import CopyMemory
from torchatlas.data.sequences.polyphonic import JSBChorales
from torchatlas.data.series.ucr import ARCHIVE, UCR, count_ucr_classes, prepare, read_series, stratified
from torchatlas.errors import UserError
from torchatlas.tasks.polyphonic import Polyphonic
from torchatlas.tasks.sequence_labeling import SequenceLabeling


def ready(data: Any) -> Any:
    data.prepare_data()
    data.setup()
    return data


def whole(data: Any, split: str) -> tuple[Tensor, ...]:
    return data.splits[split][-1, torch.arange(len(data.splits[split]))]


class Answer(nn.Module):
    """Answers with fixed logits, cut to the steps of the input."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[:, : x.shape[1]]


# --- the adding problem


def test_adding_is_the_sum_of_two_marked_numbers() -> None:
    data = ready(Adding(length=13, train_size=4000))
    x, y = whole(data, "train")
    values, markers = x.unbind(2)
    assert x.shape == (4000, 13, 2)
    assert y.shape == (4000, 1, 1)
    assert set(markers.unique().tolist()) == {0, 1}
    assert torch.equal(markers.sum(1), torch.full((4000,), 2.0))
    torch.testing.assert_close(y[:, 0, 0], (values * markers).sum(1))
    assert 0 <= float(values.min()) <= float(values.max()) < 1
    assert float(values.mean()) == pytest.approx(0.5, abs=0.01)
    # Each of the 78 pairs of places is equally likely: chi-square with 77 degrees of freedom.
    pairs = markers.nonzero()[:, 1].view(-1, 2)
    counts = torch.bincount(pairs[:, 0] * 13 + pairs[:, 1], minlength=169).double()
    counts = counts[counts > 0]
    assert len(counts) == 78
    assert float(((counts - 4000 / 78) ** 2 / (4000 / 78)).sum()) < 77 + 5 * math.sqrt(2 * 77)


def test_adding_baseline_is_the_error_of_the_mean() -> None:
    data = ready(Adding(length=40, train_size=20_000))
    _, y = whole(data, "train")
    assert float(y.mean()) == pytest.approx(1, abs=0.01)
    assert float(((y - 1) ** 2).mean()) == pytest.approx(data.baselines["mean_mse"], abs=0.004)
    assert data.baselines["mean_mse"] == pytest.approx(0.1667, abs=1e-4)


@pytest.mark.parametrize("kind", [Adding, CopyMemory])
def test_made_samples_depend_on_split_and_index_alone(kind: Any) -> None:
    one, two = ready(kind(length=30, train_size=100)), ready(kind(length=30, train_size=50, seed=7, batch_size=4))
    for split in ("train", "val", "test"):
        few = one.splits[split][0, torch.tensor([41, 3])]
        for a, b in zip(few, two.splits[split][9, torch.tensor([3, 41])], strict=True):
            assert torch.equal(a, b.flip(0))
    rows = [bytes(row.numpy().tobytes()) for split in ("train", "val", "test") for row in whole(one, split)[0]]
    assert len(rows) == len(set(rows)) == 100 + 1000 + 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "data.length=1 must be at least 2"),
        ({"train_size": 0}, "data.train_size=0"),
        ({"horizon": 3}, "data.horizon=3 .* change data.length alone"),
        ({"targets": "step"}, "data.targets=step"),
    ],
)
def test_adding_refuses_other_declarations(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Adding(**arguments)


# --- copying memory


def test_copy_memory_is_that_of_the_paper() -> None:
    data = ready(CopyMemory(length=50, train_size=500))
    x, labels = whole(data, "train")
    assert x.shape == (500, 70, 1)
    assert x.dtype == torch.float32
    tokens = x[..., 0].long()
    assert tokens.shape == labels.shape
    items = tokens[:, :10]
    assert set(items.unique().tolist()) == set(range(1, 9))
    assert torch.equal(tokens[:, 10:59], torch.zeros(500, 49, dtype=torch.int64))
    assert torch.equal(tokens[:, 59:], torch.full((500, 11), 9))
    assert torch.equal(labels[:, :60], torch.zeros(500, 60, dtype=torch.int64))
    assert torch.equal(labels[:, 60:], items)
    counts = torch.bincount(items.flatten(), minlength=9)[1:].double()
    assert float(((counts - 625) ** 2 / 625).sum()) < 7 + 5 * math.sqrt(14)


def test_memoryless_answer_has_the_baseline_as_loss() -> None:
    """Blank where that is right, and each of eight symbols alike where one is due: 10 ln 8 / (T + 20)."""
    data = ready(CopyMemory(length=50, train_size=64))
    batch = whole(data, "train")
    logits = torch.full((64, 70, 10), -100.0)
    logits[:, :60, 0] = 0
    logits[:, 60:, 1:9] = 0
    task = SequenceLabeling(Answer(logits), blank=data.blank)
    out = task.step(batch)
    assert out["loss"].item() == pytest.approx(data.baselines["memoryless_loss"], rel=1e-5)
    assert out["loss"].item() == pytest.approx(10 * math.log(8) / 70, rel=1e-5)
    assert CopyMemory(length=1000).baselines["memoryless_loss"] == pytest.approx(0.0204, abs=5e-5)  # Bai et al., figure


def test_copy_memory_refuses_other_declarations() -> None:
    with pytest.raises(UserError, match=r"data.num_classes=8 and data.blank=0 must be 1, 10 and 0"):
        CopyMemory(num_classes=8)
    with pytest.raises(UserError, match=r"data.length=0"):
        CopyMemory(length=0)


# --- sequence labelling


def test_perfect_labels_have_no_loss_and_ignored_steps_count_nowhere() -> None:
    labels = torch.tensor([[0, 2, 1, -100], [1, 0, -100, -100]])
    logits = torch.full((2, 4, 3), -50.0).scatter(2, labels.clamp(min=0)[..., None], 50.0)
    task = SequenceLabeling(Answer(logits), blank=0)
    out = task.step((torch.zeros(2, 4, 1), labels))
    assert out["loss"].item() == pytest.approx(0, abs=1e-6)
    assert float(out["metrics/accuracy"]) == 1
    assert task.weight((torch.zeros(2, 4, 1), labels)) == 5
    wrong = logits.clone()
    wrong[labels == -100] = torch.randn(3, 3) * 100
    other = SequenceLabeling(Answer(wrong), blank=0).step((torch.zeros(2, 4, 1), labels))
    for key in set(out) - {"logits"}:
        assert torch.equal(out[key], other[key])


def test_labelling_worked_example() -> None:
    """Two of four steps are right; of the three that are not blank, one."""
    labels = torch.tensor([[0, 1, 2, 1, -100]])
    said = torch.tensor([[0, 1, 1, 2, 2]])
    logits = 2 * F.one_hot(said, 3).float()
    task = SequenceLabeling(Answer(logits), blank=0)
    out = task.step((torch.zeros(1, 5, 1), labels))
    right = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert out["loss"].item() == pytest.approx((2 * right + 2 * (right + 2)) / 4, rel=1e-5)
    assert float(out["metrics/accuracy"]) == 0.5
    figures = task.derive({"recalled": out["metrics/recalled"], "said": out["metrics/said"]})
    assert float(figures["recall_accuracy"]) == pytest.approx(1 / 3)
    assert set(task.derive({"loss": out["loss"]})) == {"loss"}
    assert "metrics/said" not in SequenceLabeling(Answer(logits)).step((torch.zeros(1, 5, 1), labels))


def test_epochs_of_uneven_batches_are_means_over_steps() -> None:
    """Weighted by `weight`, the figures of parts are those of the whole."""
    labels = torch.randint(-1, 4, (6, 7))
    labels[labels < 0] = -100
    logits = torch.randn(6, 7, 4)
    x = torch.zeros(6, 7, 1)

    def figures(rows: slice) -> tuple[dict[str, Tensor], int]:
        task = SequenceLabeling(Answer(logits[rows]), blank=0)
        out = task.step((x[rows], labels[rows]))
        return {k: v.detach() for k, v in out.items() if k != "logits"}, task.weight((x[rows], labels[rows]))

    (all_, n), (one, n1), (two, n2) = figures(slice(0, 6)), figures(slice(0, 2)), figures(slice(2, 6))
    assert n == n1 + n2 == int((labels >= 0).sum())
    for key, value in all_.items():
        torch.testing.assert_close(value, (one[key] * n1 + two[key] * n2) / n)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # torch ignores -100 by default
    torch.testing.assert_close(all_["loss"], expected)


# --- digits as sequences


@pytest.mark.parametrize(("by", "shape"), [("row", (8, 8)), ("pixel", (64, 1))])
def test_sequences_are_the_images(by: str, shape: tuple[int, int]) -> None:
    images = ready(Digits(in_channels=1, image_size=8, num_classes=10, val_size=144))
    data = ready(DigitSequences(by=by, in_channels=shape[1], val_size=144))
    key = (-1, torch.arange(20))
    x, labels = data.transform(data.splits["test"][key])
    pictures, expected = images.transform(images.splits["test"][key])
    assert x.shape == (20, *shape)
    assert torch.equal(labels, expected)
    assert torch.equal(x.reshape(20, 1, 8, 8), pictures)


def test_training_sequences_are_not_augmented() -> None:
    data = ready(DigitSequences(by="pixel", in_channels=1, val_size=144))
    indices = torch.tensor([5, 2])
    early, late = (data.transform(data.splits["train"][epoch, indices])[0] for epoch in (0, 8))
    assert torch.equal(early, late)


def test_permuted_pixels_are_one_fixed_order() -> None:
    plain, permuted = (DigitSequences(by="pixel", in_channels=1, val_size=144, permute=p) for p in (False, True))
    key = (-1, torch.arange(9))
    x, y = (ready(data).transform(data.splits["val"][key])[0] for data in (plain, permuted))
    order = permuted.describe()["order"]
    assert sorted(order) == list(range(64))
    assert order != list(range(64))
    assert plain.describe()["order"] is None
    assert torch.equal(y, x[:, order])
    rows = DigitSequences(by="row", in_channels=8, val_size=144, permute=True, seed=5)
    assert rows.describe()["order"] == order  # neither the seed nor the way of reading changes it
    assert torch.equal(ready(rows).transform(rows.splits["val"][key])[0].flatten(1), y.flatten(1))
    restored = DigitSequences(by="pixel", in_channels=1, val_size=144)
    restored.load_state_dict(permuted.state_dict())
    assert torch.equal(ready(restored).transform(restored.splits["val"][key])[0], y)


def test_permutation_is_far_from_the_order_of_the_pixels() -> None:
    order = torch.tensor(permutation(784)).double()
    assert abs(float(torch.corrcoef(torch.stack([order, torch.arange(784.0).double()]))[0, 1])) < 5 / math.sqrt(784)
    assert float((order.diff().abs() > 28).double().mean()) > 0.9


def test_pixels_refuse_other_declarations() -> None:
    with pytest.raises(UserError, match=r"data.by=column must be row or pixel"):
        MNISTSequences(by="column", in_channels=28)
    with pytest.raises(UserError, match=r"data.in_channels=8 and data.num_classes=10 must be 28 and 10"):
        MNISTSequences(by="row", in_channels=8)


def test_mnist_sequences_are_made_of_mnist() -> None:
    images = ready(MNIST(in_channels=1, image_size=28, num_classes=10, fake=True, batch_size=4))
    data = ready(MNISTSequences(by="row", in_channels=28, fake=True, batch_size=4))
    key = (-1, torch.arange(4))
    x = data.transform(data.splits["test"][key])[0]
    assert torch.equal(x[:, None], images.transform(images.splits["test"][key])[0])
    assert data.describe() | {"kind": "image", "by": 0, "order": 0} == images.describe() | {"by": 0, "order": 0}


# --- polyphonic music


def rolls(*lengths: int) -> list[Tensor]:
    return [(torch.rand(n, 88) < 0.05).to(torch.uint8) for n in lengths]


def music_file(folder: Path, **changed: list[Tensor]) -> type[JSBChorales]:
    """A MATLAB file in the layout of the published ones, and a class that expects it."""
    from scipy.io import savemat

    pieces = {"traindata": rolls(9, 5), "validdata": rolls(6), "testdata": rolls(7, 4)} | changed
    cells = {}
    for key, part in pieces.items():
        cells[key] = np.empty((1, len(part)), dtype=object)
        for i, piece in enumerate(part):
            cells[key][0, i] = piece.numpy()
    path = folder / "polyphonic" / "JSB_Chorales.mat"
    path.parent.mkdir()
    savemat(path, cells)

    class Small(JSBChorales):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        sizes = {"train": 2, "val": 1, "test": 2}  # noqa: RUF012

    Small.pieces = pieces  # type: ignore[attr-defined]
    return Small


def test_music_is_read_and_padded_behind(tmp_path: Path) -> None:
    kind = music_file(tmp_path)
    data = ready(kind(root=str(tmp_path)))
    x, lengths = data.transform(whole(data, "train"))
    assert x.shape == (2, 9, 88)
    assert x.dtype == torch.float32
    assert lengths.tolist() == [9, 5]
    one, two = kind.pieces["traindata"]  # type: ignore[attr-defined]
    assert torch.equal(x[0], one.float())
    assert torch.equal(x[1, :5], two.float())
    assert not x[1, 5:].any()


def test_damaged_music_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = music_file(tmp_path, validdata=rolls(6, 6))
    with pytest.raises(UserError, match=r"does not hold 1 val pieces of 88 keys: delete it"):
        ready(kind(root=str(tmp_path)))
    path = tmp_path / "polyphonic" / "JSB_Chorales.mat"
    path.write_bytes(path.read_bytes()[:-1])

    def refuse(*_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchatlas.data.download.download_file", refuse)
    with pytest.raises(UserError, match=r"could not be downloaded .*no network"):
        kind(root=str(tmp_path)).prepare_data()


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


def test_made_music_can_be_predicted() -> None:
    """The keys of a frame are those of the frame before, five higher."""
    data = ready(JSBChorales(fake=True, batch_size=8))
    x, lengths = data.transform(whole(data, "val"))
    for piece, length in zip(x, lengths, strict=True):
        assert torch.equal(piece[1:length], piece[: length - 1].roll(5, 1))
        assert not piece[length:].any()
    assert len(set(lengths.tolist())) > 1


# --- the UCR archive


def ucr_folder(root: Path, name: str, train: str, test: str, ending: str = ".tsv") -> Path:
    folder = root / "ucr" / name
    folder.mkdir(parents=True)
    (folder / f"{name}_TRAIN{ending}").write_text(train)
    (folder / f"{name}_TEST{ending}").write_text(test)
    return folder


EQUAL = "2\t1.0\t2.0\t3.0\n-1\t3.0\t2.0\t4.0\n2\t5.0\t1.0\t0.0\n-1\t0.5\t0.0\t1.0\n"


def test_ucr_series_are_normalised_and_labels_numbered(tmp_path: Path) -> None:
    ucr_folder(tmp_path, "Mine", EQUAL, "-1\t1\t3\t2\n")
    assert count_ucr_classes(str(tmp_path), "Mine", fake=False) == 2
    data = ready(UCR(name="Mine", num_classes=2, root=str(tmp_path)))
    assert data.classes == ["-1", "2"]
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 2, "val": 2, "test": 1}
    x, labels = whole(data, "test")
    torch.testing.assert_close(x, torch.tensor([[[-1.0], [1.0], [0.0]]]))
    assert labels.tolist() == [0]
    assert sorted(whole(data, "val")[1].tolist()) == sorted(whole(data, "train")[1].tolist()) == [0, 1]
    raw = ready(UCR(name="Mine", num_classes=2, root=str(tmp_path), normalize=False))
    assert whole(raw, "test")[0].flatten().tolist() == [1, 3, 2]
    assert [x.shape for x in data.example_batch(5)] == [(5, 3, 1), (5,)]


def test_all_forms_of_a_set_are_the_same_series(tmp_path: Path) -> None:
    head = "# a comment\n@problemName Mine\n@timestamps false\n@classLabel true -1 2\n@data\n"
    forms = {
        ".tsv": EQUAL,
        ".txt": "".join(
            "  ".join(f"{float(v):.7e}" for v in line.split("\t")) + "\n" for line in EQUAL.strip().split("\n")
        ),
        ".ts": head + "".join(f"{','.join(v)}:{k}\n" for k, *v in (line.split("\t") for line in EQUAL.split("\n")[:4])),
    }
    found = []
    for ending, text in forms.items():
        path = tmp_path / f"Mine_TRAIN{ending}"
        path.write_text(text)
        found.append(read_series(path))
    for series, labels in found:
        assert labels == ["2", "-1", "2", "-1"]
        assert all(np.array_equal(a, b) for a, b in zip(series, found[0][0], strict=True))


def test_missing_values_inside_are_interpolated_and_those_at_the_end_are_the_end() -> None:
    nan = float("nan")
    values = np.array([nan, 1.0, nan, nan, 4.0, 2.0, nan, nan])
    inside = prepare(values, variable=True, normalize=False)
    assert inside.tolist() == [1, 1, 2, 3, 4, 2]
    assert prepare(values, variable=False, normalize=False).tolist() == [1, 1, 2, 3, 4, 2, 2, 2]
    normal = prepare(values, variable=True, normalize=True)
    assert float(normal.mean()) == pytest.approx(0, abs=1e-6)
    assert float(normal.std()) == pytest.approx(1, rel=1e-6)
    assert prepare(np.array([3.0, 3.0]), variable=False, normalize=True).tolist() == [0, 0]


@pytest.mark.parametrize("ending", [".tsv", ".ts"])
def test_series_of_unequal_length_come_with_their_lengths(tmp_path: Path, ending: str) -> None:
    if ending == ".tsv":
        train, test = "a\t1\t2\tNaN\na\t1\t2\t4\nb\t7\tNaN\t8\nb\t0\t1\tNaN\n", "b\t1\t0\tNaN\nb\t1\t5\t4\n"
    else:
        train, test = "@data\n1,2:a\n1,2,4:a\n7,?,8:b\n0,1:b\n", "@data\n1,0:b\n1,5,4:b\n"
    ucr_folder(tmp_path, "Mine", train, test, ending)
    data = ready(UCR(name="Mine", num_classes=2, root=str(tmp_path), normalize=False))
    x, lengths, labels = whole(data, "test")
    assert x[..., 0].tolist() == [[1, 0, 0], [1, 5, 4]]
    assert lengths.tolist() == [2, 3]
    assert labels.tolist() == [1, 1]
    series = [row[:n].flatten().tolist() for s in ("train", "val") for row, n, _ in zip(*whole(data, s), strict=True)]
    assert sorted(series) == [[0, 1], [1, 2], [1, 2, 4], [7, 7.5, 8]]
    assert data.describe()["length"] == 0
    assert len(data.example_batch(2)) == 3
    again = UCR(name="Mine", num_classes=2, root=str(tmp_path))
    again.load_state_dict(data.state_dict())
    assert again.length == 0
    assert again.classes == ["a", "b"]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("1\t2\tx\n", r"line 1: .*could not convert"),
        ("1\t2\t3\n2\tNaN\tNaN\n", "line 2: a series needs values"),
        ("1\t2\tinf\n", "line 1: a series needs values, all of them finite"),
        ("", "holds no series"),
        ("1\t2\t3\n1\t2\t5\n", "has 1 classes, and data.num_classes is 2"),
        ("1\t2\t3\n2\t2\t5\n", "one training series of each class"),
        ("1\t2\t3\n2\t2\t5\n1\t0\t3\n", None),
    ],
)
def test_strange_sets_are_refused_in_one_sentence(tmp_path: Path, train: str, message: str | None) -> None:
    ucr_folder(tmp_path, "Mine", train, "1\t1\t2\n")
    data = UCR(name="Mine", num_classes=2, root=str(tmp_path))
    if message is None:
        assert len(ready(data).splits["val"]) == 1
        return
    with pytest.raises(UserError, match=message):
        data.setup()


def test_archive_facts_are_held_against_files(tmp_path: Path) -> None:
    """ECG200 has 100 series of 96 steps in training; nothing is read where the name is unknown."""
    row = "1\t" + "\t".join(str(i % 7) for i in range(96)) + "\n"
    folder = ucr_folder(tmp_path, "ECG200", row * 50 + row.replace("1", "-1", 1) * 49, row * 100)
    data = UCR(name="ECG200", num_classes=2, root=str(tmp_path))
    with pytest.raises(UserError, match="holds 99 series where the archive has 100"):
        ready(data)
    (folder / "ECG200_TRAIN.tsv").write_text(row[:-3] + "\n" + row * 49 + row.replace("1", "-1", 1) * 50)
    with pytest.raises(UserError, match="steps where those of the archive have 96"):
        UCR(name="ECG200", num_classes=2, root=str(tmp_path)).setup()
    with pytest.raises(UserError, match="is not the 2 of ECG200"):
        UCR(name="ECG200", num_classes=3, root=str(tmp_path))
    with pytest.raises(UserError, match=r"the archive has no GunPiont: did you mean GunPoint"):
        count_ucr_classes(str(tmp_path), "GunPiont", fake=False)
    with pytest.raises(UserError, match=r"must be the name of a set"):
        UCR(name="../GunPoint", num_classes=2)
    (folder / "ECG200_TEST.tsv").write_text(row * 99 + row.replace("1", "3", 1))
    (folder / "ECG200_TRAIN.tsv").write_text(row * 50 + row.replace("1", "-1", 1) * 50)
    with pytest.raises(UserError, match="has the label 3, which is not one of -1, 1"):
        UCR(name="ECG200", num_classes=2, root=str(tmp_path)).setup()


def test_the_archive_has_128_sets() -> None:
    assert len(ARCHIVE) == 128
    assert ARCHIVE["GunPoint"] == ((50,), (150,), 2, 150)
    assert ARCHIVE["PLAID"].length == 0
    assert ARCHIVE["Chinatown"].test == (343, 345)
    assert sum(facts.length == 0 for facts in ARCHIVE.values()) == 11
    assert all(facts.classes > 1 and min(facts.train) >= facts.classes - 1 for facts in ARCHIVE.values())


def test_stratified_share_of_each_class() -> None:
    labels = torch.tensor([0] * 40 + [1] * 10 + [2] * 2 + [3])
    stay, taken = stratified(labels, 0.2)
    assert torch.bincount(labels[taken], minlength=4).tolist() == [8, 2, 1, 0]
    assert sorted(torch.cat([stay, taken]).tolist()) == list(range(53))
    assert torch.equal(taken, stratified(labels, 0.2)[1])
    assert taken.tolist() != [*range(8), 40, 41, 50]  # not the first ones


def test_made_series_can_be_told_apart() -> None:
    """The frequency with the largest power is one more than the class."""
    data = ready(UCR(name="Adiac", num_classes=37, fake=True, batch_size=64))
    x, labels = whole(data, "val")
    power = torch.fft.rfft(x[..., 0]).abs()
    assert torch.equal(power.argmax(1) - 1, labels)
    assert len(data.classes) == 37
    assert count_ucr_classes("nowhere", "Adiac", fake=True) == 37


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """In place of the network: addresses that contain a word give a file's bytes, the others an error."""

    def serve(word: str, content: bytes) -> list[str]:
        asked: list[str] = []

        def download(url: str, part: Path, timeout: float) -> None:
            asked.append(url)
            if word not in url:
                raise OSError("404")
            part.write_bytes(content)

        monkeypatch.setattr("torchatlas.data.download.download_file", download)
        return asked

    return serve


def test_a_set_of_the_archive_is_downloaded_once(tmp_path: Path, served: Callable[..., list[str]]) -> None:
    rows = "".join(f"{i}.0,{i % 5}," + ",".join(["1", "2"] * 11) + f":{1 + (i > 9)}\n" for i in range(20))
    test = rows * 17 + "".join(rows.splitlines(keepends=True)[:3])
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Chinatown/Chinatown_TRAIN.ts", "@data\n" + rows)
        archive.writestr("Chinatown/Chinatown_TEST.ts", "@data\n" + test)
        archive.writestr("Chinatown/Chinatown.md", "about it")
    asked = served("ClassificationDownloads", packed.read_bytes())
    data = ready(UCR(name="Chinatown", num_classes=2, root=str(tmp_path)))
    assert len(asked) == 2  # the official address, then the mirror
    assert all(url.endswith("/Chinatown.zip") for url in asked)
    assert len(data.splits["test"]) == 343
    assert sorted(p.name for p in data.folder.iterdir()) == ["Chinatown_TEST.ts", "Chinatown_TRAIN.ts"]
    UCR(name="Chinatown", num_classes=2, root=str(tmp_path)).prepare_data()
    assert len(asked) == 2


def test_a_damaged_download_is_refused(tmp_path: Path, served: Callable[..., list[str]]) -> None:
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Chinatown_TRAIN.ts", "x" * 1000)
        archive.writestr("Chinatown_TEST.ts", "x")
    content = bytearray(packed.read_bytes())
    content[100] ^= 1
    served("http", bytes(content))
    with pytest.raises(UserError, match="the zip file is damaged"):
        UCR(name="Chinatown", num_classes=2, root=str(tmp_path)).prepare_data()
    served("http", b"<html>not found</html>")
    with pytest.raises(UserError, match="no zip file"):
        UCR(name="Chinatown", num_classes=2, root=str(tmp_path)).prepare_data()
    assert not list((tmp_path / "ucr" / "Chinatown").iterdir())


def test_fetch_checked_keeps_a_good_file_and_replaces_a_bad_one(
    tmp_path: Path, served: Callable[..., list[str]]
) -> None:
    def fault(path: Path) -> str:
        return "" if path.read_bytes() == b"good" else "it is bad"

    asked = served("b.org", b"good")
    path = tmp_path / "folder" / "file"
    assert fetch_checked(["http://a.org/file", "http://b.org/file"], path, fault).read_bytes() == b"good"
    assert fetch_checked(["http://b.org/file"], path, fault) == path
    assert asked == ["http://a.org/file", "http://b.org/file"]
    path.write_bytes(b"bad")
    assert fetch_checked(["http://b.org/file"], path, fault).read_bytes() == b"good"
    served("b.org", b"other")
    path.unlink()
    with pytest.raises(UserError, match="it is bad"):
        fetch_checked(["http://b.org/file"], path, fault)
    assert not list(path.parent.iterdir())


# --- through the command line


def test_permuted_pixels_train_and_sums_go_on(train: Any) -> None:
    """What a config says by interpolation holds when it is tried on the meta device, and in a resumed run."""
    small = ("debug=one_batch", "trainer=cpu", "model.dim=4", "logger=none", "callbacks=default")
    train("model=gru", "data=digits_pixels", "data.permute=true", *small)
    folder = train("model=gru", "data=adding", "task=regression", "data.fake=true", *small)
    train(f"resume={folder}", "trainer.max_epochs=2")
    figures = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(figures) == 2
    assert '"val/mean_mse": 0.1666' in figures[1]
