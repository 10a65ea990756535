"""The commands `torchatlas generate` and `torchatlas translate`: a trained network writes."""

import json
import logging
import os
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .callbacks.translations import alignments, draw_alignments, labels
from .data.text import UNKNOWN, Codec, codec_of, read_text
from .data.tokenizer import GPT, TokenizerCodec
from .decoding import beam_continue, beam_search, continue_, require_choice
from .errors import UserError
from .inference import SHOWN, restore
from .runs import write_text
from .tasks.base import Task
from .tasks.language_modeling import LanguageModeling
from .tasks.seq2seq import BEGIN, END, LONGER, SequenceToSequence

log = logging.getLogger(__name__)
BATCH = 64  # texts that are written together
COMMANDS = {
    "language_modeling": "generate", "seq2seq": "translate", "masked_lm": "fill", "classification": "predict",
    "forecasting": "predict", "distillation": "predict", "token_classification": "predict", "span": "predict",
}  # fmt: skip
TEXT_FILES = (".txt", ".md", ".rst")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabulator and line feed: a terminal would obey them


class TextStream:
    """Text from tokens that come one by one.

    A token is decoded together with those before it, since what stands between two words, or a character of several
    tokens, belongs to neither alone. An unfinished character is held back, and so is what may begin `stop`.

    Args:
        codec: of the tokens.
        prompt: tokens before the first one, `t`.
        stop: a text at which the stream ends; it is no part of it. "": none.

    Attributes:
        ended: whether `stop` has come.
    """

    def __init__(self, codec: Codec, prompt: Tensor, stop: str = "") -> None:
        self.codec, self.stop, self.ended = codec, stop, False
        self.tokens = prompt.tolist()
        self.begin, self.end = 0, len(self.tokens)  # of the tokens whose text has been given last
        self.held = ""

    def push(self, token: int) -> str:
        """What is certain with one more token."""
        self.tokens.append(token)
        return self._take(finished=False)

    def close(self) -> str:
        """What has been held back."""
        rest = self._take(finished=True)
        rest, self.held = rest + self.held, ""
        return rest

    def _take(self, *, finished: bool) -> str:
        if self.ended or self.end == len(self.tokens):
            return ""
        before = self.codec.decode(torch.tensor(self.tokens[self.begin : self.end], dtype=torch.int64))
        text = self.codec.decode(torch.tensor(self.tokens[self.begin :], dtype=torch.int64))
        if text.endswith(UNKNOWN) and not finished:
            return ""
        if len(text) > len(before):  # a special token adds nothing, and what comes then needs those before it
            self.begin, self.end = self.end, len(self.tokens)
        return self._until_stop(text[len(before) :])

    def _until_stop(self, new: str) -> str:
        text = self.held + new
        if not self.stop:
            return text
        found, self.held = text.find(self.stop), ""
        if found >= 0:
            self.ended = True
            return text[:found]
        most = min(len(self.stop) - 1, len(text))
        kept = next((n for n in range(most, 0, -1) if self.stop.startswith(text[len(text) - n :])), 0)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]


def generate(
    where: str, prompt: str = "", given: str = "", output: str = "", *, length: int = 200, temperature: float = 0.8,
    top_k: int = 0, top_p: float = 1.0, beams: int = 1, samples: int = 1, seed: int = 0, stop: str = "",
    cache: bool = True,
) -> list[str]:  # fmt: skip
    r"""Continue texts by a language model, and print them; in a terminal the first one as it is written.

    Args:
        where: see `inference.restore`.
        prompt: what is continued. Without one a text begins with the end-of-text token, or else with a line break.
        given: a file with a prompt on each line, in place of `prompt`.
        output: a file for the texts; one that ends in .jsonl gets an object on each line: prompt, sample, continuation.
        length: tokens to add, fewer where the network or `stop` ends the text.
        temperature, top_k, top_p: see `decoding.sample`.
        beams: over 1: in place of sampling, the best continuation that beam search finds.
        samples: texts for each prompt.
        seed: of the first text; the next ones have the next numbers.
        stop: a text at which a continuation ends, without it; \n in it is a line break.
        cache: see `decoding.continue_`.

    Returns:
        The continuations, without prompts.

    Raises:
        UserError: no checkpoint of a language model, no prompt, or a number that cannot be.
    """
    path, task, about = restore(where)
    if not isinstance(task, LanguageModeling):
        raise wrong_command(path, task)
    task.require_causal()
    require_choice(temperature, top_k, top_p)
    if min(length, samples, beams) < 1:
        key, value = next((k, v) for k, v in (("length", length), ("samples", samples), ("beams", beams)) if v < 1)
        raise UserError(f"{key}={value} must be a positive whole number")
    if beams > 1 and (samples > 1 or top_k or top_p < 1):
        raise UserError(f"beams={beams} searches for one text and draws none: leave out samples, top_k and top_p")
    if prompt and given:
        raise UserError("prompt and input cannot be given together: leave out one of them")
    codec = codec_of(about["data"])
    prompts = [prompt] if not given else _lines(given)
    tell_unknown(prompts, codec)
    texts = [(text, n) for text in prompts for n in range(1, samples + 1)]
    beginnings = [_encode(text, codec) for text in prompts for _ in range(samples)]
    options: dict[str, Any] = {"context": None if task.carry else about["data"]["context"], "cache": cache}
    end = codec.tokenizer.token_to_id(GPT[0]) if isinstance(codec, TokenizerCodec) else None
    options |= {"end": end}
    task.to("cuda" if torch.cuda.is_available() else "cpu")
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
    except KeyboardInterrupt:
        print()
        raise SystemExit(130) from None
    seconds = time.perf_counter() - started
    print(f"{tokens} {codec.unit}s in {seconds:.1f} s: {tokens / seconds:.0f} a second", file=sys.stderr)
    if output:
        _save(output, texts, written)
    return written


def _show(text: str) -> None:
    print(CONTROL.sub(UNKNOWN, text), end="", flush=True)


def _heading(i: int, texts: Sequence[Any]) -> str:
    return "" if len(texts) == 1 else f"--- {i + 1} of {len(texts)} ---\n"


def _save(output: str, texts: Sequence[tuple[str, int]], written: Sequence[str]) -> None:
    path = Path(output).expanduser()
    if path.suffix == ".jsonl":
        rows = [
            {"prompt": prompt, "sample": n, "continuation": text}
            for (prompt, n), text in zip(texts, written, strict=True)
        ]
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        whole = (
            _heading(i, texts) + prompt + text + "\n"
            for i, ((prompt, _), text) in enumerate(zip(texts, written, strict=True))
        )
        write_text(path, "".join(whole))


def _lines(given: str) -> list[str]:
    """The lines of a file.

    Raises:
        UserError: there is none, or it is empty or no UTF-8.
    """
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"there is no file {path}: name one with input=PATH")
    lines = read_text(path).removesuffix("\n").split("\n")
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty: give a text")
    return lines


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
    shown = ", ".join(f"{token!r} {n}" for token, n in unknown.most_common(SHOWN))
    more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    log.warning(
        "%d of %d %ss are unknown to the network, which sees one sign for all of them: %s%s",
        unknown.total(), total, codec.unit, shown, more,
    )  # fmt: skip


def wrong_command(path: Path, task: Task) -> UserError:
    """What is said to one who gives a checkpoint to a command for others."""
    command = COMMANDS.get(task.name, "evaluate")
    return UserError(f"{path} was trained for {task.name}: use torchatlas {command} ckpt=...")


# --- translation


def translate(
    where: str, given: str, output: str = "", *, beams: int = 5, length_penalty: float = 0.6, max_length: int = 0,
    alignment: str = "", cache: bool = True,
) -> list[str]:  # fmt: skip
    """Translate a sentence, or each line of a file, and print the translations, or write them to `output`.

    Args:
        where: see `inference.restore`.
        given: a file with a sentence on each line, or a sentence.
        output: a file for the translations: a line for each line, empty for an empty one.
        beams, length_penalty, cache: see `decoding.beam_search`.
        max_length: most tokens of a translation; 0: as many as the source has and `LONGER` more.
        alignment: a .png file for a picture of what each token of the translation looked at; of one sentence.

    Returns:
        The translations.

    Raises:
        UserError: no checkpoint of a translator, no text, or something that cannot be.
    """
    path, task, about = restore(where)
    if not isinstance(task, SequenceToSequence):
        raise wrong_command(path, task)
    if max_length < 0:
        raise UserError(f"max_length={max_length} must be a positive whole number, or 0 for one that fits the source")
    sentences = _sentences(given)
    if alignment and len(sentences) > 1:
        raise UserError(f"alignment={alignment} shows one sentence, and {given} has {len(sentences)}: give one")
    if alignment and Path(alignment).suffix != ".png":
        raise UserError(f"alignment={alignment} must end in .png, as in alignment=alignment.png")
    if alignment and not any(hasattr(module, "written_out") for module in task.network.modules()):
        raise UserError(f"{type(task.network).__name__} does not attend to its source: leave out alignment")
    source_codec, target_codec = (codec_of(about["data"][side]) for side in ("source", "target"))
    if alignment and not len(source_codec.encode(sentences[0])):
        raise UserError(f"alignment={alignment} needs a sentence with a {source_codec.unit}")
    tell_unknown(sentences, source_codec)
    sources = [source_codec.encode(sentence) for sentence in sentences]
    limit = getattr(task.network, "limit", None)
    for number, source in enumerate(sources, start=1):
        if limit is not None and len(source) > limit:
            raise UserError(
                f"line {number} has {len(source)} {source_codec.unit}s, more than the {limit} that the network can "
                "read: divide it"
            )
    task.to("cuda" if torch.cuda.is_available() else "cpu")
    started = time.perf_counter()
    found: list[Tensor] = [torch.zeros(0, dtype=torch.int64) for _ in sources]
    order = sorted((i for i in range(len(sources)) if len(sources[i])), key=lambda i: len(sources[i]))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        lengths = torch.tensor([len(sources[i]) for i in part])
        padded = nn.utils.rnn.pad_sequence([sources[i] for i in part], batch_first=True)
        hypotheses = beam_search(
            task.network, padded, lengths, begin=BEGIN, end=END, beams=beams, length_penalty=length_penalty,
            max_length=max_length or lengths + LONGER, cache=cache,
        )  # fmt: skip
        for i, best in zip(part, hypotheses, strict=True):
            found[i] = best[0][0]
    # A line feed within a translation would make two lines of one.
    translations = [" ".join(target_codec.decode(tokens).splitlines()) for tokens in found]
    seconds = time.perf_counter() - started
    if output:
        write_text(Path(output).expanduser(), "".join(f"{line}\n" for line in translations))
    else:
        shown = (CONTROL.sub(UNKNOWN, line) for line in translations) if sys.stdout.isatty() else translations
        print("\n".join(shown))
    print(f"{len(order)} sentence{'s' * (len(order) != 1)} in {seconds:.1f} s", file=sys.stderr)
    if alignment:
        picture = Path(alignment).expanduser()
        maps = alignments(task.network, sources[0].to(task.device), found[0])
        figure = draw_alignments(maps, labels(source_codec, sources[0]), [*labels(target_codec, found[0]), "<eos>"])
        picture.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # of scripts that matplotlib's font lacks
            figure.savefig(picture, dpi=120)
        print(picture, file=sys.stderr)
    return translations


def _sentences(given: str) -> list[str]:
    if os.path.isfile(Path(given).expanduser()):  # unlike Path's, of any string
        return _lines(given)
    if not given.strip():
        raise UserError('there is nothing to translate: give a sentence or a file, as in input="a sentence"')
    if given.endswith(TEXT_FILES) and not re.search(r"\s", given):
        raise UserError(f"there is no file {given}: name one, or give a sentence")
    return given.splitlines()
