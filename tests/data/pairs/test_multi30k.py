"""Files of Multi30k."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from torchatlas.data.pairs import multi30k
from torchatlas.errors import UserError


@pytest.fixture
def small_multi30k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files like the true ones, but short."""
    sizes = {"train": 40, "val": 6, "test": 5}
    monkeypatch.setattr(multi30k, "SIZES", sizes)
    checksums = {}
    (tmp_path / "multi30k").mkdir()
    for split, file in multi30k.FILES.items():
        for language, words in (
            ("de", ("Mann", "Hund\u2028läuft", "Straße")),
            ("en", ("man", "dog\u2028runs", "street")),
        ):
            text = "".join(f"{words[i % 3]} {split} {i % 7} . \n" for i in range(sizes[split]))
            path = tmp_path / "multi30k" / f"{file}.{language}.gz"
            path.write_bytes(gzip.compress(text.encode()))
            checksums[path.name] = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(multi30k, "MD5", checksums)
    return tmp_path


def test_multi30k_is_read_line_by_line(small_multi30k: Path) -> None:
    data = multi30k.Multi30k(
        root=str(small_multi30k), source_vocab_size=17, target_vocab_size=17, by="word", lowercase=True, batch_size=4
    )
    data.prepare_data()
    data.setup()
    assert {split: len(data.raw(split)) for split in data.splits} == {"train": 40, "val": 6, "test": 5}
    assert data.raw("test")[:3] == [
        ("Mann test 0 .", "man test 0 ."),
        ("Hund\u2028läuft test 1 .", "dog\u2028runs test 1 ."),  # no end of a line
        ("Straße test 2 .", "street test 2 ."),
    ]
    back = multi30k.Multi30k(
        root=str(small_multi30k), source="en", target="de", source_vocab_size=17, target_vocab_size=17
    )
    assert back.read_pairs()["val"][0] == ("man val 0 .", "Mann val 0 .")


def test_multi30k_refuses_what_is_wrong(small_multi30k: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: Any = {"source_vocab_size": 17, "target_vocab_size": 17, "root": str(small_multi30k)}
    with pytest.raises(UserError, match=r"data\.source=it must be one of cs, de, en, fr"):
        multi30k.Multi30k(source="it", **sizes)
    with pytest.raises(UserError, match="two languages"):
        multi30k.Multi30k(source="en", **sizes)
    path = small_multi30k / "multi30k" / "val.de.gz"
    path.write_bytes(gzip.compress(b"Eins\n"))
    with pytest.raises(UserError, match=r"val\.de\.gz has 1 lines where 6 are right"):
        multi30k.Multi30k(**sizes).setup()
    path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"val\.de\.gz cannot be unpacked"):
        multi30k.Multi30k(**sizes).setup()
    monkeypatch.setattr(multi30k.Multi30k, "addresses", ("file:///nowhere/",))
    with pytest.raises(UserError, match=r"val\.de\.gz is not in"):
        multi30k.Multi30k(**sizes).prepare_data()


def test_multi30k_names_a_checksum_of_each_file() -> None:
    wanted = {f"{file}.{language}.gz" for file in multi30k.FILES.values() for language in multi30k.LANGUAGES}
    assert set(multi30k.MD5) == wanted
    assert len(set(multi30k.MD5.values())) == len(wanted)
