"""Translation: the loss, scheduled sampling, how translations are judged."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import Train
from helpers.seq2seq import NETWORKS, TINY, awake
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from torchatlas.generate.decoding import greedy
from torchatlas.tasks.seq2seq import BEGIN, END, SequenceToSequence
from torchatlas.zoo import create_model

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
