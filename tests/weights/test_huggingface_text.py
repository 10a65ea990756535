"""BERT, GPT-2 and ViT in the layouts of others, both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchatlas.data.text.tokenizer import BERT, train_codec
from torchatlas.data.text.tokenizer import GPT as GPT2
from torchatlas.errors import UserError
from torchatlas.models.bert import Bert
from torchatlas.models.gpt import GPT
from torchatlas.models.resnet import ResNet
from torchatlas.models.vit import ViT
from torchatlas.weights import huggingface_text as table
from torchatlas.weights import load_weights
from torchatlas.weights.writing import torchvision_state, write_folder

SIZES: dict[str, Any] = {"vocab_size": 23, "dim": 16, "depth": 3, "heads": 4}


def random_weights(network: Any) -> Any:
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    return network.eval()


def gpt2(**options: Any) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 23, "n_positions": 12, "n_embd": 16, "n_layer": 3, "n_head": 4, **options}
    return random_weights(GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)))


def bert(kind: str, **options: Any) -> Any:
    import transformers

    config = transformers.BertConfig(
        vocab_size=23, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=12, **options,
    )  # fmt: skip
    return random_weights(getattr(transformers, kind)(config))


def answers(theirs: Any, tokens: torch.Tensor) -> torch.Tensor:
    out = theirs(tokens)
    if hasattr(out, "prediction_logits"):
        return out.prediction_logits
    return torch.stack([out.start_logits, out.end_logits], -1) if hasattr(out, "start_logits") else out.logits


@pytest.mark.parametrize("bare", [False, True])
def test_gpt2_is_read(bare: bool, tmp_path: Path) -> None:
    """With and without the prefix, as safetensors and as the .bin of old."""
    theirs, ours = gpt2(), GPT(context=12, **SIZES).eval()
    state = theirs.state_dict()
    if bare:
        state = {k.removeprefix("transformer."): v for k, v in state.items() if not k.startswith("lm_head")}
    torch.save(state, tmp_path / "pytorch_model.bin")
    report = load_weights(ours, tmp_path / "pytorch_model.bin")
    assert report.source == "Hugging Face"
    assert not report.missing
    tokens = torch.randint(23, (3, 9))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("targets", list(table.TASKS))
def test_bert_is_read_and_written(targets: str, tmp_path: Path) -> None:
    """Of each head: their folder into ours, ours into theirs, and the bits of what was read are those of the file."""
    import transformers

    options = {"num_labels": 5} if targets in ("sequence", "step") else {}
    theirs = bert(table.TASKS[targets], **options)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = Bert(targets=targets, num_classes=5, max_length=12, **SIZES).eval()
    report = load_weights(ours, tmp_path / "theirs")
    assert not report.missing
    assert not report.unexpected
    tokens = torch.randint(23, (3, 9))
    mine = ours(tokens)
    torch.testing.assert_close(
        mine[0] if isinstance(mine, tuple) else mine, answers(theirs, tokens), rtol=1e-5, atol=1e-5
    )

    write_folder(ours, tmp_path / "ours")
    again = getattr(transformers, table.TASKS[targets]).from_pretrained(tmp_path / "ours").eval()
    assert torch.equal(answers(again, tokens), answers(theirs, tokens))
    back = Bert(targets=targets, num_classes=5, max_length=12, **SIZES).eval()
    load_weights(back, tmp_path / "ours")
    for key, value in ours.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key


def test_gpt2_is_written(tmp_path: Path) -> None:
    from transformers import GPT2LMHeadModel

    ours = random_weights(GPT(context=12, **SIZES))
    write_folder(ours, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    tokens = torch.randint(23, (3, 9))
    torch.testing.assert_close(theirs(tokens).logits, ours(tokens), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"model\.bias=false"):
        write_folder(GPT(bias=False), tmp_path)


def test_fine_tuning_begins_with_the_encoder_and_a_new_head(tmp_path: Path) -> None:
    theirs = bert("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    ours = Bert(targets="sequence", num_classes=3, max_length=8, **SIZES).eval()
    before = ours.classifier.weight.clone()
    report = load_weights(ours, tmp_path)
    assert torch.equal(ours.classifier.weight, before)
    assert set(report.missing) == {"classifier.weight", "classifier.bias"}
    assert any("the first 8 of 12 positions" in line for line in report.adapted)
    tokens = torch.randint(23, (2, 8))
    torch.testing.assert_close(
        torch.tanh(ours.pooler(ours.forward_features(tokens)[:, 0])), theirs.bert(tokens).pooler_output,
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


def test_oldest_names(tmp_path: Path) -> None:
    """Gamma and beta in place of weight and bias."""
    theirs = bert("BertForPreTraining")
    state = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in theirs.state_dict().items()
    }
    ours = Bert(max_length=12, **SIZES).eval()
    assert not load_weights(ours, state).missing
    tokens = torch.randint(23, (2, 8))
    torch.testing.assert_close(ours(tokens)[0], answers(theirs, tokens), rtol=1e-5, atol=1e-5)


def test_what_no_tensor_shows_is_compared(tmp_path: Path) -> None:
    bert("BertForPreTraining").save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match=r"4 heads .* 2: add model.heads=4"):
        load_weights(Bert(max_length=12, **{**SIZES, "heads": 2}), tmp_path / "bert")
    bert("BertForPreTraining", hidden_act="relu").save_pretrained(tmp_path / "relu")
    with pytest.raises(UserError, match="activation relu"):
        load_weights(Bert(max_length=12, **SIZES), tmp_path / "relu")
    theirs = bert("BertForPreTraining")
    theirs.save_pretrained(tmp_path / "old")
    content = json.loads((tmp_path / "old" / "config.json").read_text())
    (tmp_path / "old" / "config.json").write_text(json.dumps({k: v for k, v in content.items() if k != "model_type"}))
    assert not load_weights(Bert(max_length=12, **SIZES), tmp_path / "old").missing
    with pytest.raises(UserError, match=r"kind bert, and this one is of the kind gpt2"):
        load_weights(GPT(context=12, **SIZES), tmp_path / "bert")
    gpt2(scale_attn_by_inverse_layer_idx=True).save_pretrained(tmp_path / "scaled")
    with pytest.raises(UserError, match="scales its attention otherwise"):
        load_weights(GPT(context=12, **SIZES), tmp_path / "scaled")
    write_folder(ViT(dim=16, heads=4), tmp_path / "vit")
    with pytest.raises(UserError, match=r"4 heads .* 2: add model.heads=4"):
        load_weights(ViT(dim=16, heads=2), tmp_path / "vit")
    for damaged in ("[]", '{"layer_norm_eps": "much"}'):
        (tmp_path / "old" / "config.json").write_text(damaged)
        with pytest.raises(UserError, match="damaged"):
            load_weights(Bert(max_length=12, **SIZES), tmp_path / "old")
    gpt2(layer_norm_epsilon=1e-3).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(UserError, match=r"epsilon 0\.001"):
        load_weights(GPT(context=12, **SIZES), tmp_path / "gpt2")


def test_weights_in_parts_and_damaged_folders(tmp_path: Path) -> None:
    theirs, ours = gpt2(), GPT(context=12, **SIZES).eval()
    theirs.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    assert (tmp_path / "parts" / "model.safetensors.index.json").exists()
    load_weights(ours, tmp_path / "parts")
    tokens = torch.randint(23, (2, 8))
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)
    index = tmp_path / "parts" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    for elsewhere in ("../elsewhere.safetensors", "..", ".", "/etc/passwd"):
        index.write_text(json.dumps(content | {"weight_map": dict.fromkeys(content["weight_map"], elsewhere)}))
        with pytest.raises(UserError, match="outside of its folder"):
            load_weights(ours, tmp_path / "parts")
    index.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_weights(ours, tmp_path / "parts")
    state = theirs.state_dict()
    old = tmp_path / "old"
    old.mkdir()
    names = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    halves = dict(list(state.items())[::2]), dict(list(state.items())[1::2])
    for name, half in zip(names, halves, strict=True):
        torch.save(half, old / name)
    index = {"weight_map": {k: n for n, half in zip(names, halves, strict=True) for k in half}}
    (old / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (old / "config.json").write_text((tmp_path / "parts" / "config.json").read_text())
    fresh = GPT(context=12, **SIZES).eval()
    load_weights(fresh, old)
    assert torch.equal(fresh(tokens), ours(tokens))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"has a config\.json and none of"):
        load_weights(ours, tmp_path / "empty")


def test_vit_is_written_for_both(tmp_path: Path) -> None:
    from torchvision.models import VisionTransformer
    from transformers import ViTForImageClassification

    ours = random_weights(ViT(image_size=32, patch_size=8, dim=16, depth=2, heads=4, hidden=24, num_classes=5))
    x = torch.randn(3, 3, 32, 32)
    theirs = VisionTransformer(32, 8, 2, 4, 16, 24, num_classes=5).eval()
    theirs.load_state_dict(torchvision_state(ours))
    torch.testing.assert_close(theirs(x), ours(x), rtol=1e-5, atol=1e-5)
    data = {"classes": list("abcde"), "mean": [0.5] * 3, "std": [0.2] * 3, "image_size": 32}
    write_folder(ours, tmp_path, data)
    again = ViTForImageClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(x).logits, ours(x), rtol=1e-5, atol=1e-5)
    assert again.config.id2label == dict(enumerate("abcde"))
    found = load_weights(ViT(image_size=32, patch_size=8, dim=16, heads=4, hidden=24, num_classes=5), tmp_path)
    assert found.preprocessing is not None
    assert (found.preprocessing.mean, found.preprocessing.image_size) == ((0.5, 0.5, 0.5), 32)
    with pytest.raises(UserError, match="no form of its networks for small images"):
        torchvision_state(ResNet(image_size=32))
    with pytest.raises(UserError, match="torchvision has no network as Bert"):
        torchvision_state(Bert())


@pytest.mark.parametrize(("by", "specials"), [("wordpiece", BERT), ("word", BERT), ("bpe", GPT2)])
def test_the_tokeniser_that_is_written_means_the_same(by: str, specials: tuple[str, ...], tmp_path: Path) -> None:
    """Also in upper case, which transformers' own class for BERT would lower."""
    from transformers import AutoTokenizer

    text = "The Cat sat on THE mat, and the cats sat. Mats!"
    codec = train_codec([text] * 3, by, 300 if by == "bpe" else 60, specials)
    network = GPT(context=12, **SIZES) if by == "bpe" else Bert(max_length=12, **SIZES)
    write_folder(network, tmp_path, codec.describe())
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text, add_special_tokens=False)["input_ids"] == codec.encode(text).tolist()
