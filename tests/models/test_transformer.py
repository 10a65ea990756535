"""Attention and what is built on it: against the equations and torch.nn, and the properties it claims."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchatlas.models.bert import Bert
from torchatlas.models.gpt import GPT
from torchatlas.models.transformer import (
    MultiHeadAttention,
    Positions,
    Transformer,
    attend,
    past_only,
    sinusoids,
    within,
)

KINDS = Positions.KINDS


def closeness(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# --- the equations


def test_attention_of_worked_examples() -> None:
    """Rows of softmax(X Xᵀ / √d), with and without the future; and for Q = K = V = I."""
    X = torch.tensor([[[[0.2, 0.1, 0.8, 0.3], [0.9, 0.7, 0.2, 0.1], [0.3, 0.8, 0.5, 0.9]]]])
    values, weights = attend(X, X, X)
    expected = torch.tensor([[0.3498, 0.2951, 0.3551], [0.2556, 0.4028, 0.3416], [0.2672, 0.2967, 0.4361]])
    torch.testing.assert_close(weights[0, 0], expected, atol=6e-5, rtol=0)
    torch.testing.assert_close(values[0, 0], expected @ X[0, 0], atol=2e-4, rtol=0)
    _, causal = attend(X, X, X, past_only(3, 3))
    expected = torch.tensor([[1, 0, 0], [0.3882, 0.6118, 0], [0.2672, 0.2967, 0.4361]])
    torch.testing.assert_close(causal[0, 0], expected, atol=6e-5, rtol=0)
    eye = torch.eye(3)[None, None]
    torch.testing.assert_close(
        attend(eye, eye, eye)[1][0, 0, 0], torch.tensor([0.4711, 0.2645, 0.2645]), atol=6e-5, rtol=0
    )


def test_scores_are_scaled_to_unit_variance() -> None:
    """Section 3.2.1: q·k of unit normal numbers has variance d_k, and 1 after the division."""
    Q, K = torch.randn(2, 1, 1, 400, 64).unbind(0)
    scores = torch.log(attend(Q, K, K)[1])
    spread = (scores - scores.mean(-1, keepdim=True)).std()
    assert abs(float(spread) - 1) < 0.05


def test_sinusoids() -> None:
    """Worked numbers; and PE(pos + k) is a rotation of PE(pos), the same for each pos."""
    table = sinusoids(40, 4)
    torch.testing.assert_close(table[1], torch.tensor([0.841471, 0.540302, 0.01, 0.99995]), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(table[2], torch.tensor([0.909297, -0.416147, 0.019999, 0.9998]), atol=1e-6, rtol=1e-4)
    k = 7
    for i, (sin, cos) in enumerate(zip(table[k, 0::2], table[k, 1::2], strict=True)):
        turn = torch.stack([torch.stack([cos, sin]), torch.stack([-sin, cos])])
        pair = slice(2 * i, 2 * i + 2)
        torch.testing.assert_close(table[:-k, pair] @ turn.T, table[k:, pair], atol=1e-5, rtol=1e-5)


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    """Su et al. 2021, equation 16."""
    positions = Positions("rotary", 16, 2, 64)
    from torchatlas.models.transformer import rotate

    q, k = torch.randn(2, 1, 2, 1, 8).unbind(0)

    def score(m: int, n: int) -> Tensor:
        one, two = positions.rotation(m, m + 1), positions.rotation(n, n + 1)
        assert one is not None
        assert two is not None
        return (rotate(q, one) * rotate(k, two)).sum(-1)

    torch.testing.assert_close(score(10, 3), score(50, 43), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(score(10, 3), score(10, 4))


def test_alibi_slopes() -> None:
    """Press et al. 2021, section 3: for 8 heads 1/2, 1/4, ..., 1/256 times the distance."""
    bias = Positions("alibi", 16, 8, 64).bias(3, 3, torch.device("cpu"))
    assert bias is not None
    torch.testing.assert_close(bias[:, 2, 0], -2 * 0.5 ** torch.arange(1.0, 9.0))
    torch.testing.assert_close(bias[0], torch.tensor([[0, -0.5, -1], [-0.5, 0, -0.5], [-1, -0.5, 0]]))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("past", [0, 3])
def test_the_fast_kernels_equal_the_written_out_form(causal: bool, masked: bool, past: int) -> None:
    block = MultiHeadAttention(16, 4).eval()
    x = torch.randn(2, 5, 16)
    before = block.keys_values(torch.randn(2, past, 16)) if past else None
    mask = within(torch.tensor([5 + past, 3 + past]), 5 + past) if masked else None
    fast, _ = block(x, mask=mask, causal=causal, past=before)
    block.written_out = True
    slow, _ = block(x, mask=mask, causal=causal, past=before)
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)
    assert block.weights is not None
    torch.testing.assert_close(block.weights.sum(-1), torch.ones(2, 4, 5))
    if causal:
        assert float(block.weights[..., past:].triu(1).abs().max()) == 0
    if masked:
        assert float(block.weights[1, :, :, 3 + past :].abs().max()) == 0


def test_parameters_of_a_layer() -> None:
    """12 d² + 13 d for d = 768."""
    with torch.device("meta"):
        (layer, *_) = GPT(dim=768, heads=12).layers
    assert sum(p.numel() for p in layer.parameters()) == 7_087_872


# --- equal to torch.nn


def copy_attention(block: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        block.qkv.weight.copy_(theirs.in_proj_weight)
        block.qkv.bias.copy_(theirs.in_proj_bias)
    block.output.load_state_dict(theirs.out_proj.state_dict())


def copy_layer(layer: Any, theirs: Any) -> None:
    copy_attention(layer.attention, theirs.self_attn)
    layer.norm1.load_state_dict(theirs.norm1.state_dict())
    layer.up.load_state_dict(theirs.linear1.state_dict())
    layer.down.load_state_dict(theirs.linear2.state_dict())
    if hasattr(layer, "cross"):  # torch numbers the norms in their order
        copy_attention(layer.cross, theirs.multihead_attn)
        layer.norm3.load_state_dict(theirs.norm2.state_dict())
        layer.norm2.load_state_dict(theirs.norm3.state_dict())
    else:
        layer.norm2.load_state_dict(theirs.norm2.state_dict())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_equals_torchs(norm_first: bool, activation: str) -> None:
    ours = Transformer(depth=2, dim=16, heads=4, hidden=24, norm_first=norm_first, activation=activation).eval()
    theirs = nn.Transformer(
        16, 4, 2, 2, 24, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first
    ).eval()
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.3)
    for layer, other in zip(
        [*ours.encoder, *ours.decoder], [*theirs.encoder.layers, *theirs.decoder.layers], strict=True
    ):
        copy_layer(layer, other)
    ours.encoder_norm.load_state_dict(theirs.encoder.norm.state_dict())
    ours.decoder_norm.load_state_dict(theirs.decoder.norm.state_dict())
    source, target, lengths = torch.randint(16, (3, 7)), torch.randint(16, (3, 5)), torch.tensor([7, 4, 6])
    x, y = ours.embed(ours.source_embedding, source), ours.embed(ours.target_embedding, target)
    padding = ~within(lengths, 7)[:, 0, 0]
    h = theirs(
        x, y, tgt_mask=~past_only(5, 5), src_key_padding_mask=padding, memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )  # fmt: skip
    closeness(ours(source, target, lengths), ours.logits(h))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_the_papers_size() -> None:
    """The core of torch.nn.Transformer's defaults has 44,140,544 parameters; without final norms 2,048 fewer."""
    with torch.device("meta"):
        sizes: dict[str, Any] = {"dim": 512, "depth": 6, "heads": 8, "hidden": 2048, "shared": True, "tied": True}
        core = [
            sum(
                p.numel()
                for name, p in Transformer(final_norm=final, **sizes).named_parameters()
                if "embed" not in name
            )
            for final in (True, False)
        ]
        theirs = sum(p.numel() for p in nn.Transformer().parameters())
    assert core == [theirs, 44_140_544 - 2_048]


# --- what it claims


@pytest.mark.parametrize("positions", KINDS)
def test_the_past_does_not_see_the_future(positions: str) -> None:
    """By gradient: what is answered at step 4 has a derivative of exactly zero in each later input."""
    network = GPT(positions=positions, dim=16, heads=2).eval()
    embedded: list[Tensor] = []
    network.embedding.register_forward_hook(lambda module, given, out: embedded.append(out.requires_grad_()) or out)
    logits = network(torch.randint(16, (2, 8)))
    (gradient,) = torch.autograd.grad(logits[:, 4].square().sum(), embedded[0])
    assert float(gradient[:, 5:].abs().max()) == 0
    assert float(gradient[:, :5].abs().amin((0, 2)).min()) > 0


@pytest.mark.parametrize("positions", KINDS)
def test_the_decoder_does_not_see_the_future(positions: str) -> None:
    network = Transformer(positions=positions).eval()
    source, target, lengths = network.example_input(2)
    changed = target.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 16
    before, after = network(source, target, lengths), network(source, changed, lengths)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5], after[:, 5])


@pytest.mark.parametrize("positions", KINDS)
def test_padding_changes_nothing(positions: str) -> None:
    """More padding, other padding, none: the same answers, and the same gradients of the loss."""
    network = Transformer(positions=positions).eval()
    source, target, _ = network.example_input(1)
    plain = network(source, target)
    for tail in (torch.zeros(1, 3, dtype=torch.int64), torch.randint(16, (1, 5))):
        padded = network(torch.cat([source, tail], 1), target, torch.tensor([8]))
        torch.testing.assert_close(padded, plain, atol=1e-6, rtol=1e-5)
    bert = Bert(targets="sequence").eval()
    tokens = torch.randint(16, (1, 8))
    short = torch.autograd.grad(bert(tokens).square().sum(), list(bert.parameters()), allow_unused=True)
    longer = torch.cat([tokens, torch.zeros(1, 4, dtype=torch.int64)], 1)
    long = torch.autograd.grad(
        bert(longer, torch.tensor([8])).square().sum(), list(bert.parameters()), allow_unused=True
    )
    for one, two in zip(short, long, strict=True):
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-4)


def test_attention_without_positions_does_not_know_the_order() -> None:
    """Permuting the source permutes the memory, which the decoder does not notice; with positions it does."""
    order = torch.randperm(8)
    for positions in KINDS:
        network = Transformer(positions=positions, max_length=16).eval()
        source, target, _ = network.example_input(2)
        same = torch.allclose(network(source, target), network(source[:, order], target), atol=1e-5)
        assert same is (positions == "none")


@pytest.mark.parametrize("positions", KINDS)
def test_step_by_step_equals_all_at_once(positions: str) -> None:
    network = Transformer(positions=positions).eval()
    source, target, lengths = network.example_input(3)
    state, found = network.read(source, lengths), []
    for piece in target.split([1, 1, 3, 3], 1):
        logits, state = network.advance(piece, state)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), network(source, target, lengths), atol=1e-6, rtol=1e-5)
    gpt = GPT(positions=positions).eval()
    (tokens,) = gpt.example_input(3)
    memory, found = None, []
    for piece in tokens.split([1, 1, 3, 3], 1):
        logits, memory = gpt.advance(piece, memory)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), gpt(tokens), atol=1e-6, rtol=1e-5)


def test_new_layers_add_little() -> None:
    """GPT-2, section 2.3: the spread of the residual stream of new weights does not grow with depth as √depth would."""
    spreads = []
    for depth in (2, 32):
        gpt = GPT(dim=64, depth=depth, heads=4, context=16).eval()
        seen: list[Tensor] = []
        gpt.norm.register_forward_hook(lambda module, given, out, seen=seen: seen.append(given[0]))
        gpt(torch.randint(16, (4, 16)))
        spreads.append(float(seen[0].detach().std()))
    assert spreads[1] < 1.5 * spreads[0]


def test_causal_attention_keeps_the_fast_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dense mask where a flag will do; one with linear biases, which has to be."""
    given: list[tuple[bool, bool]] = []
    fast = F.scaled_dot_product_attention

    def watched(*arguments: Any, attn_mask: Tensor | None, is_causal: bool, **options: Any) -> Tensor:
        given.append((attn_mask is not None, is_causal))
        return fast(*arguments, attn_mask=attn_mask, is_causal=is_causal, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    network = GPT()
    network(*network.example_input())
    encoder = Transformer()
    source, target, _ = encoder.example_input()
    encoder(source, target)
    assert given == [(False, True)] * 2 + [(False, False)] * 2 + [(False, True), (False, False)] * 2
    given.clear()
    network = GPT(positions="alibi")
    network(*network.example_input())
    assert given == [(True, False)] * 2


def test_mistakes() -> None:
    for build, message in (
        (lambda: GPT(dim=10, heads=3), "multiple of heads"),
        (lambda: GPT(positions="spiral"), "must be one of sinusoidal"),
        (lambda: GPT(positions="rotary", dim=6, heads=2), "turns pairs"),
        (lambda: GPT(context=4)(torch.zeros(1, 5, dtype=torch.int64)), "5 steps are more than the 4"),
        (lambda: Bert(max_length=4)(torch.zeros(1, 5, dtype=torch.int64)), "5 tokens are more than the 4"),
        (lambda: Bert(targets="words"), "must be one of masked"),
        (lambda: Transformer(shared=True, target_vocab_size=9), "needs one vocabulary"),
        (lambda: Transformer(activation="swish"), "activation=swish must be one of relu, gelu"),
        (lambda: Transformer(heads=0), "heads=0, which must be positive"),
        (lambda: Transformer(depth=0), "depth=0 must be positive"),
        (lambda: GPT(depth=0), "depth=0 must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    assert math.isfinite(float(GPT()(torch.zeros(1, 8, dtype=torch.int64)).detach().sum()))


def test_first_weights() -> None:
    """Glorot's bound, for W^Q, W^K and W^V each, also where FFN is three times as wide as the network."""
    network = Transformer(dim=64, hidden=192, heads=4)
    layer = network.encoder[0]
    assert 0.95 < float(layer.up.weight.detach().abs().max()) / math.sqrt(6 / 256) <= 1
    assert 0.95 < float(layer.attention.qkv.weight.detach().abs().max()) / math.sqrt(6 / 128) <= 1
    bound = float(network.logits.weight.detach().std()) * math.sqrt(64)
    assert abs(bound - 0.5) < 0.05


def test_positions_without_a_table_have_no_limit() -> None:
    """ALiBi reads what is longer than anything in training."""
    source, target = torch.randint(16, (2, 30)), torch.randint(16, (2, 25))
    for kind in KINDS:
        network = Transformer(positions=kind, max_length=8).eval()
        if network.limit is None:
            assert network(source, target).shape == (2, 25, 16)
        else:
            with pytest.raises(ValueError, match="more than the 8"):
                network(source, target)
    assert Transformer(positions="alibi").limit is None
