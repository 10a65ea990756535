"""Our trainer beside other programs, from end to end."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from torchatlas import cli
from torchatlas.errors import UserError
from torchatlas.run.bench import chosen, figures
from torchatlas.storage.record import source

SMALL = ["model=mlp", "model.widths=[8]", "trainer=cpu", "data.batch_size=32", "threads=1", "rounds=2", "steps=20"]
SCRIPT = """
import torch
network = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
while True:
    optimizer.zero_grad()
    network(torch.randn(8, 4)).sum().backward()
    optimizer.step()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_default_beside_a_loop_and_a_script(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures follow from the rounds that are written down; one that fails is left out; no run folder is made."""
    (here / "mine.py").write_text(SCRIPT)
    (here / "broken.py").write_text("raise ValueError('no such data')")
    threads = os.environ.get("OMP_NUM_THREADS")
    found: Any = cli.run(["bench", *SMALL, "against=loop", "peer=mine.py; broken.py", "output=speed.json"])
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert sorted(path.name for path in here.iterdir()) == ["broken.py", "mine.py", "speed.json"]
    assert [result.name for result in found.results] == ["torchatlas", "loop", "mine", "broken"]
    assert [len(result.rounds) for result in found.results] == [2, 2, 2, 0]
    assert any("broken is left out, ValueError: no such data" in note for note in found.notes)
    ours, loop = (figures(found, result) for result in found.results[:2])
    assert (ours.ratio, ours.cpu_ratio) == (1, 1)
    pairs = zip(found.results[0].rounds, found.results[1].rounds, strict=True)
    assert loop.ratio == pytest.approx(sum(b.seconds / a.seconds for a, b in pairs) / 2)
    assert found.flops_per_step == 3 * 32 * 2 * (64 * 8 + 8 * 10)
    assert found.samples_per_step == 32
    assert found.parameters == 64 * 8 + 8 + 8 * 10 + 10
    assert sum(spot.share for spot in found.hot_spots) == pytest.approx(1)
    written = json.loads((here / "speed.json").read_text())
    assert written["results"][1]["figures"]["ratio"] == pytest.approx(loop.ratio)
    assert {"cpu", "flags", "cores"} <= set(written["hardware"])
    assert "torch" in written["versions"]
    commit, changes = source()
    assert (written["commit"], written["uncommitted_changes"]) == (commit, bool(changes))
    printed = capsys.readouterr().out.splitlines()
    table = printed[next(i for i, line in enumerate(printed) if "ms/step" in line) :][:4]
    assert all(len(line) <= 80 for line in table), table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["against=lop"], "against=lop is unknown.*loop"),
        (["against=timm"], "name its folder, as in peer=PATH/TO/timm"),
        (["rounds=0"], "rounds=0 must be a positive whole number"),
        (["output=speed.txt"], "must end in .json"),
        (["resume=auto"], "resume=auto has no place here"),
        (["peer=nowhere"], "neither a training script"),
        (["trainer.precision=64-true"], "use 32-true or bf16-mixed"),
    ],
)
def test_what_cannot_be_is_refused(here: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        cli.run(["bench", "model=mlp", "trainer=cpu", *words])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchatlas.run.bench.find_spec", lambda name: None if name == "accelerate" else object())
    with pytest.raises(UserError, match="pip install accelerate"):
        chosen(["huggingface"])
