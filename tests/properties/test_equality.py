"""Every network of torchvision's names is torchvision's; the table of parity has every network."""

import re
import runpy

import pytest
from helpers import REPOSITORY

from torchatlas.zoo import list_models, model_card

parity = runpy.run_path(str(REPOSITORY / "scripts" / "parity.py"))
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
    assert {*parity["names"](), *parity["OTHERS"]} == set(list_models())
    others = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| .* tests/", text, re.MULTILINE)
    assert others == [(name, f"{model_card(name).parameters:,}") for name in list_models() if name in parity["OTHERS"]]
    for name, ours, theirs in rows:
        assert ours == theirs == f"{model_card(name).parameters:,}"
