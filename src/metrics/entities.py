"""Named entities in tags: where they are, and how many were found.

As the program `conlleval` of the CoNLL shared tasks counts them (Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050,
section 3): an entity is right if its words, all of them and no others, and its kind are. Tags may be of any scheme of
marks; `data.labelled.schemes` says which there are.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MARKS = "BIESLUMW"  # begins, goes on (I, M), ends (E, L), or is one word (S, U, W)
BEGIN, END = "BSUW", "ELSUW"  # with these an entity begins, and with these it ends


def split_tag(tag: str) -> tuple[str, str] | None:
    """Mark and kind of a tag, or of a mark alone; None: the tag is O, or marks no entity.

    >>> split_tag("B-PER"), split_tag("I"), split_tag("O"), split_tag("NN")
    (('B', 'PER'), ('I', ''), None, None)
    """
    mark, dash, kind = tag.partition("-")
    return (mark, kind) if len(mark) == 1 and mark in MARKS and bool(dash) == bool(kind) else None


class TagTable(NamedTuple):
    """What tags say, by their number.

    Attributes:
        begins: whether an entity begins at a tag, as at B-.
        ends: whether an entity ends with a tag, as with E-.
        inside: whether it is of an entity.
        kinds: a number for the kind of the entity; -1 of a tag outside.
    """

    begins: Tensor
    ends: Tensor
    inside: Tensor
    kinds: Tensor


def tag_table(tags: Sequence[str]) -> TagTable | None:
    """The table of some tags; None where they are no tags of entities: some tag has to begin one, or to go on with it.

    A tag without a mark among others is outside.
    """
    parts = [split_tag(tag) for tag in tags]
    marks = {part[0] for part in parts if part}
    if not marks & {"B", "I"}:
        return None
    if any(part and not part[1] for part in parts) and {tag for tag in tags if not split_tag(tag)} != {"O"}:
        return None  # B or I is a name among others
    names = sorted({part[1] for part in parts if part})
    return TagTable(
        torch.tensor([part is not None and part[0] in BEGIN for part in parts]),
        torch.tensor([part is not None and part[0] in END for part in parts]),
        torch.tensor([part is not None for part in parts]),
        torch.tensor([names.index(part[1]) if part else -1 for part in parts]),
    )


def entity_borders(tags: Tensor, rows: Tensor, table: TagTable) -> tuple[Tensor, Tensor]:
    """Where entities begin and end.

    An entity begins where its tag says so, and at any other mark after a tag outside, of another kind, or with which an
    entity ends: so tags may be of any scheme. It ends before the next one begins, or before a tag outside, or with its
    sentence.

    Args:
        tags: numbers of the words' tags, one sentence after the other, `n`.
        rows: the number of each word's sentence, `n`.
        table: see `tag_table`.

    Returns:
        Whether an entity begins at a word, `n`, and the place of the last word of the entity that a word is in, `n`
        (of a word outside it means nothing).
    """
    n = len(tags)
    inside, kinds = table.inside[tags], table.kinds[tags]
    follows = torch.zeros_like(inside)  # the word before is of the same sentence and kind, and no end of an entity
    follows[1:] = (rows[1:] == rows[:-1]) & (kinds[1:] == kinds[:-1])
    follows[1:] &= ~table.ends[tags[:-1]]
    starts = inside & (table.begins[tags] | ~follows)
    ends = torch.ones_like(inside)
    ends[:-1] = ~(inside[1:] & ~starts[1:])
    places = torch.arange(n, device=tags.device)
    last = torch.where(ends, places, n).flip(0).cummin(0).values.flip(0)
    return starts, last


def count_entities(there: Tensor, said: Tensor, rows: Tensor, table: TagTable) -> Tensor:
    """How many entities are right, were said, and are there: float32 `3`.

    Args:
        there, said: the true tags and the predicted ones, see `entity_borders`.
        rows, table: see there.
    """
    table = TagTable(*(part.to(there.device) for part in table))
    if not len(there):
        return torch.zeros(3, device=there.device)
    starts, last = entity_borders(there, rows, table)
    starts_said, last_said = entity_borders(said, rows, table)
    right = starts & starts_said & (last == last_said) & (table.kinds[there] == table.kinds[said])
    return torch.stack([right.sum(), starts_said.sum(), starts.sum()]).float()


def entity_figures(counts: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1, their harmonic mean, from numbers or shares of entities: right, said, there."""
    right, said, there = counts

    def share(part: Tensor, whole: Tensor) -> Tensor:
        return torch.where(whole > 0, part / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.0)

    return {"precision": share(right, said), "recall": share(right, there), "f1": share(2 * right, said + there)}
