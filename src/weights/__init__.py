"""Weights from elsewhere: recognised by their names, renamed by declared tables, and taken where they fit.

Each source has a file with its table. Names are all that a file shows: strides, poolings and constants of the network
in which the weights were trained are not in it. The tables therefore name networks that compute what ours do, and say
where a source's network of the same name does not. huyvnphan's PyTorch_CIFAR10 has torchvision's names, and a
pooling after the stem of its ResNets that ours for small images do not have; nothing in its files shows that.
"""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_model
from torch import Tensor, nn

from ..errors import UserError
from ..models.contract import OfImages, claims
from ..models.googlenet import GoogLeNet
from ..version import __version__
from . import (
    akamaster,
    chenyaofo,
    diffusers_names,
    files,
    huggingface,
    huggingface_text,
    kuangliu,
    timm_weights,
    torchvision_weights,
    weiaicunzai,
    xternalz,
)
from .files import Found, read, unwrap
from .naming import Naming
from .report import Preprocessing, Report

__all__ = ["Preprocessing", "Report", "load_weights", "save_weights"]

NAMINGS: tuple[Naming, ...] = (
    *torchvision_weights.NAMINGS, *timm_weights.NAMINGS, *kuangliu.NAMINGS, *akamaster.NAMINGS, *chenyaofo.NAMINGS,
    *weiaicunzai.NAMINGS, *xternalz.NAMINGS, *huggingface.NAMINGS,
    *huggingface_text.NAMINGS, *diffusers_names.NAMINGS,
)  # fmt: skip
COUNTERS = "num_batches_tracked"  # of batch normalisation: absent in files from before torch 0.4.1, and without effect
TEXT_POSITIONS = ("positions.weight", "positions.embedding.weight")  # learned, of the steps of a text
SMALL = 64  # image size, in pixels, under which networks have their form for small images
NAMED = 3  # keys of either side in the message of a refusal


def load_weights(network: nn.Module, weights: str | Path | Mapping[str, Tensor], *, name: str | None = None) -> Report:
    """Load weights into a network; where they are refused, the network stays as it is.

    Another number of classes leaves the network's `heads` as initialised. Another number of image channels adapts
    the first convolution: for grey images its kernels are summed over the channels, which keeps the response to a
    grey image; otherwise they are repeated, and divided so that the response keeps its size. Positions of
    another number of patches are interpolated. Weights of a classifier begin the network's `trunk`, where it names one.

    Args:
        network: as `create_model` makes it, with the wanted number of classes and channels.
        weights: a file (.safetensors, .pt, .pth, .ckpt, ...), a run folder, a state dict,
            `torchvision:resnet50/IMAGENET1K_V2`, `timm:resnet50.a1_in1k`, or `hf:google-bert/bert-base-uncased`; a
            folder with Hugging Face's config.json too.
        name: of the network as in torchvision, with which `torchvision:IMAGENET1K_V2` is enough.

    Returns:
        What was taken, adapted, missing and left over, and the preprocessing of the images where it is known.

    Raises:
        UserError: there are no such weights; they cannot be read safely; they are those of another network, of
            which less than half fits; or of another image size.
    """
    found = _find(weights, name)
    if found.config is not None and _module(network) in ("bert", "gpt", "vit", "deit"):
        huggingface_text.require_same(found.config, network, found.where)
    plan = _plan_of_all_or_trunk(network, found)
    own = network.state_dict()
    with torch.no_grad():
        for key, tensor in plan.tensors.items():
            own[key].copy_(tensor)
    return _report(network, found, plan)


def save_weights(network: nn.Module, path: str | Path, preprocessing: Preprocessing | None = None) -> None:
    """Write a network's weights as safetensors, whole or not at all.

    Args:
        network: of any kind.
        path: the file; its folder is made where it is missing.
        preprocessing: of the images, which `load_weights` gives back.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path).expanduser()
    metadata = {"torchatlas": __version__}
    if preprocessing is not None:
        metadata["preprocessing"] = preprocessing.to_json()
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = part.stat().st_mode
        save_model(network, str(part), metadata)
        part.chmod(mode)  # safetensors makes it readable for its owner alone
        part.replace(path)
    except Exception as error:  # safetensors has its own for the disk
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error}): name another file") from error


def _find(weights: str | Path | Mapping[str, Tensor], name: str | None) -> Found:
    if isinstance(weights, Mapping):
        return Found(unwrap(weights, "the mapping"), "the mapping")
    if isinstance(weights, str) and weights.startswith(torchvision_weights.PREFIX):
        return torchvision_weights.fetch(weights, name)
    if isinstance(weights, str) and weights.startswith(timm_weights.PREFIX):
        return timm_weights.fetch(weights)
    if isinstance(weights, str) and weights.startswith(files.HUB):
        return files.fetch(weights)
    return read(weights)


@dataclass
class _Plan:
    """What would become of one network with the names of one source."""

    source: str
    total: int = 0  # tensors that could fit, heads for another number of classes apart
    fitting: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    changed: int = 0  # of the tensors, those that are not as they were given
    stem: tuple[int, int] | None = None  # kernel sizes of the first convolution where they differ: given, ours
    fresh: list[str] = field(default_factory=list)  # parameters of heads for another number of classes
    preprocessing: Preprocessing | None = None  # of the source


def _plan_of_all_or_trunk(network: nn.Module, found: Found) -> _Plan:
    """The plan for the network, or else for the part that weights of a classifier begin, which it names in `trunk`.

    Raises:
        UserError: neither fits.
    """
    trunk = claims(network).trunk
    begin = f"{trunk}."
    try:
        return _plan(network, found)
    except UserError:
        if trunk is None or any(key.startswith(begin) for key in found.state):
            raise
    part = network.get_submodule(trunk)
    plan = _plan(part, found)
    plan.tensors = {begin + key: tensor for key, tensor in plan.tensors.items()}
    plan.missing = [begin + key for key in plan.missing]
    plan.fresh = [begin + key for key in plan.fresh]
    plan.missing += [key for key in network.state_dict() if not key.startswith(begin) and not key.endswith(COUNTERS)]
    plan.adapted.append(f"the weights begin the {trunk}: what follows it is new")
    return plan


def _plan(network: nn.Module, found: Found) -> _Plan:
    """The best of all readings of the names.

    Raises:
        UserError: even that fits badly, or the source is known to compute something else.
    """
    like_torchvision = _module(network) in torchvision_weights.NETWORKS
    best = _try(network, found, Naming(found.source or ("torchvision" if like_torchvision else "torchatlas"), ()))
    known: Naming | None = None
    for naming in NAMINGS:
        if naming.recognises(found.state):
            known = known or naming
            plan = _try(network, found, naming)
            best = plan if plan.fitting >= best.fitting and not naming.refused else best
    if best.stem is not None and 2 * (best.fitting + 1) >= best.total:
        given, ours = best.stem
        if claims(network).patch_size is not None:
            raise UserError(
                f"{found.where} holds weights for patches of {given}x{given} pixels, and here they are {ours}x{ours}: "
                f"use model.patch_size={given} and data.image_size=224"
            )
        kind, size = ("large", "64 or more, best 224") if given > ours else ("small", "32")
        raise UserError(
            f"{found.where} holds weights for {kind} images (their first convolution is {given}x{given}, and here it "
            f"is {ours}x{ours}): use data.image_size={size}"
        )
    if best.fitting == 0 or 2 * best.fitting < best.total:
        if known is not None and known.refused:
            raise UserError(
                f"{found.where} holds weights of {known.source} that would compute something else here, since "
                f"{known.refused}: give weights of another source"
            )
        raise UserError(
            f"{found.where} holds the weights of another network, of which {best.fitting} of {best.total} tensors fit: "
            f"it begins with {_first(found.state)}, and the network with {_first(network.state_dict())}"
        )
    return best


def _module(network: nn.Module) -> str:
    return type(network).__module__.rpartition(".")[2]


def _first(state: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{ascii(key)[1:-1][:60]} {_shape(tensor)}" for key, tensor in list(state.items())[:NAMED])


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _try(network: nn.Module, found: Found, naming: Naming) -> _Plan:
    """Compare name by name and shape by shape; nothing is changed."""
    plan = _Plan(naming.source)
    originals = {naming.rename(key): key for key in found.state}
    if len(originals) < len(found.state):
        return plan  # two tensors would have one name
    given = {new: found.state[old] for new, old in originals.items()}
    if naming.arrange is not None:
        try:
            given = naming.arrange(given)
        except (KeyError, IndexError, TypeError, RuntimeError):
            return plan  # a part of such a network, or tensors of other shapes
    if naming.note and found.source is None:
        plan.adapted.append(naming.note)

    plan.preprocessing = naming.preprocessing_of(given)
    own = network.state_dict()
    stem = next((key for key, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
    fresh = _fresh_heads(network, given, own, plan)
    shared = _shared_names(network)
    for key, ours in own.items():
        if key.startswith(fresh):
            plan.fresh.append(key)
            continue
        theirs = given.get(key)
        if not key.endswith(COUNTERS):
            plan.total += 1
        if theirs is None:
            if not key.endswith(COUNTERS) and not any(other in given for other in shared.get(key, ())):
                plan.missing.append(key)
                continue
        elif theirs.shape == ours.shape:
            plan.tensors[key] = theirs
        elif theirs.ndim == 4 and ours.ndim == 2 and theirs.flatten(1).shape == ours.shape:
            plan.tensors[key] = theirs.flatten(1)  # a convolution over all pixels, or of 1x1, is a linear layer
        elif theirs.ndim == 2 and ours.ndim == 4 and theirs.shape == ours.flatten(1).shape:
            plan.tensors[key] = theirs.view_as(ours)  # and the reverse
        elif key == f"{stem}.weight" and theirs.ndim == 4 and theirs.shape[2:] != ours.shape[2:]:
            plan.stem = theirs.shape[2], ours.shape[2]
            plan.reshaped.append(_difference(key, theirs, ours))
            continue
        elif key == f"{stem}.weight" and theirs.ndim == 4 and len(theirs) == len(ours) and theirs.shape[1]:
            plan.tensors[key] = adapt_channels(theirs, ours.shape[1])
            plan.changed += 1
            how = "summed to 1" if ours.shape[1] == 1 else f"repeated to {ours.shape[1]} and rescaled"
            plan.adapted.append(f"{key}: {theirs.shape[1]} channels in the weights, {how}")
        elif key in TEXT_POSITIONS and theirs.shape[1:] == ours.shape[1:] and len(theirs) > len(ours):
            plan.tensors[key] = theirs[: len(ours)]
            plan.changed += 1
            plan.adapted.append(f"{key}: the first {len(ours)} of {len(theirs)} positions in the weights")
        elif key == "positions" and (moved := adapt_positions(theirs, ours, network)) is not None:
            plan.tensors[key] = moved
            plan.changed += 1
            before, now = (len(x[0]) - (claims(network).special_tokens or 0) for x in (theirs, ours))
            plan.adapted.append(f"{key}: of {before} patches in the weights, interpolated to {now}")
        else:
            plan.reshaped.append(_difference(key, theirs, ours))
            continue
        plan.fitting += not key.endswith(COUNTERS)
    plan.unexpected = [
        old for new, old in originals.items() if new in given and new not in own and not new.endswith(COUNTERS)
    ]
    return plan


def _difference(key: str, theirs: Tensor, ours: Tensor) -> str:
    return f"{key} ({_shape(theirs)} in the weights, {_shape(ours)} here)"


def _fresh_heads(
    network: nn.Module, given: Mapping[str, Tensor], own: Mapping[str, Tensor], plan: _Plan
) -> tuple[str, ...]:
    """Prefixes of the heads that are for another number of classes, each said in the plan."""
    fresh = []
    for head in claims(network).heads:
        for key in own:
            theirs = given.get(key)
            if (
                key.startswith(f"{head}.")
                and theirs is not None
                and theirs.ndim
                and theirs.shape[1:] == own[key].shape[1:]
                and len(theirs) != len(own[key])
            ):
                fresh.append(f"{head}.")
                plan.adapted.append(
                    f"{key}: {len(theirs)} classes in the weights, {len(own[key])} here: the head is new"
                )
                break
    return tuple(fresh)


def _shared_names(network: nn.Module) -> dict[str, list[str]]:
    """Other names of a parameter that a network has in several places: safetensors keeps it under one of them."""
    names: dict[int, list[str]] = {}
    for key, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(key)
    return {key: keys for keys in names.values() if len(keys) > 1 for key in keys}


def adapt_channels(kernel: Tensor, channels: int) -> Tensor:
    """A first convolution's kernel for another number of image channels, as `adapt_input_conv` of timm has it.

    Args:
        kernel: `o c h w`.
        channels: wanted.

    Returns:
        `o channels h w`. For one channel the sum, which gives to a grey image what it gave to three equal channels;
        for more the channels in turn, times c / channels, which gives the same where they divide evenly.
    """
    c = kernel.shape[1]
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, torch.arange(channels, device=kernel.device) % c] * (c / channels)


def adapt_positions(theirs: Tensor, ours: Tensor, network: nn.Module) -> Tensor | None:
    """Learned positions of a square grid of patches for another grid, bicubic; those of special tokens stay.

    Interpolated from corner to corner, as torchvision's `interpolate_embeddings` does. Dosovitskiy et al. 2020,
    arXiv:2010.11929, section 3.2.

    Args:
        theirs, ours: `1 t d`.
        network: its `special_tokens` are the number of tokens before the patches.

    Returns:
        `1 t d` as ours; None where these are no positions of a grid.
    """
    special = claims(network).special_tokens
    if special is None or theirs.ndim != 3 or theirs[:, :0].shape != ours[:, :0].shape:
        return None
    before, now = (math.isqrt(max(0, x.shape[1] - special)) for x in (theirs, ours))
    if theirs.shape[1] != special + before**2 or not before:
        return None
    grid = theirs[:, special:].mT.unflatten(2, (before, before))
    moved = F.interpolate(grid.float(), (now, now), mode="bicubic", align_corners=True).type_as(theirs)
    return torch.cat([theirs[:, :special], moved.flatten(2).mT], 1)


def _report(network: nn.Module, found: Found, plan: _Plan) -> Report:
    preprocessing = found.preprocessing or plan.preprocessing
    if plan.source == "torchvision":
        file_name = Path(found.where).name
        of_file = torchvision_weights.preprocessing_of_file(file_name) or chenyaofo.preprocessing_of_file(file_name)
        preprocessing = preprocessing or of_file
        if preprocessing and isinstance(network, GoogLeNet) and not network.transform_input:
            preprocessing = replace(preprocessing, **torchvision_weights.TRANSFORMED)
    size = network.image_size if isinstance(network, OfImages) else None
    adapted = list(plan.adapted)
    if preprocessing and size and size < SMALL <= preprocessing.image_size:
        adapted.append(
            f"the weights are for images of {preprocessing.image_size} pixels, and the network's form for {size} "
            "strides and pools less"
        )
    return Report(
        source=plan.source,
        loaded=len(plan.tensors) - plan.changed,
        missing=plan.missing,
        unexpected=plan.unexpected,
        reshaped=plan.reshaped,
        adapted=adapted,
        fresh=plan.fresh,
        preprocessing=preprocessing,
    )
