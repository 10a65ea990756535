"""Pictures of what an image classifier computes, and of what its answers rest on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import evaluating, predicting
from ..data.base import DataModule
from ..drawing.images import draw_images
from ..drawing.panels import Panel, draw_panels, scaled
from ..errors import UserError
from ..run.build import build_network
from ..run.restore import training_data
from . import methods as ex
from .attention_maps import recorded, rollout

SAMPLES = 1000  # of the validation split, for a lesion study
BATCH = 128  # training samples for gradients
STAGES, CHANNELS = 6, 16  # feature maps: rows and columns
CLASSES, UNITS = 10, 8  # classes and channels whose activation is maximised
NAMED = 30  # layers that an axis has names for

Drawn = Iterator[tuple[str, Figure | dict[str, Any]]]  # a picture, or a table for a JSON file, and its name


@dataclass
class Subject:
    """What is explained.

    Attributes:
        network: in eval mode, on `device`.
        config: of the run.
        about: what the checkpoint says of the data: classes, size, mean, std.
        layer: whose feature map Grad-CAM takes; empty for the last.
        target: a class; None for the one that the network sees in each image.
        paths: the image files.
        x: these images as the network takes them, `b c h w`; empty where there are none.
    """

    network: nn.Module
    config: dict[str, Any]
    about: dict[str, Any]
    device: torch.device
    layer: str
    target: int | None
    paths: list[Path]
    x: Tensor

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.about["classes"]]

    @property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(self.about[key], device=self.device)[:, None, None] for key in ("mean", "std"))
        return mean, std

    def visible(self, x: Tensor) -> Tensor:
        """Images on the scale 0..1."""
        mean, std = self.mean_and_std
        return (x * std + mean).clamp(0, 1).float().cpu()

    def images(self) -> Tensor:
        """The images.

        Raises:
            UserError: none were given.
        """
        if not self.paths:
            raise UserError("it needs images: name a file or a folder with input=PATH")
        return self.x

    @cached_property
    def probabilities(self) -> Tensor:
        with predicting(self.network):
            return self.network(self.images()).float().softmax(1)  # type: ignore[no-any-return]

    @cached_property
    def targets(self) -> Tensor:
        """The class that is explained, of each image."""
        predicted = self.probabilities.argmax(1)
        return predicted if self.target is None else torch.full_like(predicted, self.target)

    def title(self, i: int) -> str:
        """The file, what the network says of it and, where it is another one, the class that is explained."""
        said, asked = int(self.probabilities[i].argmax()), int(self.targets[i])
        lines = [self.paths[i].name, f"{self.classes[said]}: {100 * float(self.probabilities[i, said]):.1f} %"]
        if asked != said:
            lines.append(f"why {self.classes[asked]}? {100 * float(self.probabilities[i, asked]):.1f} %")
        return "\n".join(line if len(line) <= 24 else f"{line[:23]}…" for line in lines)

    @cached_property
    def example(self) -> Tensor:
        """Two images of noise."""
        size, channels = self.about["image_size"], self.about["in_channels"]
        return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)).to(self.device)

    @cached_property
    def calls(self) -> list[ex.Call]:
        return ex.trace(self.network, self.example)

    @cached_property
    def stages(self) -> list[str]:
        """Names of the layers with feature maps.

        Raises:
            UserError: the network has none.
        """
        found = ex.stages(self.network, self.calls)
        if not found:
            raise UserError("the network has no convolution with a map of more than one place")
        return found

    @property
    def special_tokens(self) -> int:
        """Tokens before those of the patches; 0: the network has no patches."""
        return int(getattr(self.network, "special_tokens", 0))

    @cached_property
    def token_layers(self) -> list[str]:
        """Names of the layers that give the tokens of all patches."""
        if not self.special_tokens:
            return []
        count = len(self.network.positions[0])  # type: ignore[index, arg-type]
        return [call.name for call in self.calls if call.name and call.made[1:2] == (count,) and len(call.made) == 3]

    @cached_property
    def data(self) -> DataModule:
        """The data of training; see `training_data`."""
        return training_data(self.config, self.about)

    def samples(self, split: str, most: int) -> tuple[Tensor, Tensor]:
        """Images and labels, evenly spaced, not augmented."""
        dataset = self.data.splits[split]
        places = torch.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().long()
        x, y = self.data.transform(dataset[-1, places])
        return x.to(self.device), y.to(self.device)


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
    parts, rest = ex.lesions(subject.network, subject.example)
    if not parts:
        raise UserError("no block of the network can be left out: each changes the shape of its input")
    x, y = subject.samples("val", SAMPLES)
    found = ex.lesion_study(subject.network, parts, x, y)
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
