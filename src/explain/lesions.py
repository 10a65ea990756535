"""What a network still knows without one of its parts: blocks and branches that are left out, one at a time.

Each function leaves the network as it was. Inputs x are `b c h w` as the network takes them.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..analysis.modes import evaluating
from ..models.transformer import EncoderLayer
from .methods import BATCH, Call, hooked, outputs, trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SHORTCUTS = ("shortcut", "downsample", "skip", "projection")  # what the zoo calls W_s of He et al. 2015, eq. 2


class Lesion(NamedTuple):
    """A part that can be left out of a network.

    Attributes:
        name: the block's.
        kind: "block": `modules` pass on their input; "branch": the one module, a residual branch's last, gives zeros.
        modules: which ones.
    """

    name: str
    kind: Literal["block", "branch"]
    modules: tuple[nn.Module, ...]


def parts_of(network: nn.Module) -> Iterator[tuple[str, tuple[nn.Module, ...]]]:
    """Blocks, and the convolutions and linear layers that are in none, the latter with their batch normalisation.

    A block is a module with children of a class of which the network has several.
    """
    own = [type(m) for m in network.modules() if any(m.children()) and type(m) not in CONTAINERS]
    several = {kind for kind, number in Counter(own).items() if number > 1}

    def descend(module: nn.Module, prefix: str) -> Iterator[tuple[str, tuple[nn.Module, ...]]]:
        children = list(module.named_children())
        for i, (name, child) in enumerate(children):
            if type(child) in several:
                yield prefix + name, (child,)
            elif any(child.children()):
                yield from descend(child, f"{prefix}{name}.")
            elif isinstance(child, nn.Conv2d | nn.Linear):
                following = children[i + 1][1] if isinstance(module, nn.Sequential) and i + 1 < len(children) else None
                norm = (following,) if isinstance(following, nn.modules.batchnorm._BatchNorm) else ()
                yield prefix + name, (child, *norm)

    return descend(network, "")


@torch.no_grad()
def lesions(network: nn.Module, x: Tensor) -> tuple[list[Lesion], list[str]]:
    """What can be left out of a network, and the names of the blocks that cannot.

    Of a block with a shortcut that computes something (a child called `shortcut`, `downsample`, `skip` or `projection`)
    it is the residual branch; of a Transformer's layer it is each of its two branches, by the last linear map; else it
    is the whole block, where its output has the shape of its input. Behind a ReLU the latter equals leaving out the
    branch, y = ReLU(0 + x) = x. Of a plain chain it is each such layer.

    Args:
        network: any network.
        x: at least two different images.
    """
    calls = trace(network, x)
    turns = Counter(call.module for call in calls)
    found, rest = [], []
    for name, modules in parts_of(network):
        call = next((call for call in calls if call.module is modules[0]), None)
        if call is None:
            continue
        if sublayers := sublayers_of(call):
            found += sublayers
            continue
        branch = branch_of(network, call, calls, x)
        if branch is not None:
            found.append(Lesion(name, "branch", (branch,)))
        elif call.given == call.made and turns[call.module] == 1:
            found.append(Lesion(name, "block", modules))
        elif any(call.module.children()):
            rest.append(name)
    return found, rest


def sublayers_of(block: Call) -> list[Lesion]:
    """Attention and MLP of a Transformer's layer that normalises before them, so that zeros are nothing added."""
    layer = block.module
    if not (isinstance(layer, EncoderLayer) and layer.norm_first):
        return []
    return [
        Lesion(f"{block.name}.attention", "branch", (layer.attention.output,)),
        Lesion(f"{block.name}.down", "branch", (layer.down,)),
    ]


def branch_of(network: nn.Module, block: Call, calls: Sequence[Call], x: Tensor) -> nn.Module | None:
    """The last module with parameters in the branch beside a shortcut; None where the block has no such shortcut."""
    children = dict(block.module.named_children())
    shortcuts = [children[name] for name in SHORTCUTS if name in children]
    ran = {call.module for call in calls}
    if not any(module in ran and not isinstance(module, nn.Identity) for module in shortcuts):
        return None
    branch = [
        call.module
        for call in calls
        if any(call.module is child and child not in shortcuts for child in children.values())
        and call.made == block.made
        and any(True for _ in call.module.parameters())
    ]
    if not branch:
        return None
    lesion = Lesion(block.name, "branch", (branch[-1],))
    with without(lesion):
        left, _ = outputs(network, x, [block.name])
    # Without a way past the branch, nothing of the image would come through.
    return branch[-1] if not torch.equal(left[block.name][0], left[block.name][1]) else None


@contextlib.contextmanager
def without(lesion: Lesion) -> Iterator[None]:
    """The network with a part left out; whole again afterwards."""

    def zero(_: nn.Module, __: Any, made: Tensor) -> Tensor:
        return torch.zeros_like(made)

    def passed_on(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return x.clone()  # a later layer may work in place

    if lesion.kind == "branch":
        with hooked(dict.fromkeys(lesion.modules, zero)):
            yield
        return
    for module in lesion.modules:
        vars(module)["forward"] = passed_on
    try:
        yield
    finally:
        for module in lesion.modules:
            del vars(module)["forward"]


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of right answers, in eval mode."""
    with evaluating(network):
        right = [(network(a).argmax(1) == b).sum() for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
    return float(torch.stack(right).sum()) / len(y)


def lesion_study(network: nn.Module, parts: Sequence[Lesion], x: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy on images x with labels y without one part each; under the empty name that of the whole network.

    Veit, Wilber and Belongie 2016, arXiv:1605.06431, section 4.1.
    """
    found = {"": accuracy(network, x, y)}
    for lesion in parts:
        with without(lesion):
            found[lesion.name] = accuracy(network, x, y)
    return found
