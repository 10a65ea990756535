"""From logits to text: sampling and greedy decoding, in batches, with or without a cache; `beams` has beam search.

Language models map tokens `b t` to logits `b t v`. If they are `Stateful` they go on from a state: that of a recurrent
network, or the keys and values of attention. Networks that read a source are an `EncoderDecoder`. A network with the
claim `limit` sees at most so many tokens.

All functions here put the network into eval mode and give each of its modules its own mode back; they leave autocast
and the global random numbers alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..errors import UserError
from ..models.contract import EncoderDecoder, Stateful, claims

PIECE = 1024  # tokens of a long prompt that a recurrent network reads at once
DIVERGED = "the network's logits are no numbers: its training has diverged, take an earlier checkpoint"


def sample(logits: Tensor, *, temperature: float, top_k: int, top_p: float, uniform: Tensor) -> Tensor:
    """A token of each row, by inversion of the distribution function.

    The logits are divided by the temperature; then the `top_k` likeliest tokens stay (Fan, Lewis and Dauphin 2018,
    arXiv:1805.04833); then the fewest likeliest of these that together have at least the share `top_p` of their
    probability (Holtzman et al. 2019, arXiv:1904.09751, section 3.1). What stays is drawn from in proportion.

    Args:
        logits: `b v`.
        temperature: from 0 on; 0 takes the likeliest token, the first of several.
        top_k: from 0 on; 0: all.
        top_p: over 0 to 1; 1: all.
        uniform: `b` numbers from 0 to below 1, the only chance there is.

    Returns:
        int64 `b`, on the device of the logits.
    """
    if temperature == 0:
        return logits.argmax(-1)
    exact = precise(logits)
    p = ((exact - exact.amax(-1, keepdim=True)) / temperature).softmax(-1)
    if 0 < top_k < p.shape[-1] or top_p < 1:
        ordered, places = p.sort(dim=-1, descending=True, stable=True)
        if top_k:
            ordered[..., top_k:] = 0
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= top_p * ordered.sum(-1, keepdim=True), 0) if top_p < 1 else ordered
        p = torch.zeros_like(p).scatter(-1, places, ordered)
    sums = p.cumsum(-1)
    drawn = (sums <= uniform.to(sums)[..., None] * sums[..., -1:]).sum(-1)
    last = p.shape[-1] - 1 - (p > 0).flip(-1).int().argmax(-1)  # where rounding reaches the end
    return torch.minimum(drawn, last)


def precise(logits: Tensor) -> Tensor:
    """In double precision, where the device has it."""
    return logits.float() if logits.device.type == "mps" else logits.double()


def require_choice(temperature: float, top_k: int, top_p: float) -> None:
    """Refuse numbers with which nothing can be sampled.

    Raises:
        UserError: it names the number.
    """
    if not 0 <= temperature < math.inf:
        raise UserError(f"temperature={temperature} must be a number from 0 on, as in temperature=0.8")
    if top_k < 0:
        raise UserError(f"top_k={top_k} must be a whole number from 0 on, as in top_k=40; 0 is all tokens")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p} must be over 0 and at most 1, as in top_p=0.9; 1 is all tokens")


def device_of(network: nn.Module) -> torch.device:
    """Where its first parameter is."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def select(state: Any, rows: Tensor, axis: int = 0) -> Any:
    """These rows of each tensor of a state, in this order; one row may be taken several times.

    Args:
        state: a tensor, or tuples, lists and dictionaries of such; what is no tensor stays.
        rows: int64 `n`.
        axis: of the rows.
    """
    if isinstance(state, Tensor):
        return state.index_select(axis, rows)
    if isinstance(state, dict):
        return {key: select(value, rows, axis) for key, value in state.items()}
    if isinstance(state, tuple | list):
        return type(state)(select(value, rows, axis) for value in state)
    return state


class Reader:
    """Logits behind growing rows of tokens, from a state or, without the cache, from all tokens anew.

    Args:
        network: in eval mode.
        first: the state before the first token; None: that of a language model.
        window: most tokens that count; None: all.
        cache: whether a state is kept. Behind the window there is none that could be: each step then moves all
            positions by one, so that the window is read anew.
    """

    def __init__(self, network: nn.Module, first: Any, window: int | None, cache: bool) -> None:
        self.network, self.stateful = network, cast(Stateful, network)
        self.first, self.window = first, window
        self.state, self.known = first, 0  # after so many tokens
        self.cache = cache and isinstance(network, Stateful)
        self.axis = claims(network).state_axis

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits `b v` of what follows tokens `b n`, whose beginning is that of the last call."""
        slides = self.window is not None and tokens.shape[1] > self.window
        if self.cache and not slides:
            new = tokens[:, self.known :]
            for piece in new.split(PIECE, 1) if self.window is None else [new]:
                logits, self.state = self.stateful.advance(piece, self.state)
            self.known = tokens.shape[1]
        elif self.first is not None:
            logits, _ = self.stateful.advance(tokens, self.first)
        else:
            logits = self.network(tokens[:, -self.window :] if slides and self.window else tokens)
            self.state = None  # which is of no use any more
        last: Tensor = logits[:, -1]
        return last

    def select(self, rows: Tensor) -> None:
        """See `select`."""
        if self.cache:
            self.state = select(self.state, rows, self.axis)
        else:
            self.first = select(self.first, rows, self.axis)


def text_reader(network: nn.Module, context: int | None, cache: bool) -> Reader:
    """Of a language model, whose window is that of its limit and context; a recurrent network has none."""
    limit = claims(network).limit
    if limit is None and isinstance(network, Stateful):
        return Reader(network, None, None, cache)
    sizes = [size for size in (context, limit) if size is not None]
    return Reader(network, None, min(sizes, default=None), cache)


def beginnings(prompts: Sequence[Tensor], reader: Reader, context: int | None) -> list[Tensor]:
    """What of each prompt the network sees.

    Raises:
        UserError: a prompt without a token.
    """
    if any(len(prompt) == 0 for prompt in prompts):
        raise UserError("a prompt has no token to begin with: give a text")
    longest = context if reader.window is None else reader.window
    return [prompt if longest is None else prompt[-longest:] for prompt in prompts]


def continue_(
    network: nn.Module,
    prompts: Sequence[Tensor],
    length: int,
    *,
    context: int | None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    end: int | None = None,
    cache: bool = True,
    on_token: Callable[[int, int], bool | None] | None = None,
) -> list[Tensor]:
    """Continue prompts by sampling, together, as each would be alone.

    There is no padding: all rows read the tokens that the shortest prompt has, and from there on go together, token by
    token, a row with a longer prompt being given the tokens of its prompt.

    Args:
        network: a language model, see above. Whether it is causal is for the caller to know.
        prompts: int64 tokens `t` each, at least one in each, of any lengths.
        length: how many tokens to add to each.
        context: how many of the last tokens the network sees, at most its `limit`: behind that the window slides by a
            token with each step, and all of it is read anew. A recurrent network (`advance` and no `limit`) begins so
            many tokens before the end of a prompt, and then goes on for ever. None: as many as there are.
        temperature, top_k, top_p: see `sample`.
        seed: of the first row's generator, the next rows having the next numbers; or one for each row. The i-th new
            token of a row has the i-th number of its generator.
        end: a token at which a row stops; it is no part of the result.
        cache: whether a state is kept between steps; else all tokens are read anew in each, which gives the same.
        on_token: called with the row and the token for each new one, as soon as it is there; True ends the row with it.

    Returns:
        Prompts and continuations, int64 `t+length` or less, on the CPU.

    Raises:
        UserError: a number that cannot be, an empty prompt, or logits that are no numbers.
    """
    require_choice(temperature, top_k, top_p)
    if length < 0:
        raise UserError(f"length={length} must not be negative")
    if context is not None and context < 1:
        raise UserError(f"context={context} must be positive")
    reader = text_reader(network, context, cache)
    seen = beginnings(prompts, reader, context)
    if not length or not prompts:
        return [prompt.cpu() for prompt in prompts]
    device, rows = device_of(network), len(prompts)
    sizes = [len(prompt) for prompt in seen]
    given = torch.zeros(rows, max(sizes), dtype=torch.int64)
    for row, prompt in enumerate(seen):
        given[row, : len(prompt)] = prompt
    seeds = [seed + row for row in range(rows)] if isinstance(seed, int) else seed
    chances = [torch.rand(length, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in seeds]
    uniform = torch.stack(chances).to(device, torch.float32 if device.type == "mps" else torch.float64)
    given, begins = given.to(device), torch.tensor(sizes, device=device)
    counts = [length] * rows  # of new tokens
    open_rows = set(range(rows))
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)
    broken = torch.zeros((), dtype=torch.bool, device=device)
    with predicting(network):
        tokens = given[:, : min(sizes)]
        for n in range(min(sizes), max(sizes) + length):
            logits = reader(tokens)
            broken |= ~logits.amax(-1).isfinite().all()
            chance = uniform.gather(1, (n - begins).clamp(0, length - 1)[:, None])[:, 0]
            new = sample(logits, temperature=temperature, top_k=top_k, top_p=top_p, uniform=chance)
            if n < max(sizes):
                new = torch.where(n < begins, given[:, n], new)
            tokens = torch.cat([tokens, new[:, None]], 1)
            if on_token is not None:
                if broken:
                    break
                drawn = new.tolist()
                for row in sorted(open_rows):
                    if n < sizes[row]:
                        continue
                    ended = drawn[row] == end
                    if ended or on_token(row, drawn[row]) or n + 1 == sizes[row] + length:
                        open_rows.discard(row)
                        counts[row] = n + (not ended) - sizes[row]
                if not open_rows:
                    break
            elif end is not None:
                stopped |= (n >= begins) & (new == end) | (n + 1 >= begins + length)
                if stopped.all():
                    break
    if broken:
        raise UserError(DIVERGED)
    written = []
    for row, prompt in enumerate(prompts):
        new = tokens[row, sizes[row] : sizes[row] + counts[row]].cpu()
        if end is not None:
            new = _until(new, end)
        written.append(torch.cat([prompt.cpu(), new]))
    return written


def _until(tokens: Tensor, end: int) -> Tensor:
    """What stands before the first `end`."""
    places = (tokens == end).nonzero()
    return tokens[: int(places[0, 0])] if len(places) else tokens


def target_reader(network: nn.Module, source: Tensor, lengths: Tensor | None, cache: bool) -> Reader:
    """Of an encoder-decoder network that has read."""
    device = device_of(network)
    state = cast(EncoderDecoder, network).read(source.to(device), None if lengths is None else lengths.to(device))
    return Reader(network, state, None, cache)


def most_tokens(network: nn.Module, rows: int, max_length: int | Tensor) -> list[int]:
    """Most tokens of each row.

    Raises:
        UserError: a number that is not positive.
    """
    most = [max_length] * rows if isinstance(max_length, int) else [int(number) for number in max_length.tolist()]
    if most and min(most) < 1:
        raise UserError(f"max_length={min(most)} must be positive")
    limit = claims(network).limit
    return most if limit is None else [min(number, limit) for number in most]


def greedy(
    network: nn.Module,
    source: Tensor,
    lengths: Tensor | None,
    *,
    begin: int,
    end: int,
    max_length: int | Tensor,
    cache: bool = True,
) -> list[Tensor]:
    """The likeliest token in each step, for each of several sources.

    Args:
        network: encoder and decoder, see above.
        source: int64 `b s`, padded behind.
        lengths: tokens of each that are no padding, int64 `b`; None: all.
        begin, end: the tokens before and behind each target.
        max_length: most tokens of a target, its end among them; a number, or one for each source, `b`.
        cache: whether the decoder's state is kept between steps; else it reads the target anew in each.

    Returns:
        The targets, int64 `n` each, without begin and end, on the CPU.

    Raises:
        UserError: a length that is not positive.
    """
    most = most_tokens(network, len(source), max_length)
    if not most:
        return []
    device = device_of(network)
    limits = torch.tensor(most, device=device)
    with predicting(network):
        reader = target_reader(network, source, lengths, cache)
        tokens = torch.full((len(source), 1), begin, device=device)
        done = torch.zeros(len(source), dtype=torch.bool, device=device)
        for n in range(1, max(most) + 1):
            new = reader(tokens).argmax(-1)
            tokens = torch.cat([tokens, new[:, None]], 1)
            done |= (new == end) | (n >= limits)
            if done.all():
                break
    return [_until(row[1 : 1 + number], end) for row, number in zip(tokens.cpu(), most, strict=True)]
