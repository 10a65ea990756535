"""Tokens that a network has to guess, and what it sees in their place."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...counter import uniform
from ...errors import UserError
from ..text.tokenizer import INSIDE, TokenizerCodec
from .sentence_pairs import PAIR_DRAWS

SELECTED = 0.15  # of the tokens; this and the next two: Devlin et al. 2018, arXiv:1810.04805, section 3.1
HIDDEN, REPLACED = 0.8, 0.1  # of the selected ones, by [MASK] or by a random token
TOKEN_DRAWS = 3  # random numbers for each token of a pair
IGNORED = -100  # of the labels: as in torch's cross-entropy


class Masks:
    """Which tokens a network has to guess, and what it sees in their place.

    Devlin et al. 2018 (arXiv:1810.04805, section 3.1): 15 % of a sample's tokens, rounded, at least one and never a
    special one, are selected; of these 80 % are replaced by [MASK], 10 % by a random token, and 10 % stay. They are
    drawn anew in each epoch (Liu et al. 2019, arXiv:1907.11692, section 4.1), as a function of (seed, epoch, index).

    Args:
        codec: tells the special tokens, and which tokens go on with a word.
        context: tokens that a network sees at once.
        whole_words: of a word all tokens are selected, or none, as long as they fit into the 15 %; at least one word is
            selected (github.com/google-research/bert, "Whole Word Masking models").

    Raises:
        UserError: the codec has no [MASK], or whole words are asked for and it does not tell where they begin.
    """

    def __init__(self, codec: TokenizerCodec, context: int, *, whole_words: bool = False) -> None:
        self.context, self.most, self.whole_words = context, most_masks(context), whole_words
        self.hidden = codec.number("[MASK]", "<mask>")
        names = codec.tokenizer.get_vocab(with_added_tokens=True)
        special = torch.ones(codec.vocab_size, dtype=torch.bool)  # and numbers that stand for no token
        special[list(names.values())] = False
        special[[i for i, token in codec.tokenizer.get_added_tokens_decoder().items() if token.special]] = True
        inside = torch.zeros_like(special)
        inside[[i for name, i in names.items() if name.startswith(INSIDE)]] = True
        if whole_words and not inside.any():
            raise UserError(f"data.whole_words=true needs a tokeniser whose words go on with {INSIDE}: leave it out")
        self.special, self.inside, self.ordinary = special, inside, (~special).nonzero().flatten()

    def to(self, device: torch.device) -> "Masks":
        """The tables on a device, to which they are copied once."""
        if self.special.device != device:
            self.special, self.inside, self.ordinary = (
                table.to(device) for table in (self.special, self.inside, self.ordinary)
            )
        return self

    def __call__(
        self, tokens: Tensor, lengths: Tensor, seed: int, epoch: int, indices: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hide tokens of a batch.

        Args:
            tokens: int64 `b t`, padded behind.
            lengths, indices: int64 `b`.
            seed, epoch: see above.

        Returns:
            What the network sees, `b t`; the places of the selected tokens in their order, `b m`, and then 0; the
            selected tokens, `b m`, and then -100.
        """
        t = tokens.shape[1]
        place = torch.arange(t, device=tokens.device)
        random = uniform(seed, epoch, indices, PAIR_DRAWS + self.context * TOKEN_DRAWS)[:, PAIR_DRAWS:]
        chance, action, other = random.view(len(tokens), self.context, TOKEN_DRAWS)[:, :t].unbind(2)
        eligible = ~self.special[tokens] & (place < lengths[:, None])
        number = eligible.sum(1, keepdim=True)
        wanted = (SELECTED * number).round().clamp(1, self.most).minimum(number)
        rank = torch.arange(t, device=tokens.device)
        if not self.whole_words:
            order = chance.where(eligible, 2.0).argsort(dim=1, stable=True)
            chosen = rank < wanted
        else:
            begins = ~self.inside[tokens] | ~eligible.roll(1, 1)
            word = place.where(begins, 0).cummax(1).values  # the place of its first token
            order = chance.where(eligible, 2.0).gather(1, word).argsort(dim=1, stable=True)
            size = torch.zeros_like(tokens).scatter_add(1, word, torch.ones_like(tokens)).gather(1, word)
            start = rank - (place - word).gather(1, order)  # the rank of the word's first token
            fits = (start + size.gather(1, order) <= wanted) | (start == 0)
            chosen = fits & (rank < number.clamp(max=self.most))
        order = order.where(chosen, t).sort(1).values[:, : self.most]
        chosen = order < t
        positions = order.where(chosen, 0)
        labels = tokens.gather(1, positions)
        action, other = action.gather(1, positions), other.gather(1, positions)
        replaced = self.ordinary[(other * len(self.ordinary)).long().clamp(max=len(self.ordinary) - 1)]
        seen = torch.where(action < HIDDEN, self.hidden, replaced.where(action < HIDDEN + REPLACED, labels))
        shown = tokens.scatter(1, positions, seen.where(chosen, tokens[:, :1]))  # nothing is selected at place 0
        missing = (0, self.most - positions.shape[1])
        return shown, F.pad(positions, missing), F.pad(labels.where(chosen, IGNORED), missing, value=IGNORED)


def most_masks(context: int) -> int:
    """m: room for the selected tokens of a sample."""
    return math.ceil(SELECTED * context)
