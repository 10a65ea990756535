"""Encoder and decoder, with and without attention, against written-out equations."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.seq2seq import NETWORKS, awake

from torchatlas.models.seq2seq import Seq2Seq
from torchatlas.models.seq2seq_attention import Seq2SeqAttention


@pytest.mark.parametrize("kind", NETWORKS)
def test_step_by_step_is_all_at_once(kind: str) -> None:
    network = awake(NETWORKS[kind]())
    source, target, lengths = network.example_input(4)
    expected = network(source, target, lengths)
    for sizes in ([1] * 8, [3, 5]):
        state, found = network.read(source, lengths), []
        for part in target.split(sizes, 1):
            logits, state = network.advance(part, state)
            found.append(logits)
        torch.testing.assert_close(torch.cat(found, 1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_padding_changes_nothing(kind: str) -> None:
    """Neither what stands in it, nor how much of it there is, nor the longer neighbours in the batch."""
    network = awake(NETWORKS[kind]())
    source, target, lengths = network.example_input(4)
    expected = network(source, target, lengths)
    other = torch.where(torch.arange(8) < lengths[:, None], source, 9)
    more = F.pad(source, (0, 5), value=3)
    for changed in (other, more):
        torch.testing.assert_close(network(changed, target, lengths), expected, rtol=0, atol=1e-6)
    alone = [network(source[i : i + 1, :n], target[i : i + 1]) for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(torch.cat(alone), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(network(source, target), expected)  # the last tokens do matter


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_decoder_does_not_see_the_future(kind: str) -> None:
    network = awake(NETWORKS[kind]())
    source, target, lengths = network.example_input(2)
    changed = target.clone()
    changed[:, 5:] = (target[:, 5:] + 1) % 16
    before, after = network(source, target, lengths), network(source, changed, lengths)
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=0, atol=1e-6)
    assert not torch.allclose(before[:, 5], after[:, 5])


def test_the_state_is_rows_of_the_batch() -> None:
    """Beam search takes rows of a state: each tensor of it has the batch on axis 0."""
    for make in NETWORKS.values():
        network = awake(make())
        source, target, lengths = network.example_input(3)
        _, state = network.advance(target, network.read(source, lengths))
        tensors = [x for value in state.values() for x in (value if isinstance(value, tuple) else (value,))]
        assert all(len(x) == 3 for x in tensors)
        rows = {k: tuple(x[1:2] for x in v) if isinstance(v, tuple) else v[1:2] for k, v in state.items()}
        one, _ = network.advance(target[1:2, :1], rows)
        all_rows, _ = network.advance(target[:, :1], state)
        torch.testing.assert_close(one, all_rows[1:2], rtol=0, atol=1e-6)


def test_reversed_is_a_reversed_source() -> None:
    network, source = awake(Seq2Seq(reverse=True)), torch.randint(16, (3, 6))
    target, lengths = torch.randint(16, (3, 4)), torch.tensor([6, 2, 4])
    expected = network(source, target, lengths)
    network.reverse = False
    turned = source.clone()
    for row, n in zip(turned, lengths.tolist(), strict=True):
        row[:n] = row[:n].flip(0)
    torch.testing.assert_close(network(turned, target, lengths), expected)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gru_step(weights: dict[str, Any], x: Any, h: Any) -> Any:
    """Cho et al. 2014, equations 5 to 8, with torch's two biases and its r inside."""
    a_r, a_z, a_n = np.split(weights["weight_ih_l0"] @ x + weights["bias_ih_l0"], 3)
    b_r, b_z, b_n = np.split(weights["weight_hh_l0"] @ h + weights["bias_hh_l0"], 3)
    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
    return (1 - z) * np.tanh(a_n + r * b_n) + z * h


def softmax(scores: list[float]) -> Any:
    e = np.exp(np.array(scores) - max(scores))
    return e / e.sum()


@pytest.mark.parametrize(("score", "bidirectional"), [("additive", True), ("general", True), ("dot", False)])
@pytest.mark.parametrize("written_out", [False, True])
def test_attention_is_its_equations(score: str, bidirectional: bool, written_out: bool) -> None:
    """Loops over steps, source steps and numbers, in numpy and double precision."""
    network = awake(Seq2SeqAttention(score=score, bidirectional=bidirectional)).double()
    network.decoder.written_out = written_out
    source, target, lengths = network.example_input(3)
    logits = network(source, target, lengths)
    memory, (hidden,) = network.encoder(source, lengths)
    p = {key: value.detach().numpy() for key, value in network.named_parameters()}
    gru = {key.removeprefix("decoder.layers."): value for key, value in p.items() if "decoder.layers" in key}
    for b in range(3):
        h = memory[b, : lengths[b]].detach().numpy()
        s = hidden[b, 0].detach().numpy()
        for t in range(target.shape[1]):
            y = p["embedding.weight"][target[b, t]]
            if score == "additive":
                W, U, v = p["decoder.W.weight"], p["decoder.U.weight"], p["decoder.v.weight"][0]
                α = softmax([v @ np.tanh(W @ s + U @ h_j) for h_j in h])
                c = sum(a * h_j for a, h_j in zip(α, h, strict=True))
                s = gru_step(gru, np.concatenate([y, c]), s)
                a = p["decoder.readout.weight"] @ np.concatenate([s, y, c]) + p["decoder.readout.bias"]
                read = np.array([max(a[2 * k], a[2 * k + 1]) for k in range(len(a) // 2)])
            else:
                s = gru_step(gru, y, s)
                W = p["decoder.W.weight"] if score == "general" else np.eye(len(s))
                α = softmax([s @ W @ h_j for h_j in h])
                c = sum(a * h_j for a, h_j in zip(α, h, strict=True))
                read = np.tanh(p["decoder.W_c.weight"] @ np.concatenate([c, s]))
            expected = p["logits.weight"] @ read + p["logits.bias"]
            np.testing.assert_allclose(logits[b, t].detach().numpy(), expected, rtol=1e-9, atol=1e-9)
            if written_out:
                weights = network.decoder.weights[b, 0, t]
                np.testing.assert_allclose(weights[: lengths[b]].numpy(), α, rtol=1e-9, atol=1e-9)
                assert float(weights[lengths[b] :].sum()) == 0
    assert written_out or network.decoder.weights is None


def test_additive_worked_example() -> None:
    """Scores (1.2, 2.8, .5) give the weights (.15505, .76796, .07699)."""
    network = Seq2SeqAttention(dim=1, embedding_dim=1, bidirectional=False).eval()
    network.decoder.written_out = True
    with torch.no_grad():
        for name, value in (("W", 0.0), ("U", 1.0), ("v", 4.0)):
            getattr(network.decoder, name).weight.fill_(value)
    keys = (torch.tensor([[[1.2], [2.8], [0.5]]]) / 4).atanh()
    y, hidden, mask = torch.zeros(1, 1, 1), (torch.zeros(1, 1, 1),), torch.ones(1, 3, dtype=torch.bool)
    network.decoder(y, hidden, torch.ones(1, 3, 1), keys, mask)
    torch.testing.assert_close(
        network.decoder.weights[0, 0, 0], torch.tensor([0.15505, 0.76796, 0.07699]), rtol=0, atol=5e-6
    )


def test_networks_refuse_what_they_cannot_be() -> None:
    for arguments, message in (
        ({"cell": "elman"}, "lstm or gru"),
        ({"dim": 0}, "dim=0"),
        ({"dropout": 1.0}, "dropout"),
    ):
        for kind in (Seq2Seq, Seq2SeqAttention):
            with pytest.raises(ValueError, match=message):
                kind(**arguments)
    with pytest.raises(ValueError, match="additive, dot, general"):
        Seq2SeqAttention(score="cosine")
    with pytest.raises(ValueError, match="bidirectional=false"):
        Seq2SeqAttention(score="dot")
