"""Questions whose answers stand in a text: SQuAD, and files of a user's own in its form."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ...metrics.answers import normalize
from ..decoding import read_text
from ..download import fetch
from ..reading import Given
from ..tables import read_cells
from ..text.ragged import Ragged
from ..text.tokenizer import TokenizerCodec
from .base import SHOWN, EncodedDescription, EncodedText, is_table, read_lines, segments_of, two_sides

log = logging.getLogger(__name__)
ADDRESS = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
MD5 = {  # as in torchtext
    "train-v1.1.json": "981b29407e0affa3b1b156f72073b945",
    "dev-v1.1.json": "3e85deb501d4e538b6bc56f786231552",
    "train-v2.0.json": "62108c273c268d70893182d5cf8df740",
    "dev-v2.0.json": "246adae8b7002f8679c027697b0b7cf8",
}
VERSIONS = ("1.1", "2.0")
FEW_TITLES = 10  # articles under which a validation set is cut by paragraph
SYLLABLES = tuple(a + b for a in "bdfgklmn" for b in "aeiou")  # of made words


class Question(NamedTuple):
    """A question about a text.

    Attributes:
        question, context: as text.
        answers: of several people, or none where the text has no answer.
        starts: the place of each one's first character in the context.
        title: of the article.
    """

    question: str
    context: str
    answers: list[str]
    starts: list[int]
    title: str = ""


def read_squad(path: Path) -> list[Question]:
    """The questions of a file in the form of SQuAD 1.1 or 2.0; answers may be missing, as where they are looked for.

    Raises:
        UserError: the file has another form.
    """
    try:
        content = json.loads(read_text(path))
        found = [
            Question(
                qa["question"].strip(),
                paragraph["context"],
                [answer["text"] for answer in qa.get("answers", ())],
                [int(answer["answer_start"]) for answer in qa.get("answers", ())],
                str(article.get("title", "")),
            )
            for article in content["data"]
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} does not have the form of SQuAD, data / paragraphs / context and qas / question and answers "
            f"({type(error).__name__}: {error})"
        ) from error
    if not found:
        raise UserError(f"{path} holds no question")
    return found


class SpanWindows:
    """Windows of the texts of questions, as tokens: [CLS] question [SEP] part of the text [SEP].

    A text that is too long is seen in several windows; the next one begins `stride` tokens after the last one (Devlin
    et al. 2018, the authors' code for SQuAD). The answer of a window that does not hold it whole is [CLS].

    Args:
        codec: cuts questions and texts into tokens.
        questions: see `Question`.
        max_length: tokens of a window at most.
        max_question: tokens of a question at most; the rest of it is cut.
        stride: see above.
        first, separator: numbers of [CLS] and [SEP].
        exact: whether questions are left out whose answer does not stand where it is said to, or does not begin and end
            with a token.
        unanswerable: whether some questions have no answer.

    Attributes:
        lengths: tokens of each window, `n`.
        questions: the number of each window's question, `n`.
        answers: what people said, of each question that was kept.
        left_out, cut: questions without an aligned answer, and questions that were cut.
    """

    def __init__(
        self, codec: TokenizerCodec, questions: Sequence[Question], *, max_length: int, max_question: int, stride: int,
        first: int, separator: int, exact: bool, unanswerable: bool,
    ) -> None:  # fmt: skip
        self.contexts = list(dict.fromkeys(question.context for question in questions))
        number = {context: k for k, context in enumerate(self.contexts)}
        encoded = codec.tokenizer.encode_batch(self.contexts, add_special_tokens=False)
        spans = [trimmed(context, e.offsets) for context, e in zip(self.contexts, encoded, strict=True)]
        self.begins, self.ends_of = (
            Ragged([[a for a, _ in s] for s in spans]),
            Ragged([[b for _, b in s] for s in spans]),
        )
        self.answers: list[list[str]] = []
        self.left_out = self.cut = 0
        self.unanswerable = unanswerable
        rows, firsts, places, owners, starts, ends = [], [], [], [], [], []
        asked = codec.encode_many([question.question for question in questions])
        for question, words in zip(questions, asked, strict=True):
            k = number[question.context]
            span = None
            if question.answers:
                span, same = align(question.context, spans[k], question.answers[0], question.starts[0])
                if exact and not same:
                    self.left_out += 1
                    continue
            self.cut += len(words) > max_question
            words = words[:max_question]
            room = max_length - len(words) - 3
            tokens = encoded[k].ids
            for begin in window_begins(len(tokens), room, stride):
                part = tokens[begin : begin + room]
                head = [first, *words, separator]
                inside = span is not None and begin <= span[0] and span[1] < begin + len(part)
                starts.append(len(head) + span[0] - begin if span is not None and inside else 0)
                ends.append(len(head) + span[1] - begin if span is not None and inside else 0)
                rows.append([*head, *part, separator])
                firsts.append(len(head))
                places.append((k, begin))
                owners.append(len(self.answers))
            self.answers.append(question.answers)
        self.tokens, self.questions = Ragged(rows), torch.tensor(owners, dtype=torch.int64)
        self.lengths = self.tokens.lengths
        self.firsts, self.places = torch.tensor(firsts, dtype=torch.int64), torch.tensor(places).view(-1, 2)
        self.starts, self.ends = torch.tensor(starts, dtype=torch.int64), torch.tensor(ends, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: tuple[int, Tensor]) -> tuple[Tensor, ...]:
        _, indices = key
        tokens = self.tokens.padded(indices)
        segments = segments_of(self.firsts[indices], tokens.shape[1])
        return tokens, self.lengths[indices], segments, self.starts[indices], self.ends[indices], indices

    def text(self, window: int, start: int, end: int) -> str:
        """What stands in the text under tokens `start` to `end` of a window; nothing, where they are not in it."""
        first = int(self.firsts[window])
        if not first <= start <= end < int(self.lengths[window]) - 1:
            return ""
        context, begin = self.places[window].tolist()
        row = int(self.begins.starts[context]) + begin - first
        text: str = self.contexts[context]
        return text[int(self.begins.values[row + start]) : int(self.ends_of.values[row + end])]


def trimmed(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The characters of each token, without the blanks before them that byte-level tokens have."""
    found = []
    for a, b in offsets:
        while a < b and text[a].isspace():
            a += 1
        found.append((a, b))
    return found


def window_begins(tokens: int, room: int, stride: int) -> list[int]:
    """Where windows of `room` tokens begin, so that each token is in one.

    >>> window_begins(10, 4, 3), window_begins(4, 4, 3), window_begins(0, 4, 3)
    ([0, 3, 6], [0], [0])
    """
    begins = [0]
    while begins[-1] + room < tokens:
        begins.append(begins[-1] + stride)
    return begins


def align(
    context: str, spans: Sequence[tuple[int, int]], answer: str, start: int
) -> tuple[tuple[int, int] | None, bool]:
    """The first and the last token of an answer, and whether they say the same as the answer.

    Args:
        context: the text.
        spans: characters of each of its tokens.
        answer, start: the answer, and the place of its first character.
    """
    end = start + len(answer)
    covered = [i for i, (a, b) in enumerate(spans) if b > start and a < end]
    if not covered or not answer.strip():
        return None, False
    said = context[spans[covered[0]][0] : spans[covered[-1]][1]]
    return (covered[0], covered[-1]), context[start:end] == answer and normalize(said) == normalize(answer)


class SpanDescription(EncodedDescription):
    """Questions whose answers stand in a text.

    Attributes:
        max_question, stride: see `Squad`.
        unanswerable: whether some questions have no answer.
    """

    kind: Literal["text_spans"]
    max_question: int
    stride: int
    unanswerable: bool


def asked(given: str, endings: Sequence[str]) -> tuple[list[Question], list[dict[str, str]]]:
    """A user's questions with their texts: a JSON file in the form of SQuAD, a table, or lines with a tab between.

    Beside them stands `Given.unread` of the files of a folder, and of lines without a tab.
    """
    path = Path(given).expanduser()
    if path.suffix == ".json" and path.is_file():
        return read_squad(path), []
    if is_table(path) and path.is_file():
        cells = read_cells(path, expected=("question", "context"))
        if {"question", "context"} <= set(cells.names):
            rows = zip(cells.column("question"), cells.column("context"), strict=True)
            return [Question(question, context, [], []) for question, context in rows], []
    lines, unread = read_lines(given, endings)
    found, wrong = [], []
    for place, line in lines:
        try:
            found.append(Question(*two_sides(place, line, "a question and its text"), [], []))
        except UserError as error:
            wrong.append({"place": place, "error": str(error)})
    if not found and wrong:
        raise UserError(wrong[0]["error"])
    return found, [*wrong, *unread]


class Squad(EncodedText):
    """Questions about articles of Wikipedia, whose answer is a part of the text.

    SQuAD 1.1, 87,599 questions for training and 10,570 in the development set, three answers each: Rajpurkar, Zhang,
    Lopyrev and Liang 2016, arXiv:1606.05250. SQuAD 2.0, 130,319 and 11,873, about half of which the text does not
    answer: Rajpurkar, Jia and Liang 2018, arXiv:1806.03822. The real test set is secret: what is called test here is
    the official development set, and whole articles of the training set validate, chosen by a checksum of their title.

    Batches: see `tasks.span.Span`. In training, questions whose answer does not begin and end with a token are left
    out, and counted in the log; in validation and test all stay.

    Args:
        num_classes: what networks are told: 2 values for each token, that of a start and that of an end.
        version: "1.1" or "2.0".
        root: folder that has, or gets, `squad`.
        path: a folder with train.json and test.json (or dev.json) in the same form instead of it.
        val_share: of the articles, or, where there are few, of the paragraphs, for validation.
        max_question: tokens of a question at most.
        stride: tokens between the beginnings of two windows of a text.
        common: see `EncodedText`. Made data (`fake`): the answer is a word that only answers are.
    """

    tasks = ("span",)
    targets = "span"
    network = "bert_tiny"
    vocabulary = 20_000

    def __init__(
        self,
        *,
        num_classes: int = 2,
        version: str = "1.1",
        root: str = "data",
        path: str | None = None,
        val_share: float = 0.05,
        max_question: int = 64,
        stride: int = 128,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if str(version) not in VERSIONS:
            raise UserError(f"data.version={version} must be {' or '.join(VERSIONS)}")
        if num_classes != 2:
            raise UserError(f"data.num_classes={num_classes} must be 2: start and end")
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share} must be between 0 and 1, as in data.val_share=0.05")
        if max_question < 1 or stride < 1:
            raise UserError(f"data.max_question={max_question} and data.stride={stride} must be positive")
        self.num_classes, self.version, self.val_share = num_classes, str(version), val_share
        self.folder = Path(root).expanduser() / "squad" if path is None else Path(path).expanduser()
        self.own = path is not None
        # A question has a fourth of a window at most, and windows of a text overlap or touch.
        self.max_question = min(max_question, max(1, self.max_length // 4))
        self.stride = min(stride, self.max_length - self.max_question - 3)
        if self.stride < 1:
            raise UserError(f"data.max_length={self.max_length} leaves no room for a text: use data.max_length=384")

    @property
    def unanswerable(self) -> bool:
        """Whether some questions have no answer."""
        return self.version == "2.0"

    def prepare_data(self) -> None:
        if not self.fake and not self.own:
            for name in self.names():
                fetch([ADDRESS + name], self.folder / name, MD5[name])

    def names(self) -> tuple[str, str]:
        return f"train-v{self.version}.json", f"dev-v{self.version}.json"

    def read_questions(self) -> dict[str, list[Question]]:
        """The questions of each split."""
        train, test = (self.folder / name for name in self.names())
        if self.own:
            train = self.folder / "train.json"
            test = next((p for p in (self.folder / n for n in ("test.json", "dev.json")) if p.is_file()), train)
            if not train.is_file() or test == train:
                raise UserError(
                    f"{self.folder} does not hold train.json and test.json: put questions in the form of SQuAD there"
                )
        questions = read_squad(train)
        titles = {question.title for question in questions}

        def validates(question: Question) -> bool:
            name = question.title if len(titles) >= FEW_TITLES else question.context
            return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48 < self.val_share

        found = {
            "train": [q for q in questions if not validates(q)],
            "val": [q for q in questions if validates(q)],
            "test": read_squad(test),
        }
        for split, part in found.items():
            if not part:
                raise UserError(f"{self.folder} has too few texts to keep a share for {split}: give a larger val_share")
            if not self.unanswerable and not all(q.answers for q in part):
                raise UserError(f"a question in {self.folder} has no answer: use data.version=2.0, which allows that")
        return found

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        questions = self.fake_questions() if self.fake else self.read_questions()
        train = questions["train"]
        self.find_codec([*dict.fromkeys(q.context for q in train), *(q.question for q in train)])
        for split, part in questions.items():
            windows = self.windows(part, exact=split == "train")
            if split == "train" and stage != "test" and self.speaks:
                log.info(
                    "%d questions make %d windows; %d more are left out, since their answer does not begin and end "
                    "with a token; %d questions have more than %d tokens and are cut",
                    len(windows.answers), len(windows), windows.left_out, windows.cut, self.max_question,
                )  # fmt: skip
            if not len(windows):
                raise UserError(f"no answer of the {split} split stands in its text where answer_start says")
            self.splits[split] = windows
        if stage != "test":
            self.tell_waste()

    def windows(self, questions: Sequence[Question], *, exact: bool) -> SpanWindows:
        return SpanWindows(
            self.codec, questions, max_length=self.max_length, max_question=self.max_question, stride=self.stride,
            first=self.first, separator=self.separator, exact=exact, unanswerable=self.unanswerable,
        )  # fmt: skip

    def fake_questions(self) -> dict[str, list[Question]]:
        """Texts of made words, one of them an answer; each fourth is shorter."""
        room = max(2, min(SHOWN, self.max_length) - 4)

        def make(stream: int, n: int) -> list[Question]:
            random = (uniform(2, stream, torch.arange(n), room + 2) * 2**16).long().tolist()
            found = []
            for i, (which, place, *draws) in enumerate(random):
                words = [SYLLABLES[draw % len(SYLLABLES)] for draw in draws[: room if i % 4 else max(2, room - 2)]]
                answer, place = f"answer{SYLLABLES[which % 4]}", place % len(words)
                words[place] = answer
                start = len(" ".join(words[:place])) + (place > 0)
                found.append(Question("where", " ".join(words), [answer], [start]))
            return found

        b = self.batch_size
        return {"train": make(0, 2 * b), "val": make(1, b), "test": make(2, b)}

    def example_batch(self, batch: int) -> tuple[Tensor, ...]:
        tokens, lengths = self.example_tokens(batch)
        segments = segments_of(lengths // 4, tokens.shape[1])
        starts = torch.randint(tokens.shape[1] // 2, tokens.shape[1], (batch,))
        return tokens, lengths, segments, starts, starts.clone(), torch.arange(batch)

    def read(self, given: str) -> Given[SpanWindows]:
        """See `DataModule.read`; the samples are windows, see `SpanWindows`, and `about` is of the questions."""
        questions, unread = asked(given, self.endings)
        about = [{"question": each.question} for each in questions]
        return Given(about, self.windows(questions, exact=False), unread=unread)

    def describe(self) -> SpanDescription:
        return {
            "kind": "text_spans",
            "max_question": self.max_question,
            "stride": self.stride,
            "unanswerable": self.unanswerable,
            **super().describe(),
        }
