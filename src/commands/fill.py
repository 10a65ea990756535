"""What a masked language model writes in place of [MASK]."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rich
import torch
from torch.nn.utils.rnn import pad_sequence

from ..data.decoding import read_text
from ..data.masked.base import MaskedDescription
from ..data.text.tokenizer import INSIDE, TokenizerCodec, tokenizer_of
from ..errors import UserError
from ..predict.language import counted
from ..predict.registry import answers
from ..predict.rows import file_for, table
from ..run.devices import device_of
from ..run.restore import restore
from ..tasks.masked_lm import MaskedLM

log = logging.getLogger(__name__)
MASK = "[MASK]"
BATCH = 64
EXAMPLE = 'as in text="The [MASK] of the list."'


@answers(tasks=("masked_lm",), ends=' text="... [MASK] ..."')
def fill(ckpt: str, text: str = "", input: str = "", output: str = "", *, top: int = 5) -> None:
    """What a masked language model writes in place of [MASK].

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        text: a text with [MASK] once or several times; each is guessed without the guesses for the others.
        input: a file with such a text on each line, in place of text.
        output: a CSV file, a row for each [MASK], which is written as soon as it is known.
        top: guesses for each.

    Raises:
        UserError: the checkpoint is of another kind, or a text has no [MASK] or is too long.

    Examples:
        torchatlas fill ckpt=runs/bert_tiny-pydoc text="The [MASK] of the list."
    """
    if bool(text) == bool(input):
        raise UserError(f"fill needs either a text or a file with texts: give one, {EXAMPLE}")
    path, task, about = restore(ckpt)
    if not isinstance(task, MaskedLM):
        raise UserError(
            f"{path} was trained for {task.name}: fill needs a masked language model, as of model=bert_tiny"
        )
    texts = _texts(text, input)
    described: MaskedDescription = about["data"]
    codec = tokenizer_of(described["tokenizer"])
    if not 1 <= top <= codec.vocab_size:
        raise UserError(f"top={top} must be from 1 to the {codec.vocab_size} tokens")
    file = file_for(output, input) if output else None
    task.place(device_of())
    console = rich.get_console()
    with table(file) as write:
        for i, row in enumerate(fill_texts(task, codec, texts, context=described["context"], top=top)):
            write(row)
            if not console.is_terminal:
                print(json.dumps(row, ensure_ascii=False), flush=True)
                continue
            if row["mask"] == 1:
                console.print(("\n" if i else "") + row["filled"], markup=False, highlight=False)
            guesses = [f"{row[f'guess_{k}']} {row[f'probability_{k}']:.1%}" for k in range(1, top + 1)]
            console.print(f"  {row['mask']}: {', '.join(guesses)}", markup=False, highlight=False)


def _texts(text: str, given: str) -> list[tuple[str, str]]:
    """Where each text comes from, for messages, and the text."""
    if text:
        return [("the text", text)]
    source = Path(given).expanduser()
    if not source.is_file():
        raise UserError(f"there is no file {source}: name one with input=FILE")
    lines = read_text(source).split("\n")
    texts = [(f"line {i} of {source}", line) for i, line in enumerate(lines, start=1) if line.strip()]
    if not texts:
        raise UserError(f"{source} is empty: write texts with {MASK} into it, {EXAMPLE}")
    return texts


@torch.no_grad()
def fill_texts(
    task: MaskedLM, codec: TokenizerCodec, texts: Sequence[tuple[str, str]], *, context: int, top: int
) -> Iterator[dict[str, Any]]:
    """The likeliest tokens for each [MASK].

    Args:
        task: in eval mode, with the trained network.
        codec: cuts texts into tokens.
        texts: where each comes from, and the text itself.
        context: tokens that the network sees at once.
        top: guesses for each [MASK].

    Yields:
        A row for each [MASK]: "text", "filled" (with the likeliest guesses), "mask" (its number in the text, from 1),
        and "guess_1", "probability_1", ..., where a guess that goes on with a word begins with ##.

    Raises:
        UserError: a text has no [MASK] or is too long.
    """
    first, separator = codec.number("[CLS]", "<s>"), codec.number("[SEP]", "</s>")
    hidden = codec.number("[MASK]", "<mask>")
    unknown: Counter[str] = Counter()
    sequences = []
    for name, text in texts:
        parts = text.split(MASK)
        if len(parts) == 1:
            raise UserError(f"{name} has no {MASK}: write it where a word is to be guessed, {EXAMPLE}")
        numbers = [first]
        for i, part in enumerate(parts):
            numbers += [hidden] * (i > 0) + codec.encode(part).tolist()
            unknown += codec.unknown(part)
        numbers.append(separator)
        if len(numbers) > context:
            raise UserError(
                f"{name} has {len(numbers)} tokens, special ones included, and the network sees {context}: shorten it"
            )
        sequences.append(torch.tensor(numbers))
    if unknown:
        log.warning("unknown to the network, which sees one sign for all of them: %s", counted(unknown))
    for start in range(0, len(texts), BATCH):
        batch = sequences[start : start + BATCH]
        tokens = pad_sequence(batch, batch_first=True).to(task.device)
        lengths = torch.tensor([len(row) for row in batch], device=task.device)
        places = [(row == hidden).nonzero().flatten() for row in batch]
        positions = pad_sequence(places, batch_first=True).to(task.device)
        logits, _ = task.network(tokens, lengths, torch.zeros_like(tokens), positions)
        probabilities, guesses = logits.float().softmax(2).topk(top, 2)
        for i, (_, text) in enumerate(texts[start : start + BATCH]):
            number = len(places[i])
            names = [[str(codec.tokenizer.id_to_token(g)) for g in row] for row in guesses[i, :number].tolist()]
            filled = _filled(text, [row[0] for row in names])
            for n, (row, shares) in enumerate(zip(names, probabilities[i, :number].tolist(), strict=True), start=1):
                entry: dict[str, Any] = {"text": text, "filled": filled, "mask": n}
                for k, (name, share) in enumerate(zip(row, shares, strict=True), start=1):
                    entry |= {f"guess_{k}": name, f"probability_{k}": round(share, 6)}
                yield entry


def _filled(text: str, guesses: Sequence[str]) -> str:
    found, *parts = text.split(MASK)
    for guess, part in zip(guesses, parts, strict=True):
        found = found.rstrip() + guess.removeprefix(INSIDE) if guess.startswith(INSIDE) else found + guess
        found += part
    return found
