"""Embeddings for TensorBoard's projector."""

from helpers import Train

from torchatlas.models.bert import Bert
from torchatlas.models.gpt import GPT
from torchatlas.models.transformer import Transformer

SMALL = ("model.dim=16", "model.depth=2", "model.heads=2")


def test_the_projector_has_each_token(train: Train) -> None:
    """A row and a quoted text for each token, also after a second training in the same folder."""
    run = train("model=gpt_char_cpu", "debug=one_batch", "trainer=cpu", *SMALL, "data.context=16")
    folder = run / "00000" / "tokens"
    texts = (folder / "metadata.tsv").read_text().splitlines()
    rows = (folder / "tensors.tsv").read_text().splitlines()
    assert len(texts) == len(rows) == 104
    assert {"'a'", repr("\n"), "' '"} <= set(texts)
    assert all(len(row.split("\t")) == 16 for row in rows)
    assert (run / "projector_config.pbtxt").read_text().count("embeddings {") == 1


# --- what it claims


def test_embeddings_for_the_projector() -> None:
    """Of each network those whose rows are the tokens; a shared one for both sides."""
    from torchatlas.models.lstm import LSTM
    from torchatlas.models.seq2seq import Seq2Seq
    from torchatlas.models.seq2seq_attention import Seq2SeqAttention
    from torchatlas.pictures.embeddings import embeddings_of

    class Codec:
        vocab_size = 16

    sides = {"source": Codec(), "target": Codec()}
    for network in (Transformer(), Transformer(shared=True), Seq2Seq(), Seq2SeqAttention()):
        found = dict(embeddings_of(network, sides))
        assert set(found) == {"source", "target"}
        shared = getattr(network, "source_embedding", None) is getattr(network, "target_embedding", 0)
        assert (found["source"] is found["target"]) is shared
    for network in (GPT(), Bert(), LSTM(vocab_size=16, targets="step")):
        assert [name for name, _ in embeddings_of(network, {"tokens": Codec()})] == ["tokens"]
