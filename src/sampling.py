"""The commands `sample`, `interpolate`, `reconstruct` and `inpaint`: a trained network makes images."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from .data.image_folder import load_image
from .errors import UserError
from .inference import find_files, restore, restored_data
from .runs import shown
from .tasks.base import Task
from .tasks.diffusion import Diffusion, seen
from .zoo import nearest

log = logging.getLogger(__name__)
COLUMNS = 8  # of a grid
TILE = 48  # pixels that an image of a grid has at least; smaller ones are enlarged by whole numbers
MOMENTS = 10  # of the denoising that a strip shows
SHOWN = 8  # images of a strip
FRAMES = 48  # of the animated picture
MASKS = ("left", "right", "top", "bottom", "centre")
METHODS = {  # what a method is for
    "sample": "that is for task=elbo and task=diffusion",
    **dict.fromkeys(("reconstruct", "interpolate"), "that is for task=autoencoding, task=elbo and task=diffusion"),
    "inpaint": "that is for task=diffusion",
}
QUIET = 10.0  # seconds after which the progress is told


class Progress:
    """Says now and then, in plain lines, how far a long computation is."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begun, self.said = total, 0, time.monotonic(), time.monotonic()

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said >= QUIET and self.done < self.total:
            self.said = now
            left = (now - self.begun) / self.done * (self.total - self.done)
            log.info("step %d of %d, %.0f s left", self.done, self.total, left)


def pictures(task: Task, x: Tensor) -> Tensor:
    """Inputs as images from 0 to 1."""
    return seen(x) if isinstance(task, Diffusion) else x.clamp(0, 1)


def to_pixels(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images `n c h w` from 0 to 1 as uint8 `n h w 3`."""
    levels = (images.float().cpu() * 255).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def arrange(images: Tensor, columns: int, gap: int = 2) -> Image.Image:
    """A grid of images `n c h w` from 0 to 1, row by row, small ones enlarged."""
    pixels = to_pixels(images)
    h, w = pixels.shape[1:3]
    scale = max(1, -(-TILE // max(h, w)))
    rows = -(-len(pixels) // columns)
    sheet = np.full((rows * (scale * h + gap) + gap, columns * (scale * w + gap) + gap, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = gap + i // columns * (scale * h + gap), gap + i % columns * (scale * w + gap)
        sheet[top : top + scale * h, left : left + scale * w] = image.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(sheet)


def save_single(images: Tensor, paths: Sequence[Path]) -> None:
    """Each image as a file of its own size, grey where it has one channel."""
    for image, path in zip((images.float().cpu() * 255).round().to(torch.uint8), paths, strict=True):
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
        Image.fromarray(array).save(path)


def save_animation(frames: Sequence[Image.Image], path: Path) -> None:
    """An animated picture that rests on its last frame; a GIF, of which all frames share one palette."""
    palette = frames[-1].quantize(256)
    paletted = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [60] * (len(frames) - 1) + [2000]
    paletted[0].save(path, save_all=True, append_images=paletted[1:], duration=durations, loop=0)


def home_of(path: Path) -> Path:
    """The run folder of a checkpoint.

    Raises:
        UserError: it is in none.
    """
    home = path.absolute().parent.parent
    if not (home / "config.yaml").is_file():
        raise UserError(f"{path} is in no run folder: say with output= where to write")
    return home


def folder_for(path: Path, output: str, name: str) -> Path:
    """The folder that a command writes to: the given one, or `name` in the run folder."""
    folder = Path(output).expanduser() if output else home_of(path) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}): name another with output=FOLDER") from error
    return folder


def maker(where: str, method: str, what: str) -> tuple[Path, Any, dict[str, Any]]:
    """A checkpoint's task, on the device that there is.

    Raises:
        UserError: it is of a task that has no such method.
    """
    path, task, about = restore(where)
    if not hasattr(task, method):
        others = [name for name in ("sample", "reconstruct", "inpaint") if hasattr(task, name)]
        advice = f"use {others[0]}" if others else METHODS[method]
        raise UserError(f"{path} was trained for {task.name}, and cannot {what}: {advice}")
    return path, task.to("cuda" if torch.cuda.is_available() else "cpu"), about


def labels_of(task: Any, about: dict[str, Any], given: str, n: int) -> Tensor | None:
    """Classes of n images.

    Args:
        task: of a diffusion.
        about: what the checkpoint says of the data.
        given: a name; several with commas between, which take turns; "all" for all of them; empty for none.
        n: images.

    Raises:
        UserError: a network that does not know classes, or a class that it does not know.
    """
    if not given:
        return None
    if not getattr(task, "conditional", False):
        raise UserError("this network was not trained with classes: leave out class=, or train model=ddpm_small")
    classes = [str(name) for name in about["data"]["classes"]]
    names = classes if given == "all" else given.split(",")
    for name in names:
        if name not in classes:
            raise UserError(f"there is no class {name!r}{nearest(name, classes)}")
    return torch.tensor([classes.index(names[i % len(names)]) for i in range(n)])


def options_of(task: Task, **given: Any) -> dict[str, Any]:
    """Options of a diffusion's samplers that were given.

    Raises:
        UserError: options for another task.
    """
    options = {key: value for key, value in given.items() if value}
    if options and not isinstance(task, Diffusion):
        raise UserError(f"{', '.join(options)}: only diffusion has this, and this checkpoint is of {task.name}")
    return options


def batches(n: int, size: int) -> Iterator[range]:
    if n < 1 or size < 1:
        raise UserError(f"n={n} and batch={size} must be at least 1")
    for start in range(0, n, size):
        yield range(start, min(n, start + size))


def sample(
    where: str, output: str = "", *, n: int = 64, seed: int = 0, label: str = "", guidance: float = 0.0,
    sampler: str = "", steps: int = 0, eta: float = 0.0, batch: int = 64,
) -> Path:  # fmt: skip
    """Write n images of a network's own: a grid, each alone and, of a diffusion, how they came out of noise.

    Args:
        where: a checkpoint or a run folder.
        output: a folder; else `samples` in the run folder. It gets `grid.png`, `images/0000.png` and so on, and of a
            diffusion `chain.png` and `chain.gif`; those of an earlier call go.
        n: images.
        seed: of the noise. Image i does not depend on n or on `batch`.
        label: see `labels_of`.
        guidance, sampler, steps, eta: of a diffusion, see `Diffusion.sample`.
        batch: images that are made together.

    Returns:
        The folder.

    Raises:
        UserError: the checkpoint cannot make images, or not in this way.
    """
    path, task, about = maker(where, "sample", "make images of its own")
    options = options_of(task, guidance=guidance, sampler=sampler, steps=steps, eta=eta)
    labels = labels_of(task, about, label, n)
    parts = list(batches(n, batch))
    folder = folder_for(path, output, "samples")
    began = time.monotonic()
    chain: list[Tensor] = []
    if isinstance(task, Diffusion):
        made = []
        for k, part in enumerate(parts):
            some = None if labels is None else labels[part.start : part.stop]
            walk = task.walk(len(part), seed=seed, labels=some, first=part.start, **options)
            total = options.get("steps") or task.default_steps(sampler or "ddpm")
            progress = Progress(total * len(parts))
            progress.done = total * k
            keep = {round(i * (total - 1) / (FRAMES - 1)) for i in range(FRAMES)}
            for i, (x, _) in enumerate(walk):
                progress.step()
                if k == 0 and i in keep:
                    chain.append(seen(x[: COLUMNS * COLUMNS]).cpu())
            made.append(seen(x).cpu())
        images = torch.cat(made)
    else:
        images = torch.cat([task.sample(len(part), seed=seed, first=part.start).cpu() for part in parts])
    seconds = time.monotonic() - began
    singles = folder / "images"
    singles.mkdir(exist_ok=True)
    for old in singles.glob("*.png"):  # of an earlier call: the folder holds the images of one
        if old.stem.isdigit():
            old.unlink()
    arrange(images, min(COLUMNS, n)).save(folder / "grid.png")
    width = max(4, len(str(n - 1)))
    save_single(images, [singles / f"{i:0{width}d}.png" for i in range(n)])
    extra = ""
    for name in ("chain.png", "chain.gif"):
        (folder / name).unlink(missing_ok=True)
    if chain:
        moments = [chain[round(i * (len(chain) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)]
        arrange(torch.stack(moments, 1)[:SHOWN].flatten(0, 1), MOMENTS).save(folder / "chain.png")
        save_animation([arrange(frame, min(COLUMNS, n)) for frame in chain], folder / "chain.gif")
        extra = ", chain.png and chain.gif"
    print(f"{n} images in {seconds:.1f} s: grid.png{extra}, and each alone under images/, in {shown(folder)}")
    return folder


def given_images(task: Task, about: dict[str, Any], given: str, n: int, root: str = "") -> tuple[Tensor, list[str]]:
    """Inputs `n c h w` of the network and their names: from a user's files, or the first of the test split.

    Raises:
        UserError: there are no such files.
    """
    if n < 1:
        raise UserError(f"the number of images, {n}, must be at least 1")
    data = about["data"]
    if given:
        paths = [path for part in given.split(",") for path in find_files(Path(part).expanduser(), IMG_EXTENSIONS)][:n]
        images = torch.stack(
            [load_image(p, data["in_channels"], data["image_size"], data.get("resize")) for p in paths]
        )
        mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
        return ((images / 255 - mean) / std).to(task.device), [path.name for path in paths]
    module = restored_data(about, root)
    module.prepare_data()
    module.setup("test")
    indices = torch.arange(min(n, len(module.splits["test"])))
    x = module.transform(module.splits["test"][-1, indices])[0]
    return x.to(task.device), [f"test {i}" for i in indices.tolist()]


def reconstruct(
    where: str, given: str = "", output: str = "", *, n: int = 16, depth: float = 0.0, seed: int = 0, root: str = ""
) -> Path:
    """Write images above what the network makes of them, and print how far off each is.

    Args:
        where: a checkpoint or a run folder.
        given: files or folders with commas between; else the first of the test split.
        output: a PNG file; else `reconstructions.png` in the run folder.
        n: the most images.
        depth: of a diffusion: the share of the steps whose noise is put on and taken off; 0: half.
        seed: of that noise.
        root: see `evaluate`.

    Returns:
        The file.
    """
    path, task, about = maker(where, "reconstruct", "reconstruct images")
    options = options_of(task, depth=depth) | ({"seed": seed} if isinstance(task, Diffusion) else {})
    file = picture_file(path, output, "reconstructions.png")
    x, names = given_images(task, about, given, n, root)
    images, made = pictures(task, x), task.reconstruct(x, **options)
    rows = [torch.cat([images[i : i + COLUMNS], made[i : i + COLUMNS]]) for i in range(0, len(x), COLUMNS)]
    sheet = torch.cat([padded(row, 2 * min(COLUMNS, len(x))) for row in rows])
    arrange(sheet, min(COLUMNS, len(x))).save(file)
    for name, error in zip(names, (images - made).square().mean((1, 2, 3)).sqrt().tolist(), strict=True):
        print(f"{name}  root mean squared error {error:.4f} of the range of a pixel")
    print(f"{len(x)} images, each above what was made of it: {shown(file)}")
    return file


def padded(pairs: Tensor, size: int) -> Tensor:
    """Originals and copies `2m c h w` as two rows of size / 2 each, with white images where some are missing."""
    originals, copies = pairs.chunk(2)
    white = torch.ones_like(originals[:1]).expand(size // 2 - len(originals), -1, -1, -1)
    return torch.cat([originals, white, copies, white])


def picture_file(path: Path, output: str, name: str) -> Path:
    """The PNG that a command writes: the given one, or `name` in the run folder."""
    file = Path(output).expanduser() if output else home_of(path) / name
    if file.suffix.lower() != ".png":
        raise UserError(f"output={output} must be a PNG file, as in output={Path(output).with_suffix('.png')}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{file.parent} cannot be made ({error.strerror}): name another place with output=") from error
    return file


def interpolate(
    where: str, given: str = "", output: str = "", *, steps: int = 10, rows: int = 8, depth: float = 0.0,
    seed: int = 0, root: str = "",
) -> Path:  # fmt: skip
    """Write lines of images between pairs of images.

    Args:
        where: a checkpoint or a run folder.
        given: two files with commas between, or folders, whose images are paired in their order; else the first of the
            test split.
        output: a PNG file; else `interpolations.png` in the run folder.
        steps: images of a line, both ends among them.
        rows: the most pairs.
        depth, seed: see `reconstruct`.
        root: see `evaluate`.

    Returns:
        The file.
    """
    path, task, about = maker(where, "interpolate", "interpolate between images")
    if steps < 2 or rows < 1:
        raise UserError(f"steps={steps} must be at least 2, and rows={rows} at least 1")
    options = options_of(task, depth=depth) | ({"seed": seed} if isinstance(task, Diffusion) else {})
    file = picture_file(path, output, "interpolations.png")
    x, _ = given_images(task, about, given, 2 * rows, root)
    if len(x) < 2:
        raise UserError("there must be at least two images to go between: input=ONE.png,OTHER.png")
    lines = [
        torch.cat([pictures(task, a[None]), task.interpolate(a, b, steps, **options), pictures(task, b[None])])
        for a, b in zip(x[0::2], x[1::2], strict=False)
    ]
    arrange(torch.cat(lines), steps + 2).save(file)
    print(f"{len(lines)} lines of {steps} images, between the two that were given: {shown(file)}")
    return file


def mask_of(given: str, task: Any) -> Tensor:
    """Which pixels are to be made, `1 1 h w`.

    Args:
        given: half of the image ("left", "right", "top", "bottom"), its "centre", or a file of which the bright pixels
            are to be made.
        task: whose network says the size.
    """
    size: int = task.network.image_size
    if given not in MASKS:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no mask={given}: name a file, or {', '.join(MASKS)}")
        mask = (load_image(path, 1, size) >= 128).float()[None]
        if not 0 < float(mask.mean()) < 1:
            raise UserError(f"{path} hides {'all' if mask.any() else 'nothing'}: bright pixels are to be made")
        return mask.to(task.device)
    mask = torch.zeros(1, 1, size, size, device=task.device)
    half, quarter = size // 2, size // 4
    rows, columns = {
        "left": (slice(None), slice(0, half)),
        "right": (slice(None), slice(size - half, size)),
        "top": (slice(0, half), slice(None)),
        "bottom": (slice(size - half, size), slice(None)),
        "centre": (slice(quarter, size - quarter), slice(quarter, size - quarter)),
    }[given]
    mask[:, :, rows, columns] = 1
    return mask


def inpaint(
    where: str, given: str = "", mask: str = "centre", output: str = "", *, n: int = 8, label: str = "",
    guidance: float = 0.0, steps: int = 250, repeats: int = 10, seed: int = 0, root: str = "",
) -> Path:  # fmt: skip
    """Write images, what is hidden of them, and what a diffusion makes in its place; see `Diffusion.inpaint`.

    Args:
        where: a checkpoint or a run folder.
        given: files or folders with commas between; else the first of the test split.
        mask: see `mask_of`.
        output: a folder for a picture of all and single files; else `inpainted` in the run folder.
        n: the most images.
        label, guidance: see `sample`.
        steps, repeats: of RePaint.
        seed: of the noise.
        root: see `evaluate`.

    Returns:
        The folder.
    """
    path, task, about = maker(where, "inpaint", "fill in images")
    folder = folder_for(path, output, "inpainted")
    x, names = given_images(task, about, given, n, root)
    hidden = mask_of(mask, task)
    progress = Progress((min(steps, task.steps) - 1) * repeats + 1)
    made = task.inpaint(
        x, hidden, seed=seed, steps=steps, repeats=repeats, guidance=guidance, tell=progress.step,
        labels=labels_of(task, about, label, len(x)),
    )  # fmt: skip
    images = pictures(task, x)
    grey = hidden * 0.5 + (1 - hidden) * images
    columns = min(COLUMNS, len(x))
    sheet = [
        padded(torch.cat([grey[i : i + columns], made[i : i + columns]]), 2 * columns)
        for i in range(0, len(x), columns)
    ]
    arrange(torch.cat(sheet), columns).save(folder / "grid.png")
    save_single(made, [folder / f"{i:04d}-{Path(name).stem.replace(' ', '_')}.png" for i, name in enumerate(names)])
    print(f"{len(x)} images, with what is hidden above: grid.png and single files in {shown(folder)}")
    return folder
