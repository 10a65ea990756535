"""BERT equals Hugging Face's."""

import torch
from torch import Tensor, nn

from torchatlas.models.bert import Bert


def closeness(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# --- equal to Hugging Face


def test_bert_equals_hugging_face() -> None:
    from transformers import BertConfig, BertForPreTraining

    config = BertConfig(
        vocab_size=23, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=12,
    )  # fmt: skip
    theirs = BertForPreTraining(config).eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.3)
    ours = Bert(vocab_size=23, max_length=12, dim=16, depth=3, heads=4).eval()
    bert, heads = theirs.bert, theirs.cls
    with torch.no_grad():
        ours.embedding.weight.copy_(bert.embeddings.word_embeddings.weight)
        ours.positions.weight.copy_(bert.embeddings.position_embeddings.weight)
        ours.segments.weight.copy_(bert.embeddings.token_type_embeddings.weight)
        ours.logits.bias.copy_(heads.predictions.bias)
        for layer, other in zip(ours.layers, bert.encoder.layer, strict=True):
            a = other.attention.self
            layer.attention.qkv.weight.copy_(torch.cat([a.query.weight, a.key.weight, a.value.weight]))
            layer.attention.qkv.bias.copy_(torch.cat([a.query.bias, a.key.bias, a.value.bias]))
    pairs = [
        (ours.norm, bert.embeddings.LayerNorm), (ours.pooler, bert.pooler.dense),
        (ours.transform, heads.predictions.transform.dense),
        (ours.transform_norm, heads.predictions.transform.LayerNorm), (ours.next_sentence, heads.seq_relationship),
    ]  # fmt: skip
    for layer, other in zip(ours.layers, bert.encoder.layer, strict=True):
        pairs += [
            (layer.attention.output, other.attention.output.dense), (layer.norm1, other.attention.output.LayerNorm),
            (layer.up, other.intermediate.dense), (layer.down, other.output.dense),
            (layer.norm2, other.output.LayerNorm),
        ]  # fmt: skip
    for one, two in pairs:
        one.load_state_dict(two.state_dict())
    tokens, lengths, segments = torch.randint(23, (3, 9)), torch.tensor([9, 5, 7]), torch.randint(2, (3, 9))
    attended = (torch.arange(9) < lengths[:, None]).long()
    out = theirs(tokens, attention_mask=attended, token_type_ids=segments)
    logits, following = ours(tokens, lengths, segments)
    closeness(following, out.seq_relationship_logits)
    for i, n in enumerate(lengths):
        closeness(logits[i, :n], out.prediction_logits[i, :n])
    positions = torch.tensor([[0, 3], [4, 1], [6, 6]])
    closeness(ours(tokens, lengths, segments, positions)[0], logits.gather(1, positions[..., None].expand(-1, -1, 23)))
