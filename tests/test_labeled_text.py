"""Texts with classes, words with tags, questions with answers: data, tasks, and what is said of a user's texts."""

import csv
import io
import json
import math
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Train
from sklearn.metrics import f1_score, matthews_corrcoef
from tokenizers import Tokenizer, processors
from torch import Tensor

from torchatlas.commands.evaluate import evaluate
from torchatlas.commands.predict import predict
from torchatlas.data.labelled import ag_news, conll, glue, imdb, squad, text_csv
from torchatlas.data.labelled.base import EncodedText, Ragged, count_vocabulary, longest_first, segments_of
from torchatlas.data.labelled.labeled_text import Examples, LabeledText, baselines_of, encode_texts
from torchatlas.data.masked import pydoc_order
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.errors import UserError
from torchatlas.metrics import answers, entities
from torchatlas.metrics.classification import agreement, confusion
from torchatlas.models.bert import Bert
from torchatlas.models.lstm import LSTM
from torchatlas.predict import texts as read_text
from torchatlas.run.restore import restore
from torchatlas.tasks.classification import Classification, inputs_of
from torchatlas.tasks.span import Span, choose, window_scores
from torchatlas.tasks.token_classification import TokenClassification

CONTEXT = "Seven small cats sleep under old trees, while the lazy dog jumps over a quick brown fox."
WORDS = re.findall("[a-z]+", CONTEXT.lower())


def sentences(n: int, seed: int = 0, longest: int = 20) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def codec() -> TokenizerCodec:
    return train_codec(sentences(50), "wordpiece", 60, BERT, lowercase=True)


class Given(LabeledText):
    """Data of a test."""

    def __init__(self, examples: dict[str, Examples], **common: Any) -> None:
        super().__init__(num_classes=2, **common)
        self.classes, self.examples = ("no", "yes"), examples
        self.pair = examples["train"].pairs is not None

    def read_examples(self) -> dict[str, Examples]:
        return self.examples


def given(pair: bool = False, n: int = 40) -> dict[str, Examples]:
    def part(seed: int, n: int) -> Examples:
        return Examples(sentences(n, seed), sentences(n, seed + 10) if pair else None, [i % 2 for i in range(n)])

    return {"train": part(0, n), "val": part(1, n // 2), "test": part(2, n // 2)}


# --- tokens of texts


def test_padded_rows() -> None:
    rows = [[5, 6, 7], [], [8], [9, 9]]
    ragged = Ragged(rows)
    assert [ragged[i] for i in range(4)] == rows
    assert ragged.padded(torch.tensor([2, 0, 3]), -1).tolist() == [[8, -1, -1], [5, 6, 7], [9, 9, -1]]
    assert ragged.padded(torch.tensor([1])).shape == (1, 0)


def test_the_longer_text_is_cut_first() -> None:
    """Against the rule itself, one token at a time."""
    for a in range(8):
        for b in range(8):
            for room in range(1, 18):
                x, y = a, b
                while x + y > room:
                    x, y = (x - 1, y) if x > y else (x, y - 1)
                assert longest_first(a, b, room) == (x, y)


@pytest.mark.parametrize("pair", [False, True])
def test_inputs_are_those_of_bert(codec: TokenizerCodec, pair: bool) -> None:
    """Tokens, segments and truncation of the library's own BERT processor (which divides an odd room otherwise)."""
    independent = Tokenizer.from_str(codec.text)
    independent.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    one, two = sentences(60, 1, 30), sentences(60, 2, 30)
    for length in (5, 9, 17, 65):
        independent.enable_truncation(length, strategy="longest_first")
        rows, firsts, cut = encode_texts(codec, one, two if pair else None, length, 2, 3)
        expected = independent.encode_batch(list(zip(one, two, strict=True)) if pair else one)
        assert rows == [e.ids for e in expected]
        assert cut == sum(bool(e.overflowing) for e in expected)
        if firsts is not None:
            for row, first, e in zip(rows, firsts, expected, strict=True):
                assert segments_of(torch.tensor([first]), len(row))[0].tolist() == e.type_ids


@pytest.mark.parametrize("pair", [False, True])
def test_batches(pair: bool) -> None:
    data = Given(given(pair), vocab_size=60, max_length=24, batch_size=8)
    data.setup()
    again = Given(given(pair), vocab_size=60, max_length=24, batch_size=8)
    again.load_state_dict(data.describe())
    again.setup()
    assert again.codec.text == data.codec.text
    test = data.examples["test"]
    rows, firsts, _ = encode_texts(data.codec, test.texts, test.pairs, 24, 2, 3)
    seen = Counter[tuple[int, ...]]()
    for batch in data.test_dataloader():
        tokens, lengths, *segments, labels = data.transform(batch)
        assert tokens.shape == (len(labels), int(lengths.max()))
        assert len(segments) == pair
        for i, n in enumerate(lengths.tolist()):
            assert not tokens[i, n:].any()
            seen[(*tokens[i, :n].tolist(), int(labels[i]))] += 1
            if pair:
                assert tokens[i, int((segments[0][i] == 0).sum()) - 1] == 3  # the first segment ends with [SEP]
    assert seen == Counter((*row, label) for row, label in zip(rows, test.labels, strict=True))
    example = data.example_batch(4)
    assert [x.dtype for x in example] == [x.dtype for x in batch]
    assert (firsts is not None) == pair


def test_batches_are_of_similar_length(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    data = Given(given(n=400), vocab_size=60, max_length=16, batch_size=8)
    data.setup()
    said = re.search(r"([\d.]+) % of a batch is padding, and would be ([\d.]+) %", caplog.text)
    assert said is not None
    tokens = [batch[0] for batch in data.train_dataloader()]
    waste = 1 - sum(int((x > 0).sum()) for x in tokens) / sum(x.numel() for x in tokens)
    assert abs(100 * waste - float(said[1])) < 0.1
    assert float(said[1]) < float(said[2]) / 2
    cut = sum(len(ids) > 14 for ids in data.codec.encode_many(data.examples["train"].texts))
    assert f"train: {cut} of 400 inputs" in caplog.text


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for options, message in (
        ({"by": "letter"}, "data.by=letter must be one of"),
        ({"max_length": 3}, "data.max_length=3 must be at least 4"),
        ({"vocab_size": 5}, "more than the 5 special tokens"),
    ):
        with pytest.raises(UserError, match=message):
            EncodedText(**{"vocab_size": 60, **options})
    with pytest.raises(UserError, match="must be at least 2"):
        LabeledText(vocab_size=60, num_classes=1)
    path = tmp_path / "tokenizer.json"
    train_codec(sentences(50), "word", 60, BERT).save(path)
    size = count_vocabulary(str(path), 7)
    assert size == len(WORDS) + len(BERT)
    assert count_vocabulary(None, 7) == 7
    data = Given(given(), vocab_size=size, tokenizer=str(path))
    data.setup()
    assert data.codec.unit == "word"
    with pytest.raises(UserError, match=f"use data.vocab_size={size}"):
        Given(given(), vocab_size=size - 1, tokenizer=str(path)).setup()
    train_codec(sentences(50), "wordpiece", 60, BERT).save(path)
    with pytest.raises(UserError, match="the checkpoint's is"):  # the tokeniser of a run is not exchanged
        Given(given(), vocab_size=60, tokenizer=str(path)).load_state_dict(data.describe())


# --- baselines


def test_baselines_are_of_their_split() -> None:
    def part(labels: list[int]) -> Examples:
        return Examples(
            [("good film" if y else "bad film") if i % 4 else "film" for i, y in enumerate(labels)], None, labels
        )

    examples = {"train": part([1, 1, 1, 0] * 5), "val": part([0, 0, 1, 1] * 2), "test": part([1, 0, 0, 0] * 2)}
    found = baselines_of(examples)
    assert found["val"] == {"majority_accuracy": 0.5, "bag_of_words_accuracy": 0.75}  # "film" alone is said to be good
    assert found["test"] == {"majority_accuracy": 0.25, "bag_of_words_accuracy": 1.0}


def test_bag_of_words_knows_the_sides_of_a_pair() -> None:
    """Whether a word stands in the first or the second text; not what a bag of all words could tell."""
    both = [("up", "down"), ("down", "up")]
    examples = Examples([a for a, _ in both] * 10, [b for _, b in both] * 10, [0, 1] * 10)
    assert baselines_of(dict.fromkeys(("train", "val", "test"), examples))["val"]["bag_of_words_accuracy"] == 1
    assert baselines_of(dict.fromkeys(("train", "val", "test"), examples._replace(labels=[1] * 20)))["val"] == {
        "majority_accuracy": 1.0
    }


# --- order of words


@pytest.fixture(scope="module")
def documentation() -> dict[str, list[str]]:
    return pydoc_order.read_sentences()


def test_order_is_all_that_tells(documentation: dict[str, list[str]]) -> None:
    assert len(documentation["train"]) > 5000
    assert min(len(documentation["val"]), len(documentation["test"])) > 500
    for split, part in documentation.items():
        for swaps in (1, 3):
            examples = pydoc_order.make_examples(part, swaps)
            assert examples.labels == [0, 1] * (len(examples.labels) // 2)
            for plain, swapped in zip(examples.texts[::2], examples.texts[1::2], strict=True):
                a, b = plain.split(), swapped.split()
                differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
                assert len(differ) == 2
                assert differ[1] == differ[0] + 1 < len(a) - 1
                assert differ[0] > 0
                assert (a[differ[0]], a[differ[1]]) == (b[differ[1]], b[differ[0]])
            if swaps == 3:
                assert max(Counter(examples.texts[1::2]).values()) == 1  # each time another place
        assert all(pydoc_order.places_to_swap(sentence) for sentence in part), split


def test_no_sentence_is_learnt_and_asked(documentation: dict[str, list[str]]) -> None:
    keys = {split: {" ".join(re.findall(r"\w+", s.lower())) for s in part} for split, part in documentation.items()}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["val"]
    assert not keys["val"] & keys["test"]
    assert documentation == pydoc_order.read_sentences()


def test_a_bag_of_words_is_at_chance(documentation: dict[str, list[str]]) -> None:
    examples = {split: pydoc_order.make_examples(part[:300], 1) for split, part in documentation.items()}
    assert baselines_of(examples)["test"] == {"majority_accuracy": 0.5, "bag_of_words_accuracy": 0.5}


def test_docstrings_are_those_of_python() -> None:
    import fnmatch
    import textwrap

    found = pydoc_order.docstrings()
    flat = {" ".join(text.split()) for text in found["fnmatch"]}
    assert " ".join((fnmatch.fnmatch.__doc__ or "").split()) in flat
    assert " ".join((textwrap.TextWrapper.fill.__doc__ or "").split()) in {
        " ".join(t.split()) for t in found["textwrap"]
    }
    assert "test" not in found


# --- classification of texts


def test_agreement_is_that_of_scikit_learn() -> None:
    for k in (2, 3, 5):
        labels, logits = torch.randint(k, (101,)), torch.randn(101, k)
        logits[torch.arange(101), labels] += 0.7
        parts = list(zip(logits.split(17), labels.split(17), strict=True))
        mean = torch.stack([confusion(x, y) * len(y) for x, y in parts]).sum(0) / 101
        found = agreement(mean)
        said = logits.argmax(1)
        assert float(found["macro_f1"]) == pytest.approx(f1_score(labels, said, average="macro"), abs=1e-6)
        assert float(found["matthews_correlation"]) == pytest.approx(matthews_corrcoef(labels, said), abs=1e-6)
        assert ("f1" in found) == (k == 2)
        if k == 2:
            assert float(found["f1"]) == pytest.approx(f1_score(labels, said), abs=1e-6)
    one = confusion(torch.tensor([[1.0, 0.0]] * 4), torch.tensor([0, 0, 1, 0]))
    assert float(agreement(one)["matthews_correlation"]) == 0  # not defined where one class is always said


def test_segments_go_to_paired_networks() -> None:
    tokens, lengths, segments = torch.randint(16, (3, 6)), torch.tensor([6, 4, 5]), torch.randint(2, (3, 6))
    bert, lstm = Bert(targets="sequence"), LSTM(vocab_size=16, num_classes=2)
    assert len(inputs_of(bert, tokens, [lengths, segments])) == 3
    assert len(inputs_of(lstm, tokens, [lengths, segments])) == 2
    assert len(inputs_of(torch.nn.Identity(), tokens, [lengths, segments])) == 1
    assert len(inputs_of(bert, tokens, [lengths])) == 2
    for network in (bert, lstm):
        task = Classification(network).eval()
        labels = torch.tensor([0, 1, 1])
        out = task.step((tokens, lengths, segments, labels))
        more = torch.nn.functional.pad(tokens, (0, 3), value=7)
        padded = task.step((more, lengths, torch.nn.functional.pad(segments, (0, 3), value=1), labels))
        torch.testing.assert_close(padded["logits"], out["logits"])
        assert out["metrics/confusion"].shape == (2, 2)
    changed = Classification(bert).eval().step((tokens, lengths, 1 - segments, labels))
    assert not torch.allclose(
        changed["logits"], Classification(bert).eval().step((tokens, lengths, segments, labels))["logits"]
    )


# --- entities


def chunks(tags: list[str]) -> set[tuple[int, int, str]]:
    """Entities of one sentence by a plain reading of the rules."""
    found, start, kind = set(), None, ""
    for i, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        if start is not None and (mark in ("O", "B") or name != kind):
            found.add((start, i, kind))
            start = None
        if mark != "O" and start is None:
            start, kind = i, name
    return found


def counted(there: list[list[str]], said: list[list[str]], classes: list[str]) -> list[float]:
    number = {tag: k for k, tag in enumerate(classes)}
    table = entities.tag_table(classes)
    assert table is not None
    flat = [torch.tensor([number[tag] for tags in part for tag in tags]) for part in (there, said)]
    rows = torch.tensor([i for i, tags in enumerate(there) for _ in tags])
    return entities.count_entities(flat[0], flat[1], rows, table).tolist()


def test_entities_of_worked_examples() -> None:
    """Right, said, there; the last case is the one in which conlleval's rules matter: I- after another kind."""
    classes = ["B-LOC", "I-LOC", "B-PER", "I-PER", "O"]
    for there, said, expected in (
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", (2, 2, 2)),
        ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", (1, 2, 2)),  # half an entity is none
        ("B-PER I-PER O B-LOC", "I-PER I-PER O I-LOC", (2, 2, 2)),  # IOB1
        ("B-PER I-PER O O", "B-LOC I-LOC O O", (0, 1, 1)),  # another kind
        ("B-LOC B-LOC I-LOC O", "B-LOC I-LOC I-LOC O", (0, 1, 2)),  # two that touch
        ("B-LOC I-PER O O", "B-LOC B-PER O O", (2, 2, 2)),
        ("O O O O", "O O O O", (0, 0, 0)),
    ):
        assert counted([there.split()], [said.split()], classes) == list(expected)
    # An entity ends with its sentence.
    assert counted([["O", "B-PER"], ["I-PER", "O"]], [["O", "B-PER"], ["B-PER", "O"]], classes) == [2, 2, 2]
    assert entities.tag_table(["NN", "VB", "O"]) is None


def test_entities_against_a_plain_reading() -> None:
    classes = ["O", "B-A", "I-A", "B-B", "I-B"]
    rng = random.Random(0)
    lengths = [rng.randint(1, 9) for _ in range(300)]
    there, said = ([[rng.choice(classes) for _ in range(n)] for n in lengths] for _ in range(2))
    said = [a if rng.random() < 0.5 else b for a, b in zip(there, said, strict=True)]
    one, two = ([chunks(tags) for tags in part] for part in (there, said))
    expected = [
        sum(len(a & b) for a, b in zip(one, two, strict=True)), sum(map(len, two)), sum(map(len, one)),
    ]  # fmt: skip
    assert counted(there, said, classes) == expected


def test_conlleval_of_its_documentation() -> None:
    """From counts to per cent: 3 of 4 said, 3 of 5 there."""
    found = entities.entity_figures(torch.tensor([3.0, 4.0, 5.0]))
    assert [round(float(v), 4) for v in found.values()] == [0.75, 0.6, 0.6667]
    assert [float(v) for v in entities.entity_figures(torch.zeros(3)).values()] == [0, 0, 0]


class Fixed(torch.nn.Module):
    """Gives what it is told; logits are a parameter."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[tokens]


def test_token_classification_over_batches() -> None:
    """Figures of batches of unequal size, averaged as the base task does, are those of the whole split."""
    classes = ["O", "B-A", "I-A"]
    tokens = torch.randint(40, (30, 7))
    logits = torch.randn(40, 3)
    labels = torch.where(torch.rand(30, 7) < 0.3, -100, logits[tokens].argmax(2))
    labels = torch.where(torch.rand(30, 7) < 0.2, torch.randint(3, (30, 7)), labels)
    task = TokenClassification(Fixed(logits)).eval()
    task.table = entities.tag_table(classes)

    def figures(sizes: list[int]) -> dict[str, float]:
        parts = [(x, torch.zeros(len(x)), y) for x, y in zip(tokens.split(sizes), labels.split(sizes), strict=True)]
        outs = [(task.step(batch), task.weight(batch)) for batch in parts]
        keys = [key for key in outs[0][0] if key == "loss" or key.startswith("metrics/")]
        means = {
            k.removeprefix("metrics/"): sum(o[k].detach() * w for o, w in outs) / sum(w for _, w in outs) for k in keys
        }
        return {key: float(value) for key, value in task.derive(means).items()}

    whole, parts = figures([30]), figures([1, 20, 9])
    assert whole == pytest.approx(parts, rel=1e-5)
    assert 0 < whole["f1"] < 1
    real = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[tokens][real], labels[real])
    assert whole["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert whole["accuracy"] == pytest.approx(float((logits[tokens].argmax(2) == labels)[real].float().mean()))
    perfect = TokenClassification(Fixed(100 * torch.eye(3))).eval()
    perfect.table = task.table
    with torch.no_grad():
        out = perfect.step((labels.clamp(min=0), torch.zeros(30), labels))
    assert float(out["loss"]) < 1e-6
    assert float(perfect.derive({"entities": out["metrics/entities"]})["f1"]) == 1


def test_a_network_of_other_tags_is_refused() -> None:
    task = TokenClassification(Fixed(torch.randn(40, 3)))
    batch = (torch.randint(40, (2, 4)), torch.tensor([4, 4]), torch.randint(3, (2, 4)))
    task.classes = 3
    task.step(batch)
    task.classes = 4
    with pytest.raises(UserError, match="gives 3 values for each token where the data have 4 tags"):
        task.step(batch)


CONLL = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
call NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
London NNP I-NP B-PER
"""


def conll_folder(folder: Path, text: str = CONLL) -> Path:
    for name in ("eng.train", "valid.txt", "test.conll"):
        (folder / name).write_text(text)
    return folder


def test_conll_files(tmp_path: Path) -> None:
    folder = conll_folder(tmp_path)
    assert conll.count_tags("nowhere", str(folder), -1, False) == 7  # O, and B- and I- of three kinds
    assert conll.count_tags("nowhere", None, -1, True) == 9
    data = conll.Conll(num_classes=7, path=str(folder), vocab_size=80, batch_size=2, max_length=40, lowercase=False)
    data.setup()
    assert data.classes == ["B-MISC", "B-ORG", "B-PER", "I-MISC", "I-ORG", "I-PER", "O"]
    (tokens, lengths, labels) = next(iter(data.test_dataloader()))
    order = lengths.argsort(descending=True)  # "EU rejects ..." is longer in pieces
    names = [[data.classes[y] for y in row[row >= 0].tolist()] for row in labels]
    assert sorted(names) == [["B-ORG", "O", "B-MISC", "O"], ["B-PER", "I-PER", "B-PER"]]
    for row, length, label in zip(tokens, lengths, labels, strict=True):
        pieces = data.codec.pieces(row[:length])
        assert pieces[0] == "[CLS]"
        assert pieces[-1] == "[SEP]"
        labelled = (label >= 0).nonzero()[:, 0].tolist()
        words = [
            "".join(p.removeprefix("##") for p in pieces[a:b])
            for a, b in zip(labelled, [*labelled[1:], -1], strict=True)
        ]
        assert words in (["EU", "rejects", "German", "call"], ["Peter", "Blackburn", "London"])
        assert (label[length:] == -100).all()
    assert len(order) == 2
    # The most frequent tag of each word is right on the text it was counted on.
    assert data.baselines["val"] == {
        "usual_tag_accuracy": 1.0, "usual_tag_precision": 1.0, "usual_tag_recall": 1.0, "usual_tag_f1": 1.0,
    }  # fmt: skip
    chunk = conll.Conll(num_classes=3, path=str(folder), column=2, vocab_size=80, batch_size=2)
    with pytest.raises(UserError, match="there are 5 tags, not"):
        chunk.setup()


def test_conll_words_that_do_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folder = conll_folder(tmp_path)
    data = conll.Conll(num_classes=7, path=str(folder), vocab_size=80, batch_size=2, max_length=5, by="word")
    data.setup()
    assert "train: 1 of 2 inputs (50.0 %) were longer than data.max_length=5" in caplog.text
    tokens, lengths, labels = data.splits["train"][-1, torch.tensor([0, 1])]
    assert lengths.tolist() == [5, 5]
    assert ((labels >= 0).sum(1)).tolist() == [3, 3]
    assert tokens[:, -1].tolist() == [data.separator] * 2


def test_mistakes_in_conll_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no train.txt or train.conll or eng.train.*licence"):
        conll.count_tags(str(tmp_path), None, -1, False)
    for text, column, message in (
        ("a O\nb\n", -1, "line 2: 1 columns, where 2 are in the first line"),
        ("a O\n", 4, "line 1: 2 columns"),
        ("word\n", -1, "line 1: 1 columns"),
        ("\n\n", -1, "holds no sentence"),
    ):
        folder = conll_folder(tmp_path, text)
        with pytest.raises(UserError, match=message):
            conll.count_tags("nowhere", str(folder), column, False)
    conll_folder(tmp_path, "a O\nb B-X\n")
    (tmp_path / "test.conll").write_text("a B-Y\n")
    with pytest.raises(UserError, match="has the tag B-Y, which is none of those of training: B-X, I-X, O"):
        conll.Conll(num_classes=3, path=str(tmp_path), vocab_size=60).setup()


def test_usual_tags_of_worked_example() -> None:
    """The word a is mostly O; a word that is new gets what words that come once have most, here B-X."""
    train = [(["a", "b", "a", "a", "c"], ["O", "B-X", "O", "B-X", "B-X"])]
    judged = [(["a", "new", "b"], ["O", "B-X", "O"])]
    assert conll.usual_figures(train, judged, ["B-X", "I-X", "O"]) == pytest.approx(
        {
            "usual_tag_accuracy": 2 / 3,
            "usual_tag_precision": 0.5,
            "usual_tag_recall": 1.0,
            "usual_tag_f1": 2 / 3,
        }
    )


# --- answers


def test_official_normalisation_by_hand() -> None:
    for said, expected in (
        ("The Eiffel Tower!", "eiffel tower"),
        ("  an apple,  a  pear ", "apple pear"),
        ("theatre", "theatre"),  # an article is a word of its own
        ("U.S.", "us"),
        ("Saint-Denis", "saintdenis"),
        ("a", ""),
        ("“quoted”", "“quoted”"),  # only ASCII has punctuation here
    ):
        assert answers.normalize(said) == expected
    assert answers.score("the Norman", ["Normans", "Norman"]) == (1.0, 1.0)
    assert answers.score("in the 10th century", ["10th and 11th centuries"]) == (0.0, pytest.approx(2 / 7))
    assert answers.word_f1("a b b c", "b b d") == pytest.approx(2 * (2 / 3) * (2 / 3) / (4 / 3))
    assert answers.score("", []) == (1.0, 1.0)
    assert answers.score("x", []) == (0.0, 0.0)
    assert answers.score("", ["x"]) == (0.0, 0.0)
    assert answers.score("the", ["a"]) == (1.0, 1.0)  # both are empty when normalised


def test_best_span_against_all_spans() -> None:
    logits, allowed = torch.randn(20, 12, 2), torch.zeros(20, 12, dtype=torch.bool)
    for i in range(20):
        allowed[i, i % 5 : 7 + i % 5] = True
    allowed[3] = False
    for longest in (0, 2, 30):
        value, start, end = answers.best_spans(logits, allowed, longest)
        for i in range(20):
            spans = [
                (float(logits[i, a, 0] + logits[i, b, 1]), a, b)
                for a in range(12) for b in range(a, min(12, a + longest + 1)) if allowed[i, a] and allowed[i, b]
            ]  # fmt: skip
            if not spans:
                assert value[i] == -math.inf
                continue
            best = max(spans)
            assert float(value[i]) == pytest.approx(best[0])
            assert (int(start[i]), int(end[i])) == best[1:]


def question(answer: str, text: str = CONTEXT, title: str = "") -> squad.Question:
    return squad.Question("cats", text, [answer], [text.index(answer)], title)


def windows(codec: TokenizerCodec, questions: list[squad.Question], **options: Any) -> squad.SpanWindows:
    sizes = {"max_length": 24, "max_question": 4, "stride": 5, "exact": True, "unanswerable": False, **options}
    return squad.SpanWindows(codec, questions, first=2, separator=3, **sizes)


def test_windows_show_the_whole_text_and_its_answer(codec: TokenizerCodec) -> None:
    asked = [question(answer) for answer in ("Seven small cats", "old trees", "the lazy dog", "fox")]
    data = windows(codec, asked)
    assert data.questions.unique().tolist() == [0, 1, 2, 3]
    tokens, lengths, segments, starts, ends, places = data[-1, torch.arange(len(data))]
    assert torch.equal(places, torch.arange(len(data)))
    assert int(lengths.max()) == 24 == tokens.shape[1]
    whole = codec.encode(CONTEXT).tolist()
    for k, one in enumerate(asked):
        seen: set[int] = set()
        found = []
        for i in (data.questions == k).nonzero()[:, 0].tolist():
            n = int(lengths[i])
            head = int((segments[i, :n] == 0).sum())
            assert codec.decode(tokens[i, 1 : head - 1]) == "cats"
            begin = int(data.places[i, 1])
            assert tokens[i, head : n - 1].tolist() == whole[begin : begin + n - 1 - head]
            seen.update(range(begin, begin + n - 1 - head))
            if starts[i]:
                found.append(data.text(i, int(starts[i]), int(ends[i])))
            else:
                assert int(ends[i]) == 0
            assert data.text(i, 0, 0) == data.text(i, head - 1, head) == data.text(i, n - 1, n - 1) == ""
        assert seen == set(range(len(whole)))
        assert set(found) == {one.answers[0]}


def test_answers_that_do_not_align_are_left_out(codec: TokenizerCodec) -> None:
    good, shifted = question("old trees"), question("old trees")._replace(starts=[CONTEXT.index("old trees") + 1])
    half = question("mall cats")
    none = squad.Question("cats", CONTEXT, [], [])
    assert "small" in codec.pieces(codec.encode("small")), "the case needs a word that is one token"
    data = windows(codec, [good, shifted, half, none], unanswerable=True)
    assert data.left_out == 2
    assert data.answers == [["old trees"], []]
    kept = windows(codec, [good, shifted, half, none], exact=False, unanswerable=True)
    assert len(kept.answers) == 4
    assert kept.left_out == 0
    assert not kept.starts[kept.questions == 3].any()


def test_byte_level_tokens_leave_the_blank_out() -> None:
    codec = train_codec([CONTEXT], "bpe", 300, (*BERT,))
    data = squad.SpanWindows(
        codec, [question("old trees")], max_length=64, max_question=8, stride=8, first=2, separator=3, exact=True,
        unanswerable=False,
    )  # fmt: skip
    (start,), (end,) = data.starts.tolist(), data.ends.tolist()
    assert data.text(0, start, end) == "old trees"


def test_the_best_of_all_windows_is_the_answer(codec: TokenizerCodec) -> None:
    asked = [question("Seven small cats"), question("fox"), squad.Question("cats", CONTEXT, [], [])]
    data = windows(codec, asked, unanswerable=True)
    tokens, lengths, segments, starts, ends, _ = data[-1, torch.arange(len(data))]
    logits = torch.zeros(*tokens.shape, 2)
    steps = torch.arange(len(data))
    logits[steps, starts, 0] = torch.where(starts > 0, 9.0, 4.0)
    logits[steps, ends, 1] = torch.where(starts > 0, 9.0, 4.0)
    logits[steps, lengths - 1] = 100.0  # a separator is no answer, however sure the network is
    logits[:, 1] = 100.0  # neither is the question
    table = window_scores(logits, lengths, segments)
    assert choose(table, data) == {0: "Seven small cats", 1: "fox", 2: ""}
    data.unanswerable = False
    assert choose(table, data)[2] != ""
    table[data.questions == 1, 4] = 0  # not seen, as in a validation that is cut short
    assert set(choose(table, data)) == {0, 2}


def test_span_loss_is_the_mean_of_two_cross_entropies() -> None:
    batch = (
        torch.randint(16, (5, 9)), torch.tensor([9, 7, 8, 9, 5]), (torch.arange(9) > 2).long().expand(5, 9),
        torch.tensor([3, 0, 4, 8, 3]), torch.tensor([5, 0, 4, 8, 4]), torch.arange(5),
    )  # fmt: skip
    network = Bert(targets="span").eval()
    task = Span(network).eval()
    out = {key: value.detach() for key, value in task.step(batch).items()}
    logits = network(*batch[:3]).detach()
    total = 0.0
    for i, n in enumerate(batch[1].tolist()):
        for side, target in ((0, batch[3]), (1, batch[4])):
            total -= float(logits[i, :n, side].log_softmax(0)[target[i]]) / 10
    assert float(out["loss"]) == pytest.approx(total, rel=1e-5)
    padded = [torch.nn.functional.pad(x, (0, 4), value=5) if x.ndim == 2 else x for x in batch]
    padded[2] = padded[2].clamp(max=1)
    assert float(task.step(tuple(padded))["loss"].detach()) == pytest.approx(total, rel=1e-5)


def squad_file(path: Path, questions: list[squad.Question]) -> None:
    content = [
        {
            "title": q.title,
            "paragraphs": [
                {
                    "context": q.context,
                    "qas": [
                        {
                            "id": str(i),
                            "question": q.question,
                            "answers": [
                                {"text": a, "answer_start": s} for a, s in zip(q.answers, q.starts, strict=True)
                            ],
                        }
                    ],
                }
            ],
        }
        for i, q in enumerate(questions)
    ]
    path.write_text(json.dumps({"version": "1.1", "data": content}))


def test_squad_files(tmp_path: Path) -> None:
    questions = [question("old trees", f"Text {i}. {CONTEXT}", f"title {i // 3}") for i in range(90)]
    squad_file(tmp_path / "train.json", questions)
    squad_file(tmp_path / "dev.json", questions[:4])
    assert squad.read_squad(tmp_path / "train.json") == questions
    options: dict[str, Any] = {"path": str(tmp_path), "vocab_size": 120, "max_length": 40, "batch_size": 4}
    data = squad.Squad(val_share=0.3, **options)
    found = data.read()
    titles = {split: {q.title for q in part} for split, part in found.items()}
    assert not titles["train"] & titles["val"]
    assert len(found["train"]) + len(found["val"]) == 90
    data.setup()
    assert len(data.splits["test"]) >= 4
    assert [x.dtype for x in next(iter(data.train_dataloader()))] == [x.dtype for x in data.example_batch(3)]
    none = squad.Question("which", CONTEXT, [], [], "other")
    squad_file(tmp_path / "dev.json", [none])
    with pytest.raises(UserError, match=r"use data.version=2\.0"):
        squad.Squad(val_share=0.3, **options).setup()
    squad.Squad(val_share=0.3, version="2.0", **options).setup()
    (tmp_path / "dev.json").unlink()
    with pytest.raises(UserError, match=r"does not hold train\.json and test\.json"):
        squad.Squad(**options).setup()
    for text in ("{", '{"data": [{"paragraphs": [{"qas": []}]}]}', '{"data": 3}', "[]"):
        (tmp_path / "train.json").write_text(text)
        with pytest.raises(UserError, match=r"train\.json (does not have the form of SQuAD|holds no question)"):
            squad.read_squad(tmp_path / "train.json")
    with pytest.raises(UserError, match=r"data\.version=3 must be 1\.1 or 2\.0"):
        squad.Squad(version="3", **options)


# --- files of classes


def table(path: Path, rows: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def reviews(n: int = 60) -> list[list[str]]:
    return [["id", "review", "stars"]] + [
        [str(i), f"film {i}, it is {'good' if i % 2 else 'bad'}", str(i % 2 * 10)] for i in range(n)
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_texts(tmp_path: Path, delimiter: str, compose: Callable[..., Any]) -> None:
    path = table(tmp_path / "my.csv", reviews(), delimiter)
    words = ["model=lstm", "data=text_csv", f"data.path={path}", "data.text=review", "data.label=stars"]
    assert compose(*words).data.num_classes == 2
    data = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", label="stars", share=0.2, vocab_size=200, batch_size=4
    )
    examples = data.read_examples()
    assert data.classes == ["0", "10"]  # sorted as numbers
    texts = {split: set(part.texts) for split, part in examples.items()}
    assert sum(map(len, texts.values())) == 60 == len(set.union(*texts.values()))
    for part in examples.values():
        assert all(("good" in text) == bool(label) for text, label in zip(part.texts, part.labels, strict=True))
    table(path, [*reviews(), ["60", "one more, it is good", "10"]], delimiter)
    more = data.read_examples()
    assert all(set(part.texts) <= set(more[split].texts) for split, part in examples.items())  # no other has moved
    other = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", label="stars", classes=["10", "0"], share=0.2, vocab_size=200
    )
    assert other.read_examples()["train"].labels == [1 - y for y in more["train"].labels]
    pairs = text_csv.TextCSV(
        num_classes=2, path=str(path), text="review", pair="id", label="stars", share=0.2, vocab_size=200, batch_size=4
    )
    pairs.setup()
    assert len(next(iter(pairs.train_dataloader()))) == 4


def test_lines_with_labels_and_folders(tmp_path: Path) -> None:
    for swapped in (False, True):
        lines = [(f"text number {i}", "yes" if i % 3 else "no") for i in range(30)]
        for name, part in (("train.txt", lines), ("dev.txt", lines[:5]), ("test.tsv", [])):
            (tmp_path / name).write_text("\n".join("\t".join(p[::-1] if swapped else p) for p in part))
        table(tmp_path / "test.tsv", [["label", "text"], ["no", "new"], ["yes", "newer"]], "\t")
        data = text_csv.TextCSV(num_classes=2, path=str(tmp_path), vocab_size=60)
        found = data.read_examples()
        assert data.classes == ["no", "yes"]
        assert found["train"].texts[:2] == ["text number 0", "text number 1"]
        assert {split: len(part.texts) for split, part in found.items()} == {"train": 30, "val": 5, "test": 2}
        assert found["test"].labels == [0, 1]


def test_mistakes_in_tables_of_texts(tmp_path: Path, compose: Callable[..., Any]) -> None:
    def read(rows: list[list[str]] | str, name: str = "my.csv", **columns: Any) -> None:
        path = tmp_path / name
        if isinstance(rows, str):
            path.write_text(rows)
        else:
            table(path, rows)
        text_csv.count_text_classes(
            str(path), columns.get("text", "text"), columns.get("pair"), columns.get("label", "label"), None, False
        )

    good = [["text", "label"], ["a b", "x"], ["c d", "y"], ["e f", "x"], ["g", "y"], ["h", "y"]]
    read(good)
    with pytest.raises(UserError, match=r"has no column 'txt' \(did you mean 'text'\?\)|has no column 'txt'.*text"):
        read(good, text="txt")
    with pytest.raises(UserError, match=r"has no column 'second'.*data\.pair=COLUMN"):
        read(good, pair="second")
    with pytest.raises(UserError, match=r"line 3: there are 3 cells under 2 columns: put texts .* into quotes"):
        read("text,label\na,x\nb, and c,y\n")
    with pytest.raises(UserError, match="line 2: label is empty"):
        read("text,label\na,\nb,y\n")
    with pytest.raises(UserError, match="has the label x alone: at least two are needed"):
        read("text,label\na,x\nb,x\n")
    with pytest.raises(UserError, match="has the label of no text alone"):
        read("text,label\n")
    with pytest.raises(UserError, match="6 different labels in 6 rows, so label holds no classes"):
        read([["text", "label"], *([f"t{i}", f"l{i}"] for i in range(6))])
    with pytest.raises(UserError, match="line 2: a text and its label with one tab between them"):
        read("a\tx\nb\n", "my.txt")
    with pytest.raises(UserError, match="there is no file or folder"):
        text_csv.count_text_classes(str(tmp_path / "none.csv"), "text", None, "label", None, False)
    with pytest.raises(UserError, match=r"data=text_csv needs your file"):
        text_csv.count_text_classes(None, "text", None, "label", None, False)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"holds no train\.csv"):
        text_csv.find_files(tmp_path / "folder")
    path = table(tmp_path / "my.csv", good)
    with pytest.raises(UserError, match="too few to keep a share of"):
        text_csv.TextCSV(num_classes=2, path=str(path), vocab_size=60).read_examples()
    with pytest.raises(UserError, match="has 2 classes, not"):
        text_csv.TextCSV(num_classes=3, path=str(path), vocab_size=60).read_examples()
    with pytest.raises(UserError, match=r"my\.csv, line 2: the label 'x' is none of the classes y, z"):
        text_csv.TextCSV(num_classes=2, path=str(path), classes=["y", "z"], vocab_size=60).read_examples()


def test_tables_of_glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of each file as GLUE has it: one task without a header, one with quotes that mean nothing."""
    files = {
        "cola": ("gj04\t1\t\tOur friends won't buy this.\ngj04\t0\t*\tThe \"gardener.\n", None),
        "sst2": ("sentence\tlabel\nhide new secretions \t0\nfine \t1\n", None),
        "mrpc": (
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said.\tSaid he.\n0\t7\t9\tA\tB\n",
            "Said he.",
        ),
        "qqp": (
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tA?\tB?\t0\nbroken\n1\t2\t3\tC?\tD?\t1\n",
            "B?",
        ),
        "mnli": (
            "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\tentailment\n1\tC\tD\tx\tneutral\n",
            "B",
        ),
        "qnli": ("index\tquestion\tsentence\tlabel\n0\tA?\tB\tentailment\n1\tC?\tD\tnot_entailment\n", "B"),
        "rte": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n1\tC\tD\tnot_entailment\n", "B"),
        "wnli": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n1\tC\tD\t0\n", "B"),
    }
    expected = {"cola": [1, 0], "mrpc": [1, 0], "wnli": [1, 0]}
    for name, (text, second) in files.items():
        facts = glue.facts_of(name)
        path = tmp_path / f"{name}.tsv"
        path.write_text(text)
        found = glue.read_tsv(path, facts)
        assert found.labels == expected.get(name, [0, 1])
        assert (None if found.pairs is None else found.pairs[0]) == second
        assert glue.count_glue_classes(name) == len(facts.classes) == (3 if name == "mnli" else 2)
    assert glue.read_tsv(tmp_path / "cola.tsv", glue.facts_of("cola")).texts[1] == 'The "gardener.'
    with pytest.raises(UserError, match=r"data\.name=sst is no classification task of GLUE.*sst2"):
        glue.count_glue_classes("sst")
    with pytest.raises(UserError, match="has no column gold_label"):
        glue.read_tsv(tmp_path / "rte.tsv", glue.facts_of("mnli"))
    (tmp_path / "rte.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\tA\tB\tmaybe\n")
    with pytest.raises(UserError, match="line 2: the label is 'maybe', which is not one of entailment, not_entailment"):
        glue.read_tsv(tmp_path / "rte.tsv", glue.facts_of("rte"))


def test_glue_from_a_zip_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{i}\ttext {i}\tother {i}\t{i % 2}\n" for i in range(40))
    text = f"index\tsentence1\tsentence2\tlabel\n{rows}"
    facts = glue.TASKS["wnli"]._replace(train=40, dev=40, md5="")
    monkeypatch.setitem(glue.TASKS, "wnli", facts)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("train.tsv", "dev.tsv", "test.tsv", "original/train.tsv"):
            archive.writestr(f"WNLI/{name}", text if "/" not in name else "")
    path = tmp_path / "glue" / "WNLI.zip"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    data = glue.Glue(name="wnli", num_classes=2, root=str(tmp_path), vocab_size=120, batch_size=4, val_share=0.2)
    data.prepare_data()
    assert sorted(p.name for p in (tmp_path / "glue" / "WNLI").iterdir()) == ["dev.tsv", "train.tsv"]
    data.setup()
    assert {split: len(d) for split, d in data.splits.items()} == {"train": 32, "val": 8, "test": 40}  # type: ignore[arg-type]
    found = data.read_examples()
    assert not set(found["train"].texts) & set(found["val"].texts)
    assert Counter(found["val"].labels) == {0: 4, 1: 4}
    assert data.fault(tmp_path / "glue" / "WNLI" / "dev.tsv") == "it is no zip file, or a damaged one"
    monkeypatch.setattr(data, "facts", facts._replace(md5="0" * 32))
    assert data.fault(tmp_path / "glue" / "WNLI" / "dev.tsv") == "the file has a wrong checksum"
    (tmp_path / "glue" / "WNLI" / "dev.tsv").write_text(text[: text.index("30\t")])
    monkeypatch.setattr(data, "facts", facts)
    with pytest.raises(UserError, match="has 30 examples where 40 are right"):
        data.read_examples()


def test_mrpc_is_divided_by_the_list_of_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "glue" / "MRPC"
    folder.mkdir(parents=True)
    monkeypatch.setitem(glue.TASKS, "mrpc", glue.TASKS["mrpc"]._replace(train=3, dev=1))
    source, ids = folder / "msr_paraphrase_train.txt", folder / "dev_ids.tsv"
    rows = "".join(f"{i % 2}\t{i}\t{i + 5}\tfirst {i}\tsecond {i}\r\n" for i in range(4))
    source.write_bytes(b"\xef\xbb\xbf" + (glue.HEADER.strip() + "\r\n" + rows).encode())
    ids.write_text("2\t7\n")
    monkeypatch.setattr(glue, "fetch", lambda *_, **__: source)
    data = glue.Glue(name="mrpc", num_classes=2, root=str(tmp_path), vocab_size=60, val_share=0.5)
    data.prepare_data()
    assert glue.read_tsv(folder / "dev.tsv", data.facts) == Examples(["first 2"], ["second 2"], [0])
    assert glue.read_tsv(folder / "train.tsv", data.facts).labels == [0, 1, 1]


def test_reviews_and_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb, "OF_EACH", 6)
    for part in ("train", "test"):
        for k, name in enumerate(imdb.FOLDERS):
            folder = tmp_path / "aclImdb" / part / name
            folder.mkdir(parents=True)
            for i in range(6):
                (folder / f"{i}_{k}.txt").write_text(f"{part} {name} {i}<br /><br />end")
    data = imdb.IMDB(root=str(tmp_path), vocab_size=60, val_share=0.3)
    data.prepare_data()
    found = data.read_examples()
    assert {split: Counter(part.labels) for split, part in found.items()} == {
        "train": {0: 4, 1: 4}, "val": {0: 2, 1: 2}, "test": {0: 6, 1: 6},
    }  # fmt: skip
    assert found["test"].texts[-1] == "test pos 5  end"
    assert not set(found["train"].texts) & set(found["val"].texts)
    (tmp_path / "aclImdb" / "test" / "pos" / "0_1.txt").unlink()
    with pytest.raises(UserError, match="has 5 reviews where 6 are right"):
        data.read_examples()

    monkeypatch.setattr(ag_news, "SIZES", {"train": 40, "test": 4})
    for part, n in ag_news.SIZES.items():
        (tmp_path / "ag_news").mkdir(exist_ok=True)
        text = "".join(f'"{i % 4 + 1}","Title {i}","He said ""yes""\\to {part}, {i}."\n' for i in range(n))
        (tmp_path / "ag_news" / f"{part}.csv").write_text(text)
    news = ag_news.AGNews(root=str(tmp_path), vocab_size=60, val_share=0.1)
    parts = news.read_examples()
    assert parts["test"].texts[1] == 'Title 1 He said "yes" to test, 1.'
    assert parts["test"].labels == [0, 1, 2, 3]
    assert {split: len(part.texts) for split, part in parts.items()} == {"train": 36, "val": 4, "test": 4}
    (tmp_path / "ag_news" / "test.csv").write_text("9,a,b\n")
    with pytest.raises(UserError, match="does not have a class from 1 to 4"):
        news.read_examples()


# --- through the command line


def run(train: Train, *words: str) -> Path:
    return train(
        "trainer=cpu", "logger=none", "data.fake=true", "optim.lr=0.003", "model.length=8", "data.max_length=16",
        "trainer.check_val_every_n_epoch=20", "callbacks.threads.number=1", *words,
    )  # fmt: skip


BERT_SIZES = (
    "model=bert_tiny",
    "model.dim=32",
    "model.depth=1",
    "model.heads=2",
    "model.max_length=32",
    "model.dropout=0.0",
)


def last(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())["test"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", ["lstm", "bert"])
def test_a_classifier_of_texts(train: Train, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("model=lstm", "model.dim=32") if network == "lstm" else BERT_SIZES
    folder = run(
        train, *sizes, "task=classification", "data=text_csv", "data.batch_size=64", "duration=80ep"
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/accuracy"] > 0.55 > 0.4 > figures["test/majority_accuracy"]
    assert {"test/macro_f1", "test/matthews_correlation", "test/bag_of_words_accuracy"} <= set(figures)
    evaluated = evaluate(str(folder), "test")
    assert evaluated["test/accuracy"] == pytest.approx(figures["test/accuracy"])
    assert "val/bag_of_words_accuracy" in evaluate(str(folder), "val")
    (tmp_path / "my.txt").write_text("ba bi class0ba bu\n\nba bi class2ba bu\n")
    capsys.readouterr()
    predict(str(folder), str(tmp_path / "my.txt"), str(tmp_path / "out.csv"), top=2)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["place"][-2:] for row in rows] == [":1", ":3"]
    assert [row["class_1"] for row in rows] == ["class0", "class2"]
    for row in rows:
        assert float(row["probability_1"]) > float(row["probability_2"]) >= 0
    predict(str(folder), "ba class1ba")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["class"] == "class1"
    with pytest.raises(UserError, match="there is no file or folder nowhere"):
        predict(str(folder), "nowhere")
    with pytest.raises(UserError, match="top=4 must be from 1 to the 3 classes"):
        predict(str(folder), "ba class1ba", top=4)


def test_a_tagger(train: Train, tmp_path: Path) -> None:
    folder = run(
        train, *BERT_SIZES, "task=token_classification", "data=conll", "data.batch_size=32", "duration=80ep",
        "task.monitor=f1",
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/f1"] > 0.8
    assert figures["test/usual_tag_f1"] > 0.8  # each made word has one tag
    assert evaluate(str(folder), "test")["test/f1"] == pytest.approx(figures["test/f1"])
    _, task, about = restore(str(folder))
    assert about["data"]["classes"][2] == "B-ORG"
    rows = read_text.classify_texts(task, about["data"], "boba guba biba")
    assert all({"text", "entity", "kind", "probability"} <= set(row) for row in rows)
    # A text that is longer than an input is read in pieces, and each word is judged in one of them.
    codec_words = ["boba"] * 40
    codec = read_text.tokenizer_of(about["data"]["tokenizer"])
    assert isinstance(task, TokenClassification)
    tags, certain = read_text.tag_words(task, codec, codec_words, 16)
    assert tags.shape == certain.shape == (40,)


def test_a_reader_of_questions(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(
        train, *BERT_SIZES, "task=span", "data=squad", "data.batch_size=32", "duration=80ep", "task.monitor=f1",
    )  # fmt: skip
    figures = last(folder)
    assert figures["test/exact_match"] > 0.8
    assert figures["test/f1"] >= figures["test/exact_match"]
    assert evaluate(str(folder), "test")["test/f1"] == pytest.approx(figures["test/f1"])
    long = " ".join(["ba bi"] * 10 + ["answerbe"] + ["bo bu"] * 10)  # in several windows
    (tmp_path / "asked.txt").write_text(f"where\tba bi answerba bo\nwhere\t{long}\n")
    capsys.readouterr()
    predict(str(folder), str(tmp_path / "asked.txt"))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["answer"] for row in rows] == ["answerba", "answerbe"]
    squad_file(tmp_path / "asked.json", [squad.Question("where", "ba answerbi bo", [], [])])
    predict(str(folder), str(tmp_path / "asked.json"))
    assert json.loads(capsys.readouterr().out)["answer"] == "answerbi"
    with pytest.raises(UserError, match="a question and its text with one tab"):
        predict(str(folder), "no tab here")
