"""Encoder and decoder: networks against written-out equations, the task, translations and what is drawn of them."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from torchatlas.drawing.alignments import alignments
from torchatlas.generate.decoding import greedy
from torchatlas.models.seq2seq import Seq2Seq
from torchatlas.models.seq2seq_attention import Seq2SeqAttention
from torchatlas.pictures.translations import table
from torchatlas.tasks.seq2seq import BEGIN, END, SequenceToSequence
from torchatlas.zoo import create_model

NETWORKS: dict[str, Any] = {
    "lstm": lambda: Seq2Seq(depth=2),
    "gru, context": lambda: Seq2Seq(cell="gru", depth=2, context=True),
    "lstm, reversed": lambda: Seq2Seq(reverse=True),
    "lstm, both directions": lambda: Seq2Seq(bidirectional=True, depth=2),
    "gru, both directions, reversed": lambda: Seq2Seq(cell="gru", bidirectional=True, reverse=True, context=True),
    "additive": lambda: Seq2SeqAttention(),
    "additive, lstm, deep": lambda: Seq2SeqAttention(cell="lstm", depth=2, bidirectional=False),
    "dot": lambda: Seq2SeqAttention(score="dot", bidirectional=False, depth=2),
    "general": lambda: Seq2SeqAttention(score="general", cell="lstm"),
}
ATTENDING = ("additive", "additive, lstm, deep", "dot", "general")


def awake(network: nn.Module) -> Any:
    """With weights so large that everything matters, and in eval mode."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


# --- networks


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


# --- the loss


class Constant(nn.Module):
    """Answers with fixed logits `b t v`."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, source: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.logits

    def read(self, source: Tensor, lengths: Tensor | None = None) -> Any:
        return None

    def advance(self, target: Tensor, state: Any) -> Any:
        return self.logits[:, :1], state


def batch_of(*targets: list[int]) -> tuple[Tensor, ...]:
    """Targets between <bos> and <eos>, padded, with some sources."""
    rows = [[BEGIN, *target, END] for target in targets]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return torch.full((len(rows), 3), 4), torch.full((len(rows),), 3), padded, torch.arange(len(rows))


def test_a_perfect_prediction_has_the_minimal_loss() -> None:
    batch = batch_of([5, 6, 7], [4])
    perfect = torch.full((2, 4, 9), -50.0).scatter(2, batch[2][:, 1:, None], 50.0)
    perfect[1, 2:] = torch.randn(2, 9)  # padding
    out = SequenceToSequence(Constant(perfect)).eval().step(batch)
    assert out["loss"].item() == pytest.approx(0, abs=1e-6)
    assert float(out["metrics/accuracy"]) == 1


def test_figures_count_target_tokens() -> None:
    """Uniform logits over V: ln V nats, perplexity V; padding counts nowhere."""
    batch = batch_of([5, 6, 7], [4])
    task = SequenceToSequence(Constant(torch.zeros(2, 4, 9)))
    out = task.step(batch)
    assert out["loss"].item() == pytest.approx(math.log(9))
    assert float(task.derive({"loss": out["loss"].detach()})["perplexity"]) == pytest.approx(9, rel=1e-5)
    assert int(task.weight(batch)) == 6
    right = torch.zeros(2, 4, 9).scatter(2, batch[2][:, 1:, None], 1.0)
    right[0, 0] = F.one_hot(torch.tensor(8), 9)
    assert float(SequenceToSequence(Constant(right)).step(batch)["metrics/accuracy"]) == pytest.approx(5 / 6)


@pytest.mark.parametrize("smoothing", ["uniform", "others"])
def test_label_smoothing(smoothing: Any) -> None:
    """ε = .1 of K = 5. The others get .02, the true class .92; or .025 and .9, which torch calls .125."""
    logits = torch.randn(2, 4, 5)
    batch = batch_of([3, 4, 3], [4])
    labels = batch[2][:, 1:]
    task = SequenceToSequence(Constant(logits), label_smoothing=0.1, smoothing=smoothing)
    out = task.train().step(batch)
    true, other = {"uniform": (0.92, 0.02), "others": (0.9, 0.025)}[smoothing]
    q = torch.full((2, 4, 5), other).scatter(2, labels[..., None], true)
    expected = -(q * logits.log_softmax(2)).sum(2)[labels != 0].mean()
    assert out["loss"].item() == pytest.approx(float(expected), rel=1e-5)
    e = {"uniform": 0.1, "others": 0.125}[smoothing]
    torchs = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=0, label_smoothing=e)
    assert out["loss"].item() == pytest.approx(float(torchs), rel=1e-5)
    plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=0)
    assert float(out["metrics/nll"]) == pytest.approx(float(plain), rel=1e-5)
    figures = task.derive({"loss": out["loss"].detach(), "nll": out["metrics/nll"]})
    assert float(figures["perplexity"]) == pytest.approx(math.exp(float(plain)), rel=1e-5)
    assert set(figures) == {"loss", "perplexity"}
    judged = task.eval().step(batch)
    assert judged["loss"].item() == pytest.approx(float(plain), rel=1e-5)
    assert "metrics/nll" not in judged


@pytest.mark.parametrize("kind", [*NETWORKS, "transformer"])
def test_padding_changes_no_loss(kind: str) -> None:
    """Nor does it get a gradient."""
    network = awake(create_model("transformer", **TINY) if kind == "transformer" else NETWORKS[kind]())
    source, lengths = torch.randint(4, 16, (3, 6)), torch.tensor([6, 3, 4])
    source = source * (torch.arange(6) < lengths[:, None])
    _, _, target, indices = batch_of([5, 6, 7, 4], [4], [9, 8])
    task = SequenceToSequence(network, label_smoothing=0.1).train()
    losses, gradients = [], []
    for behind, before in ((0, 0), (3, 4)):
        batch = (F.pad(source, (0, behind), value=0), lengths, F.pad(target, (0, before), value=0), indices)
        loss = task.step(batch)["loss"]
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True))
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


TINY = {
    "source_vocab_size": 16, "target_vocab_size": 16, "dim": 16, "depth": 2, "heads": 2, "hidden": 32, "dropout": 0.0,
    "shared": False,
}  # fmt: skip


# --- scheduled sampling


@pytest.mark.parametrize("kind", ["lstm", "additive", "general", "transformer"])
def test_scheduled_sampling_at_its_ends(kind: str) -> None:
    """Never: teacher forcing. Always: what the decoder would have been given in greedy decoding."""
    network = awake(create_model("transformer", **TINY) if kind == "transformer" else NETWORKS[kind]())
    source, _, lengths = network.example_input(3)
    _, _, target, _ = batch_of([5, 6, 7, 4], [4, 4, 4, 4], [9, 8, 7, 6])
    inputs = target[:, :-1]
    task = SequenceToSequence(network, sampling=1.0).train()
    network.eval()
    forced = task.sampled(source, lengths, inputs, 0.0)
    torch.testing.assert_close(forced, network(source, inputs, lengths), rtol=1e-5, atol=1e-5)
    own = task.sampled(source, lengths, inputs, 1.0)
    given = torch.cat([inputs[:, :1], own.argmax(2)[:, :-1]], 1)
    torch.testing.assert_close(own, network(source, given, lengths), rtol=1e-5, atol=1e-5)
    written = greedy(network, source, lengths, begin=BEGIN, end=-1, max_length=inputs.shape[1])
    assert torch.equal(torch.stack(written), own.argmax(2))
    task.train()
    assert task.step((source, lengths, target, torch.arange(3)))["loss"].requires_grad


def test_scheduled_sampling_takes_its_share() -> None:
    """Each input is replaced with the given probability, by the token that was the likeliest."""
    seen: list[Tensor] = []

    class Spy(Constant):
        def advance(self, target: Tensor, state: Any) -> Any:
            seen.append(target)
            return super().advance(target, state)

    n = 4000
    network = Spy(F.one_hot(torch.full((n, 4), 8), 9).float())
    task = SequenceToSequence(network, sampling=0.3)
    inputs = torch.tensor([[BEGIN, 5, 6, 7]]).expand(n, -1)
    torch.manual_seed(1)
    task.sampled(torch.ones(n, 2).long(), torch.full((n,), 2), inputs, 0.3)
    given = torch.cat(seen, 1)
    assert (given[:, 0] == BEGIN).all()
    for t in (1, 2, 3):
        assert set(given[:, t].tolist()) == {int(inputs[0, t]), 8}
        assert abs(float((given[:, t] == 8).float().mean()) - 0.3) < 0.03
    first = given
    seen.clear()
    torch.manual_seed(1)
    task.sampled(torch.ones(n, 2).long(), torch.full((n,), 2), inputs, 0.3)
    assert torch.equal(torch.cat(seen, 1), first)  # by the generator that checkpoints keep


def test_scheduled_sampling_rises() -> None:
    task: Any = SequenceToSequence(Constant(torch.zeros(1, 1, 5)), sampling=0.4, sampling_warmup="50%")
    assert task.sampling_now == 0.4
    task.warmup_steps = 100
    for step, expected in ((0, 0.0), (25, 0.1), (100, 0.4), (1000, 0.4)):
        task._trainer = SimpleNamespace(global_step=step)
        assert task.sampling_now == pytest.approx(expected)


# --- translations


def test_bleu_worked_example() -> None:
    """Reference «the cat sat on the mat», candidate «the cat on the mat»: precisions 1, 3/4, 1/3, 0, brevity exp(-1/5).

    So BLEU-2 is .7090416 and BLEU-4 0; sacrebleu's smoothing puts half of a quadrigram in place of none of two, which
    gives exp(-1/5) / 2.
    """
    task = SequenceToSequence(Constant(torch.zeros(1, 1, 5)))
    found: Any = task.metrics()["bleu"].corpus_score(["the cat on the mat"], [["the cat sat on the mat"]])
    assert found.precisions == pytest.approx([100, 75, 100 / 3, 25])
    assert found.counts[3] == 0
    assert found.bp == pytest.approx(0.8187308, abs=1e-7)
    assert found.bp * math.sqrt(found.precisions[0] * found.precisions[1]) / 100 == pytest.approx(0.7090416, abs=1e-7)
    assert found.score == pytest.approx(50 * math.exp(-1 / 5))


class Words:
    """A codec of words, as a stand-in."""

    unit = "word"

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        return [[4] * len(text.split()) for text in texts]


def judging(pairs: list[tuple[str, str]], **arguments: Any) -> Any:
    task: Any = SequenceToSequence(Constant(torch.zeros(1, 1, 5)), **arguments)
    data = SimpleNamespace(raw=lambda stage: pairs, source_codec=Words(), target_codec=Words(), long=2)
    task._trainer = SimpleNamespace(datamodule=data, is_global_zero=True, world_size=1)
    return task


def test_judging() -> None:
    pairs = [("a", "one Two"), ("a b", "three"), ("a b c", "four"), ("a b c d", "five six seven eight")]
    task = judging(pairs)
    found = task.judge("val", {3: "five six seven eight", 0: "one Two", 2: "five"})
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["exact_match_long"] == 0.5  # of those with more than two tokens
    perfect = {n: target for n, (_, target) in enumerate(pairs)}
    assert task.judge("val", perfect) == pytest.approx(
        dict(found, exact_match=1, exact_match_long=1, bleu=100, chrf=100)
    )
    assert task.judge("val", {0: "one two"})["exact_match"] == 0
    assert "exact_match_long" not in task.judge("val", {0: "one two"})
    lower = judging(pairs, lowercase=True)
    assert lower.judge("val", {0: "one two"})["exact_match"] == 1
    assert set(lower.signatures) == {"bleu", "chrf"}
    assert "case:lc" in lower.signatures["bleu"]
    assert "tok:13a" in task.signatures["bleu"]
    assert "case:mixed" in task.signatures["bleu"]
    # The figures are of the corpus, in whatever order and parts it came.
    outputs = {0: "one Two", 2: "five", 3: "five six eight"}
    assert task.judge("val", outputs) == task.judge("val", dict(reversed(outputs.items())))


def test_the_translated_sentences_are_always_the_same() -> None:
    task = judging([("a", "b")] * 50, decode=10)
    task.on_validation_epoch_start()
    first = task.chosen["val"]
    task.on_validation_epoch_start()
    assert int(first.sum()) == 10
    assert torch.equal(task.chosen["val"], first)
    assert first[:10].sum() < 10  # and not the first ones
    task.on_test_epoch_start()
    assert task.chosen["test"].all()


def test_refusals() -> None:
    network = Constant(torch.zeros(1, 1, 5))
    for arguments, message in (
        ({"label_smoothing": 0.7}, "label_smoothing"), ({"smoothing": "torch"}, "uniform or others"),
        ({"sampling": 1.5}, "probability"), ({"sampling_warmup": "3"}, "duration"), ({"beams": 0}, "positive"),
        ({"bleu_tokenize": "13b"}, "13a"), ({"monitor": "chrf"}, "loss, bleu"),
        ({"monitor": "bleu", "decode": 0}, "translations"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            SequenceToSequence(network, **arguments)
    with pytest.raises(ValueError, match="model=transformer"):
        SequenceToSequence(nn.Linear(1, 1))


# --- pictures


@pytest.mark.parametrize("kind", [*ATTENDING, "transformer", "lstm"])
@pytest.mark.parametrize("t", [2, 4, 5])  # with its end as long as the source, too
def test_alignments(kind: str, t: int) -> None:
    network = awake(create_model("transformer", **TINY) if kind == "transformer" else NETWORKS[kind]())
    source, output = torch.randint(4, 16, (5,)), torch.randint(4, 16, (t,))
    maps = alignments(network.train(), source, output)
    assert len(maps) == {"transformer": 2, "lstm": 0}.get(kind, 1)
    for weights in maps:
        assert weights.shape == (t + 1, 5)
        torch.testing.assert_close(weights.sum(1), torch.ones(t + 1))
    assert network.training
    for module in network.modules():
        assert not getattr(module, "written_out", False)
        assert getattr(module, "weights", None) is None
    if kind == "transformer":
        network.eval()
        state = network.read(source[None])
        cross = network.decoder[0].cross
        cross.written_out = True
        network.advance(F.pad(output, (1, 0), value=BEGIN)[None], state)
        torch.testing.assert_close(cross.weights[0].mean(0), maps[0])


def test_nothing_in_a_table_is_interpreted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library within TensorBoard
        from tensorboard.plugin_util import markdown_to_safe_html
    text = r"a | b * c * _d_ `e` <b>f</b> [g](h) \i & #1"
    shown = markdown_to_safe_html(table(("source", "output"), [(text, "two\nlines")]))
    assert "<td>a | b * c * _d_ `e` &lt;b&gt;f&lt;/b&gt; [g](h) \\i &amp; #1</td>" in shown
    assert "<td>two lines</td>" in shown
    assert shown.count("<td>") == 2


# --- through the program

SMALL = ["data.fake=true", "data.batch_size=8", "trainer.max_epochs=2", "optim=adam", "optim.lr=0.01"]


@pytest.mark.parametrize("model", ["seq2seq", "seq2seq_attention"])
def test_training_writes_figures_and_pictures(model: str, train: Train) -> None:
    folder = train(
        f"model={model}", *SMALL, "model.dim=16", "trainer=cpu", "task.sampling=0.2", "task.sampling_warmup=50%",
        "task.label_smoothing=0.1", "task.monitor=bleu", "task.decode=5",
    )  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    for stage, kind in (("val", "final"), ("val", "best"), ("test", "test")):
        for figure in ("loss", "perplexity", "accuracy", "exact_match", "bleu", "chrf"):
            assert math.isfinite(metrics[kind][f"{stage}/{figure}"])
    assert metrics["monitor"] == "val/bleu"
    log = (folder / "train.log").read_text()
    assert log.count("sacrebleu bleu: nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:") == 1
    events = EventAccumulator(str(folder), {"tensors": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    assert "validation text/translations/text_summary" in tags["tensors"]
    assert "test text/translations/text_summary" in tags["tensors"]
    assert ("validation/alignment 1" in tags["images"]) is (model == "seq2seq_attention")


@pytest.mark.slow
def test_two_processes_report_what_one_does(tmp_path: Path) -> None:
    found = []
    for trainer in ("cpu", "ddp_cpu"):
        command = [sys.executable, "-m", "torchatlas.train", "model=seq2seq", f"trainer={trainer}", *SMALL]
        options = [
            "model.dim=16",
            f"hydra.run.dir={trainer}",
            "logger=none",
            "callbacks=default",
            "task.test_beams=2",
            "trainer.max_epochs=1",
        ]
        subprocess.run([*command, *options], cwd=tmp_path, check=True, capture_output=True, timeout=300)
        found.append(json.loads((tmp_path / trainer / "metrics.json").read_text()))
    for kind in ("final", "test"):
        assert found[1][kind] == pytest.approx(found[0][kind], rel=1e-3)
        assert found[0][kind]
