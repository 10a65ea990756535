"""Hydra's parser can be made where argparse looks into each help as it is added, as Python 3.14's does."""

import argparse

import pytest
from hydra._internal.utils import get_args_parser

from torchatlas.run.hydra_parser import lazy_help


def strict(self: argparse._ActionsContainer, action: argparse.Action) -> None:
    """What Python 3.14 does with each help."""
    if action.help:
        action.help % {"prog": "train", "default": None}


def test_a_help_that_is_no_text_is_left_alone_and_others_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse._ActionsContainer, "_check_help", strict, raising=False)
    with lazy_help():
        parser = get_args_parser()
        for action in parser._actions:
            parser._check_help(action)  # type: ignore[attr-defined]
        action = parser.add_argument("--other")
        action.help = "50 %"
        with pytest.raises(ValueError, match="incomplete format"):
            parser._check_help(action)  # type: ignore[attr-defined]
    lazy = next(action for action in parser._actions if action.dest == "shell_completion")
    with pytest.raises(TypeError):
        parser._check_help(lazy)  # type: ignore[attr-defined]
    assert argparse._ActionsContainer._check_help is strict  # type: ignore[attr-defined]
