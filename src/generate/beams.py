"""Beam search: the best few texts at a time."""

import math

import torch
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..errors import UserError
from .decoding import DIVERGED, Reader, beginnings, device_of, most_tokens, precise, target_reader, text_reader

Hypotheses = list[tuple[Tensor, float]]  # tokens `n` and score, the best first


def length_penalty_of(n: int, alpha: float) -> float:
    """What the log probability of n tokens is divided by: ((5 + n) / 6)^α.

    Wu et al. 2016, arXiv:1609.08144, equation 14, without its coverage penalty. With α = 0 nothing changes; the greater
    α, the better off are long hypotheses.
    """
    return math.pow((5 + n) / 6, alpha)


def beam_search(
    network: nn.Module,
    source: Tensor,
    lengths: Tensor | None,
    *,
    begin: int,
    end: int,
    max_length: int | Tensor,
    beams: int = 5,
    length_penalty: float = 0.6,
    cache: bool = True,
) -> list[Hypotheses]:
    """The likeliest targets of several sources among those that a beam holds.

    In each step the open hypotheses of a source are continued by all tokens. Of these continuations those that end and
    are among the `beams` best are finished, and the `beams` best of those that do not end stay open. A source is done
    when no open one could still be better than the best finished one, or at its greatest length: a network that was
    trained with smoothed labels gives each early end a little, and many bad ends say nothing against the open ones.
    With one beam, which stops at its first end, this is `greedy`.

    Args:
        network, source, lengths, begin, end, max_length, cache: see `greedy`.
        beams: hypotheses that stay open.
        length_penalty: α in log p(target) / `length_penalty_of`(n, α), the score by which finished hypotheses are
            compared; n counts the end.

    Returns:
        For each source its finished hypotheses, the best first: tokens without begin and end, int64 `n` on the CPU, and
        score. Where none has finished, the open ones.

    Raises:
        UserError: a number that cannot be, or logits that are no numbers.
    """
    most = most_tokens(network, len(source), max_length)
    with predicting(network):
        reader = target_reader(network, source, lengths, cache) if most else None
        tokens = torch.full((len(source), 1), begin, device=device_of(network))
        return _search(reader, tokens, most, end, beams, length_penalty) if reader else []


def beam_continue(
    network: nn.Module,
    prompt: Tensor,
    length: int,
    *,
    context: int | None,
    beams: int = 5,
    length_penalty: float = 0.0,
    end: int | None = None,
    cache: bool = True,
) -> Hypotheses:
    """The likeliest continuations of a prompt among those that a beam holds.

    Args:
        network, context, cache: see `continue_`.
        prompt: int64 tokens `t`, at least one.
        length: most tokens to add, the end among them.
        beams, length_penalty: see `beam_search`; without an end all hypotheses are of one length, and the penalty
            changes nothing in their order.
        end: the token with which a hypothesis is finished; None: none finishes.

    Returns:
        The best first: tokens without prompt and end, int64 `n` on the CPU, and score.

    Raises:
        UserError: a number that cannot be, an empty prompt, or logits that are no numbers.
    """
    if length < 1:
        raise UserError(f"length={length} must be positive")
    reader = text_reader(network, context, cache)
    (seen,) = beginnings([prompt], reader, context)
    with predicting(network):
        (found,) = _search(reader, seen[None].to(device_of(network)), [length], end, beams, length_penalty)
    return found


def _search(
    reader: Reader, tokens: Tensor, most: list[int], end: int | None, beams: int, alpha: float
) -> list[Hypotheses]:
    """Beam search behind tokens `b t`; see `beam_search`."""
    if beams < 1:
        raise UserError(f"beams={beams} must be a positive whole number, as in beams=5")
    if not 0 <= alpha < math.inf:
        raise UserError(f"length_penalty={alpha} must be a number from 0 on, as in length_penalty=0.6")
    given = tokens.shape[1]
    found: list[Hypotheses] = [[] for _ in tokens]
    sources = list(range(len(tokens)))  # that are not done; the rows of each are neighbours
    scores = torch.zeros(len(sources), 1, dtype=torch.float64)  # of the open hypotheses, `b w`
    for n in range(1, max(most) + 1):
        width = scores.shape[1]
        logits = precise(reader(tokens))
        v = logits.shape[-1]
        sums = scores.to(logits)[..., None] + logits.log_softmax(-1).view(len(sources), width, v)
        # Each open hypothesis has one continuation that ends: among twice as many there are enough that do not.
        values, places = sums.flatten(1).topk(min(2 * beams, width * v))
        values, places = values.cpu().double(), places.cpu()
        if values.isnan().any():
            raise UserError(DIVERGED)
        drawn = places % v
        rows = torch.arange(len(sources))[:, None] * width + places // v
        ends = torch.zeros_like(drawn, dtype=torch.bool) if end is None else drawn == end
        finished = ends[:, :beams] & values[:, :beams].isfinite()
        if finished.any():
            texts = tokens[:, given:].cpu()
            for i, j in finished.nonzero().tolist():
                found[sources[i]].append((texts[rows[i, j]], float(values[i, j]) / length_penalty_of(n, alpha)))
        stay = ends.byte().argsort(dim=1, stable=True)[:, : min(beams, values.shape[1] - (0 if end is None else width))]
        scores, rows, drawn = (x.gather(1, stay) for x in (values, rows, drawn))
        left = [i for i, s in enumerate(sources) if not _done(found[s], scores[i], n, most[s], beams, alpha)]
        for i, s in enumerate(sources):
            if n == most[s] and not found[s]:
                texts = tokens[:, given:].cpu()
                found[s] = [
                    (torch.cat([texts[row], token[None]]), float(score) / length_penalty_of(n, alpha))
                    for row, token, score in zip(rows[i], drawn[i], scores[i], strict=True)
                    if score > -math.inf
                ]
        if not left:
            break
        scores, rows, drawn = scores[left], rows[left].flatten(), drawn[left].flatten()
        sources = [sources[i] for i in left]
        if rows.tolist() != list(range(len(tokens))):
            chosen = rows.to(tokens.device)
            tokens = tokens.index_select(0, chosen)
            reader.select(chosen)
        tokens = torch.cat([tokens, drawn[:, None].to(tokens.device)], 1)
    return [sorted(hypotheses, key=lambda h: -h[1]) for hypotheses in found]


def _done(found: Hypotheses, open_scores: Tensor, n: int, most: int, beams: int, alpha: float) -> bool:
    """Whether the search for a source is over after n tokens; an open score only falls, over at best all tokens."""
    if n == most or not len(open_scores) or (beams == 1 and found):
        return True
    best_open = float(open_scores[0])
    if best_open == -math.inf:
        return True
    return bool(found) and max(score for _, score in found) >= best_open / length_penalty_of(most, alpha)
