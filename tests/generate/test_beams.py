"""Beam search against all hypotheses, and against the algorithm in plain lists."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.decoding import NETWORKS, PROMPTS, lstm, sharp
from torch import Tensor, nn

from torchatlas.errors import UserError
from torchatlas.generate.beams import beam_continue, beam_search, length_penalty_of
from torchatlas.generate.decoding import continue_, greedy
from torchatlas.models.seq2seq import Seq2Seq
from torchatlas.models.seq2seq_attention import Seq2SeqAttention
from torchatlas.models.transformer import Transformer

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
