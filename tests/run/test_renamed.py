"""Configs that earlier versions have saved."""

import json
from typing import Any

import pytest
from helpers import REPOSITORY
from hydra.utils import get_object

from torchatlas.run.renamed import RENAMED, renamed, today
from torchatlas.run.trust import require_trusted


def targets(config: Any) -> set[str]:
    if isinstance(config, list):
        return set().union(*map(targets, config))
    if not isinstance(config, dict):
        return set()
    own = {config["_target_"]} if "_target_" in config else set()
    return own.union(*map(targets, config.values()))


def test_what_records_name_is_there_and_trusted() -> None:
    found = set()
    for path in (REPOSITORY / "records").glob("*.json"):
        config = json.loads(path.read_text())["config"]
        found |= targets(config)
        require_trusted(renamed(config))
    assert len(found) > 50
    for target in found:
        assert get_object(today(target))


@pytest.mark.parametrize("old", RENAMED)
def test_every_new_name_is_there_and_no_old_one(old: str) -> None:
    assert get_object(f"torchatlas.{RENAMED[old]}")
    assert today(f"torchatlas.{old}.Some") == f"torchatlas.{RENAMED[old]}.Some"
    path = REPOSITORY / "src" / f"{old.replace('.', '/')}.py"
    assert not path.exists() or old in ("data.series", "data.sound", "data.text", "data.masked")


def test_a_saved_config_stays_as_it_is() -> None:
    config = {"data": {"_target_": "torchatlas.data.cifar.CIFAR10", "sizes": [1, {"_target_": "torch.optim.SGD"}]}}
    new = renamed(config)
    assert new["data"]["_target_"] == "torchatlas.data.images.cifar.CIFAR10"
    assert new["data"]["sizes"] == config["data"]["sizes"]
    assert config["data"]["_target_"] == "torchatlas.data.cifar.CIFAR10"
    assert today("elsewhere.data.cifar.CIFAR10") == "elsewhere.data.cifar.CIFAR10"
    assert renamed(new) == new
