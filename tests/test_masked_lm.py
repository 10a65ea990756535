"""Masked language models: pairs and masks, the task against Hugging Face's, baseline, guesses, and going on."""

import json
import math
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import StopsWithin, equal, stopped
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.data.masked.base import IGNORED, MaskedText, Masks, SentencePairs, made_codec, most_masks
from torchatlas.data.masked.masked_texts import TextFileMasked, WikiText2Masked, count_pieces, own_documents
from torchatlas.data.text import wikitext2
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.errors import UserError
from torchatlas.models.bert import Bert
from torchatlas.tasks.masked_lm import MaskedLM

PAD, UNK, CLS, SEP, MASK = range(5)  # numbers in a codec that is trained here


def within(share: float, expected: float, n: int) -> bool:
    """Whether a share of n draws is within five standard deviations of its expectation."""
    return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


# --- pairs


@pytest.fixture(scope="module")
def documents() -> list[list[list[int]]]:
    """Each token is its own place in the text, from 5 on; sentences of many lengths, one of them very long."""
    generator = torch.Generator().manual_seed(0)
    found, n = [], 5
    for d in range(6):
        sizes = torch.randint(1, 12, (40 + d,), generator=generator).tolist()
        sentences = []
        for size in [*sizes, 50]:
            sentences.append(list(range(n, n + size)))
            n += size
        found.append(sentences)
    return found


def pairs_of(documents: list[list[list[int]]], seed: int = 0, **options: Any) -> SentencePairs:
    return SentencePairs(documents, 32, seed, first=CLS, separator=SEP, **options)


def cut(row: Tensor, length: int) -> tuple[list[int], list[int]]:
    """A and B of [CLS] A [SEP] B [SEP] and padding."""
    tokens = row.tolist()
    assert set(tokens[length:]) <= {PAD}
    assert tokens[0] == CLS
    assert tokens[length - 1] == SEP
    middle = tokens.index(SEP)
    assert middle < length - 2
    return tokens[1:middle], tokens[middle + 1 : length - 1]


def test_pairs_are_what_they_say(documents: list[list[list[int]]]) -> None:
    """B follows A to the token, or begins a sentence of another document; half and half, a tenth of them short."""
    home = {token: d for d, sentences in enumerate(documents) for s in sentences for token in s}
    begins = {s[i] for sentences in documents for s in sentences for i in range(0, len(s), 14)}  # long ones are divided
    pairs = pairs_of(documents)
    indices = torch.arange(len(pairs))
    foreign, full, seen = [], [], set()
    for epoch in range(100):
        tokens, lengths, segments, is_next, same, at = pairs[epoch, indices]
        assert torch.equal(same, indices)
        assert at == epoch
        assert tokens.shape == segments.shape == (len(pairs), 32)
        for row, length, segment, strange in zip(tokens, lengths.tolist(), segments, is_next.tolist(), strict=True):
            a, b = cut(row, length)
            assert a == list(range(a[0], a[0] + len(a)))
            assert b == list(range(b[0], b[0] + len(b)))
            assert segment.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1) + [0] * (32 - length)
            assert home[a[0]] == home[a[-1]]
            assert home[b[0]] == home[b[-1]]
            assert b[0] in begins
            assert (home[a[0]] != home[b[0]]) if strange else (b[0] == a[-1] + 1)
            seen.update(a + b)
        foreign.append(is_next.float().mean())
        full.append((lengths == 32).float().mean())
    n = 100 * len(pairs)
    assert within(float(torch.stack(foreign).mean()), 0.5, n)
    assert 0.75 < float(torch.stack(full).mean()) < 0.92  # ends of documents are short too
    assert seen == set(home)


def test_pairs_are_a_function_of_seed_epoch_and_index(documents: list[list[list[int]]]) -> None:
    one, other = pairs_of(documents, seed=1), pairs_of(documents, seed=2)
    indices = torch.arange(len(one))
    whole = one[3, indices]
    part = one[3, indices[5:9]]
    assert all(torch.equal(x[5:9], y) for x, y in zip(whole[:4], part[:4], strict=True))
    assert not torch.equal(whole[0], one[4, indices][0])
    assert not torch.equal(whole[0], other[3, indices][0])
    assert torch.equal(one[-1, indices][0], other[-1, indices][0])  # evaluation does not depend on the run's seed


def test_the_class_of_a_pair_does_not_show_in_its_length(documents: list[list[list[int]]]) -> None:
    pairs = pairs_of(documents)
    sums = torch.zeros(2, 2)
    for epoch in range(100):
        _, lengths, _, foreign, _, _ = pairs[epoch, torch.arange(len(pairs))]
        for k in (0, 1):
            sums[k] += torch.tensor([float(lengths[foreign == k].sum()), float((foreign == k).sum())])
    means = sums[:, 0] / sums[:, 1]
    assert abs(float(means[0] - means[1])) < 0.5


def test_documents_of_one_sentence_are_cut_in_it() -> None:
    pairs = pairs_of([[[10, 11, 12]], [[20, 21]], [[30]], [], [[]]])
    assert len(pairs) == 2
    tokens, lengths, *_ = pairs[0, torch.arange(2)]
    assert all(len(a) >= 1 and len(b) >= 1 for a, b in (cut(*x) for x in zip(tokens, lengths.tolist(), strict=True)))
    with pytest.raises(UserError, match="1 documents have two tokens or more"):
        pairs_of([[[10, 11, 12]], [[30]]])


def test_buckets_pad_to_the_longest(documents: list[list[list[int]]]) -> None:
    short = [[s[:6] for s in sentences[:2]] for sentences in documents]
    pairs = pairs_of(short, buckets=True)
    tokens, lengths, segments, *_ = pairs[0, torch.arange(3)]
    assert tokens.shape[1] == segments.shape[1] == int(lengths.max()) < 32
    fixed = pairs_of(short)[0, torch.arange(3)]
    assert torch.equal(fixed[0][:, : tokens.shape[1]], tokens)
    data = Toy(vocab_size=60, context=32, batch_size=4, buckets=True)
    data.setup()
    for split in ("train", "val"):
        for batch in data.loader(split, shuffle=split == "train"):
            seen, lengths, _, positions, labels, _ = data.transform(batch)
            assert seen.shape[1] == int(lengths.max())
            assert positions.shape[1] == labels.shape[1] == most_masks(32)


# --- masks

SIZE = 1000


def random_batch(n: int, context: int) -> tuple[Tensor, Tensor]:
    """[CLS], ordinary and unknown tokens, [SEP] in the middle and at the end, padding."""
    lengths = torch.randint(context // 2, context + 1, (n,))
    tokens = torch.randint(len(BERT), SIZE, (n, context))
    tokens[torch.rand(n, context) < 0.1] = UNK
    tokens[:, 0] = CLS
    tokens[:, context // 4] = SEP
    tokens[torch.arange(n), lengths - 1] = SEP
    return tokens.where(torch.arange(context) < lengths[:, None], PAD), lengths


def test_shares_of_masks() -> None:
    """15 % of the tokens are selected, of these 80 % hidden, 10 % replaced, 10 % left; special ones never."""
    context = 64
    masks = Masks(made_codec(SIZE), context)
    tokens, lengths = random_batch(4000, context)
    seen, positions, labels = masks(tokens, lengths, 0, 0, torch.arange(4000))
    assert positions.shape == labels.shape == (4000, most_masks(context)) == (4000, 10)
    selected = labels != IGNORED
    assert torch.equal(labels[selected], tokens.gather(1, positions)[selected])
    assert int(labels[selected].min()) >= len(BERT)
    assert (positions[~selected] == 0).all()
    ascending = positions.diff(dim=1) > 0
    assert ascending[selected[:, 1:]].all()  # so each place comes once
    assert (selected[:, :-1] >= selected[:, 1:]).all()
    untouched = torch.ones_like(tokens, dtype=torch.bool).scatter(1, positions, ~selected)
    assert torch.equal(seen[untouched], tokens[untouched])
    assert (untouched | (tokens >= len(BERT))).all()
    ordinary = int((tokens >= len(BERT)).sum())
    n = int(selected.sum())
    assert abs(n / ordinary - 0.15) < 0.003  # rounded for each sample
    now, before = seen.gather(1, positions)[selected], labels[selected]
    kinds = SIZE - len(BERT)
    hidden, same = now == MASK, now == before
    assert within(float(hidden.float().mean()), 0.8, n)
    assert within(float(same.float().mean()), 0.1 + 0.1 / kinds, n)
    random = now[~hidden & ~same]
    assert within(len(random) / n, 0.1 * (1 - 1 / kinds), n)
    assert int(random.min()) >= len(BERT)
    assert len(random.unique()) > 0.9 * kinds
    places = torch.bincount(positions[selected], minlength=context)[1:8]  # none is preferred
    assert float(places.max() / places.min()) < 1.5


def test_masks_are_a_function_of_seed_epoch_and_index() -> None:
    masks = Masks(made_codec(SIZE), 64)
    tokens, lengths = random_batch(8, 64)
    places = torch.tensor([5, 0, 7, 3, 9, 1, 2, 8])
    whole = masks(tokens, lengths, 1, 2, places)
    part = masks(tokens[2:5, :60], lengths[2:5].clamp(max=60), 1, 2, places[2:5])
    cut_short = lengths[2:5] > 60
    assert all(torch.equal(x[2:5, :60][~cut_short], y[:, :60][~cut_short]) for x, y in zip(whole, part, strict=True))
    assert not cut_short.all()
    for other in (masks(tokens, lengths, 1, 3, places), masks(tokens, lengths, 2, 2, places)):
        assert not torch.equal(whole[1], other[1])


def wordpieces() -> TokenizerCodec:
    return train_codec(["unbelievable unlikely believe likely able"] * 3, "wordpiece", 34, BERT, lowercase=True)


def test_whole_words() -> None:
    """All pieces of a word are selected or none, at most 15 % of the tokens but one word at least."""
    codec, context = wordpieces(), 64
    vocabulary = codec.tokenizer.get_vocab()
    inside = torch.zeros(codec.vocab_size, dtype=torch.bool)
    inside[[i for token, i in vocabulary.items() if token.startswith("##")]] = True
    line = codec.encode("able unlikely believe unbelievable likely " * 9)[: context - 3]
    assert inside[line].any()
    rows = torch.stack([torch.cat([torch.tensor([CLS]), line.roll(k), torch.tensor([SEP, SEP])]) for k in range(61)])
    lengths = torch.full((61,), context)
    masks = Masks(codec, context, whole_words=True)
    chosen = 0
    for epoch in range(20):
        _, positions, labels = masks(rows, lengths, 0, epoch, torch.arange(61))
        for row, places, selected in zip(rows, positions, labels != IGNORED, strict=True):
            found = set(places[selected].tolist())
            assert 1 <= len(found) <= round(0.15 * 61)
            chosen += len(found)
            for place in range(2, 62):
                if inside[row[place]]:
                    assert (place in found) == (place - 1 in found)
    assert 0.11 < chosen / (20 * 61 * 61) < 0.15
    tiny = rows[:, :12].clone()
    tiny[:, 10:] = SEP
    _, _, labels = masks(tiny, torch.full((61,), 12), 0, 0, torch.arange(61))
    assert (labels[:, 0] != IGNORED).all()  # a word that is longer than 15 % of a short sample
    with pytest.raises(UserError, match=r"data.whole_words=true needs a tokeniser whose words go on with ##"):
        Masks(made_codec(50), context, whole_words=True)


# --- data

SENTENCE = "the cat sat on a mat near red door while one old dog ran under blue table with two small birds"
WORDS = SENTENCE.split()


def toy_documents(seed: int, n: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(2, 9, (n, 12), generator=generator).tolist()
    draws = (torch.rand(n, 12, 9, generator=generator).square() * len(WORDS)).long().tolist()
    return [
        " ".join(" ".join(WORDS[i] for i in row[:size]) + "." for row, size in zip(rows, counts, strict=True))
        for rows, counts in zip(draws, sizes, strict=True)
    ]


class Toy(MaskedText):
    def read_documents(self) -> dict[str, list[str]]:
        return {"train": toy_documents(0, 12), "val": toy_documents(1, 6), "test": toy_documents(2, 6)}


def test_unigram_baseline_by_hand() -> None:
    """-ln (n + 1) / (N + V) of the tokens that are hidden in evaluation; validation and test differ."""
    data = Toy(vocab_size=60, context=32, batch_size=4)
    data.setup()
    counts = Counter(data.codec.encode(" ".join(data.read_documents()["train"])).tolist())
    total, kinds = sum(counts.values()), 60 - len(BERT)
    assert not set(counts) & set(range(len(BERT)))
    for split in ("val", "test"):
        labels = torch.cat([data.transform(batch)[4].flatten() for batch in data.loader(split)]).tolist()
        nlls = [-math.log((counts[i] + 1) / (total + kinds)) for i in labels if i != IGNORED]
        assert data.baselines[split]["unigram_nll"] == pytest.approx(sum(nlls) / len(nlls), rel=1e-6)
    assert data.baselines["val"] != data.baselines["test"]


def test_the_whole_text_is_there() -> None:
    data = Toy(vocab_size=60, context=32, batch_size=4)
    data.setup()
    for split, texts in data.read_documents().items():
        pairs = data.splits[split]
        assert isinstance(pairs, SentencePairs)
        assert data.codec.decode(pairs.tokens) == data.codec.decode(data.codec.encode(" ".join(texts)))
        a_first, a, _, _, _ = pairs.cut((-1, torch.arange(len(pairs))))
        home = torch.bucketize(a_first, pairs.sentences[pairs.documents], right=True)
        assert torch.equal(home, torch.bucketize(a_first + a - 1, pairs.sentences[pairs.documents], right=True))
    again = Toy(vocab_size=61, context=32)
    again.load_state_dict(json.loads(json.dumps(data.describe())))
    with pytest.raises(UserError, match=r"data.vocab_size=61 is not the 60 of the tokeniser"):
        again.setup()


def test_a_users_text(tmp_path: Path) -> None:
    """Whole documents by position, and the vocabulary of the training part."""
    path = tmp_path / "own.txt"
    path.write_text("\n\n".join(toy_documents(0, 40)) + "\n \n\n")
    splits = own_documents(str(path), None, 0.1)
    assert [text for split in ("train", "val", "test") for text in splits[split]] == toy_documents(0, 40)
    sizes = {split: sum(map(len, texts)) for split, texts in splits.items()}
    assert all(0.05 < sizes[split] / sum(sizes.values()) <= 0.1 for split in ("val", "test"))
    size = count_pieces(str(path), None, 0.1, 60, None, True, False)
    assert size == 60
    assert count_pieces(str(path), None, 0.1, 8000, None, True, False) < 200  # there are no more
    data = TextFileMasked(path=str(path), share=0.1, max_tokens=60, vocab_size=60, context=32, batch_size=4)
    data.setup()
    assert "[UNK]" not in data.codec.pieces(data.splits["train"].tokens)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(7):
        (folder / f"{i}.txt").write_text(f"{i}\n\nmore")
    assert own_documents(str(folder), None, 0.01)["test"] == ["5\n\nmore", "6\n\nmore"]
    assert own_documents(str(folder), "paragraph", 0.01)["test"] == ["6", "more"]


def test_mistakes_in_a_users_text_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n\ntwo")
    for path, match in (
        (None, "data=text_file_masked needs a text"),
        (str(tmp_path / "no"), "there is no file or folder"),
        (str(file), r"has 2 documents where at least 6 are needed"),
    ):
        with pytest.raises(UserError, match=match):
            own_documents(path, None, 0.1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no file that ends in .txt"):
        own_documents(str(tmp_path / "empty"), None, 0.1)
    for options, match in (
        ({"documents": "page"}, "data.documents=page must be file or paragraph"),
        ({"share": 0.5}, "data.share=0.5 must be between"),
        ({"max_tokens": 5}, "data.max_tokens=5 must be more than the 5"),
        ({"context": 7}, "data.context=7 must be at least 8"),
        ({"vocab_size": 5}, "data.vocab_size=5 must be more than the 5"),
    ):
        with pytest.raises(UserError, match=match):
            TextFileMasked(**{"vocab_size": 60, **options})
    file.write_text("\n\n".join(["word " * 9] * 4 + ["x"] * 4))
    size = count_pieces(str(file), None, 0.01, 60, None, True, False)
    data = TextFileMasked(path=str(file), share=0.01, max_tokens=60, vocab_size=size)
    with pytest.raises(UserError, match=r"val: 0 documents have two tokens or more, .*: give more text, or divide"):
        data.setup()


def test_articles_of_wikitext_are_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(
        f" = {name} = \n \n The <unk> cat {name} sat . The dog = {name} = ran . \n = = Part = = \n \n Two . \n \n"
        for name in ("One", "Two = Three", "Four")
    )
    folder = tmp_path / "wikitext-2"
    folder.mkdir()
    for name in wikitext2.FILES.values():
        (folder / name).write_text(" \n" + text)
    monkeypatch.setattr(wikitext2, "LINES", dict.fromkeys(wikitext2.FILES, 1 + text.count("\n")))
    data = WikiText2Masked(root=str(tmp_path), vocab_size=60, context=16)
    data.prepare_data()
    found = data.read_documents()["val"]
    assert [article.splitlines()[0].strip() for article in found] == ["= One =", "= Two = Three =", "= Four ="]
    assert all("<unk>" not in article and "The ⁇ cat" in article for article in found)
    data.known_codec = data.make_codec(found)
    assert "⁇" in data.codec.pieces(data.codec.encode(found[0]))


# --- the task


class Knows(nn.Module):
    """Answers with fixed logits; the tokens as they were, or nothing at all."""

    def __init__(self, labels: Tensor, is_next: Tensor, size: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.answers = nn.functional.one_hot(labels.clamp(min=0), size).float()
        self.next_answers = nn.functional.one_hot(is_next, 2).float()

    def forward(self, *_: Tensor) -> tuple[Tensor, Tensor]:
        return self.scale * self.answers, self.scale * self.next_answers


def batch_of(data: MaskedText) -> tuple[Tensor, ...]:
    """Six samples, of which the first are short."""
    pairs = data.splits["train"]
    _, lengths, *_ = pairs[0, torch.arange(len(pairs))]
    return data.transform(pairs[0, lengths.argsort()[[0, 1, 2, -3, -2, -1]]])


@pytest.fixture(scope="module")
def toy() -> Toy:
    data = Toy(vocab_size=60, context=32, batch_size=4)
    data.setup()
    return data


def figures_of(task: MaskedLM, batches: list[tuple[Tensor, ...]]) -> dict[str, float]:
    """Sums over batches, then figures, as `Task` makes them."""
    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        weight = task.weight(batch)
        for key, value in task.step(batch).items():
            name = key.removeprefix("metrics/")
            sums[name] = sums.get(name, torch.zeros(())) + value.detach() * weight
        count += weight
    return {key: float(value) for key, value in task.derive({k: v / count for k, v in sums.items()}).items()}


def test_perfect_and_uniform_predictions(toy: Toy) -> None:
    batch = batch_of(toy)
    perfect = MaskedLM(Knows(batch[4], batch[5], 60, 50.0))
    assert perfect.step(batch)["loss"].item() == pytest.approx(0, abs=1e-6)
    figures = figures_of(perfect, [batch])
    assert figures["masked_accuracy"] == pytest.approx(1)
    assert figures["next_sentence_accuracy"] == 1
    uniform = MaskedLM(Knows(batch[4], batch[5], 60, 0.0))
    assert uniform.step(batch)["loss"].item() == pytest.approx(math.log(60) + math.log(2), rel=1e-6)
    figures = figures_of(uniform, [batch])
    assert figures["masked_nll"] == pytest.approx(math.log(60), rel=1e-6)
    assert figures["perplexity"] == pytest.approx(60, rel=1e-5)
    alone = MaskedLM(Knows(batch[4], batch[5], 60, 0.0), next_sentence=False)
    assert alone.step(batch)["loss"].item() == pytest.approx(math.log(60), rel=1e-6)
    assert set(figures_of(alone, [batch])) == {"loss", "masked_nll", "masked_accuracy", "perplexity"}


def network(size: int = 60) -> Bert:
    torch.manual_seed(1)
    return Bert(vocab_size=size, max_length=48, dim=32, depth=2, heads=4).eval()


def test_padding_changes_nothing(toy: Toy) -> None:
    tokens, lengths, segments, positions, labels, is_next = batch_of(toy)
    assert int(lengths.min()) < 32
    task = MaskedLM(network())
    longer = (
        nn.functional.pad(tokens, (0, 9)),
        lengths,
        nn.functional.pad(segments, (0, 9)),
        nn.functional.pad(positions, (0, 3)),
        nn.functional.pad(labels, (0, 3), value=IGNORED),
        is_next,
    )
    one, two = (
        figures_of(task, [batch]) for batch in ((tokens, lengths, segments, positions, labels, is_next), longer)
    )
    assert one == pytest.approx(two, rel=1e-5)


def test_figures_of_an_epoch_are_means_over_tokens_and_over_samples(toy: Toy) -> None:
    """Whatever the batches are, and although samples differ in how many tokens are selected."""
    task = MaskedLM(network())
    batch = batch_of(toy)
    parts = [tuple(x[k] for x in batch) for k in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert len({int((part[4] != IGNORED).sum()) / len(part[4]) for part in parts}) > 1
    assert figures_of(task, parts) == pytest.approx(figures_of(task, [batch]), rel=1e-5)


def test_processes_together_learn_from_each_token_alike(toy: Toy) -> None:
    """The mean over processes of the gradients is the gradient of the whole batch."""
    model = network()
    task = MaskedLM(model).train()
    model.eval()
    batch = batch_of(toy)
    task.step(batch)["loss"].backward()
    expected = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    halves = [tuple(x[k::2] for x in batch) for k in (0, 1)]
    numbers = [int((half[4] != IGNORED).sum()) for half in halves]
    assert numbers[0] != numbers[1]

    class Strategy:
        @staticmethod
        def reduce(number: Tensor, reduce_op: str) -> Tensor:
            assert reduce_op == "mean"
            return torch.tensor(sum(numbers) / 2)

    task._trainer = type("Two", (), {"world_size": 2, "strategy": Strategy})()  # type: ignore[assignment]
    for half in halves:
        (task.step(half)["loss"] / 2).backward()
    for want, parameter in zip(expected, (p for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(parameter.grad, want, rtol=1e-4, atol=1e-6)


def hugging_face_of(model: Bert) -> Any:
    """Hugging Face's network for pre-training, with our weights."""
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=48,
    )  # fmt: skip
    names = {
        "embedding": "bert.embeddings.word_embeddings",
        "positions": "bert.embeddings.position_embeddings",
        "segments": "bert.embeddings.token_type_embeddings",
        "norm": "bert.embeddings.LayerNorm",
        "pooler": "bert.pooler.dense",
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "logits": "cls.predictions.decoder",
        "next_sentence": "cls.seq_relationship",
    }
    for i in range(2):
        ours, theirs = f"layers.{i}.", f"bert.encoder.layer.{i}."
        names |= {
            f"{ours}attention.output": f"{theirs}attention.output.dense",
            f"{ours}norm1": f"{theirs}attention.output.LayerNorm",
            f"{ours}up": f"{theirs}intermediate.dense",
            f"{ours}down": f"{theirs}output.dense",
            f"{ours}norm2": f"{theirs}output.LayerNorm",
        }
    state = {}
    for key, value in model.state_dict().items():
        module, _, kind = key.rpartition(".")
        if module.endswith("qkv"):
            layer = module.split(".")[1]
            for name, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                state[f"bert.encoder.layer.{layer}.attention.self.{name}.{kind}"] = part
        else:
            state[f"{names[module]}.{kind}"] = value
    state["cls.predictions.bias"] = state["cls.predictions.decoder.bias"]
    found = BertForPreTraining(config)
    missing, unexpected = found.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    return found.eval()


def test_loss_equals_hugging_faces(toy: Toy) -> None:
    """On the same batch, where Hugging Face's labels are -100 at all tokens that are not selected."""
    model = network()
    batch = batch_of(toy)
    tokens, lengths, segments, positions, labels, is_next = batch
    everywhere = torch.full_like(tokens, IGNORED)
    for row, places, values in zip(everywhere, positions, labels, strict=True):
        row[places[values != IGNORED]] = values[values != IGNORED]
    with torch.no_grad():
        theirs = hugging_face_of(model)(
            input_ids=tokens,
            attention_mask=(torch.arange(32) < lengths[:, None]).long(),
            token_type_ids=segments,
            labels=everywhere,
            next_sentence_label=is_next,
        )
        ours = MaskedLM(model).step(batch)["loss"]
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=1e-5)


# --- through the command line

TINY = ["model=bert_tiny", "model.dim=32", "model.heads=2", "model.depth=1", "trainer=cpu", "data.batch_size=8"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Words in a fixed order, from another one on in each document."""
    found = tmp_path / "own.txt"
    texts = [" ".join((WORDS * 8)[i % 20 : i % 20 + 100 + i]).replace("small", "small.") for i in range(60)]
    found.write_text("\n\n".join(texts))
    return found


def own(path: Path) -> list[str]:
    return ["data=text_file_masked", f"data.path={path}", "data.max_tokens=60", "data.context=32"]


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["torchatlas", *arguments])
    cli.main()


def test_fill(path: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(*TINY, *own(path), "trainer.max_epochs=6", "optim.lr=0.01", "model.dropout=0.0")
    log = (folder / "train.log").read_text()
    assert "baseline, which needs no skill: unigram nll" in log
    assert "of unigram frequencies: the network uses what stands around" in log
    capsys.readouterr()

    def rows(*arguments: str) -> list[dict[str, Any]]:
        run_cli(monkeypatch, "fill", f"ckpt={folder}", *arguments)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    text = "The [MASK] sat on the[MASK]."
    found = rows(f"text={text}", "top=3")
    assert [row["mask"] for row in found] == [1, 2]
    for row in found:
        shares = [row[f"probability_{k}"] for k in (1, 2, 3)]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
    first, second = (row["guess_1"] for row in found)
    filled = f"The {first} sat on the{second.removeprefix('##')}."
    assert found[0]["filled"] == found[1]["filled"] == filled.replace("The ##", "The")
    lines = path.with_name("lines.txt")
    lines.write_text(f"one old dog ran under a blue [MASK] with two small birds.\n\n{text}\n")
    table = path.with_name("out.csv")
    both = rows(f"input={lines}", "top=3", f"output={table}")
    assert [row["mask"] for row in both] == [1, 1, 2]
    for one, two in zip(both[1:], found, strict=True):  # what else is in the batch changes nothing
        assert {k: v for k, v in one.items() if "prob" not in k} == {k: v for k, v in two.items() if "prob" not in k}
        assert one["probability_1"] == pytest.approx(two["probability_1"], abs=2e-6)
    assert len(table.read_text().splitlines()) == 4
    run_cli(monkeypatch, "fill", f"ckpt={folder}", "text=a [MASK] 中 cat")
    assert "unknown to the network, which sees one sign for all of them: '中' 1" in "".join(capsys.readouterr())

    def refuses(match: str, *arguments: str) -> None:
        with pytest.raises(SystemExit):
            run_cli(monkeypatch, "fill", *arguments)
        assert match in capsys.readouterr().err

    refuses('the text has no [MASK]: write it where a word is to be guessed, as in text="The [MASK]', f"ckpt={folder}",
            "text=no mask")  # fmt: skip
    refuses(
        "tokens, special ones included, and the network sees 32", f"ckpt={folder}", "text=" + "cat " * 40 + "[MASK]"
    )
    refuses("top=61 must be from 1 to the 60", f"ckpt={folder}", f"text={text}", "top=61")
    refuses("fill needs either a text or a file", f"ckpt={folder}")
    refuses("there is no file", f"ckpt={folder}", "input=nowhere.txt")
    lines.write_text("a [MASK]\n\nnothing\n")
    refuses("line 3 of", f"ckpt={folder}", f"input={lines}")
    digits = train("model.widths=[8]", "trainer=cpu", "trainer.max_epochs=1", "callbacks=default", "logger=none")
    refuses("was trained for classification: fill needs a masked language model", f"ckpt={digits}", f"text={text}")
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["tensors"]
    assert {f"{stage} text/hidden tokens {i}/text_summary" for stage in ("validation", "test") for i in (1, 2)} <= {
        *tags
    }
    shown = accumulator.Tensors("test text/hidden tokens 1/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert "⟦1⟧" in shown
    assert "The second piece" in shown
    run_cli(monkeypatch, "evaluate", f"ckpt={folder}", "split=val")
    evaluated = capsys.readouterr().out
    best = json.loads((folder / "metrics.json").read_text())["best"]
    for key in ("masked_nll", "unigram_nll", "next_sentence_nll"):
        line = next(line for line in evaluated.splitlines() if f"val/{key}" in line)
        assert float(line.split()[-1]) == pytest.approx(best[f"val/{key}"], rel=1e-3)


def test_stopped_within_an_epoch_and_resumed(path: Path, train: Train) -> None:
    """Pairs, masks, dropout, figures and curves end bit for bit, although masks are new in each epoch."""
    arguments = [*TINY, *own(path), "trainer.limit_train_batches=6", "trainer.max_epochs=3", "callbacks=default"]
    arguments += ["trainer.log_every_n_steps=2", "data.whole_words=true", "data.buckets=true"]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    assert train(f"resume={part}") == part
    assert equal(whole, part) == []
