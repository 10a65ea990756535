"""The commands `torchatlas generate` and `torchatlas translate`: a trained network writes."""

import json
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.text.base import UNKNOWN, Codec, TextDescription, codec_of, lines_of
from ..data.text.tokenizer import GPT, TokenizerCodec
from ..errors import UserError
from ..generate.beams import beam_continue
from ..generate.decoding import continue_, require_choice
from ..generate.text_stream import TextStream
from ..predict.language import counted
from ..predict.registry import Trained, answers, wrong_command
from ..predict.rows import file_for
from ..run.devices import device_of
from ..run.restore import restore
from ..storage.files import write_text
from ..tasks.language_modeling import LanguageModeling

log = logging.getLogger(__name__)
BATCH = 64  # texts that are written together
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabulator and line feed: a terminal would obey them


@answers(tasks=("language_modeling",), ends=' prompt="..."')
def generate(
    ckpt: str, prompt: str = "", input: str = "", output: str = "", *, length: int = 200, temperature: float = 0.8,
    top_k: int = 0, top_p: float = 1.0, beams: int = 1, samples: int = 1, seed: int = 0, stop: str = "",
    cache: bool = True,
) -> list[str]:  # fmt: skip
    r"""Texts by a language model; in a terminal the first one as it is written.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        prompt: what is continued; without one a text begins with the end-of-text token, or else with a line break.
        input: a file with a prompt on each line, in place of prompt.
        output: a file for the texts; one that ends in .jsonl gets an object on each line. It grows as they are written.
        length: tokens to add, fewer where the network or stop ends the text.
        temperature: over 1 is bolder, 0 takes the likeliest token.
        top_k: of how many likeliest tokens one is drawn; 0 is all.
        top_p: probability that the tokens have together among which one is drawn; 1 is all.
        beams: over 1, in place of sampling, the best continuation that beam search finds.
        samples: texts for each prompt.
        seed: of the first text; the next ones have the next numbers.
        stop: a text at which a continuation ends, without it; \n in it is a line break.
        cache: whether keys and values of earlier tokens are kept.

    Returns:
        The continuations, without prompts.

    Raises:
        UserError: no checkpoint of a language model, no prompt, or a number that cannot be.

    Examples:
        torchatlas generate ckpt=runs/gpt-shakespeare prompt="To be" length=100 temperature=0.7
    """
    path, task, about = restore(ckpt)
    if not isinstance(task, LanguageModeling):
        raise wrong_command(path, Trained.of_checkpoint(task, about))
    task.require_causal()
    require_choice(temperature, top_k, top_p)
    if min(length, samples, beams) < 1:
        key, value = next((k, v) for k, v in (("length", length), ("samples", samples), ("beams", beams)) if v < 1)
        raise UserError(f"{key}={value} must be a positive whole number")
    if beams > 1 and (samples > 1 or top_k or top_p < 1):
        raise UserError(f"beams={beams} searches for one text and draws none: leave out samples, top_k and top_p")
    if prompt and input:
        raise UserError("prompt and input cannot be given together: leave out one of them")
    file = file_for(output) if output else None
    described: TextDescription = about["data"]
    codec = codec_of(described)
    prompts = [prompt] if not input else lines_of(input)
    tell_unknown(prompts, codec)
    texts = [(text, n) for text in prompts for n in range(1, samples + 1)]
    beginnings = [_encode(text, codec) for text in prompts for _ in range(samples)]
    options: dict[str, Any] = {"context": None if task.carry else described["context"], "cache": cache}
    end = codec.tokenizer.token_to_id(GPT[0]) if isinstance(codec, TokenizerCodec) else None
    options |= {"end": end}
    task.place(device_of())
    live = sys.stdout.isatty()
    stop, tokens, started = stop.replace("\\n", "\n"), 0, time.perf_counter()
    written: list[str] = []
    try:
        for start in range(0, len(texts), 1 if beams > 1 else BATCH):
            part = beginnings[start : start + (1 if beams > 1 else BATCH)]
            streams = [TextStream(codec, one, stop) for one in part]
            pieces: list[list[str]] = [[] for _ in part]

            def receive(row: int, token: int, streams: Any = streams, pieces: Any = pieces) -> bool:
                pieces[row].append(streams[row].push(token))
                if live and row == 0:
                    _show(pieces[row][-1])
                return bool(streams[row].ended)

            if live:
                _show(_heading(start, texts) + texts[start][0])
            if beams > 1:
                found, _ = beam_continue(task.network, part[0], length, beams=beams, **options)[0]
                for token in found.tolist():
                    if receive(0, token):
                        break
                tokens += len(found)
            else:
                grown = continue_(
                    task.network, part, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed + start,
                    on_token=receive, **options,
                )  # fmt: skip
                tokens += sum(len(text) - len(one) for text, one in zip(grown, part, strict=True))
            for row, stream in enumerate(streams):
                pieces[row].append(stream.close())
                written.append("".join(pieces[row]))
                text = _heading(start + row, texts) + texts[start + row][0] + written[-1]
                if not live:
                    print(text)
                else:
                    _show((pieces[row][-1] if row == 0 else text) + "\n")
            if file is not None:
                _save(file, texts, written)
    except KeyboardInterrupt:
        print()  # behind the line that was being written
        raise
    seconds = time.perf_counter() - started
    print(f"{tokens} {codec.unit}s in {seconds:.1f} s: {tokens / seconds:.0f} a second", file=sys.stderr)
    return written


def _show(text: str) -> None:
    print(CONTROL.sub(UNKNOWN, text), end="", flush=True)


def _heading(i: int, texts: Sequence[Any]) -> str:
    return "" if len(texts) == 1 else f"--- {i + 1} of {len(texts)} ---\n"


def _save(path: Path, texts: Sequence[tuple[str, int]], written: Sequence[str]) -> None:
    """The texts that there are by now, of all that are to be written."""
    there = texts[: len(written)]
    if path.suffix == ".jsonl":
        rows = [
            {"prompt": prompt, "sample": n, "continuation": text}
            for (prompt, n), text in zip(there, written, strict=True)
        ]
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        whole = (
            _heading(i, texts) + prompt + text + "\n"
            for i, ((prompt, _), text) in enumerate(zip(there, written, strict=True))
        )
        write_text(path, "".join(whole))


def _encode(prompt: str, codec: Codec) -> Tensor:
    """The tokens of a prompt, at least one.

    Raises:
        UserError: it has none, or there is no token with which a text could begin.
    """
    if prompt:
        if not len(tokens := codec.encode(prompt)):
            raise UserError(f"the prompt {prompt!r} has no {codec.unit}: give a text")
        return tokens
    if isinstance(codec, TokenizerCodec) and (number := codec.tokenizer.token_to_id(GPT[0])) is not None:
        return torch.tensor([number])
    tokens = codec.encode("\n")
    if not len(tokens) or codec.unknown("\n"):
        raise UserError('a text has to begin with something: give prompt="..."')
    return tokens


def tell_unknown(texts: Sequence[str], codec: Codec) -> None:
    """Warn of what the training did not have.

    Raises:
        UserError: the texts have nothing else.
    """
    unknown = sum((codec.unknown(text) for text in texts), Counter[str]())
    if not unknown:
        return
    total = sum(len(codec.encode(text)) for text in texts)
    if unknown.total() == total:
        raise UserError(f"no {codec.unit} of the input is known to the network: give a text as those of its training")
    log.warning(
        "%d of %d %ss are unknown to the network, which sees one sign for all of them: %s",
        unknown.total(), total, codec.unit, counted(unknown),
    )  # fmt: skip
