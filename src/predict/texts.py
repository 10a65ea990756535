"""What networks that read texts say of a user's own: classes, entities, answers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.labelled.base import FIRST, SEPARATOR, Ragged, segments_of
from ..data.labelled.conll import encode_words
from ..data.labelled.labeled_text import encode_texts
from ..data.labelled.squad import Question, SpanWindows, read_squad
from ..data.text.base import read_text
from ..data.text.tokenizer import TokenizerCodec, tokenizer_of
from ..data.text.words import WORD
from ..errors import UserError
from ..metrics.entities import entity_borders, tag_table
from ..tasks.base import Task
from ..tasks.classification import Classification, inputs_of
from ..tasks.span import Span, choose, window_scores
from ..tasks.token_classification import TokenClassification

BATCH = 64
KINDS = {"text_classes": Classification, "token_tags": TokenClassification, "text_spans": Span}
Row = dict[str, Any]


def reads(task: Task, about: dict[str, Any]) -> bool:
    """Whether `classify_texts` can read for a task with data of this description."""
    return isinstance(task, KINDS.get(about["kind"], ()))


def classify_texts(task: Task, about: dict[str, Any], given: str, top: int = 1) -> list[Row]:
    """What a network says of texts, which are read as in training.

    Args:
        task: in eval mode, with the trained network.
        about: what the data module said of itself in training.
        given: a file with a text on each line, a folder of files that end in .txt, or a text itself. Pairs of texts,
            and a question and its text, stand on one line with a tab between them; questions may also be in a file in
            the form of SQuAD that ends in .json.
        top: how many classes are said of a text.

    Returns:
        For each text its `top` classes with probabilities ("class" and "probability", or, with `top` over 1, "class_1",
        "probability_1", ...; with several passes, `task.averaged`, these are means, and "spread" is the standard
        deviation over the passes); or each of its entities, with the least probability of its words' tags (where tags
        are not of entities, each word with its tag); or the answer to each question, with the sum of the logits of its
        start and end.

    Raises:
        UserError: there is no such file, no text, or a line without its tab.
    """
    codec = tokenizer_of(about["tokenizer"])
    if isinstance(task, Span):
        return answer_questions(task, about, codec, read_questions(given))
    lines = read_lines(given)
    if isinstance(task, TokenClassification):
        return [row for place, line in lines for row in find_tags(task, about, codec, place, line)]
    assert isinstance(task, Classification)
    return say_classes(task, about, codec, lines, top)


def read_lines(given: str) -> list[tuple[str, str]]:
    """The texts, and the place of each: `file:line`, or nothing for a text that was typed.

    Raises:
        UserError: there is no such file, or no text.
    """
    path = Path(given).expanduser()
    try:
        there = path.exists()
    except OSError:  # too long for a name
        there = False
    if not there:
        if not re.search(r"\s", given.strip()):
            raise UserError(f"there is no file or folder {path}: name one with input=PATH, or give a text in quotes")
        return [("", given)]
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    found = [
        (f"{file}:{number}", line.strip())
        for file in files
        for number, line in enumerate(read_text(file).split("\n"), 1)
        if line.strip()
    ]
    if not found:
        raise UserError(f"{path} holds no text")
    return found


def two_sides(place: str, line: str, what: str) -> tuple[str, str]:
    """Both sides of a tab.

    Raises:
        UserError: there is none, or a side is empty.
    """
    sides = [side.strip() for side in line.split("\t")]
    if len(sides) != 2 or not all(sides):
        raise UserError(f"{place or line!r}: {what} with one tab between them are expected")
    return sides[0], sides[1]


@torch.no_grad()
def say_classes(
    task: Classification, about: dict[str, Any], codec: TokenizerCodec, lines: Sequence[tuple[str, str]], top: int
) -> list[Row]:
    """The likeliest classes of texts."""
    classes = about["classes"]
    if not 1 <= top <= len(classes):
        raise UserError(f"top={top} must be from 1 to the {len(classes)} classes")
    texts, pairs = [line for _, line in lines], None
    if about["pair"]:
        sides = [two_sides(place, line, "two texts") for place, line in lines]
        texts, pairs = [a for a, _ in sides], [b for _, b in sides]
    first, separator = codec.number(*FIRST), codec.number(*SEPARATOR)
    rows, firsts, _ = encode_texts(codec, texts, pairs, about["max_length"], first, separator)
    tokens = Ragged(rows)
    found = []
    for places in torch.arange(len(rows)).split(BATCH):
        x = tokens.padded(places)
        segments = [] if firsts is None else [segments_of(torch.tensor(firsts)[places], x.shape[1])]
        others = [part.to(task.device) for part in (tokens.lengths[places], *segments)]
        inputs = inputs_of(task.network, x.to(task.device), others)
        each = task.predict(*inputs)[None] if task.averaged is None else task.averaged(task.network, *inputs)
        spreads = each.std(0, correction=0).cpu()
        for i, probabilities, spread in zip(places.tolist(), each.mean(0).cpu(), spreads, strict=True):
            values, chosen = probabilities.topk(top)
            row: Row = {"place": lines[i][0], "text": lines[i][1]}
            for k, (value, number) in enumerate(zip(values.tolist(), chosen.tolist(), strict=True), start=1):
                suffix = "" if top == 1 else f"_{k}"
                row |= {f"class{suffix}": classes[number], f"probability{suffix}": round(value, 6)}
                if task.averaged is not None:
                    row[f"spread{suffix}"] = round(float(spread[number]), 6)
            found.append(row)
    return found


@torch.no_grad()
def find_tags(
    task: TokenClassification, about: dict[str, Any], codec: TokenizerCodec, place: str, line: str
) -> list[Row]:
    """The entities of a text, or, where tags are of another kind, its words with their tags."""
    words = list(WORD.finditer(line))
    tags, certain = tag_words(task, codec, [word.group() for word in words], about["max_length"])
    classes, table = about["classes"], tag_table(about["classes"])
    common = {"place": place, "text": line}
    if table is None:
        return [
            {**common, "word": word.group(), "tag": classes[tag], "probability": round(probability, 6)}
            for word, tag, probability in zip(words, tags.tolist(), certain.tolist(), strict=True)
        ]
    starts, last = entity_borders(tags, torch.zeros_like(tags), table)
    found = []
    for begin in starts.nonzero()[:, 0].tolist():
        end = int(last[begin])
        entity = line[words[begin].start() : words[end].end()]
        probability = round(float(certain[begin : end + 1].min()), 6)
        found.append({**common, "entity": entity, "kind": classes[tags[begin]][2:], "probability": probability})
    return found or [{**common, "entity": "", "kind": "", "probability": ""}]


def tag_words(
    task: TokenClassification, codec: TokenizerCodec, words: Sequence[str], max_length: int
) -> tuple[Tensor, Tensor]:
    """The likeliest tag of each word, int64 `n`, and its probability; a text that is too long is read in pieces."""
    first, separator = codec.number(*FIRST), codec.number(*SEPARATOR)
    probabilities = []
    done = 0
    while done < len(words):
        (row,), (starts,) = encode_words(codec, [words[done:]], max_length, first, separator)
        if not starts:  # one word has more tokens than the network takes: its first ones are seen
            (whole,), _ = encode_words(codec, [words[done : done + 1]], 10**9, first, separator)
            row, starts = [*whole[: max_length - 1], separator], [1]
        x = torch.tensor([row], device=task.device)
        inputs = inputs_of(task.network, x, [torch.tensor([len(row)], device=task.device)])
        probabilities.append(task.predict(*inputs)[0, starts].cpu())
        done += len(starts)
    certain, tags = torch.cat(probabilities).max(1)
    return tags, certain


def read_questions(given: str) -> list[Question]:
    """Questions with their texts, from a JSON file in the form of SQuAD or from lines."""
    path = Path(given)
    if path.suffix == ".json" and path.is_file():
        return read_squad(path)
    sides = [two_sides(place, line, "a question and its text") for place, line in read_lines(given)]
    return [Question(question, context, [], []) for question, context in sides]


@torch.no_grad()
def answer_questions(
    task: Span, about: dict[str, Any], codec: TokenizerCodec, questions: Sequence[Question]
) -> list[Row]:
    """The answer to each question; "" where there is none, if the training had such questions."""
    windows = SpanWindows(
        codec, questions, max_length=about["max_length"], max_question=about["max_question"], stride=about["stride"],
        first=codec.number(*FIRST), separator=codec.number(*SEPARATOR), exact=False,
        unanswerable=about["unanswerable"],
    )  # fmt: skip
    tables = []
    for places in torch.arange(len(windows)).split(BATCH):
        tokens, lengths, segments, *_ = (part.to(task.device) for part in windows[-1, places])
        logits = task.network.eval()(*inputs_of(task.network, tokens, [lengths, segments]))
        tables.append(window_scores(logits, lengths, segments).cpu())
    table = torch.cat(tables)
    answers = choose(table, windows)
    best = [float(table[windows.questions == i, 0].max()) for i in range(len(questions))]
    return [
        {"question": question.question, "answer": answers[i], "score": round(best[i], 4)}
        for i, question in enumerate(questions)
    ]
