"""Text for masked language models."""

import json
import math
from collections import Counter

import pytest
import torch
from helpers.masked import Toy

from torchatlas.data.masked.hiding import IGNORED
from torchatlas.data.masked.sentence_pairs import SentencePairs
from torchatlas.data.text.tokenizer import BERT
from torchatlas.errors import UserError


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
