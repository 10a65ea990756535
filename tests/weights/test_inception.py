"""The file of Inception's weights against its network; programs in it are not run."""

import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchatlas.errors import UserError
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
