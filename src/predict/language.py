"""What a language model says of a text, and how it goes on."""

import logging
import math
from pathlib import Path
from typing import Any

import torch

from ..data.text.base import Codec, codec_of, read_text
from ..errors import UserError
from ..tasks.language_modeling import LanguageModeling

log = logging.getLogger(__name__)
SHOWN = 10  # unknown characters or words that a warning names


@torch.no_grad()
def _continue(
    task: LanguageModeling, about: dict[str, Any], paths: list[Path], length: int, temperature: float, seed: int
) -> list[dict[str, Any]]:
    codec, context = codec_of(about), about["context"]
    rows = []
    for path in paths:
        text = read_text(path)
        tokens = codec.encode(text)
        if len(tokens) < 2:
            raise UserError(f"{path} has {len(tokens)} {codec.unit}s where at least 2 are needed")
        _tell_unknown(path, text, codec, len(tokens))
        nats = task.nll(tokens, context) / (len(tokens) - 1)
        per_byte = round(nats * len(tokens) / len(text.encode()) / math.log(2), 4)
        written = task.generate(tokens, length, context=context, temperature=temperature, seed=seed)
        if codec.unit == "character":
            figure = {"bits_per_character": round(nats / math.log(2), 4), "bits_per_byte": per_byte}
        else:
            figure = {"perplexity": round(math.exp(nats), 4)}
            figure |= {"bits_per_byte": per_byte} if codec.unit == "token" else {}
        row: dict[str, Any] = {"file": str(path), f"{codec.unit}s": len(tokens), **figure}
        rows.append(row | {"continuation": codec.decode(written[len(tokens) :])})
    return rows


def _tell_unknown(path: Path, text: str, codec: Codec, total: int) -> None:
    """Warn of what the training did not have; refuse a text that has nothing else."""
    unknown = codec.unknown(text)
    times = unknown.total()
    if not times:
        return
    if times == total:
        raise UserError(
            f"{path} has no {codec.unit} that the network was trained on: give a text in the language of the training"
        )
    shown = ", ".join(f"{token!r} {n}" for token, n in unknown.most_common(SHOWN))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    log.warning(
        "%s: %d of %d %ss are unknown to the network, which sees one sign for all of them: %s%s",
        path, times, total, codec.unit, shown, more,
    )  # fmt: skip
