"""Sets of the UCR archive in their forms."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data import ready, whole

from torchatlas.data.series.ucr import ARCHIVE, UCR
from torchatlas.data.series.ucr_files import prepare, read_series
from torchatlas.errors import UserError


def ucr_folder(root: Path, name: str, train: str, test: str, ending: str = ".tsv") -> Path:
    folder = root / "ucr" / name
    folder.mkdir(parents=True)
    (folder / f"{name}_TRAIN{ending}").write_text(train)
    (folder / f"{name}_TEST{ending}").write_text(test)
    return folder


EQUAL = "2\t1.0\t2.0\t3.0\n-1\t3.0\t2.0\t4.0\n2\t5.0\t1.0\t0.0\n-1\t0.5\t0.0\t1.0\n"


def test_ucr_series_are_normalised_and_labels_numbered(tmp_path: Path) -> None:
    ucr_folder(tmp_path, "Mine", EQUAL, "-1\t1\t3\t2\n")
    assert UCR.declare_num_classes("Mine", str(tmp_path)) == 2
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


def test_what_is_filled_and_padded_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gaps = EQUAL.replace("2\t1.0\t2.0", "2\t1.0\tNaN")
    ucr_folder(tmp_path, "Mine", gaps, "-1\t1\t3\t2\n")
    ucr_folder(tmp_path, "Other", EQUAL.replace("\t4.0", ""), "-1\t1\t3\t2\n")
    with caplog.at_level("INFO"):
        ready(UCR(name="Mine", num_classes=2, root=str(tmp_path)))
        ready(UCR(name="Other", num_classes=2, root=str(tmp_path)))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "TRAIN: 1 of 4 series lack 1 values, which lie on lines between their neighbours",
        "TRAIN: series of 2 to 3 steps, padded behind in each batch",
        "TEST: series of 3 to 3 steps, padded behind in each batch",
    ]


def test_a_byte_order_mark_is_no_part_of_a_label(tmp_path: Path) -> None:
    path = tmp_path / "Mine_TRAIN.tsv"
    path.write_text(EQUAL, encoding="utf-8-sig")
    assert read_series(path)[1] == ["2", "-1", "2", "-1"]


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


WIDE = "1,2,3:4,5,6:up\n3,2,1:6,?,4:down\n1,1,2:0,0,1:up\n2,1,1:1,0,0:down\n"


@pytest.mark.parametrize("where", ["ucr/Mine", "ucr", "Mine", "."])
@pytest.mark.parametrize("ending", [".ts", ".arff"])
def test_series_with_several_channels_wherever_they_lie(tmp_path: Path, ending: str, where: str) -> None:
    if ending == ".ts":
        text = "@problemName Mine\n@univariate false\n@classLabel true up down\n@data\n" + WIDE
    else:
        rows = [line.rsplit(":", 1) for line in WIDE.splitlines()]
        head = "% made\n@relation Mine\n@attribute x relational\n@end x\n@attribute y {up,down}\n@data\n"
        text = head + "".join("'" + values.replace(":", "\\n") + f"',{label}\n" for values, label in rows)
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    for part in ("TRAIN", "TEST"):
        (tmp_path / where / f"Mine_{part}{ending}").write_text(text)
    assert UCR.declare_in_channels("Mine", str(tmp_path)) == 2
    data = ready(UCR(name="Mine", num_classes=2, in_channels=2, root=str(tmp_path), normalize=False))
    x, labels = whole(data, "test")
    assert x[:2].tolist() == [[[1, 4], [2, 5], [3, 6]], [[3, 6], [2, 5], [1, 4]]]
    assert [data.classes[k] for k in labels.tolist()] == ["up", "down", "up", "down"]
    assert data.describe()["in_channels"] == data.example_batch(3)[0].shape[2] == 2
    normal = ready(UCR(name="Mine", num_classes=2, in_channels=2, root=str(tmp_path)))
    assert whole(normal, "test")[0][0].tolist() == [[-1, -1], [0, 0], [1, 1]]
    with pytest.raises(UserError, match=r"has 2 channels, and data\.in_channels is 1"):
        ready(UCR(name="Mine", num_classes=2, root=str(tmp_path)))


def test_series_of_one_channel_as_arff(tmp_path: Path) -> None:
    path = tmp_path / "Mine_TRAIN.arff"
    path.write_text("@relation Mine\n@attribute a numeric\n@attribute target {1,2}\n\n@DATA\n1.0,?,3,1\n3,4,5,'2'\n")
    series, labels = read_series(path)
    assert np.array_equal(series[0], [1, np.nan, 3], equal_nan=True)
    assert labels == ["1", "2"]


def test_channels_of_unequal_length_and_mistakes_in_them(tmp_path: Path) -> None:
    path = tmp_path / "Mine_TRAIN.ts"
    path.write_text("@data\n1,2,3:4,5:a\n1,2:3,4:b\n")
    series, _ = read_series(path)
    assert [one.shape for one in series] == [(3, 2), (2, 2)]
    assert prepare(series[0], variable=True, normalize=False).tolist() == [[1, 4], [2, 5], [3, 5]]
    for line, message in {
        "1,2:a\n": "line 3: there are 1 channels, unlike in the line before",
        "(0,1),(1,2):(0,1),(1,3):a\n": "line 3: there are times where values and a label are expected",
        "1,2\n": "line 3: values and a label behind them are expected",
    }.items():
        path.write_text("@data\n1,2,3:4,5:a\n" + line)
        with pytest.raises(UserError, match=message):
            read_series(path)


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
        UCR.declare_num_classes("GunPiont", str(tmp_path))
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


def test_made_series_can_be_told_apart() -> None:
    """The frequency with the largest power is one more than the class."""
    data = ready(UCR(name="Adiac", num_classes=37, fake=True, batch_size=64))
    x, labels = whole(data, "val")
    power = torch.fft.rfft(x[..., 0]).abs()
    assert torch.equal(power.argmax(1) - 1, labels)
    assert len(data.classes) == 37
    assert UCR.declare_num_classes("Adiac", "nowhere", fake=True) == 37


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
