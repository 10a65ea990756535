"""WikiText-2 as its archive has it."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from torchatlas.data.text import wikitext2
from torchatlas.errors import UserError


def test_wikitext_is_unpacked_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "wikitext-2-v1.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in wikitext2.FILES.values():
            archive.writestr(f"wikitext-2/{name}", " = A = \n" + " the <unk> cat \n" * 20)
    monkeypatch.setattr(wikitext2, "MD5", hashlib.md5(packed.read_bytes()).hexdigest())
    monkeypatch.setattr(wikitext2, "LINES", dict.fromkeys(wikitext2.FILES, 21))
    data = wikitext2.WikiText2(root=str(tmp_path), vocab_size=6, context=8, batch_size=2)
    data.prepare_data()
    data.setup()
    assert data.codec.words == ["<eos>", "cat", "the", "=", "A", "<unk>"]
    assert len(data.splits["val"].tokens) == 4 + 20 * 4
    packed.unlink()
    data.prepare_data()  # unpacked files are enough
    path = tmp_path / "wikitext-2" / "wiki.valid.tokens"
    path.write_text("torn")
    with pytest.raises(UserError, match=r"wiki.valid.tokens has 0 lines where 21 are right"):
        wikitext2.WikiText2(root=str(tmp_path), vocab_size=6).setup()
