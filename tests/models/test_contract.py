"""What networks say and can do is what the contract has, and nobody asks them for anything else."""

import ast
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from beartype.door import is_bearable
from helpers import REPOSITORY, all_outputs, tiny_network
from torch import Tensor, nn

from torchatlas.models import contract
from torchatlas.models.contract import (
    MARKS,
    Attention,
    Claims,
    Coding,
    EncoderDecoder,
    Exemplified,
    Fitting,
    OfImages,
    Stateful,
    claims,
)

SOURCE = REPOSITORY / "src"
OTHERS = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE / "models"]
NETWORKS = {"network", "net"}


def members(protocol: type) -> dict[str, Any]:
    """The types of a Protocol's attributes, and its methods."""
    methods = {name: function for base in protocol.__mro__[:-3] for name, function in vars(base).items()}
    methods = {name: f for name, f in methods.items() if inspect.isfunction(f) and not name.startswith("_")}
    return typing.get_type_hints(protocol) | methods


NAMES = {"positions", *Claims._fields, *(name for protocol in MARKS for name in members(protocol))}


# --- the zoo


@pytest.mark.parametrize("protocol", MARKS)
def test_who_can_a_part_can_all_of_it(protocol: type, tiny_name: str) -> None:
    """A class with the mark of a Protocol has each of its members, with its type, or taking what it takes."""
    for module in tiny_network(tiny_name).modules():
        if not hasattr(module, MARKS[protocol]) or (protocol is Stateful and isinstance(module, EncoderDecoder)):
            continue  # an encoder-decoder network goes on from the state that it has read
        assert isinstance(module, protocol)
        for name, member in members(protocol).items():
            value = getattr(module, name)
            if inspect.isfunction(member):
                parameters = list(inspect.signature(member).parameters.values())[1:]
                inspect.signature(value).bind(*parameters)
                inspect.signature(value).bind(*(p for p in parameters if p.default is p.empty))
            else:
                assert is_bearable(value, member), f"{name}={value!r}"


def test_claims_are_of_their_types(tiny_name: str) -> None:
    network = tiny_network(tiny_name)
    for name, type_ in typing.get_type_hints(Claims).items():
        assert is_bearable(getattr(claims(network), name), type_), name
        assert name not in dict(network.named_children()), f"the submodule {name} has the name of a claim"
    for head in (*claims(network).heads, *filter(None, [claims(network).trunk])):
        assert list(network.get_submodule(head).parameters()), head


def test_what_networks_can_do_does_what_it_says(tiny_name: str) -> None:
    network = tiny_network(tiny_name).eval()
    assert isinstance(network, Exemplified)
    inputs = network.example_input(3)
    assert len(inputs[0]) == 3
    with torch.no_grad():
        answers = all_outputs(network(*inputs))[0]
        if isinstance(network, EncoderDecoder):
            source, target, lengths = inputs
            state = network.read(source, lengths)
            first, state = network.advance(target[:, :1], state)
            rest, _ = network.advance(target[:, 1:], state)
            torch.testing.assert_close(torch.cat([first, rest], 1), answers, rtol=1e-4, atol=1e-5)
        elif isinstance(network, Stateful) and claims(network).causal:
            first, state = network.advance(inputs[0][:, :1])
            rest, _ = network.advance(inputs[0][:, 1:], state)
            torch.testing.assert_close(torch.cat([first, rest], 1), network.advance(inputs[0])[0], rtol=1e-4, atol=1e-5)
        if isinstance(network, OfImages) and not claims(network).margin:
            assert inputs[0].shape[1:] == (network.in_channels, network.image_size, network.image_size)
        if isinstance(network, Coding):
            codes = network.encode(inputs[0])
            z = codes[0] if isinstance(codes, tuple) else codes
            assert z.shape == (3, network.latent_dim)
            assert network.decode(z).shape[2:] == inputs[0].shape[2:]
        if isinstance(network, Fitting):
            side = network.fits(network.fits(50) - 3)
            assert network.fits(side) == side
            answers = all_outputs(network(torch.randn(1, inputs[0].shape[1], side, side)))[0]
            assert answers.shape[2:] == (side - 2 * claims(network).margin,) * 2


def test_attention_leaves_its_weights(tiny_name: str) -> None:
    network = tiny_network(tiny_name).eval()
    attending = [module for module in network.modules() if isinstance(module, Attention)]
    for module in attending:
        module.written_out = True
    network(*network.example_input(2))
    for module in attending:
        assert isinstance(module.weights, Tensor)
        torch.testing.assert_close(module.weights.sum(-1), torch.ones(module.weights.shape[:-1]))


# --- a user's network


class Own(nn.Module):
    """A network that says nothing, and has parts of taken names, as torchvision's ViT has."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.Sequential(nn.Linear(3, 2))
        self.code = nn.Parameter(torch.zeros(1))


def test_a_part_with_the_name_of_a_claim_is_none() -> None:
    assert claims(Own()) == Claims() == claims(nn.Linear(2, 2)) == claims(nn.Linear)
    assert not any(isinstance(Own(), protocol) for protocol in MARKS)


# --- who asks


def calls(path: Path) -> Iterator[tuple[int, ast.expr, str]]:
    """Line, object and name of each `getattr` and `hasattr` with a name that stands there."""
    for node in ast.walk(ast.parse(path.read_text())):
        called = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr")
        if called and isinstance(node.args[1], ast.Constant):
            yield node.lineno, node.args[0], str(node.args[1].value)


def of_network(node: ast.expr) -> bool:
    """Whether it is called one: `network`, `task.network`, `module.network`."""
    return getattr(node, "id", getattr(node, "attr", None)) in NETWORKS


def test_nobody_asks_a_network_by_string() -> None:
    asked = [
        f"{path.relative_to(REPOSITORY)}:{line} {ast.unparse(of)}: {name}"
        for path in OTHERS
        for line, of, name in calls(path)
        if of_network(of) or (name in NAMES and re.search("network|module|layer|model", ast.unparse(of)))
    ]
    assert not asked, "what is asked of networks is declared in models/contract.py, and asked with claims or isinstance"


def test_no_network_is_of_any_type() -> None:
    for path in OTHERS:
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.arg if isinstance(node, ast.arg) else getattr(getattr(node, "target", None), "id", None)
            annotation = getattr(node, "annotation", None)
            if name in NETWORKS and annotation is not None:
                assert ast.unparse(annotation) != "Any", f"{path}:{node.lineno}"


def classes_in(path: Path) -> set[str]:
    """Names of all that the networks have whose classes a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("models."):
            module = importlib.import_module(f"torchatlas.{node.module}")
            for cls in (getattr(module, alias.name) for alias in node.names):
                if isinstance(cls, type) and module is not contract and hasattr(cls, "example_input"):
                    found |= {*dir(cls), *re.findall(r"self\.(\w+)", inspect.getsource(cls))}
    return found


@pytest.mark.parametrize("room", sorted({path.relative_to(SOURCE).parts[0] for path in OTHERS}))
def test_who_asks_a_network_finds_the_name_in_the_contract(room: str) -> None:
    """Or in the class of the network, where it is one and not any."""
    known = {*dir(nn.Module()), *NAMES, "network"}
    for path in OTHERS:
        if path.relative_to(SOURCE).parts[0] != room or path.stem == "timm_weights":  # which asks timm's
            continue
        own = classes_in(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and of_network(node.value):
                assert node.attr in known | own, f"{path}:{node.lineno} asks a network for {node.attr}"
