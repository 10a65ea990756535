"""Every network of torchvision's names is torchvision's; the table of parity has every network."""

import re
import runpy

import pytest
from helpers import REPOSITORY

from torchatlas.zoo import list_models, model_card

parity = runpy.run_path(str(REPOSITORY / "scripts" / "parity.py"))
pages = runpy.run_path(str(REPOSITORY / "scripts" / "pages.py"))
ONE_OF_EACH = (
    "alexnet", "densenet121", "efficientnet_b0", "googlenet", "mobilenet_v2", "resnet18", "resnext50_32x4d",
    "vgg11_bn",
)  # fmt: skip


@pytest.mark.parametrize("name", parity["names"]())
def test_equal_to_torchvision(name: str) -> None:
    """The same names and shapes; with the same weights the same logits in eval and gradients in train."""
    found = parity["compare"](name, image_size=64, with_gradients=name in ONE_OF_EACH)
    assert found["parameters"] == found["theirs"]
    assert found["logits"] <= 1e-5
    assert found.get("gradients", 0) <= 1e-4


def test_the_parity_table_has_every_network() -> None:
    text = (REPOSITORY / "docs" / "parity.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == parity["names"]()
    for name, ours, theirs in rows:
        assert ours == theirs == f"{model_card(name).parameters:,}"


def test_every_other_network_is_held_against_something() -> None:
    others = {name: text for name, text in pages["HELD_AGAINST"].items() if name not in parity["names"]()}
    assert {*parity["names"](), *others} == set(list_models())
    assert others == pages["HELD_AGAINST"]
    for name, text in others.items():
        assert [path for path in re.findall(r"tests/\S+\.py", text) if (REPOSITORY / path).exists()], f"{name}: {text}"
