"""Language models: figures, a state that is carried from batch to batch, baselines."""

import json
import math
import signal

import pytest
import torch
import torch.nn.functional as F
from helpers import Train
from helpers.stopping import StopsWithin, equal, stopped
from helpers.tasks import Constant
from torch import nn

from torchatlas.data.loading import StreamOrder
from torchatlas.data.text.base import Streams, Windows
from torchatlas.errors import UserError
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import LanguageModeling, trigram_nll
from torchatlas.tasks.sparse_ngram import SparseWittenBellTrigram
from torchatlas.zoo import create_model


def test_language_model_figures() -> None:
    """Uniform logits over V tokens: perplexity V, log2 V bits; a batch counts by its predicted tokens."""
    task = LanguageModeling(Constant(torch.zeros(2, 7, 32)))
    batch = (torch.randint(32, (2, 8)),)
    figures = task.derive({"loss": task.step(batch)["loss"].detach()})
    assert float(figures["perplexity"]) == pytest.approx(32, rel=1e-5)
    assert float(figures["bits_per_character"]) == pytest.approx(5, rel=1e-5)
    assert task.weight(batch) == 14


def test_generate_is_seeded_and_leaves_the_random_state_alone() -> None:
    from torchatlas.zoo import create_model

    task = LanguageModeling(create_model("lstm_lm", vocab_size=12, dim=8, depth=1, dropout=0.5))
    before = torch.get_rng_state()
    prompt = torch.tensor([1, 2, 3])
    one, two = (task.generate(prompt, 20, context=8, seed=5) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[:3], prompt)
    assert len(one) == 23
    assert task.network.training
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one, task.generate(prompt, 20, context=8, seed=6))


# --- streams


def batches(order: StreamOrder, epoch: int = 0) -> list[torch.Tensor]:
    order.set_epoch(epoch)
    return [positions for _, positions in order]


# --- the carried state


def recurrent() -> LanguageModeling:
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0)
    return LanguageModeling(network.double(), carry=True)


@torch.no_grad()
def test_a_carried_state_is_as_if_the_stream_were_read_at_once() -> None:
    """In evaluation, with rows that drop out, against the network on each whole stream."""
    task, text = recurrent().eval(), torch.randint(11, (84,))
    order = StreamOrder(84, 3, 9, shuffle=False)
    nll, total = 0.0, 0
    for positions in batches(order):
        batch = (text[positions],)
        nll, total = nll + float(task.step(batch)["loss"]) * task.weight(batch), total + task.weight(batch)
    assert total == 83
    expected = 0.0
    for begin, end in ((0, 28), (28, 56), (56, 83)):
        stream = text[None, begin : end + 1]
        expected += float(F.cross_entropy(task.network(stream[:, :-1])[0], stream[0, 1:], reduction="sum"))
    assert nll == pytest.approx(expected, rel=1e-9)
    assert task.nll(text, 10) == pytest.approx(
        float(F.cross_entropy(task.network(text[None, :-1])[0], text[1:], reduction="sum")), rel=1e-9
    )


def test_gradients_end_at_the_border_of_a_batch() -> None:
    """Those of the second batch are the ones from a given state."""
    task, text = recurrent(), torch.randint(11, (2, 17))
    task.step((text[:, :9],))
    state = task.states["train"]
    assert all(part.shape == (2, 2, 6) and not part.requires_grad for part in state)
    task.zero_grad()
    task.step((text[:, 8:],))["loss"].backward()
    carried = [p.grad.clone() for p in task.network.parameters()]
    task.zero_grad()
    logits, _ = task.network.advance(text[:, 8:-1], state)
    F.cross_entropy(logits.flatten(0, 1), text[:, 9:].flatten()).backward()
    for one, p in zip(carried, task.network.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad)


class NoState(nn.Module):
    """A network without `advance`, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal, self.logits = causal, nn.Parameter(torch.zeros(5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*tokens.shape, 5)


def test_what_cannot_be_carried_or_generated() -> None:
    with pytest.raises(ValueError, match=r"task.carry=true needs a recurrent network, and NoState has no state"):
        LanguageModeling(NoState(causal=True), carry=True)
    prompt = torch.tensor([1])
    assert len(LanguageModeling(NoState(causal=True)).generate(prompt, 4, context=3)) == 5
    with pytest.raises(UserError, match="NoState is not causal"):
        LanguageModeling(NoState(causal=False)).generate(prompt, 4, context=3)


def test_a_prompt_is_read_whole_where_the_state_is_carried() -> None:
    task = recurrent().float()
    prompt = torch.randint(11, (30,))
    whole = task.network.eval()(prompt[None])[0, -1].argmax()
    assert task.generate(prompt, 1, context=4, temperature=0)[-1] == whole
    other = torch.cat([(prompt[:15] + 1) % 11, prompt[15:]])
    task.carry = False
    assert torch.equal(*(task.generate(p, 5, context=4, seed=1)[30:] for p in (prompt, other)))


TINY = ("model=lstm_lm", "model.dim=8", "trainer=cpu", "data.context=16", "data.batch_size=8")


def test_a_carried_state_survives_a_stop(train: Train) -> None:
    """Within the second epoch, with accumulated gradients, dropout and an evaluation that has a state of its own."""
    arguments = [*TINY, "task.carry=true", "model.dropout=0.3", "trainer.limit_train_batches=10", "logger=none"]
    arguments += ["trainer.max_epochs=3", "callbacks=default", "trainer.limit_val_batches=3", "optim.lr=0.02"]
    arguments += ["trainer.limit_test_batches=5"]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    path = part / "checkpoints" / "last.ckpt"
    about = read(path)["torchatlas"]
    assert [rows.shape for rows in about["processes"][0]["carried"]] == [(2, 8, 8)] * 2
    train(f"resume={part}")
    assert equal(whole, part) == []
    assert read(path)["torchatlas"]["processes"][0]["carried"] == []  # an epoch begins without a state


def test_carrying_needs_streams(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(*TINY, "task.carry=true", "data.streams=false")
    assert "add data.streams=true" in capsys.readouterr().err


# --- baselines


def test_a_baseline_of_words_beats_chance_and_is_judged_on_the_networks_tokens() -> None:
    tokens = torch.arange(3000) % 300
    windows, stream = Windows(tokens, 10, 0, shift=False), Streams(tokens, 10)
    assert sum(w[:, 1:].numel() for w in stream.windows()) == 2999
    assert trigram_nll(stream, stream, 300) < 0.3 < math.log(300)
    model = SparseWittenBellTrigram(300, windows.windows())
    by_hand = torch.cat([model.nll(w).flatten() for w in windows.windows()]).mean()
    assert trigram_nll(windows, windows, 300) == pytest.approx(float(by_hand))
    assert sum(w[:, 1:].numel() for w in windows.windows()) == 10 * len(windows)


# --- through the command line

FEW_STEPS = (
    "model=lstm_lm", "model.dim=16", "model.depth=1", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "data.context=16", "data.batch_size=8",
    "callbacks.samples.length=10",
)  # fmt: skip


def test_characters_have_figures_per_byte_too(train: Train) -> None:
    folder = train(*FEW_STEPS, "data=pydoc")
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert 0.9 < figures["test/bits_per_byte"] / figures["test/bits_per_character"] <= 1
