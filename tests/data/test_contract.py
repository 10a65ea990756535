"""A class of data says what networks need to know; no other module of data is asked."""

from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from torchatlas.errors import UserError
from torchatlas.run.mistakes import explain


class Words:
    """As a class of another package may be."""

    asked: ClassVar[list[dict[str, Any]]] = []

    @classmethod
    def declare_vocab_size(cls, path: str, most: int = 100, fake: bool = False) -> int:
        cls.asked.append({"path": path, "most": most, "fake": fake})
        if path == "nowhere":
            raise UserError("there is no file nowhere")
        return 10 if fake else most

    @staticmethod
    def declare_in_channels(vocab_size: int, names: list[str]) -> int:
        assert type(names) is list
        return vocab_size + len(names)


SECTION = {
    "_target_": f"{__name__}.Words",
    "path": "${file}",
    "names": ["a", "b"],
    "vocab_size": "${declared:vocab_size}",
    "in_channels": "${declared:in_channels}",
    "num_classes": "${declared:num_classes}",
}


@pytest.fixture
def config() -> Any:
    Words.asked.clear()
    return OmegaConf.create({"file": "a.txt", "data": SECTION, "model": {"size": "${data.vocab_size}"}})


def test_the_class_answers_from_its_section(config: Any) -> None:
    assert (config.data.vocab_size, config.data.in_channels, config.model.size) == (100, 102, 100)
    assert Words.asked == [{"path": "a.txt", "most": 100, "fake": False}]


def test_later_overrides_are_followed_and_nothing_is_asked_twice(config: Any) -> None:
    assert config.model.size == 100
    config.file = "b.txt"
    config.data.most = 7
    assert [config.model.size for _ in range(3)] == [7] * 3
    assert config.copy().model.size == 7
    assert [asked["path"] for asked in Words.asked] == ["a.txt", "b.txt"]
    config.data.vocab_size = 3
    assert (config.model.size, config.data.in_channels) == (3, 5)
    assert len(Words.asked) == 2


def test_another_config_asks_anew(config: Any) -> None:
    for _ in range(2):
        assert OmegaConf.create(OmegaConf.to_container(config)).model.size == 100
    assert len(Words.asked) == 2


def test_a_refusal_is_one_sentence(config: Any) -> None:
    config.file = "nowhere"
    for key, answer in (
        ("vocab_size", "there is no file nowhere"),
        ("in_channels", "there is no file nowhere"),
        (
            "num_classes",
            "Words does not declare num_classes: write its value into the config, as in data.num_classes=10",
        ),
    ):
        with pytest.raises(InterpolationResolutionError) as caught:
            config.data[key]
        assert explain(caught.value) == answer
