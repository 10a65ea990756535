"""TensorBoard: what a network makes of images, and of nothing."""

from typing import Any

import lightning
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..callbacks.base import Callback
from ..callbacks.curves import due, writer_of
from ..errors import UserError
from ..tasks.base import Task

PAIRS = 16  # originals over reconstructions
SEEN = 2000  # images whose codes are looked at, and the numbers that these images have at most
NUMBERS = 2**25
WALKS = 10  # latent dimensions that are walked along
REACH = 3.0  # standard deviations to either side
STEPS = 11  # of a walk and of an interpolation
LINES = 6  # interpolations
PLANE = 20  # images along each side of the plane
MAX_CLASSES_WITH_NAMES = 20


class GenerationPictures(Callback):
    """Pictures of a task that makes images, on validation, and once on the test set.

    Of what the task can do: originals over reconstructions; samples, always of the same noise, so that TensorBoard's
    slider shows how they change, and of a network for classes (`conditional`) a row for each; interpolations between
    images; a walk along each of the latent dimensions with the largest variance, from -3 to 3, or of two-dimensional
    codes the whole plane (Kingma and Welling 2013, arXiv:1312.6114, figure 4); codes coloured by class, or their first
    two principal components. Drawn every `every_n_epochs` and in the last epoch, in eval mode and without a trace in
    the random state.

    Args:
        every_n_epochs: epochs between two drawings.
        samples: how many there are in a picture.
        steps: of the sampler of a diffusion model (DDIM), whose own thousand would take minutes.
    """

    def __init__(self, every_n_epochs: int = 5, samples: int = 64, steps: int = 20) -> None:
        if min(every_n_epochs, samples, steps) < 1:
            raise UserError(
                f"callbacks.pictures has every_n_epochs={every_n_epochs}, samples={samples} and steps={steps}, and "
                "each must be at least 1"
            )
        self.every_n_epochs, self.samples, self.steps = every_n_epochs, samples, steps

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self.draw(trainer, pl_module, "val", trainer.current_epoch + 1)

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.draw(trainer, pl_module, "test", trainer.current_epoch)

    def draw(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str, epoch: int) -> None:
        writer = writer_of(trainer)
        if writer is None or not isinstance(module, Task):
            return
        task: Any = module
        mapped = hasattr(task, "latents")
        x, labels = some_images(trainer.datamodule, stage, SEEN if mapped else 2 * PAIRS)  # type: ignore[attr-defined]
        x = x.to(task.device)
        walked = {}
        if task.name == "diffusion":  # half of its noise is put on given images
            walked = {"sampler": "ddim", "steps": max(1, min(self.steps, task.steps // 2))}
        title = "validation" if stage == "val" else "test"
        found: dict[str, Figure] = {}
        if hasattr(task, "reconstruct"):
            found |= {
                "reconstructions": draw_pairs(self.visible(task, x[:PAIRS]), task.reconstruct(x[:PAIRS], **walked))
            }
        if getattr(task, "corruption", "none") != "none":
            given = task.disturbed(x[:PAIRS])
            rows = [self.visible(task, given), task.reconstruct(given), self.visible(task, x[:PAIRS])]
            title_of = "disturbed, restored, original"
            found |= {"restored": draw_grid(torch.stack([row.cpu() for row in rows]), title=title_of)}
        if hasattr(task, "sample"):
            found |= {"samples": self.draw_samples(task, trainer, walked)}
        if hasattr(task, "interpolate") and len(x) > 1:
            pairs = [(x[i], x[len(x) // 2 + i]) for i in range(min(LINES, len(x) // 2))]
            lines = torch.stack([task.interpolate(a, b, STEPS, **walked) for a, b in pairs])
            ends = self.visible(task, torch.stack([torch.stack(pair) for pair in pairs]))
            lines = torch.cat([ends[:, :1], lines, ends[:, 1:]], 1)
            found |= {"interpolations": draw_grid(lines, title="two images, and between them the network's way")}
        if mapped:
            found |= self.draw_latents(task, x, labels, trainer)
        for name, figure in found.items():
            writer.add_figure(f"{title}/{name}", figure, epoch)

    def visible(self, task: Any, x: Tensor) -> Tensor:
        """Inputs of the network on the scale 0..1."""
        black, white = task.pixels
        images: Tensor = ((x.float() - black) / (white - black)).clamp(0, 1)
        return images

    def draw_samples(self, task: Any, trainer: lightning.Trainer, options: dict[str, Any]) -> Figure:
        columns = max(1, round(self.samples**0.5))
        if not getattr(task.network, "conditional", False):
            images = task.sample(self.samples, **options)
            return draw_grid(images[: columns * (self.samples // columns)].unflatten(0, (-1, columns)))
        names = [str(name) for name in trainer.datamodule.classes][:MAX_CLASSES_WITH_NAMES]  # type: ignore[attr-defined]
        each = max(1, self.samples // len(names))
        labels = torch.arange(len(names)).repeat_interleave(each)
        images = task.sample(len(labels), labels=labels.to(task.device), **options)
        return draw_grid(images.unflatten(0, (-1, each)), names)

    def draw_latents(self, task: Any, x: Tensor, labels: Tensor, trainer: lightning.Trainer) -> dict[str, Figure]:
        """A walk, or the plane, and a map of the codes."""
        z = task.latents(x).cpu()
        # A prior is the same in all dimensions; codes without one have their own mean and spread.
        prior = hasattr(task, "sample")
        spread, mean = torch.std_mean(z, 0, correction=0)
        scale, centre = (torch.ones_like(spread), torch.zeros_like(mean)) if prior else (spread, mean)
        found: dict[str, Figure] = {}
        if z.shape[1] == 2:
            images = task.images(plane(PLANE, prior) * scale + centre)
            title = "quantiles of the prior" if prior else f"{REACH:g} standard deviations to either side"
            found["plane"] = draw_grid(images.unflatten(0, (PLANE, PLANE)), title=f"z over the plane, {title}")
        else:
            dimensions = spread.argsort(descending=True)[:WALKS]
            at = torch.linspace(-REACH, REACH, STEPS)
            walks = z[0].expand(len(dimensions), STEPS, -1).clone()
            for row, k in enumerate(dimensions.tolist()):
                walks[row, :, k] = centre[k] + at * scale[k]
            images = task.images(walks.flatten(0, 1)).unflatten(0, (len(dimensions), STEPS))
            names = [f"z{k}, {spread[k]:.2f}" for k in dimensions.tolist()]
            unit = "" if prior else " standard deviations"
            title = f"one image, each z from {-REACH:g} to {REACH:g}{unit} (name, standard deviation of its mean)"
            found["latent walk"] = draw_grid(images, names, title)
        classes = [str(name).replace("$", r"\$") for name in trainer.datamodule.classes]  # type: ignore[attr-defined]
        if z.shape[1] > 1:
            found["latent map"] = draw_map(z, labels, classes)
        return found


def some_images(data: Any, split: str, most: int) -> tuple[Tensor, Tensor]:
    """Evenly spaced images of a split as the network gets them, `n c h w`, and their labels, on the CPU."""
    dataset = data.splits[split]
    most = max(2, min(most, NUMBERS // (data.in_channels * data.image_size**2), len(dataset)))
    batch = data.transform(dataset[-1, torch.linspace(0, len(dataset) - 1, most).round().long()])
    return batch[0], batch[-1]


def plane(side: int, prior: bool) -> Tensor:
    """Codes `side² 2` over the plane, the second number upwards.

    Args:
        side: points along each.
        prior: at quantiles of the standard normal distribution, as in Kingma and Welling's figure 4; else evenly.
    """
    quantiles = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    at = quantiles if prior else torch.linspace(-REACH, REACH, side)
    return torch.stack([at.repeat(side), at.flip(0).repeat_interleave(side)], 1)


def draw_grid(images: Tensor, names: list[str] | None = None, title: str = "") -> Figure:
    """Images `rows columns c h w` from 0 to 1 without gaps but for one pixel, each row with its name."""
    rows, columns, c, h, w = images.shape
    canvas = torch.ones(c, rows * (h + 1) - 1, columns * (w + 1) - 1)
    for i in range(rows):
        for j in range(columns):
            canvas[:, i * (h + 1) : i * (h + 1) + h, j * (w + 1) : j * (w + 1) + w] = images[i, j].float().cpu()
    return draw_canvas(canvas, rows, columns, names, title)


def draw_pairs(originals: Tensor, made: Tensor) -> Figure:
    """Originals in the rows above, what was made of them in the rows below."""
    columns = min(8, len(originals))
    n = columns * (len(originals) // columns)
    above, below = (part[:n].cpu().unflatten(0, (-1, columns)) for part in (originals, made))
    rows = torch.stack([above, below], 1).flatten(0, 1)
    return draw_grid(rows, ["original", "made"] * (len(rows) // 2))


def draw_canvas(canvas: Tensor, rows: int, columns: int, names: list[str] | None, title: str) -> Figure:
    size = 0.6 if max(rows, columns) <= 12 else 0.36
    figure = Figure(
        figsize=(max(3.0, size * columns + (0.9 if names else 0.2)), size * rows + (0.5 if title else 0.2)),
        layout="constrained", dpi=120,
    )  # fmt: skip
    axes = figure.add_subplot()
    axes.imshow(canvas.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    height = (canvas.shape[1] + 1) / rows
    axes.set_yticks(
        [(i + 0.5) * height - 1 for i in range(rows)] if names else [],
        [name.replace("$", r"\$") for name in names or []], fontsize=7,
    )  # fmt: skip
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if title:
        axes.set_title(title, fontsize=8, wrap=True)
    return figure


def draw_map(z: Tensor, labels: Tensor, names: list[str]) -> Figure:
    """Codes `n d` as points, coloured by class: the two numbers, or the first two principal components."""
    title, labelled = "codes", ("z0", "z1")
    if z.shape[1] > 2:
        centred = z - z.mean(0)
        _, spread, axes_of_codes = torch.linalg.svd(centred, full_matrices=False)
        share = float((spread[:2] ** 2).sum() / (spread**2).sum().clamp(min=1e-12))
        z = centred @ axes_of_codes[:2].T
        title = (
            f"two principal components of {axes_of_codes.shape[1]}-dimensional codes, {100 * share:.0f} % of variance"
        )
        labelled = ("first", "second")
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=labelled[0], ylabel=labelled[1])
    axes.set_title(title, fontsize=9)
    if labels.ndim == 1 and len(names) <= MAX_CLASSES_WITH_NAMES:
        colours = "tab10" if len(names) <= 10 else "tab20"
        points = axes.scatter(z[:, 0], z[:, 1], c=labels, s=6, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5)
        bar = figure.colorbar(points, ticks=range(len(names)))
        bar.ax.set_yticklabels(names, fontsize=8)
    else:
        axes.scatter(z[:, 0], z[:, 1], s=6)
    axes.set_aspect("equal", "datalim")
    return figure
