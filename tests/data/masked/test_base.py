"""Pairs of sentences and masks: shares, whole words, a function of seed, epoch and index."""

import json
import math
from collections import Counter
from typing import Any

import pytest
import torch
from helpers.masked import CLS, MASK, PAD, SEP, UNK, Toy
from torch import Tensor

from torchatlas.data.masked.base import IGNORED, Masks, SentencePairs, made_codec, most_masks
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.errors import UserError


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
