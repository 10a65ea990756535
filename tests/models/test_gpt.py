"""GPT-2 equals Hugging Face's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchatlas.models.gpt import GPT


def closeness(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# --- equal to Hugging Face


def test_gpt_equals_hugging_face(hf_gpt2: Any) -> None:
    theirs, ours = hf_gpt2
    tokens = torch.randint(23, (3, 9))
    closeness(ours(tokens), theirs(tokens).logits)


@pytest.fixture
def hf_gpt2() -> tuple[nn.Module, GPT]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=23, n_positions=12, n_embd=16, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = GPT2LMHeadModel(config).eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.3)
    ours = GPT(vocab_size=23, context=12, dim=16, depth=3, heads=4).eval()
    with torch.no_grad():
        ours.embedding.weight.copy_(theirs.transformer.wte.weight)
        ours.positions.embedding.weight.copy_(theirs.transformer.wpe.weight)
        ours.norm.load_state_dict(theirs.transformer.ln_f.state_dict())
        for layer, other in zip(ours.layers, theirs.transformer.h, strict=True):
            layer.norm1.load_state_dict(other.ln_1.state_dict())
            layer.norm2.load_state_dict(other.ln_2.state_dict())
            pairs = (
                (layer.attention.qkv, other.attn.c_attn), (layer.attention.output, other.attn.c_proj),
                (layer.up, other.mlp.c_fc), (layer.down, other.mlp.c_proj),
            )  # fmt: skip
            for linear, conv in pairs:
                linear.weight.copy_(conv.weight.T)
                linear.bias.copy_(conv.bias)
    return theirs, ours
