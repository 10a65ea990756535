"""The command `explain`: pictures of what a trained network computes, and of what its answers rest on."""

import difflib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter
from torchvision.datasets.folder import IMG_EXTENSIONS

from . import explanations as ex
from . import sequence_explanations, text_explanations
from .attention_maps import recorded, rollout
from .building import build_data, build_network
from .callbacks.classification_pictures import draw_images
from .data.base import DataModule
from .data.image_folder import load_image
from .data.text import codec_of, read_text
from .errors import UserError
from .inference import restore
from .modes import evaluating, predicting
from .runs import shown, write_json
from .sequence_explanations import Sequences
from .tasks.classification import Classification
from .tasks.seq2seq import SequenceToSequence
from .zoo import nearest

IMAGES = 8  # that are explained
SAMPLES = 1000  # of the validation split, for a lesion study
BATCH = 128  # training samples for gradients
STAGES, CHANNELS = 6, 16  # feature maps: rows and columns
CLASSES, UNITS = 10, 8  # classes and channels whose activation is maximised
NAMED = 30  # layers that an axis has names for
EVENTS = ".explain"  # how the name of the event file ends

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


def training_data(config: dict[str, Any], about: dict[str, Any]) -> DataModule:
    """The data of training, in their folder or in TORCHATLAS_DATA; never downloaded.

    Args:
        config: of the run.
        about: what the checkpoint says of the data.

    Raises:
        UserError: they are not there.
    """
    options = dict(config["data"])
    if "classes" in options:  # a user's folder: the labels are those of training
        options["classes"] = about["classes"]
    given = str(options["root"]) if "root" in options else ""
    roots = list(dict.fromkeys(filter(None, (given, os.environ.get("TORCHATLAS_DATA"))))) if given else [""]
    for root in roots:
        try:
            data = build_data(options | ({"root": root} if root else {}))
            data.load_state_dict(about)
            data.setup("test")
        except (OSError, RuntimeError, UserError) as error:
            reason = str(error).partition("\n")[0]
        else:
            return data
    raise UserError(
        f"the data of training are not in {' or '.join(roots)} ({reason}): name their folder in the environment "
        "variable TORCHATLAS_DATA"
    )


def explain(
    where: str, given: str = "", output: str = "", target: str = "", layer: str = "", methods: str = ""
) -> Path:
    """Draw pictures of a trained network, as PNG files and in TensorBoard under `explain/...`.

    Of an image classifier. filters: the first layer's. features: the maps of its stages for each image. gradcam,
    saliency (with integrated gradients) and occlusion: which places of an image speak for a class. maximisation: images
    that excite classes and channels most. lesion: accuracy without one block each, on at most 1000 validation samples.
    gradients: their norm in each layer, of the trained weights and of new ones. attention: of a Vision Transformer,
    what the class token attends to in each layer and head, and through all layers (rollout). The mathematics is in
    `explanations` and `attention_maps`.

    Of a network for sequences (`sequence_explanations`). gradients: how strongly the last answer depends on each
    earlier step, of the trained weights and of new ones. gates: what gates, cell and state of recurrent layers do
    over a sequence. singular_values: of the matrices through time. receptive_field: of a TCN, by the formula and as
    measured. causality: each step is changed alone, and the states that change are marked.

    Of a network for texts with attention (`text_explanations`). attention: the weights of each layer and head over the
    text; of a translator those of encoder and decoder, and the alignment of its own output. positions: their encoding,
    and how alike those of two places are. gradients: as above, of language models.

    Args:
        where: a checkpoint, or a run folder, of which the best checkpoint is taken.
        given: an image, or a folder, of which the first eight are taken; of a network for texts a file, or with
            attention the text itself. Some methods need none.
        output: folder of the files, the event file included; else `explain` in the run folder, or beside a checkpoint
            that is in none, and events in the run folder.
        target: the class to be explained; else the one that the network sees in each image.
        layer: whose feature map or tokens Grad-CAM takes; else those of the last convolution with more than one place,
            or of a Vision Transformer those that the last attention gets.
        methods: which ones, separated by commas; else all that apply to this network, these files and this machine.

    Returns:
        The folder.

    Raises:
        UserError: something named does not exist or cannot be read or written, the network is of another kind, or a
            method that was named does not apply.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        path, task, about = restore(where)
        task.network.float().to(device)
        of_images = isinstance(task, Classification) and about["data"]["kind"] == "image"
        others = about["data"]["kind"] in ("image", "segmentation")  # attention over pixels is no attention over words
        of_texts = not of_images and not others and text_explanations.applies(task.network)
        known: Any = METHODS if of_images else sequence_explanations.METHODS
        if of_texts:
            known = text_explanations.METHODS
        elif not of_images and (
            isinstance(task, SequenceToSequence) or not sequence_explanations.applies(task.network)
        ):
            raise UserError(
                f"{path} was trained for {task.name}, and explain is for image classifiers, "
                "networks with attention, recurrent networks that answer for themselves and TCNs"
            )
        wanted = [name.strip() for name in methods.split(",") if name.strip()]
        for name in wanted:
            if name not in known:
                raise UserError(f"there is no method {name!r}{nearest(name, list(known))}")
        attends = of_texts or hasattr(task.network, "special_tokens")
        wanted = wanted or [name for name in known if name != "attention" or attends]
        subject: Any = (
            _subject(task.network, about, device, given, target, layer)
            if of_images
            else text_explanations.attending(task, about, device, given)
            if of_texts
            else _sequences(task.network, about, device, given)
        )
        folder, events = _folders(path, output)
        made, reasons = 0, []
        writer = SummaryWriter(str(events), filename_suffix=EVENTS)
        try:
            for name in dict.fromkeys(wanted):
                try:
                    for key, figure in known[name](subject):
                        _write(key, figure, folder, writer)
                        made += 1
                except UserError as error:
                    if methods:
                        raise UserError(f"{name}: {error}") from error
                    reasons.append(f"{name} is left out: {error}")
                    print(reasons[-1])
        finally:
            writer.close()
    if not made:
        raise UserError("; ".join(reasons))
    return folder


def _sequences(network: nn.Module, about: dict[str, Any], device: torch.device, given: str) -> Sequences:
    """A text of the user's, or else validation samples of training, or else made ones."""
    data, config = about["data"], about["config"]["model"]
    codec = codec_of(data) if data["kind"] in ("characters", "words", "tokenizer") else None

    def words(tokens: Tensor) -> list[str]:
        return [] if codec is None else [codec.decode(token[None]) for token in tokens.cpu()]

    if given:
        if codec is None:
            raise UserError("input= names a text for a language model: leave it out")
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path}: name a text with input=FILE")
        tokens = codec.encode(read_text(path))[: data["context"]]
        if len(tokens) < 2:
            raise UserError(f"{path} has {len(tokens)} tokens where at least 2 are needed")
        return Sequences(network, config, tokens[None].to(device), path.name, words(tokens))
    try:
        module: Any = training_data(about["config"], data)
    except UserError as error:
        print(f"noise is taken: {error}")
        (x,) = network.example_input(BATCH)  # type: ignore[operator]
        return Sequences(network, config, x.to(device), "noise", words(x[0]) if not x.is_floating_point() else [])
    split = module.splits["val"]
    if codec is not None:
        count = min(BATCH, len(split.tokens) // module.context)
        x = split.tokens[: count * module.context].view(count, -1)
    else:
        x, *rest = module.transform(split[-1, torch.arange(min(BATCH, len(split)))])
        lengths = next((part for part in rest if part.ndim == 1 and part is not rest[-1]), None)
        if lengths is None and data["kind"] == "piano_roll":
            lengths = rest[-1]
        if lengths is not None:  # the steps that half of the sequences have
            length = int(lengths.median())
            x = x[lengths >= length][:, :length]
    return Sequences(network, config, x.to(device), f"{len(x)} validation samples", words(x[0]) if codec else [])


def _subject(
    network: nn.Module, about: dict[str, Any], device: torch.device, given: str, target: str, layer: str
) -> Subject:
    data = about["data"]
    classes = [str(name) for name in data["classes"]]
    if target and target not in classes:
        raise UserError(f"there is no class {target!r}{nearest(target, classes)}")
    paths = _images(given) if given else []
    x = torch.empty(0)
    if paths:
        x = torch.stack(
            [load_image(path, data["in_channels"], data["image_size"], data.get("resize")) for path in paths]
        ).to(device)
    subject = Subject(
        network, about["config"], data, device, layer, classes.index(target) if target else None, paths, x
    )
    if paths:
        mean, std = subject.mean_and_std
        subject.x = (x / 255 - mean) / std
    if layer:
        maps = [call.name for call in subject.calls if call.is_map and call.name] + subject.token_layers
        if layer not in maps:
            near = difflib.get_close_matches(layer, maps, n=1, cutoff=0.5)
            raise UserError(f"there is no feature map {layer!r}{nearest(layer, maps if near else subject.stages)}")
    return subject


def _images(given: str) -> list[Path]:
    source = Path(given).expanduser()
    if not source.exists():
        raise UserError(f"there is no file or folder {source}: name one with input=PATH")
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    if not found:
        raise UserError(f"{source} holds no file that ends in {', '.join(IMG_EXTENSIONS)}")
    if len(found) > IMAGES:
        print(f"the first {IMAGES} of {len(found)} images in {source} are taken")
    return found[:IMAGES]


def _folders(checkpoint: Path, output: str) -> tuple[Path, Path]:
    """Where the pictures go, and where the events; an earlier explanation's events are removed."""
    home = checkpoint.absolute().parent
    in_run = (home.parent / "config.yaml").is_file()
    home = home.parent if in_run else home
    folder = Path(output).expanduser() if output else home / "explain"
    events = home if in_run and not output else folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, events):
            tempfile.TemporaryFile(dir=place).close()
        for old in events.glob(f"events.out.tfevents.*{EVENTS}"):
            old.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name a folder with output=FOLDER") from error
    return folder, events


def _write(name: str, made: Figure | dict[str, Any], folder: Path, writer: SummaryWriter) -> None:
    path = folder / f"{name}.{'json' if isinstance(made, dict) else 'png'}"
    if isinstance(made, dict):
        write_json(path, made)
    else:
        try:
            made.savefig(path, dpi=120)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        writer.add_figure(f"explain/{name}", made)
    print(shown(path))


class Panel(NamedTuple):
    """One picture of a grid: an image `c h w` on 0..1 or None, a map `h w` over it or alone, and how it is shown."""

    title: str
    image: Tensor | None = None
    heat: Tensor | None = None
    colours: str = "viridis"
    limits: tuple[float, float] = (0, 1)


def draw_panels(rows: list[list[Panel]], side: float = 1.9) -> Figure:
    """A grid of panels, each `side` inches wide; colours of a column's maps, where they have limits of their own, are
    explained by a bar.
    """
    columns = max(map(len, rows))
    lines = max(panel.title.count("\n") + 1 if panel.title else 0 for row in rows for panel in row)
    figure = Figure(figsize=(side * columns + 0.2, (side + 0.17 * lines) * len(rows) + 0.2), layout="constrained")
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            axes: Axes = figure.add_subplot(len(rows), columns, i * columns + j + 1)
            axes.set_axis_off()
            axes.set_title(panel.title, fontsize=8, parse_math=False)
            if panel.image is not None:
                axes.imshow(panel.image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
            if panel.heat is None:
                continue
            low, high = panel.limits
            shown_map = axes.imshow(
                panel.heat.numpy(), panel.colours, vmin=low, vmax=high, alpha=None if panel.image is None else 0.55
            )
            if panel.limits != (0, 1):
                bar = figure.colorbar(shown_map, ax=axes, shrink=0.8, ticks=[low, 0, high])
                bar.ax.tick_params(labelsize=7)
                bar.ax.set_yticklabels([f"{value:.2g}" for value in (low, 0, high)])
    return figure


def scaled(x: Tensor) -> Tensor:
    """Each of `n ...` on its own scale from 0 to 1; constant ones become 0."""
    flat = x.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=1e-12)).view(x.shape)


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
