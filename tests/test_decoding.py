"""Sampling against numbers worked by hand, beam search against all hypotheses, caches and batches against none."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchatlas.analysis.modes import predicting
from torchatlas.errors import UserError
from torchatlas.generate.decoding import (
    beam_continue,
    beam_search,
    continue_,
    greedy,
    length_penalty_of,
    sample,
    select,
)
from torchatlas.models.gpt import GPT
from torchatlas.models.lstm_lm import LSTMLM
from torchatlas.models.rnn import RNN
from torchatlas.models.seq2seq import Seq2Seq
from torchatlas.models.seq2seq_attention import Seq2SeqAttention
from torchatlas.models.tcn import TCN
from torchatlas.models.transformer import Transformer

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


class Window(nn.Module):
    """A network without a state, whose logits depend on all that it sees and where it stands."""

    causal = True

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(11, 11))

    def forward(self, tokens: Tensor) -> Tensor:
        weights = torch.arange(1.0, tokens.shape[1] + 1)[:, None].sin()
        return (self.table[tokens] * weights).cumsum(1)


def sharp(network: nn.Module) -> nn.Module:
    """In double precision, with weights large enough that logits differ."""
    for p in network.double().parameters():
        p.data = torch.randn_like(p) * (0.7 if p.ndim > 1 else 0.3)
    return network


def lstm() -> nn.Module:
    network = sharp(LSTMLM(vocab_size=11, dim=12, depth=2, dropout=0.3))
    network.state_axis = 1  # type: ignore[assignment]
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lstm,
    "window": lambda: Window().double(),
    "tcn": lambda: sharp(TCN(vocab_size=11, targets="step", dim=8)),
    "gpt": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, dropout=0.3)),
    "rotary": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, positions="rotary")),
    "alibi": lambda: sharp(GPT(vocab_size=11, context=9, dim=16, positions="alibi")),
}
PROMPTS = [torch.randint(11, (n,), generator=torch.Generator().manual_seed(n)) for n in (3, 1, 6, 3, 14)]
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

BEGIN, END = 1, 2


class Table(nn.Module):
    """Each source token and prefix has logits of its own, drawn at random."""

    variable_length = True

    def __init__(self, vocab_size: int, longest: int) -> None:
        super().__init__()
        self.v = vocab_size
        self.table = nn.Parameter(2 * torch.randn(5, (vocab_size + 1) ** longest, vocab_size, dtype=torch.float64))

    def read(self, source: Tensor, lengths: Tensor | None = None) -> dict[str, Any]:
        return {"source": source[:, 0], "past": (torch.zeros(len(source), 0, dtype=torch.int64), "no tensor")}

    def advance(self, target: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        past = torch.cat([state["past"][0], target], 1)
        logits = []
        for n in range(past.shape[1] - target.shape[1] + 1, past.shape[1] + 1):
            code = sum((past[:, i] + 1) * (self.v + 1) ** (i - 1) for i in range(1, n)) + torch.zeros_like(past[:, 0])
            logits.append(self.table[state["source"], code])
        return torch.stack(logits, 1), state | {"past": (past, "no tensor")}

    def forward(self, source: Tensor, target: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.advance(target, self.read(source, lengths))[0]


def tiny(network: type[nn.Module], **options: Any) -> nn.Module:
    return sharp(network(source_vocab_size=5, target_vocab_size=5, **options))


TRANSLATORS: dict[str, Callable[[], nn.Module]] = {
    "table": lambda: Table(5, 4),
    "seq2seq": lambda: tiny(Seq2Seq, depth=2, context=True, dropout=0.3),
    "attention": lambda: tiny(Seq2SeqAttention, dropout=0.3),
    "transformer": lambda: tiny(Transformer, dropout=0.3),
    "rotary": lambda: tiny(Transformer, positions="rotary", norm_first=True),
}
SOURCE = torch.tensor([[3, 4, 3, 4, 1], [4, 3, 0, 0, 0], [2, 0, 0, 0, 0], [3, 3, 4, 0, 0]])
LENGTHS = torch.tensor([5, 2, 1, 3])


Scores = dict[tuple[int, ...], float]


@torch.no_grad()
def score(network: Any, source: Tensor, targets: list[tuple[int, ...]], alpha: float) -> Scores:
    """The log probability of each target, over the penalty, by the target without its end."""
    found = {}
    for n in {len(target) for target in targets}:
        same = torch.tensor([target for target in targets if len(target) == n])
        given = torch.cat([torch.full((len(same), 1), BEGIN), same[:, :-1]], 1)
        log_p = network.eval()(source.expand(len(same), -1), given).log_softmax(-1)
        values = log_p.gather(2, same[..., None]).sum((1, 2)) / ((5 + n) / 6) ** alpha
        found |= dict(zip(map(tuple, same[:, :-1].tolist()), values.tolist(), strict=True))
    return found


def all_targets(v: int, most: int, end: int | None) -> list[tuple[int, ...]]:
    """All that end."""
    others = [k for k in range(v) if k != end]
    return [(*y, end) for n in range(most) for y in itertools.product(others, repeat=n)]


def rows_of(source: Tensor, lengths: Tensor) -> list[Tensor]:
    return [row[:n] for row, n in zip(source, lengths.tolist(), strict=True)]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_wide_beam_finds_the_best_of_all(name: str, alpha: float) -> None:
    """Over all 85 targets of up to four tokens, for each source of a padded batch."""
    network = TRANSLATORS[name]()
    found = beam_search(
        network, SOURCE, LENGTHS, begin=BEGIN, end=END, max_length=4, beams=400, length_penalty=alpha
    )  # fmt: skip
    for source, hypotheses in zip(rows_of(SOURCE, LENGTHS), found, strict=True):
        scores = score(network, source, all_targets(5, 4, END), alpha)
        assert len(scores) == 85
        best = max(scores, key=lambda y: scores[y])
        assert tuple(hypotheses[0][0].tolist()) == best
        for tokens, value in hypotheses:
            assert value == pytest.approx(scores[tuple(tokens.tolist())], rel=1e-9)
        assert [value for _, value in hypotheses] == sorted((value for _, value in hypotheses), reverse=True)


def test_a_beam_as_wide_as_the_vocabulary_is_enough_for_two_tokens() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        network = Table(5, 2)
        scores = score(network, SOURCE[0], all_targets(5, 2, END), 0.6)
        ((tokens, value), *_) = beam_search(
            network, SOURCE[:1], None, begin=BEGIN, end=END, max_length=2, beams=5
        )[0]  # fmt: skip
        assert (tuple(tokens.tolist()), value) == (
            max(scores, key=lambda y: scores[y]),
            pytest.approx(max(scores.values())),
        )


def plain_beam(
    network: Any, source: Tensor, most: int, beams: int, alpha: float
) -> list[tuple[tuple[int, ...], float]]:
    """The algorithm of the docstring, for one source, in lists."""
    hypotheses: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    for n in range(1, most + 1):
        continued = []
        for y, value in hypotheses:
            with torch.no_grad():
                log_p = network.eval()(source[None], torch.tensor([[BEGIN, *y]]))[0, -1].log_softmax(-1).tolist()
            continued += [((*y, k), value + log_p[k]) for k in range(len(log_p))]
        continued.sort(key=lambda h: -h[1])
        finished += [(y[:-1], value / ((5 + n) / 6) ** alpha) for y, value in continued[:beams] if y[-1] == END]
        hypotheses = [h for h in continued if h[0][-1] != END][:beams]
        reachable = hypotheses[0][1] / ((5 + most) / 6) ** alpha
        if len(finished) >= beams or (finished and max(value for _, value in finished) >= reachable):
            break
    finished = finished or [(y, value / ((5 + most) / 6) ** alpha) for y, value in hypotheses]
    return sorted(finished, key=lambda h: -h[1])


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("beams", [1, 2, 3, 7])
@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_narrow_beam_step_by_step(name: str, beams: int, cache: bool) -> None:
    """Batched, with sources that are done at other times and lengths of their own."""
    network, most = TRANSLATORS[name](), [4, 1, 3, 4]
    found = beam_search(
        network, SOURCE, LENGTHS, begin=BEGIN, end=END, max_length=torch.tensor(most), beams=beams, cache=cache,
        length_penalty=1.0,
    )  # fmt: skip
    for i, source in enumerate(rows_of(SOURCE, LENGTHS)):
        expected = plain_beam(network, source, most[i], beams, 1.0)
        assert [(tuple(tokens.tolist()), pytest.approx(value)) for tokens, value in found[i]] == expected
    if beams == 1:
        written = greedy(network, SOURCE, LENGTHS, begin=BEGIN, end=END, max_length=torch.tensor(most), cache=cache)
        assert [w.tolist() for w in written] == [hypotheses[0][0].tolist() for hypotheses in found]


@pytest.mark.parametrize("name", [name for name in TRANSLATORS if name != "table"])
def test_greedy(name: str) -> None:
    """Batched and alone, with and without a cache; each token is the likeliest behind those before it."""
    network = TRANSLATORS[name]()
    ended = set()
    for seed in range(6):
        torch.manual_seed(seed)
        sharp(network)
        found = greedy(network.train(), SOURCE, LENGTHS, begin=BEGIN, end=END, max_length=12)
        assert network.training
        again = greedy(network, SOURCE, LENGTHS, begin=BEGIN, end=END, max_length=12, cache=False)
        assert [f.tolist() for f in found] == [f.tolist() for f in again]
        for source, tokens in zip(rows_of(SOURCE, LENGTHS), found, strict=True):
            (alone,) = greedy(network, source[None], None, begin=BEGIN, end=END, max_length=12)
            assert alone.tolist() == tokens.tolist()
            assert len(tokens) <= 12
            whole = [*tokens.tolist(), END][:12]
            with torch.no_grad():
                logits = network.eval()(source[None], torch.tensor([[BEGIN, *whole[:-1]]]))
            assert logits[0].argmax(-1).tolist() == whole
            ended.add(len(tokens) < 12)
    assert ended == {True, False}


class Fixed(nn.Module):
    """The i-th token of a target has the i-th row of probabilities, whatever came before."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(rows).log())

    def read(self, source: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.zeros(len(source), dtype=torch.int64)

    def advance(self, target: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        places = state[:, None] + torch.arange(target.shape[1])
        return self.logits[places], state + target.shape[1]


def search(rows: list[list[float]], **options: Any) -> list[tuple[list[int], float]]:
    source = torch.zeros(1, 1, dtype=torch.int64)
    options = {"begin": BEGIN, "end": END, "max_length": len(rows), **options}
    (found,) = beam_search(Fixed(rows), source, None, **options)
    return [(tokens.tolist(), value) for tokens, value in found]


def test_the_length_penalty() -> None:
    """By hand: p of the empty target is 0.6, of (0) it is 0.4; a penalty with α = 1 is 1 and 7/6."""
    assert length_penalty_of(1, 0.6) == 1
    assert length_penalty_of(7, 1.0) == 2
    assert length_penalty_of(7, 0.6) == pytest.approx(1.515717)
    assert length_penalty_of(13, 2.0) == 9
    assert length_penalty_of(99, 0.0) == 1
    rows = [[0.4, 0, 0.6], [0, 0, 1.0]]
    for alpha, expected in (
        (0.0, [([], math.log(0.6))]),  # nothing can be better any more
        (1.0, [([], math.log(0.6))]),  # ln 0.4 / (7/6) = -0.785 is less than ln 0.6 = -0.511
        (4.0, [([0], math.log(0.4) / (7 / 6) ** 4), ([], math.log(0.6))]),  # -0.495 is more
    ):
        assert search(rows, beams=2, length_penalty=alpha) == [(y, pytest.approx(s)) for y, s in expected]
    assert search(rows, beams=1, length_penalty=4.0) == [([], pytest.approx(math.log(0.6)))]  # as greedy


def test_ends_that_come_early_or_never() -> None:
    assert search([[0, 0, 1.0]] * 3)[0] == ([], 0)
    never = search([[0.7, 0.3, 0]] * 3, beams=2, length_penalty=0.0)
    assert never == [([0, 0, 0], pytest.approx(3 * math.log(0.7))), ([0, 0, 1], pytest.approx(math.log(0.7**2 * 0.3)))]
    late = search([[0.7, 0.3, 0], [0.7, 0.3, 0], [0.2, 0.2, 0.6]], beams=3, length_penalty=0.0)
    assert late[0] == ([0, 0], pytest.approx(math.log(0.49 * 0.6)))
    assert search([[0.5, 0.2, 0.3]], beams=1) == [([0], pytest.approx(math.log(0.5)))]
    one = Fixed([[0.0, 0.0, 1.0]])
    assert [len(t) for t in greedy(one, torch.zeros(2, 1), None, begin=BEGIN, end=END, max_length=1)] == [0, 0]
    assert greedy(one, torch.zeros(0, 1), None, begin=BEGIN, end=END, max_length=1) == []
    assert beam_search(one, torch.zeros(0, 1), None, begin=BEGIN, end=END, max_length=1) == []


def test_all_rows_finished_end_the_search() -> None:
    """The decoder is asked no more often than is needed."""
    calls = []

    class Counting(Fixed):
        def advance(self, target: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(len(target))
            return super().advance(target, state)

    network = Counting([[0.9, 0, 0.1], [0.0, 0.1, 0.9], *[[0.5, 0.5, 0]] * 6])
    options: dict[str, Any] = {"begin": BEGIN, "end": END, "max_length": 8}
    assert [t.tolist() for t in greedy(network, torch.zeros(3, 1), None, **options)] == [[0]] * 3
    assert calls == [3, 3]
    calls.clear()
    beam_search(network, torch.zeros(3, 1), None, beams=2, length_penalty=0.0, **options)
    assert calls == [3, 6]
    network.limit = 1  # type: ignore[assignment]
    assert [t.tolist() for t in greedy(network, torch.zeros(1, 1), None, **options)] == [[0]]


def test_searches_that_cannot_be() -> None:
    for match, options in (
        ("beams=0 must be", {"beams": 0}),
        ("length_penalty=-1 must be", {"length_penalty": -1}),
        ("max_length=0 must be", {"max_length": 0}),
    ):
        with pytest.raises(UserError, match=match):
            search([[0.5, 0.2, 0.3]], **options)
    with pytest.raises(UserError, match="training has diverged"):
        search([[math.nan, 0.2, 0.3]])
    with pytest.raises(UserError, match="length=0 must be"):
        beam_continue(lstm(), torch.tensor([1]), 0, context=9)


@pytest.mark.parametrize("end", [None, 4])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_beams_of_a_language_model(name: str, cache: bool, end: int | None) -> None:
    """Wide, against all continuations of three tokens; a window of four slides on the way."""
    network: Any = NETWORKS[name]()
    prompt = PROMPTS[0]
    found = beam_continue(network, prompt, 3, context=4, beams=1400, end=end, cache=cache)
    texts = list(itertools.product([k for k in range(11) if k != end], repeat=3))
    if end is not None:
        texts = all_targets(11, 3, end)
    seen = 99 if hasattr(network, "advance") and not hasattr(network, "limit") else 4
    scores = {}
    with torch.no_grad():
        for n in {len(text) for text in texts}:
            same = [text for text in texts if len(text) == n]
            value = torch.zeros(len(same), dtype=torch.float64)
            whole = torch.cat([prompt.expand(len(same), -1), torch.tensor(same)], 1)
            for i in range(3, 3 + n):
                log_p = network.eval()(whole[:, :i][:, -seen:])[:, -1].log_softmax(-1)
                value += log_p.gather(1, whole[:, i : i + 1])[:, 0]
            scores |= dict(zip(same, value.tolist(), strict=True))
    best = max(scores, key=lambda text: scores[text])
    assert tuple(found[0][0].tolist()) == (best if end is None else best[:-1])
    assert found[0][1] == pytest.approx(scores[best])
    if end is None:
        assert len(found) == 1331
    for tokens, score in found:
        text = tuple(tokens.tolist())
        ended = text if end is None or text in scores else (*text, end)
        assert score == pytest.approx(scores[ended])
    one = beam_continue(network, prompt, 9, context=4, beams=1, end=end, cache=cache)[0][0]
    (likeliest,) = continue_(network, [prompt], 9, context=4, temperature=0, end=end)
    assert one.tolist() == likeliest[3:].tolist()


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
