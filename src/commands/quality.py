"""The command `torchatlas quality`: how near generated images are to real ones, and whether they are copies.

In the features f of a network, of n generated and m real images with means μ, μ' and covariances Σ, Σ':

- Fréchet distance: |μ - μ'|² + tr(Σ + Σ' - 2 (Σ Σ')^½) (Heusel et al. 2017, arXiv:1706.08500);
- kernel distance: the unbiased estimate of MMD² with the kernel (f·f' / d + 1)³, the mean over `SUBSETS` subsets of
  `SUBSET` images each (Bińkowski et al. 2018, arXiv:1801.01401);
- inception score: exp of the mean of KL(p(y|x) ‖ p(y)), the mean over `SPLITS` parts (Salimans et al. 2016,
  arXiv:1606.03498);

computed by torchmetrics in float64. They are called FID and KID in the features of the Inception network of FID alone
(see `torchatlas.weights.inception`), and `frechet_distance` and `kernel_distance` in those of any other network.

The convention. Samples on the scale 0..1 become whole numbers, round(255 x), as image files have them; grey is repeated
in three channels; the network scales to 299 x 299 as TensorFlow 1 does. FID falls with the number of images on either
side: its bias is about proportional to 1 / n (Chong and Forsyth 2019, arXiv:1911.07023), so that only figures of equal
numbers can be compared. Published ones have 50,000 samples against the whole training set as a rule. KID has no such
bias.

Neighbours. The nearest training image of each sample, by L2 over all pixels on the scale 0..1, is looked for among all
training images. The median distance of samples, divided by that of held-out images, is about 1 for samples as new as
held-out images are, and near 0 for copies. `nearer_than_held_out` is the probability that a sample is nearer to the
training images than a held-out image is, 0.5 where there is no difference (Meehan, Chaudhuri and Dasgupta 2020,
arXiv:2004.05675, whose test takes it in each part of the space; here it is of the whole). Blurred images are near to
everything in pixels and pass for copies there: look at the picture, and at the distance in features.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ..drawing.neighbours import draw_neighbours
from ..errors import UserError
from ..metrics.figures import format_figure
from ..metrics.images import (
    SUBSET,
    SUBSETS,
    compare_distances,
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbours,
    spread,
)
from ..predict.image_features import Extractor, classifier_extractor, extract, inception_extractor
from ..predict.image_sets import Pictures, format_of, from_folder, from_split, generate, open_data
from ..predict.rows import file_for
from ..run.devices import device_of
from ..run.restore import restore, tell_changes
from ..storage.files import write_json
from ..weights.inception import WEIGHTS

log = logging.getLogger(__name__)
METRICS = ("fid", "kid", "is", "neighbours")
SPLITS_OF_DATA = ("train", "test")
FEW = 10_000  # images, under which FID is said to be biased
COMPARED = 64  # samples, and held-out images, whose nearest training images are looked for
DRAWN = 16  # samples in the picture
SEARCHED = 1000  # references at a time


@dataclass(frozen=True)
class Sets:
    """What is compared.

    Attributes:
        samples: generated images, uint8 `b c h w`, n in all.
        n: how many.
        real: the references.
        numbers: of those references that are measured, int64 `m`.
        train, held_out: where copies are looked for, and what samples are compared with then.
        about: what the output says of them.
    """

    samples: Iterator[Tensor]
    n: int
    real: Pictures
    numbers: Tensor
    train: Pictures
    held_out: Pictures | None
    about: dict[str, Any]


def quality(
    ckpt: str = "", input: str = "", *, n: int = 10_000, reference: Literal["train", "test"] | str = "train",
    references: int | None = None, metrics: tuple[Literal["fid", "kid", "is", "neighbours"], ...] = (),
    inception: str = "", classifier: str = "", seed: int = 0, batch: int = 250,
    data_root: Annotated[str, "data.root"] = "", output: str = "quality.json",
    sampler: Literal["ddpm", "ddim", "dpm_solver"] | None = None, steps: int | None = None,
    guidance: float | None = None, eta: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Generated images beside real ones: FID, KID, inception score, and the nearest training images.

    Args:
        ckpt: a run folder or a checkpoint, whose network makes the samples and whose data are the references.
        input: a folder with samples, which are taken instead; with it ckpt is needed for its data alone.
        n: samples; of a folder at most as many as it has.
        reference: a split of the run's data, or a folder of real images.
        references: real images, evenly spaced among all; else n of them; 0 is all.
        metrics: any of these; else all that can be computed.
        inception: file with the weights of the network of FID.
        classifier: a run of a classifier, for distances in its features.
        seed: of the samples, their classes and subsets.
        batch: images that are made or read at a time.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
        output: a .json file for the figures; the picture of neighbours is beside it.
        sampler: of a diffusion; else ddpm, the chain of the training.
        steps: of the sampler; else all of ddpm, and 50 of the others.
        guidance: by classes; 0 is none.
        eta: share of new noise in a step of ddim, from 0 to 1.

    Returns:
        The figures.

    Raises:
        UserError: what is missing or does not go together.

    Examples:
        torchatlas quality ckpt=runs/ddpm_small-digits classifier=runs/resnet18-digits n=1000 sampler=ddim
        torchatlas quality input=samples reference=photos metrics=neighbours
    """
    for key, value, least in (("n", n, 2), ("batch", batch, 1), ("references", references or 0, 0)):
        if value < least:
            raise UserError(f"{key}={value} must be a whole number from {least}")
    path = Path(output).expanduser()
    if path.suffix != ".json":
        raise UserError(f"output={path} must end in .json, as in output=quality.json")
    path = file_for(output)
    chosen = choose_metrics(metrics, inception=bool(inception), classifier=bool(classifier))
    device = device_of()
    extractors = []
    if inception:
        extractors.append(inception_extractor(Path(inception).expanduser(), device))
        if "is" in chosen and not extractors[0].classifies:
            if metrics:
                raise UserError(f"{inception} has no output layer, which metrics=is needs: fetch {WEIGHTS[0]}")
            log.warning("%s has no output layer: the inception score is left out", inception)
            chosen.remove("is")
    if classifier:
        extractors.append(classifier_extractor(classifier, device))
    if not extractors:  # then only the neighbours of the first ones are looked for
        n = min(n, COMPARED)
    given = {"sampler": sampler, "steps": steps, "guidance": guidance, "eta": eta}
    options = {key: value for key, value in given.items() if value is not None}
    sets = open_sets(ckpt, input, n, reference, references, seed, batch, data_root, device, options)
    figures = sets.about | compare(sets, extractors, chosen, seed, batch, device, path.with_suffix(".neighbours.png"))
    for key, value in figures.items():
        print(f"  {key:<36} {format_figure(key, value, {}) if isinstance(value, float) else value}")
    write_json(path, figures)
    return figures


def choose_metrics(asked: Sequence[str], *, inception: bool, classifier: bool) -> list[str]:
    """The metrics that are asked for, or all that can be computed.

    Raises:
        UserError: one without its network.
    """
    if not inception and (set(asked) - {"neighbours"} or not (asked or classifier)):
        raise UserError(
            f"FID, KID and the inception score need the weights of their network: add inception=FILE (from {WEIGHTS[0]}"
            "), or ask for metrics=neighbours, or add classifier=RUN for distances in the features of a classifier"
        )
    return list(asked) or [name for name in METRICS if inception or name == "neighbours"]


def open_sets(
    ckpt: str, given: str, n: int, reference: str, references: int | None, seed: int, batch: int, root: str,
    device: torch.device, options: Mapping[str, Any],
) -> Sets:  # fmt: skip
    """Samples and references; see `quality`."""
    about: dict[str, Any] = {"seed": seed}
    task = data = None
    channels = size = 0
    if ckpt:
        checkpoint, task, said = restore(ckpt)
        data = open_data(said, root)
        tell_changes(data, said, SPLITS_OF_DATA)
        channels, size = data.in_channels, data.image_size
    if given:
        if options:
            raise UserError(f"{next(iter(options))}= is for samples of a checkpoint, and input={given} has its own")
        folder = Path(given).expanduser()
        channels, size = format_of(folder)
        pictures = from_folder(folder, channels, size)
        n = min(n, pictures.size)
        samples = pictures.batches(batch, torch.arange(n))
        about["samples"] = str(folder)
    elif task is None or data is None:
        raise UserError("name what makes the images, ckpt=RUN, or a folder of them, input=FOLDER")
    else:
        if not hasattr(task, "sample"):
            raise UserError(f"{checkpoint} was trained for {task.name}, and cannot make images of its own")
        labels = getattr(data.splits["train"], "labels", None) if getattr(task, "conditional", False) else None
        task.place(device)
        samples = generate(task, n, seed=seed, batch=batch, labels=labels, options=options)
        about |= {"samples": str(checkpoint), **{f"samples_{key}": value for key, value in options.items()}}
        if labels is not None:
            about["samples_classes"] = "as frequent as in training"

    if reference not in SPLITS_OF_DATA:
        real = from_folder(Path(reference).expanduser(), channels, size)
    elif data is None:
        raise UserError(f"reference={reference} needs the data of a run: add ckpt=RUN, or name a folder of real images")
    else:
        real = from_split(reference, data.splits[reference], channels, size)
    train, held_out = real, None
    if data is not None:
        train = real if reference == "train" else from_split("train", data.splits["train"], channels, size)
        held_out = from_split("test", data.splits["test"], channels, size)
    m = real.size if references == 0 else min(n if references is None else references, real.size)
    if min(n, m) < 2:
        raise UserError(f"{n} samples and {m} references are too few: there must be at least 2 of each")
    about |= {"images": n, "reference": real.name, "reference_images": m}
    return Sets(samples, n, real, spread(real.size, m), train, held_out, about)


def compare(
    sets: Sets,
    extractors: Sequence[Extractor],
    chosen: Sequence[str],
    seed: int,
    batch: int,
    device: torch.device,
    picture: Path,
) -> dict[str, Any]:
    """The figures of `quality`; the picture of neighbours is written to `picture`."""
    features, first = extract(sets.samples, extractors, sets.n, COMPARED)
    true: list[list[Tensor]] = [[] for _ in extractors]
    if extractors:
        true, _ = extract(sets.real.batches(batch, sets.numbers), extractors, len(sets.numbers))
    figures: dict[str, Any] = {}
    for extractor, made, real in zip(extractors, features, true, strict=True):
        figures |= score(extractor, made, real, chosen, seed)
    if "neighbours" not in chosen:
        return figures

    held_out = torch.empty(0, *first.shape[1:], dtype=torch.uint8)
    if sets.held_out is not None:
        held_out = sets.held_out.read(spread(sets.held_out.size, min(COMPARED, sets.held_out.size)))
    queries = torch.cat([first, held_out]).to(device)
    train = sets.train.batches(SEARCHED, torch.arange(sets.train.size))
    distances, places = neighbours(queries, train)
    figures |= {"neighbours_images": sets.train.size, "neighbours_samples": len(first)}
    figures |= compare_distances(distances[: len(first), 0], distances[len(first) :, 0])
    drawn = min(DRAWN, len(first))
    shown = {"in pixels": places[:drawn].cpu()}
    if sets.real is sets.train and extractors:
        others = [[made[0][:0]] for made in features]
        if len(held_out):
            others, _ = extract(iter([held_out]), extractors, len(held_out))
        for extractor, made, real, other in zip(extractors, features, true, others, strict=True):
            queries = torch.cat([made[0][: len(first)], other[0]]).to(device)
            distances, places = neighbours(queries, iter(real[0].split(SEARCHED)))
            suffix = "_in_inception" if extractor.inception else "_in_classifier"
            figures[f"neighbours_images{suffix}"] = len(real[0])
            figures |= compare_distances(distances[: len(first), 0], distances[len(first) :, 0], suffix)
            shown[f"for {extractor.name}"] = sets.numbers[places[:drawn].cpu()]
    draw_neighbours(first[:drawn], sets.train.read, shown).savefig(picture, dpi=100)
    return figures | {"neighbours_picture": str(picture)}


def score(
    extractor: Extractor, made: Sequence[Tensor], real: Sequence[Tensor], chosen: Sequence[str], seed: int
) -> dict[str, Any]:
    """The distances in the features of one network, and the inception score.

    Args:
        made, real: features of samples `n d` and of references `m d`; behind them perhaps logits.
    """
    n, m = len(made[0]), len(real[0])
    frechet, kernel = ("fid", "kid") if extractor.inception else ("frechet_distance", "kernel_distance")
    figures: dict[str, Any] = dict(extractor.about)
    if "fid" in chosen or not extractor.inception:
        figures |= {frechet: frechet_distance(made[0], real[0]), f"{frechet}_images": n}
        if min(n, m) < FEW:
            log.warning(
                "%s of %d samples and %d references is too high by what so few images add (Chong and Forsyth 2019): "
                "compare it with figures of the same numbers only", frechet, n, m,
            )  # fmt: skip
    if "kid" in chosen or not extractor.inception:
        mean, deviation = kernel_distance(made[0], real[0], seed=seed)
        figures |= {kernel: mean, f"{kernel}_std": deviation, f"{kernel}_subsets": f"{SUBSETS} of {min(SUBSET, n, m)}"}
    if "is" in chosen and extractor.classifies:
        mean, deviation = inception_score(made[1], seed=seed)
        figures |= {"inception_score": mean, "inception_score_std": deviation, "inception_score_images": n}
    return figures
