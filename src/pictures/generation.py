"""TensorBoard: what a network makes of images, and of nothing."""

from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..drawing.sheets import draw_grid, draw_map, draw_pairs
from ..drawing.text import MAX_CLASSES_WITH_NAMES, plain
from ..errors import UserError
from .base import STAGES, Pictures, Shown

PAIRS = 16  # originals over reconstructions
SEEN = 2000  # images whose codes are looked at, and the numbers that these images have at most
NUMBERS = 2**25
WALKS = 10  # latent dimensions that are walked along
REACH = 3.0  # standard deviations to either side
STEPS = 11  # of a walk and of an interpolation
LINES = 6  # interpolations
PLANE = 20  # images along each side of the plane


class GenerationPictures(Pictures):
    """Pictures of a task that makes images, on validation, and once on the test set.

    Of what the task can do: originals over reconstructions; samples, always of the same noise, so that TensorBoard's
    slider shows how they change, and of a network for classes (`conditional`) a row for each; interpolations between
    images; a walk along each of the latent dimensions with the largest variance, from -3 to 3, or of two-dimensional
    codes the whole plane (Kingma and Welling 2013, arXiv:1312.6114, figure 4); codes coloured by class, or their first
    two principal components. Drawn every `every_n_epochs` and in the last epoch, in eval mode and without a trace in
    the random state.

    Args:
        every_n_epochs: epochs between two drawings.
        share: see `Pictures`.
        samples: how many there are in a picture.
        steps: of the sampler of a diffusion model (DDIM), whose own thousand would take minutes.
    """

    def __init__(self, every_n_epochs: int = 5, share: float | None = 0.1, samples: int = 64, steps: int = 20) -> None:
        if min(every_n_epochs, samples, steps) < 1:
            raise UserError(
                f"callbacks.pictures has every_n_epochs={every_n_epochs}, samples={samples} and steps={steps}, and "
                "each must be at least 1"
            )
        super().__init__(every_n_epochs, share)
        self.samples, self.steps = samples, steps

    def draw(self, task: Any, data: Any, split: str) -> Iterator[tuple[str, Shown]]:
        for name, figure in self.figures(task, data, split):
            yield f"{STAGES[split]}/{name}", figure

    def figures(self, task: Any, data: Any, split: str) -> Iterator[tuple[str, Figure]]:
        """What the task can do, each with a name."""
        mapped = hasattr(task, "latents")
        x, labels = some_images(data, split, SEEN if mapped else 2 * PAIRS)
        x = x.to(task.device)
        walked = {}
        if task.name == "diffusion":  # half of its noise is put on given images
            walked = {"sampler": "ddim", "steps": max(1, min(self.steps, task.steps // 2))}
        if hasattr(task, "reconstruct"):
            made = task.reconstruct(x[:PAIRS], **walked)
            yield "reconstructions", draw_pairs(self.visible(task, x[:PAIRS]), made)
        if getattr(task, "corruption", "none") != "none":
            given = task.disturbed(x[:PAIRS])
            rows = [self.visible(task, given), task.reconstruct(given), self.visible(task, x[:PAIRS])]
            sheet = torch.stack([row.cpu() for row in rows])
            yield "restored", draw_grid(sheet, title="disturbed, restored, original")
        if hasattr(task, "sample"):
            yield "samples", self.draw_samples(task, data, walked)
        if hasattr(task, "interpolate") and len(x) > 1:
            pairs = [(x[i], x[len(x) // 2 + i]) for i in range(min(LINES, len(x) // 2))]
            lines = torch.stack([task.interpolate(a, b, STEPS, **walked) for a, b in pairs])
            ends = self.visible(task, torch.stack([torch.stack(pair) for pair in pairs]))
            lines = torch.cat([ends[:, :1], lines, ends[:, 1:]], 1)
            yield "interpolations", draw_grid(lines, title="two images, and between them the network's way")
        if mapped:
            yield from self.draw_latents(task, x, labels, data).items()

    def visible(self, task: Any, x: Tensor) -> Tensor:
        """Inputs of the network on the scale 0..1."""
        black, white = task.pixels
        images: Tensor = ((x.float() - black) / (white - black)).clamp(0, 1)
        return images

    def draw_samples(self, task: Any, data: Any, options: dict[str, Any]) -> Figure:
        columns = max(1, round(self.samples**0.5))
        if not task.conditional:
            images = task.sample(self.samples, **options)
            return draw_grid(images[: columns * (self.samples // columns)].unflatten(0, (-1, columns)))
        names = [str(name) for name in data.classes][:MAX_CLASSES_WITH_NAMES]
        each = max(1, self.samples // len(names))
        labels = torch.arange(len(names)).repeat_interleave(each)
        images = task.sample(len(labels), labels=labels.to(task.device), **options)
        return draw_grid(images.unflatten(0, (-1, each)), names)

    def draw_latents(self, task: Any, x: Tensor, labels: Tensor, data: Any) -> dict[str, Figure]:
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
        if z.shape[1] > 1:
            found["latent map"] = draw_map(z, labels, [plain(name) for name in data.classes])
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
