"""The command `torchatlas translate`: sentences by a translator."""

import contextlib
import logging
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..data.pairs.base import ParallelData
from ..data.text.base import UNKNOWN
from ..drawing.alignments import alignments, draw_alignments, labels
from ..errors import UserError
from ..generate.beams import beam_search
from ..models.contract import Attention
from ..predict.registry import Trained, answers, wrong_command
from ..predict.rows import file_for
from ..run.console import logged_by
from ..run.devices import device_of
from ..run.restore import reader, restore
from ..tasks.seq2seq import BEGIN, END, LONGER, SequenceToSequence
from .generate import BATCH, CONTROL, tell_unknown

POOL = 16  # batches whose sentences are sorted by length, and then written


@answers(tasks=("seq2seq",), ends=' input="..."')
def translate(
    ckpt: str, input: str, output: str = "", *, beams: int = 5, length_penalty: float = 0.6, max_length: int = 0,
    alignment: str = "", cache: bool = True,
) -> list[str]:  # fmt: skip
    """Translations of a sentence, or of each line of a file.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: a sentence, or a file with one on each line.
        output: a file for the translations, a line for each line. It grows as they are made.
        beams: translations that beam search follows.
        length_penalty: over 0 favours long ones.
        max_length: most tokens of a translation; 0 is as many as the source has and some more.
        alignment: a .png file for a picture of what each token of the translation looked at; of one sentence.
        cache: whether keys and values of earlier tokens are kept.

    Returns:
        The translations.

    Raises:
        UserError: no checkpoint of a translator, no text, or something that cannot be.

    Examples:
        torchatlas translate ckpt=runs/transformer-multi30k input="Ein Hund läuft." alignment=alignment.png
    """
    path, task, about = restore(ckpt)
    if not isinstance(task, SequenceToSequence):
        raise wrong_command(path, Trained.of_checkpoint(task, about))
    if max_length < 0:
        raise UserError(f"max_length={max_length} must be a positive whole number, or 0 for one that fits the source")
    file = file_for(output, input) if output else None
    picture = file_for(alignment) if alignment else None
    data = reader(about)
    assert isinstance(data, ParallelData)
    with logged_by(logging.StreamHandler(), "%(message)s"):
        samples = data.read(input)
    sentences, sources = [each["text"] for each in samples.about], samples.samples.sources
    if alignment and len(sentences) > 1:
        raise UserError(f"alignment={alignment} shows one sentence, and {input} has {len(sentences)}: give one")
    if alignment and Path(alignment).suffix != ".png":
        raise UserError(f"alignment={alignment} must end in .png, as in alignment=alignment.png")
    if alignment and not any(isinstance(module, Attention) for module in task.network.modules()):
        raise UserError(f"{type(task.network).__name__} does not attend to its source: leave out alignment")
    source_codec, target_codec = data.source_codec, data.target_codec
    if alignment and not len(sources[0]):
        raise UserError(f"alignment={alignment} needs a sentence with a {source_codec.unit}")
    tell_unknown(sentences, source_codec)
    limit = task.claims.limit
    for number, length in enumerate(sources.lengths.tolist(), start=1):
        if limit is not None and length > limit:
            raise UserError(
                f"line {number} has {length} {source_codec.unit}s, more than the {limit} that the network can "
                "read: divide it"
            )
    task.place(device_of())
    started = time.perf_counter()
    found: list[Tensor] = [torch.zeros(0, dtype=torch.int64) for _ in sentences]
    translations: list[str] = []
    with contextlib.nullcontext() if file is None else file.open("w", encoding="utf-8") as written:
        for pool in torch.arange(len(sentences)).split(POOL * BATCH):
            order = sorted((i for i in pool.tolist() if sources.lengths[i]), key=lambda i: int(sources.lengths[i]))
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                padded, lengths, *_ = data.transform(samples.samples[-1, torch.tensor(part)])
                hypotheses = beam_search(
                    task.network, padded, lengths, begin=BEGIN, end=END, beams=beams, length_penalty=length_penalty,
                    max_length=max_length or lengths + LONGER, cache=cache,
                )  # fmt: skip
                for i, best in zip(part, hypotheses, strict=True):
                    found[i] = best[0][0]
            # A line feed within a translation would make two lines of one.
            lines = [" ".join(target_codec.decode(found[i]).splitlines()) for i in pool.tolist()]
            shown = (CONTROL.sub(UNKNOWN, line) for line in lines) if sys.stdout.isatty() and not written else lines
            print("\n".join(shown), file=written, flush=True)
            translations += lines
    seconds, total = time.perf_counter() - started, int((sources.lengths > 0).sum())
    print(f"{total} sentence{'s' * (total != 1)} in {seconds:.1f} s", file=sys.stderr)
    if picture is not None:
        source = torch.tensor(sources[0])
        maps = alignments(task.network, source.to(task.device), found[0])
        figure = draw_alignments(maps, labels(source_codec, source), [*labels(target_codec, found[0]), "<eos>"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # of scripts that matplotlib's font lacks
            figure.savefig(picture, dpi=120)
        print(picture, file=sys.stderr)
    return translations
