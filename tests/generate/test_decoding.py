"""Sampling against numbers worked by hand, caches and batches against none."""

import math
from typing import Any

import pytest
import torch
from helpers.decoding import NETWORKS, PROMPTS, lstm, sharp
from torch import Tensor, nn

from torchatlas.analysis.modes import predicting
from torchatlas.errors import UserError
from torchatlas.generate.beams import beam_continue
from torchatlas.generate.decoding import continue_, sample, select
from torchatlas.models.rnn import RNN

# --- one step


def shares(logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, n: int = 10_000) -> Tensor:
    """How often each token comes for evenly spaced chances, to within 1/n."""
    chances = (torch.arange(n) + 0.5) / n
    drawn = sample(logits.expand(n, -1), temperature=temperature, top_k=top_k, top_p=top_p, uniform=chances)
    return drawn.bincount(minlength=logits.shape[-1]) / n


HALVES = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()  # not in order, so that sorting has to be undone


@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [0.15, 0.5, 0.05, 0.3]),
        (1, 1.0, [0.0, 1, 0, 0]),
        (2, 1.0, [0, 0.625, 0, 0.375]),
        (9, 1.0, [0.15, 0.5, 0.05, 0.3]),
        (0, 0.01, [0.0, 1, 0, 0]),
        (0, 0.49, [0.0, 1, 0, 0]),
        (0, 0.51, [0, 0.625, 0, 0.375]),  # the fewest that reach 0.51 have 0.8 together
        (0, 0.79, [0, 0.625, 0, 0.375]),
        (0, 0.81, [0.157895, 0.526316, 0, 0.315789]),
        (3, 0.82, [0, 0.625, 0, 0.375]),  # of three, two have 0.8421
        (3, 0.85, [0.157895, 0.526316, 0, 0.315789]),
    ],
)
def test_what_is_drawn_from(top_k: int, top_p: float, expected: list[float]) -> None:
    torch.testing.assert_close(shares(HALVES, 1.0, top_k, top_p), torch.tensor(expected), atol=2e-4, rtol=0)


def test_temperature() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0])
    for temperature, expected in ((0.5, [0.8668, 0.1173, 0.0159]), (2.0, [0.5065, 0.3072, 0.1863])):
        torch.testing.assert_close(shares(logits, temperature), torch.tensor(expected), atol=2e-4, rtol=0)
    for temperature in (0.0, 1e-300):
        assert shares(logits, temperature).tolist() == [1, 0, 0]
    assert sample(torch.tensor([[1.0, 3, 3]]), temperature=0, top_k=0, top_p=1, uniform=torch.zeros(1)) == 1


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.7), (20, 0.9)])
def test_the_choice_is_that_of_transformers(top_k: int, top_p: float) -> None:
    """The tokens that stay, and their probabilities."""
    from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = 2 * torch.randn(1, 50)
    kept = TemperatureLogitsWarper(0.7)(None, logits)
    if top_k:
        kept = TopKLogitsWarper(top_k)(None, kept)
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(None, kept)
    found = shares(logits[0], 0.7, top_k, top_p, n=40_000)
    torch.testing.assert_close(found, kept[0].softmax(0), atol=1e-4, rtol=0)


def test_rounding_draws_nothing_that_was_left_out() -> None:
    logits = torch.cat([torch.randn(1, 2000), torch.full((1, 50), -math.inf)], 1)
    for chance in (0.0, 1 - 2**-53):
        uniform = torch.tensor([chance], dtype=torch.float64)
        assert sample(logits, temperature=1.0, top_k=0, top_p=1.0, uniform=uniform) < 2000
        (drawn,) = sample(logits.flip(1), temperature=1.0, top_k=7, top_p=0.9, uniform=uniform)
        assert drawn in logits.flip(1)[0].topk(7).indices


# --- language models

CHOICE: dict[str, Any] = {"temperature": 0.9, "top_k": 8, "top_p": 0.95}


@torch.no_grad()
def one_by_one(network: nn.Module, prompt: Tensor, length: int, context: int, seed: int) -> Tensor:
    """The definition: all tokens that count are read in each step."""
    recurrent = hasattr(network, "advance") and not hasattr(network, "limit")
    chances = torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    tokens, behind = prompt, max(0, len(prompt) - context)
    for chance in chances:
        seen = tokens[behind:] if recurrent else tokens[-context:]
        tokens = torch.cat([tokens, sample(network.eval()(seen[None])[:, -1], **CHOICE, uniform=chance[None])])
    return tokens


@pytest.mark.parametrize("context", [4, 9])
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_go_together_as_each_would_alone(name: str, context: int) -> None:
    """Prompts of other lengths, with and without a cache, and past the point where the window slides."""
    network = NETWORKS[name]()
    expected = [one_by_one(network, prompt, 20, context, 40 + i) for i, prompt in enumerate(PROMPTS)]
    assert len({tuple(e[-20:].tolist()) for e in expected}) == len(PROMPTS)
    for cache in (True, False):
        found = continue_(network, PROMPTS, 20, context=context, seed=40, cache=cache, **CHOICE)
        assert [f.tolist() for f in found] == [e.tolist() for e in expected]
    alone = continue_(network, PROMPTS[2:3], 20, context=context, seed=[42], **CHOICE)
    assert alone[0].tolist() == expected[2].tolist()


def test_the_limit_of_a_network_is_its_window() -> None:
    network = NETWORKS["gpt"]()
    found = (continue_(network, PROMPTS, 15, context=context, **CHOICE) for context in (9, 100, None))
    assert len({tuple(map(tuple, (f.tolist() for f in rows))) for rows in found}) == 1


def test_a_recurrent_network_reads_a_whole_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    network, prompt = lstm(), torch.randint(11, (50,))
    whole = continue_(network, [prompt], 8, context=None, temperature=0)[0]
    monkeypatch.setattr("torchatlas.generate.decoding.PIECE", 7)
    assert torch.equal(continue_(network, [prompt], 8, context=None, temperature=0)[0], whole)
    with torch.no_grad():
        assert network.eval()(whole[None, :-1])[0, 49:].argmax(-1).tolist() == whole[50:].tolist()


class Always(nn.Module):
    """Whatever came before, the next token has the same probabilities."""

    def __init__(self, p: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(p).log())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits.expand(*tokens.shape, -1)


def test_frequencies() -> None:
    """Of 4,000 tokens by 40 generators: within four standard deviations."""
    p = torch.tensor([0.6, 0.3, 0.1])
    rows = continue_(Always(p.tolist()), [torch.tensor([0])] * 40, 100, context=1)
    drawn = torch.cat([row[1:] for row in rows])
    found = drawn.bincount(minlength=3) / 4000
    assert ((found - p).abs() < 4 * (p * (1 - p) / 4000).sqrt()).all()
    pairs = (drawn[:-1] == 0) & (drawn[1:] == 0)  # neighbours are independent
    assert abs(float(pairs.double().mean()) - 0.36) < 0.035
    assert len({tuple(row.tolist()) for row in rows}) == 40


def test_a_row_stops_at_its_end() -> None:
    network = NETWORKS["gpt"]()
    whole = continue_(network, PROMPTS, 30, context=9, seed=3)
    ended = continue_(network, PROMPTS, 30, context=9, seed=3, end=4)
    cut = 0
    for prompt, long, short in zip(PROMPTS, whole, ended, strict=True):
        new = long[len(prompt) :].tolist()
        expected = new[: new.index(4)] if 4 in new else new
        assert short.tolist() == [*prompt.tolist(), *expected]
        cut += 4 in new
    assert cut > 1


@pytest.mark.parametrize("end", [None, 4])
def test_tokens_stream(end: int | None) -> None:
    network = NETWORKS["gpt"]()
    streams: list[list[int]] = [[] for _ in PROMPTS]

    def receive(row: int, token: int) -> bool:
        streams[row].append(token)
        return row == 2 and len(streams[2]) == 5

    written = continue_(network, PROMPTS, 30, context=9, seed=3, end=end, on_token=receive)
    plain = continue_(network, PROMPTS, 30, context=9, seed=3, end=end)
    for row, (prompt, text, other) in enumerate(zip(PROMPTS, written, plain, strict=True)):
        assert text[len(prompt) :].tolist() == streams[row]
        assert streams[row] == other[len(prompt) :].tolist()[: 5 if row == 2 else None]
    assert len(streams[2]) <= 5


def test_nothing_is_changed_by_generation() -> None:
    """Modes, random numbers, the result's device and type; no step where none is needed."""
    network = NETWORKS["gpt"]().train()
    network.layers[0].eval()  # type: ignore[union-attr]  # as where a part is frozen
    state = torch.get_rng_state()
    modes = [m.training for m in network.modules()]
    (text,) = continue_(network, [torch.tensor([1])], 3, context=9)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in network.modules()] == modes
    assert text.dtype == torch.int64
    with pytest.raises(RuntimeError), predicting(network):
        raise RuntimeError
    assert [m.training for m in network.modules()] == modes
    assert [t.tolist() for t in continue_(network, [torch.tensor([1, 2])], 0, context=9)] == [[1, 2]]
    assert continue_(network, [], 5, context=9) == []


def test_what_cannot_be_generated() -> None:
    network, prompt = NETWORKS["window"](), torch.tensor([1])
    for match, options in (
        ("temperature=-1 must be", {"temperature": -1}),
        ("temperature=nan must be", {"temperature": math.nan}),
        ("top_k=-1 must be", {"top_k": -1}),
        ("top_p=0 must be", {"top_p": 0}),
        ("top_p=1.5 must be", {"top_p": 1.5}),
        ("context=0 must be", {"context": 0}),
    ):
        with pytest.raises(UserError, match=match):
            continue_(network, [prompt], 1, **{"context": 3, **options})
    with pytest.raises(UserError, match="length=-1"):
        continue_(network, [prompt], -1, context=3)
    for empty in ([prompt, prompt[:0]], [prompt[:0]]):
        with pytest.raises(UserError, match="no token to begin with"):
            continue_(network, empty, 1, context=3)
    with pytest.raises(UserError, match="no token to begin with"):
        beam_continue(network, prompt[:0], 1, context=3)
    with torch.no_grad():
        network.table[1] = math.nan  # type: ignore[index,operator]
    for on_token in (None, lambda row, token: False):
        with pytest.raises(UserError, match="training has diverged"):
            continue_(network, [prompt], 2, context=3, on_token=on_token)
    with pytest.raises(UserError, match="training has diverged"):
        beam_continue(network, prompt, 2, context=3)


# --- encoder-decoder networks


def test_rows_of_a_state() -> None:
    """On its own axis, in any nest, a row as often as it is asked for."""
    a, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(2, 3, 2)
    rows = torch.tensor([2, 0, 0])
    found = select({"a": (a, [b, None]), "n": 3}, rows, 1)
    assert torch.equal(found["a"][0], a[:, [2, 0, 0]])
    assert torch.equal(found["a"][1][0], b[:, [2, 0, 0]])
    assert found["a"][1][1] is None
    assert found["n"] == 3
    network = sharp(RNN(vocab_size=11, targets="step", dim=6, depth=2))
    network.state_axis = 1  # type: ignore[assignment]
    with torch.no_grad():
        tokens = torch.randint(11, (3, 4))
        _, state = network.advance(tokens, None)  # type: ignore[operator]
        next_, _ = network.advance(tokens[:, :1], select(state, rows, 1))  # type: ignore[operator]
        whole = network(torch.cat([tokens[rows], tokens[:, :1]], 1))
    torch.testing.assert_close(next_[:, 0], whole[:, -1])
