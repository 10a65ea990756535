"""Pictures of what an image classifier computes, and of what its answers rest on."""

import difflib
import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import evaluating
from ..data.images.base import ImageData
from ..data.reading import find_files
from ..drawing.images import draw_images
from ..drawing.panels import Panel, draw_panels, scaled
from ..errors import UserError, nearest
from ..predict.registry import answers
from ..run.build import build_network
from ..run.restore import reader
from ..tasks.classification import Classification
from . import methods as ex
from .attention_maps import recorded, rollout
from .base import Drawn
from .image_subject import Subject
from .lesions import lesion_study, lesions

GIVEN = 8  # images that are explained at most
SAMPLES = 1000  # of the validation split, for a lesion study
BATCH = 128  # training samples for gradients
STAGES, CHANNELS = 6, 16  # feature maps: rows and columns
CLASSES, UNITS = 10, 8  # classes and channels whose activation is maximised
NAMED = 30  # layers that an axis has names for


@answers(tasks=("classification",), kinds=("image",))
def look(
    task: Classification, about: dict[str, Any], given: str, *, class_: Annotated[str, "class"] = "", layer: str = ""
) -> Subject:
    """A user's images, and what a classifier says of them.

    Args:
        task: with the trained network.
        about: what the checkpoint says of config and data.
        given: a file, or a folder, of which the first are taken; "": no images.
        class_: the class to be explained; else the one that the network sees in each image.
        layer: whose feature map or tokens gradcam takes; else the last one that has places.

    Raises:
        UserError: there is no such file, class or layer.
    """
    data, classes = reader(about), [str(name) for name in about["data"]["classes"]]
    assert isinstance(data, ImageData)
    if class_ and class_ not in classes:
        raise UserError(f"there is no class {class_!r}{nearest(class_, classes)}")
    paths = find_files(given, data.endings) if given else []
    if len(paths) > GIVEN:
        print(f"the first {GIVEN} of {len(paths)} images in {given} are taken")
        paths = paths[:GIVEN]
    x = next(iter(data.batches(data.read_files(paths), task.device)))[0] if paths else torch.empty(0)
    target = classes.index(class_) if class_ else None
    subject = Subject(task.network, about["config"], about["data"], task.device, layer, target, paths, x)
    if layer:
        maps = [call.name for call in subject.calls if call.is_map and call.name] + subject.token_layers
        if layer not in maps:
            near = difflib.get_close_matches(layer, maps, n=1, cutoff=0.5)
            raise UserError(f"there is no feature map {layer!r}{nearest(layer, maps if near else subject.stages)}")
    return subject


def applies(network: nn.Module) -> bool:
    """Any network that classifies images."""
    return True


def first_filters(network: nn.Module, in_channels: int, image_size: int) -> Tensor | None:
    """Weights `n c h w` of the first layer that sees the image; None where they are no pictures."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == in_channels:
            return layer.weight.detach().float().cpu()
        if isinstance(layer, nn.Linear):
            fits = layer.in_features == in_channels * image_size**2
            return layer.weight.detach().float().cpu().view(-1, in_channels, image_size, image_size) if fits else None
    return None


def draw_filters(subject: Subject) -> Drawn:
    filters = first_filters(subject.network, subject.about["in_channels"], subject.about["image_size"])
    if filters is None:
        raise UserError("the network's first layer does not see pixels as an image")
    yield "filters", draw_images(scaled(filters[:64]))


def in_a_row(maps: Tensor, places: int) -> Tensor:
    """Maps `n h w` beside one another, `h w2`, with room for `places`; gaps and empty places are nan."""
    n, h, w = maps.shape
    gap = max(1, w // 8)
    row = maps.new_full((h, places, w + gap), math.nan)
    row[:, :n, :w] = maps.transpose(0, 1)
    return row.flatten(1)[:, :-gap]


@torch.no_grad()
def draw_features(subject: Subject) -> Drawn:
    """A row for each stage, a column for each channel, each map on its own scale."""
    x, names = subject.images(), subject.stages
    if len(names) > STAGES:
        names = [names[i] for i in torch.linspace(0, len(names) - 1, STAGES).round().long().tolist()]
    maps, _ = ex.outputs(subject.network, x, names)
    for i in range(len(x)):
        figure = Figure(figsize=(12, 0.8 * len(names) + 0.5), layout="constrained")
        figure.suptitle(subject.title(i).replace("\n", "   "), fontsize=9, parse_math=False)
        for row, name in enumerate(names):
            found = maps[name][i].float().cpu()
            axes = figure.add_subplot(len(names), 1, row + 1)
            axes.imshow(in_a_row(scaled(found[:CHANNELS]), CHANNELS).numpy(), "viridis", vmin=0, vmax=1)
            axes.set_xticks([])
            label = f"{name}\n{' x '.join(map(str, found.shape))}"
            axes.set_yticks([(len(found[0]) - 1) / 2], [label], fontsize=8, parse_math=False)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        yield f"features-{i + 1}", figure


def draw_grad_cam(subject: Subject) -> Drawn:
    x, tokens = subject.images(), subject.token_layers
    before_attention = [name for name in tokens if name.endswith("norm1")]
    name = subject.layer or (before_attention or subject.stages)[-1]
    layer = subject.network.get_submodule(name)
    if name in tokens:
        cam = ex.token_grad_cam(subject.network, layer, x, subject.targets, subject.special_tokens)
    else:
        cam = ex.grad_cam(subject.network, layer, x, subject.targets)
    cam = cam.float().cpu()
    images, rows = subject.visible(x), []
    for i, (image, heat) in enumerate(zip(images, cam, strict=True)):
        if (highest := float(heat.max())) > 0:
            heat = heat / highest
        large = F.interpolate(heat[None, None], image.shape[1:], mode="bilinear")[0, 0]
        size = "x".join(map(str, heat.shape))
        note = f"{name}, {size}" if highest > 0 else f"{name}, {size}:\nnothing speaks for it"
        rows.append(
            [Panel(subject.title(i), image), Panel(f"Grad-CAM\n{note}", image.mean(0, keepdim=True), large, "inferno")]
        )
    yield "gradcam", draw_panels(rows)


def draw_saliency(subject: Subject) -> Drawn:
    x, targets, (mean, std) = subject.images(), subject.targets, subject.mean_and_std
    slopes = ex.saliency(subject.network, x, targets).float().cpu()
    black = (-mean / std).expand_as(x)
    shares = ex.integrated_gradients(subject.network, x, targets, black).float().cpu()
    rows = []
    for i, (image, slope, share) in enumerate(zip(subject.visible(x), slopes, shares, strict=True)):
        bound = max(float(share.abs().quantile(0.995)), 1e-12)  # a few extreme pixels would make all others pale
        rows.append(
            [
                Panel(subject.title(i), image),
                Panel("saliency\n|∂ logit / ∂ pixel|", None, scaled(slope[None])[0], "inferno"),
                Panel("integrated gradients\nfrom black", None, share, "RdBu_r", (-bound, bound)),
            ]
        )
    yield "saliency", draw_panels(rows)


def draw_occlusion(subject: Subject) -> Drawn:
    x, size = subject.images(), subject.about["image_size"]
    patch = max(1, round(size / 6))
    stride = max(1, patch // 2)
    drops = ex.occlusion(subject.network, x, subject.targets, patch, stride).float().cpu()
    rows = []
    for i, (image, drop) in enumerate(zip(subject.visible(x), drops, strict=True)):
        bound = max(float(drop.abs().max()), 1e-12)
        note = f"drop of probability\nbehind {patch}x{patch} grey pixels"
        rows.append([Panel(subject.title(i), image), Panel(note, None, drop, "RdBu_r", (-bound, bound))])
    yield "occlusion", draw_panels(rows)


def draw_maximisation(subject: Subject) -> Drawn:
    """Classes by their logits; channels of the last convolution by their mean activation."""
    network, (mean, std) = subject.network, subject.mean_and_std
    low, high = -mean / std, (1 - mean) / std
    size = subject.about["image_size"]

    def begin(n: int) -> Tensor:
        noise = torch.randn(n, len(mean), size, size, generator=torch.Generator().manual_seed(0))
        return 0.1 * noise.to(subject.device)  # about 0, the mean colour

    def maximise(score: Callable[[Tensor], Tensor], n: int) -> Tensor:
        return ex.maximise(score, begin(n), low, high, jitter=max(1, size // 16))

    names = subject.classes
    chosen = torch.arange(min(CLASSES, len(names)), device=subject.device)
    if subject.target is not None and subject.target >= CLASSES:
        chosen[-1] = subject.target

    with evaluating(network):
        x = maximise(lambda z: network(z).gather(1, chosen[:, None])[:, 0], len(chosen))
        with torch.no_grad():
            reached = network(x).float().softmax(1).gather(1, chosen[:, None])[:, 0]
    titles = [f"{names[k]}\n{100 * p:.0f} %" for k, p in zip(chosen.tolist(), reached.tolist(), strict=True)]
    panels = [Panel(title, image) for title, image in zip(titles, subject.visible(x), strict=True)]
    yield "maximisation-classes", draw_panels([panels[i : i + 5] for i in range(0, len(panels), 5)], 1.5)

    last = ex.last_convolution(subject.calls)
    if last is None:
        return
    channels = torch.linspace(0, last.made[1] - 1, min(UNITS, last.made[1])).round().long().to(subject.device)

    def activation(z: Tensor) -> Tensor:
        maps, _ = ex.outputs(network, z, [last.name])
        return maps[last.name].mean((2, 3)).gather(1, channels[:, None])[:, 0]

    x = maximise(activation, len(channels))
    panels = [
        Panel(f"{last.name}\nchannel {k}", image)
        for k, image in zip(channels.tolist(), subject.visible(x), strict=True)
    ]
    yield "maximisation-channels", draw_panels([panels[i : i + 4] for i in range(0, len(panels), 4)], 1.5)


def draw_lesion(subject: Subject) -> Drawn:
    parts, rest = lesions(subject.network, subject.example)
    if not parts:
        raise UserError("no block of the network can be left out: each changes the shape of its input")
    x, y = subject.samples("val", SAMPLES)
    found = lesion_study(subject.network, parts, x, y)
    whole = found.pop("")
    yield (
        "lesion",
        {
            "split": "val",
            "samples": len(y),
            "accuracy": whole,
            "without": [{"name": p.name, "left_out": p.kind, "accuracy": found[p.name]} for p in parts],
            "cannot_be_left_out": rest,
        },
    )
    figure = Figure(figsize=(7, 1.1 + 0.22 * len(parts)), layout="constrained")
    axes = figure.add_subplot()
    names = [part.name + (" (branch)" if part.kind == "branch" else "") for part in parts]
    bars = axes.barh(range(len(parts)), [found[part.name] for part in parts], color="tab:blue")
    axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    axes.axvline(whole, color="black", linestyle="--", linewidth=1, label=f"whole network {whole:.3f}")
    chance = 1 / len(subject.classes)
    axes.axvline(chance, color="gray", linestyle=":", linewidth=1, label=f"chance {chance:.3f}")
    axes.set_yticks(range(len(parts)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1), xlabel=f"accuracy on {len(y)} validation samples without this part")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False)
    yield "lesion", figure


def draw_gradients(subject: Subject) -> Drawn:
    """On training samples; on the images, with the classes that the network sees, where there are none."""
    try:
        x, y = subject.samples("train", BATCH)
        source = f"{len(y)} training samples"
    except UserError:
        if not subject.paths:
            raise
        x, y = subject.images(), subject.targets
        source = f"{len(y)} given images with the classes that are explained"
    fresh = build_network(subject.config["model"]).to(subject.device)
    try:
        norms = {
            "trained weights": ex.gradient_norms(subject.network, x, y),
            "new weights": ex.gradient_norms(fresh, x, y),
        }
    except ValueError as error:  # batch normalisation of one value a channel
        raise UserError("gradients of this network need at least two images, or the data of its training") from error
    yield "gradients", {"samples": source, "norms": norms}
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for label, values in norms.items():
        axes.plot(range(len(values)), list(values.values()), marker="o", markersize=3, linewidth=1.2, label=label)
    layers = list(norms["new weights"])
    if any(value > 0 for values in norms.values() for value in values.values()):
        axes.set_yscale("log")
    every = -(-len(layers) // NAMED)
    axes.set_xticks(range(0, len(layers), every), layers[::every], rotation=90, fontsize=7)
    axes.set(xlabel="layer, from the input on", ylabel="norm of the gradient")
    axes.set_title(f"cross-entropy on {source}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    yield "gradients", figure


@torch.no_grad()
def draw_attention(subject: Subject) -> Drawn:
    """Of each image a row for each layer, a column for each head, each map on its own scale; and the rollout."""
    x, special = subject.images(), subject.special_tokens
    with recorded(subject.network) as maps, evaluating(subject.network):
        subject.network(x)
    if not maps or not special:
        raise UserError("the network does not attend to patches of an image")
    seen = {
        name.removesuffix(".attention"): ex.in_a_square(weights[:, :, 0, special:]).float().cpu()
        for name, weights in maps.items()
    }
    flow = ex.in_a_square(rollout(list(maps.values()))[:, 0, special:]).cpu()
    heads = max(found.shape[1] for found in seen.values())
    for i in range(len(x)):
        figure = Figure(figsize=(2 + 0.8 * heads, 0.8 * len(seen) + 0.6), layout="constrained")
        figure.suptitle(subject.title(i).replace("\n", "   "), fontsize=9, parse_math=False)
        for row, (name, found) in enumerate(seen.items()):
            axes = figure.add_subplot(len(seen), 1, row + 1)
            axes.imshow(in_a_row(scaled(found[i]), heads).numpy(), "viridis", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([(found.shape[2] - 1) / 2], [name], fontsize=8, parse_math=False)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        yield f"attention-{i + 1}", figure
    rows = []
    for i, image in enumerate(subject.visible(x)):
        large = F.interpolate(flow[i][None, None], image.shape[1:], mode="bilinear")
        note = f"attention rollout\n{len(seen)} layers, {'x'.join(map(str, flow.shape[1:]))} patches"
        rows.append(
            [
                Panel(subject.title(i), image),
                Panel(note, image.mean(0, keepdim=True), scaled(large)[0, 0], "inferno"),
            ]
        )
    yield "attention-rollout", draw_panels(rows)


METHODS: dict[str, Callable[[Subject], Drawn]] = {
    "filters": draw_filters,
    "features": draw_features,
    "gradcam": draw_grad_cam,
    "saliency": draw_saliency,
    "occlusion": draw_occlusion,
    "maximisation": draw_maximisation,
    "lesion": draw_lesion,
    "gradients": draw_gradients,
    "attention": draw_attention,
}
