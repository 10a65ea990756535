"""Tiny Shakespeare is cut by position."""

from pathlib import Path

from torchatlas.data.text.tiny_shakespeare import TinyShakespeare


def test_tiny_shakespeare_is_cut_by_position(tmp_path: Path) -> None:
    data = TinyShakespeare(root=str(tmp_path), vocab_size=66, context=4, batch_size=2)
    data.path.parent.mkdir()
    text = "".join(data.alphabet[i % 65] for i in range(1001))
    data.path.write_text(text)
    data.setup()
    decoded = {split: data.codec.decode(dataset.tokens) for split, dataset in data.splits.items()}
    assert "".join(decoded[split] for split in ("train", "val", "test")) == text
    assert {split: len(part) for split, part in decoded.items()} == {"train": 900, "val": 50, "test": 51}
    assert len(set(data.alphabet)) == 65
