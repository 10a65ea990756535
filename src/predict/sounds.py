"""What a classifier of sounds says of a user's files."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.sound.base import FULL_SCALE, Features, describe_rates, load_sound, normalize
from ..errors import UserError
from ..tasks.classification import Classification, inputs_of

log = logging.getLogger(__name__)
BATCH = 64


@torch.no_grad()
def classify_sounds(
    task: Classification, about: dict[str, Any], paths: Sequence[Path], top: int = 1
) -> list[dict[str, Any]]:
    """The likeliest classes of sound files, which are read as in training.

    Args:
        task: in eval mode, with the trained network.
        about: what `SoundData.describe` said in training.
        paths: files; of each the first `seconds` of training are heard.
        top: how many classes are said.

    Returns:
        For each file, "file", and "class" and "probability", or, with `top` over 1, "class_1", "probability_1", ...;
        with several passes (`task.averaged`) these are means, and "spread" is the standard deviation over the passes.

    Raises:
        UserError: a file cannot be read, or there are not so many classes.
    """
    classes = about["classes"]
    if not 1 <= top <= len(classes):
        raise UserError(f"top={top} must be from 1 to the {len(classes)} classes")
    keys = ("features", "in_channels", "sample_rate", "seconds", "n_mels", "window", "hop")
    features = Features(**{key: about[key] for key in keys})
    mean, std = (torch.tensor(about[key], device=task.device) for key in ("mean", "std"))
    other_rates: Counter[int] = Counter()
    rows = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        waves = torch.zeros(len(part), features.samples)
        lengths = torch.zeros(len(part), dtype=torch.int64)
        for i, path in enumerate(part):
            wave, rate = load_sound(path, features.sample_rate, features.samples)
            waves[i, : len(wave)], lengths[i] = wave / FULL_SCALE, len(wave)
            if rate != features.sample_rate:
                other_rates[rate] += 1
        waves, lengths = waves.to(task.device), features.steps(lengths.to(task.device))
        x = normalize(features(waves), lengths, mean, std)
        inputs = inputs_of(task.network, x, [lengths])
        each = task.predict(*inputs)[None] if task.averaged is None else task.averaged(task.network, *inputs)
        spreads = each.std(0, correction=0).cpu()
        for path, probabilities, spread in zip(part, each.mean(0).cpu(), spreads, strict=True):
            values, places = probabilities.topk(top)
            row: dict[str, Any] = {"file": str(path)}
            for i, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True), start=1):
                suffix = "" if top == 1 else f"_{i}"
                row |= {f"class{suffix}": classes[place], f"probability{suffix}": round(value, 6)}
                if task.averaged is not None:
                    row[f"spread{suffix}"] = round(float(spread[place]), 6)
            rows.append(row)
    if other_rates:
        log.warning(
            "%d sounds of %s Hz were resampled to the %d Hz of training",
            other_rates.total(), describe_rates(other_rates), features.sample_rate,
        )  # fmt: skip
    return rows
