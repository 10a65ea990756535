"""The command `fill`."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import Train
from helpers.masked import WORDS
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchatlas import cli

TINY = ["model=bert_tiny", "model.dim=32", "model.heads=2", "model.depth=1", "trainer=cpu", "data.batch_size=8"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Words in a fixed order, from another one on in each document."""
    found = tmp_path / "own.txt"
    texts = [" ".join((WORDS * 8)[i % 20 : i % 20 + 100 + i]).replace("small", "small.") for i in range(60)]
    found.write_text("\n\n".join(texts))
    return found


def own(path: Path) -> list[str]:
    return ["data=text_file_masked", f"data.path={path}", "data.max_tokens=60", "data.context=32"]


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["torchatlas", *arguments])
    cli.main()


def test_fill(path: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*TINY, *own(path), "trainer.max_epochs=6", "optim.lr=0.01", "model.dropout=0.0")
    log = (folder / "train.log").read_text()
    assert "baseline, which needs no skill: unigram nll" in log
    assert "of unigram frequencies: the network uses what stands around" in log
    capsys.readouterr()

    def rows(*arguments: str) -> list[dict[str, Any]]:
        run_cli(monkeypatch, "fill", f"ckpt={folder}", *arguments)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    text = "The [MASK] sat on the[MASK]."
    found = rows(f"text={text}", "top=3")
    assert [row["mask"] for row in found] == [1, 2]
    for row in found:
        shares = [row[f"probability_{k}"] for k in (1, 2, 3)]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
    first, second = (row["guess_1"] for row in found)
    filled = f"The {first} sat on the{second.removeprefix('##')}."
    assert found[0]["filled"] == found[1]["filled"] == filled.replace("The ##", "The")
    lines = path.with_name("lines.txt")
    lines.write_text(f"one old dog ran under a blue [MASK] with two small birds.\n\n{text}\n")
    table = path.with_name("out.csv")
    both = rows(f"input={lines}", "top=3", f"output={table}")
    assert [row["mask"] for row in both] == [1, 1, 2]
    for one, two in zip(both[1:], found, strict=True):  # what else is in the batch changes nothing
        assert {k: v for k, v in one.items() if "prob" not in k} == {k: v for k, v in two.items() if "prob" not in k}
        assert one["probability_1"] == pytest.approx(two["probability_1"], abs=2e-6)
    assert len(table.read_text().splitlines()) == 4
    run_cli(monkeypatch, "fill", f"ckpt={folder}", "text=a [MASK] 中 cat")
    assert "unknown to the network, which sees one sign for all of them: '中' 1" in "".join(capsys.readouterr())

    def refuses(match: str, *arguments: str) -> None:
        with pytest.raises(SystemExit):
            run_cli(monkeypatch, "fill", *arguments)
        assert match in capsys.readouterr().err

    refuses('the text has no [MASK]: write it where a word is to be guessed, as in text="The [MASK]', f"ckpt={folder}",
            "text=no mask")  # fmt: skip
    refuses(
        "tokens, special ones included, and the network sees 32", f"ckpt={folder}", "text=" + "cat " * 40 + "[MASK]"
    )
    refuses("top=61 must be from 1 to the 60", f"ckpt={folder}", f"text={text}", "top=61")
    refuses("fill needs either a text or a file", f"ckpt={folder}")
    refuses("there is no file", f"ckpt={folder}", "input=nowhere.txt")
    lines.write_text("a [MASK]\n\nnothing\n")
    refuses("line 3 of", f"ckpt={folder}", f"input={lines}")
    digits = train("model.widths=[8]", "trainer=cpu", "trainer.max_epochs=1", "callbacks=default", "logger=none")
    refuses("was trained for classification: fill needs a masked language model", f"ckpt={digits}", f"text={text}")
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["tensors"]
    assert {f"{stage} text/hidden tokens {i}/text_summary" for stage in ("validation", "test") for i in (1, 2)} <= {
        *tags
    }
    shown = accumulator.Tensors("test text/hidden tokens 1/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "⟦1⟧" in shown
    assert "The second piece" in shown
    run_cli(monkeypatch, "evaluate", f"ckpt={folder}", "split=val")
    evaluated = capsys.readouterr().out
    best = json.loads((folder / "metrics.json").read_text())["best"]
    for key in ("masked_nll", "unigram_nll", "next_sentence_nll"):
        line = next(line for line in evaluated.splitlines() if f"val/{key}" in line)
        assert float(line.split()[-1]) == pytest.approx(best[f"val/{key}"], rel=1e-3)
