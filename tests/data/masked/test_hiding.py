"""Tokens that are hidden."""

import pytest
import torch
from helpers.masked import CLS, MASK, PAD, SEP, UNK, within
from torch import Tensor

from torchatlas.data.masked.base import made_codec
from torchatlas.data.masked.hiding import IGNORED, Masks, most_masks
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.errors import UserError

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
