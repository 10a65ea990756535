"""A tokeniser of made sentences."""

import pytest
from helpers.labelled import sentences

from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec


@pytest.fixture(scope="module")
def codec() -> TokenizerCodec:
    return train_codec(sentences(50), "wordpiece", 60, BERT, lowercase=True)
