"""What networks that read texts say of a user's own: entities, tags of words, answers."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data.labelled.conll import IGNORED, Conll
from ..data.labelled.squad import Squad
from ..metrics.entities import entity_borders, tag_table
from ..tasks.classification import inputs_of
from ..tasks.span import Span, choose, window_scores
from ..tasks.token_classification import TokenClassification
from .registry import answers

Row = dict[str, Any]


@answers(tasks=("token_classification",), reads=True, ends=" input=FILE")
@torch.no_grad()
def find_entities(task: TokenClassification, data: Conll, given: str) -> Iterator[Row]:
    """The entities of a user's texts, or, where tags are of another kind, their words with their tags.

    A text that is longer than an input is read in pieces, and each word is judged in one of them.

    Args:
        task: in eval mode, with the trained network.
        data: of the training, see `reader`.
        given: a file with a text on each line, a folder of such files, or a text itself.

    Yields:
        Each entity with the least probability of its words' tags; a text without one has one row. Or each word. Files
        that cannot be read come last, with the reason as "error".
    """
    samples = data.read(given)
    pieces = zip(samples.texts, data.batches(samples, task.device), strict=True)
    for text, parts in itertools.groupby(pieces, lambda piece: piece[0]):
        judged = [
            task.predict(*inputs_of(task.claims, x, rest))[labels != IGNORED].cpu() for _, (x, *rest, labels) in parts
        ]
        certain, tags = torch.cat(judged).max(1)
        about = samples.about[text]
        for row in rows_of_tags(about["text"], samples.words[text], tags, certain, data.classes):
            yield {**about, **row}
    yield from samples.unread


def rows_of_tags(
    text: str, words: Sequence[tuple[int, int]], tags: Tensor, certain: Tensor, classes: Sequence[str]
) -> list[Row]:
    """The entities of a text, or, where the classes are none of entities, its words with their tags.

    Args:
        text: the text.
        words: the first character of each of its words, and the one behind the last.
        tags: the class of each word, int64 `n`.
        certain: the probability of each, `n`.
        classes: names of the tags.
    """
    table = tag_table(classes)
    if table is None:
        return [
            {"word": text[begin:end], "tag": classes[tag], "probability": round(probability, 6)}
            for (begin, end), tag, probability in zip(words, tags.tolist(), certain.tolist(), strict=True)
        ]
    starts, last = entity_borders(tags, torch.zeros_like(tags), table)
    found = []
    for begin in starts.nonzero()[:, 0].tolist():
        end = int(last[begin])
        entity = text[words[begin][0] : words[end][1]]
        probability = round(float(certain[begin : end + 1].min()), 6)
        found.append({"entity": entity, "kind": classes[int(tags[begin])][2:], "probability": probability})
    return found or [{"entity": "", "kind": "", "probability": ""}]


@answers(tasks=("span",), reads=True, ends=" input=FILE")
@torch.no_grad()
def answer_questions(task: Span, data: Squad, given: str) -> list[Row]:
    """The answer to each of a user's questions; "" where there is none, if the training had such questions.

    Args:
        task: in eval mode, with the trained network.
        data: of the training, see `reader`.
        given: see `labelled.squad.asked`.

    Returns:
        For each question its answer, and the sum of the logits of its start and end.
    """
    samples = data.read(given)
    tables = []
    for tokens, lengths, segments, *_ in data.batches(samples, task.device):
        logits = task.network.eval()(*inputs_of(task.claims, tokens, [lengths, segments]))
        tables.append(window_scores(logits, lengths, segments).cpu())
    table = torch.cat(tables)
    said = choose(table, samples.samples)
    best = [float(table[samples.samples.questions == i, 0].max()) for i in range(len(samples.about))]
    rows = [{**about, "answer": said[i], "score": round(best[i], 4)} for i, about in enumerate(samples.about)]
    return [*rows, *({"question": each["place"], "error": each["error"]} for each in samples.unread)]
