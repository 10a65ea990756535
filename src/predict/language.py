"""What a language model says of a user's texts, and how it goes on with them."""

import logging
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from ..data.text.base import Codec, TextData
from ..errors import UserError
from ..tasks.language_modeling import LanguageModeling
from .registry import answers

log = logging.getLogger(__name__)
SHOWN = 10  # unknown pieces of text that a warning names


@answers(tasks=("language_modeling",), reads=True)
@torch.no_grad()
def judge_texts(
    task: LanguageModeling, data: TextData, given: str, *, length: int = 200, temperature: float = 0.8, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """How well a network foresees a user's texts, and how it continues them.

    Args:
        task: in eval mode, with the trained network.
        data: of the training, see `reader`.
        given: a file, or a folder of texts.
        length: characters, words or tokens by which a text is continued.
        temperature: of that continuation; 0 takes the likeliest.
        seed: of a text's continuation.

    Yields:
        For each file its characters, words or tokens; bits per character and per byte, or the perplexity per word, or
        per token and the bits per byte; and the continuation. Or, as "error", the reason for which it cannot be judged:
        it cannot be read, is too short, or has nothing that the network knows.

    Raises:
        UserError: that is so of the only file.
    """
    codec, context = data.codec, data.context
    samples = data.read(given)
    for about, text, (tokens,) in zip(samples.about, samples.samples.texts, samples, strict=True):
        path, tokens = about["file"], tokens[0]
        try:
            if len(tokens) < 2:
                raise UserError(f"{path} has {len(tokens)} {codec.unit}s where at least 2 are needed")
            tell_unknown(path, text, codec, len(tokens))
        except UserError as error:
            if len(samples) + len(samples.unread) == 1:
                raise
            yield {**about, "error": str(error)}
            continue
        nats = task.nll(tokens, context) / (len(tokens) - 1)
        per_byte = round(nats * len(tokens) / len(text.encode()) / math.log(2), 4)
        written = task.generate(tokens, length, context=context, temperature=temperature, seed=seed)
        if codec.unit == "character":
            figure = {"bits_per_character": round(nats / math.log(2), 4), "bits_per_byte": per_byte}
        else:
            figure = {"perplexity": round(math.exp(nats), 4)}
            figure |= {"bits_per_byte": per_byte} if codec.unit == "token" else {}
        row: dict[str, Any] = {**about, f"{codec.unit}s": len(tokens), **figure}
        yield row | {"continuation": codec.decode(written[len(tokens) :])}
    yield from samples.unread


def tell_unknown(path: str, text: str, codec: Codec, total: int) -> None:
    """Warn of what the training did not have; refuse a text that has nothing else."""
    unknown = codec.unknown(text)
    times = unknown.total()
    if not times:
        return
    if times == total:
        raise UserError(
            f"{path} has no {codec.unit} that the network was trained on: give a text in the language of the training"
        )
    log.warning(
        "%s: %d of %d %ss are unknown to the network, which sees one sign for all of them: %s",
        path, times, total, codec.unit, counted(unknown),
    )  # fmt: skip


def counted(pieces: Counter[str]) -> str:
    """The most frequent pieces of text and how often each comes, for a message."""
    shown = ", ".join(f"{piece!r} {n}" for piece, n in pieces.most_common(SHOWN))
    return f"{shown} and {len(pieces) - SHOWN} more" if len(pieces) > SHOWN else shown
