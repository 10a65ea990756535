"""One run, and what `sample`, `reconstruct`, `interpolate` and `inpaint` make of it."""

import numpy as np
import pytest
from helpers import Train
from PIL import Image

from torchatlas import cli
from torchatlas.errors import UserError


def test_commands_write_pictures(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """One run, and what `sample`, `reconstruct`, `interpolate` and `inpaint` make of it; and their refusals."""
    folder = train(
        "model=ddpm_small", "data=digits", "duration=2st", "model.width=8", "model.multipliers=[1,1]", "model.groups=4",
        "model.attention=[1]", "task.steps=25", "callbacks=default",
    )  # fmt: skip
    cli.run(["sample", f"ckpt={folder}", "n=9", "batch=4", "class=3,5", "guidance=1", "seed=1"])
    assert "9 images in" in capsys.readouterr().out
    assert sorted(p.name for p in (folder / "samples").iterdir()) == ["chain.gif", "chain.png", "grid.png", "images"]
    files = sorted((folder / "samples" / "images").iterdir())
    assert [p.name for p in files] == [f"{i:04d}.png" for i in range(9)]
    nine = [np.array(Image.open(p)) for p in files]
    assert nine[0].shape == (8, 8)
    cli.run(["sample", f"ckpt={folder}", "n=2", "class=3,5", "guidance=1", "seed=1", f"output={folder / 'two'}"])
    for i in range(2):  # whatever others are made with it
        assert np.array_equal(np.array(Image.open(folder / "two" / "images" / f"{i:04d}.png")), nine[i])
    with Image.open(folder / "samples" / "chain.gif") as animation:
        assert animation.n_frames == 25
    cli.run(["sample", f"ckpt={folder}", "n=1", f"output={folder / 'two'}"])  # those of the earlier call go
    assert [p.name for p in (folder / "two" / "images").iterdir()] == ["0000.png"]
    cli.run(["reconstruct", f"ckpt={folder}", "n=3"])
    cli.run(["interpolate", f"ckpt={folder}", "rows=2", f"input={folder / 'samples' / 'images'}", "steps=3"])
    cli.run(["inpaint", f"ckpt={folder}", "n=2", "steps=4", "repeats=2", "mask=left"])
    for name in ("reconstructions.png", "interpolations.png", "inpainted/grid.png"):
        assert (folder / name).is_file()
    for command, arguments, words in (
        ("sample", ["class=11"], "no class '11'"),
        ("sample", ["sampler=ode"], "sampler=ode is unknown"),
        ("sample", ["n=0"], "n=0"),
        ("reconstruct", ["n=0"], "0, must be at least 1"),
        ("inpaint", ["n=-1"], "-1, must be at least 1"),
        ("sample", ["eta=1"], "is of sampler=ddim"),
        ("sample", ["eta=2", "sampler=ddim"], "from 0 to 1"),
        ("sample", ["guidance=nan", "class=3"], "guidance=nan"),
        ("sample", ["steps=26"], "from 1 to the 25"),
        ("inpaint", ["mask=middle"], "no mask=middle"),
        ("interpolate", ["steps=1"], "steps=1"),
        ("interpolate", ["input=nowhere"], "no file or folder nowhere"),
        ("reconstruct", ["output=picture.jpg"], "must be a PNG"),
        ("reconstruct", ["depth=2"], "depth=2"),
    ):
        with pytest.raises(UserError, match=words):
            cli.run([command, f"ckpt={folder}", *arguments])
    for change in ("task.prediction=v", "task.noise_schedule=cosine", "task.steps=50"):
        with pytest.raises(SystemExit):
            train(f"resume={folder}", change, "duration=4st")
        assert f"{change} cannot change in a resumed run" in " ".join(capsys.readouterr().err.split())
