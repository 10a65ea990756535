"""Answers that are parts of a text: which one a network means, and how near it is to what people said.

Exact match and F1 as SQuAD defines them: Rajpurkar, Zhang, Lopyrev and Liang 2016, arXiv:1606.05250, section 6.1; with
questions that have no answer: Rajpurkar, Jia and Liang 2018, arXiv:1806.03822.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
LONGEST = 30  # tokens by which an answer ends after its first one, at most


def normalize(answer: str) -> str:
    """In lower case, without punctuation and articles, with one blank between words.

    >>> normalize("The  Eiffel-Tower, (a) tower!")
    'eiffeltower tower'
    """
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, right: str) -> float:
    """1 where both are the same after `normalize`, else 0."""
    return float(normalize(answer) == normalize(right))


def word_f1(answer: str, right: str) -> float:
    """Harmonic mean of precision and recall of the words, each as often as it comes; without words: are both so?"""
    said, there = normalize(answer).split(), normalize(right).split()
    if not said or not there:
        return float(said == there)
    common = (Counter(said) & Counter(there)).total()
    return 2 * common / (len(said) + len(there))


def score(answer: str, right: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 with that of the right answers with which they are largest; none: the right one is empty.

    Args:
        answer: "" says that there is no answer.
        right: answers of several people.
    """
    known = [text for text in right if normalize(text)] or [""]
    return max(exact_match(answer, text) for text in known), max(word_f1(answer, text) for text in known)


def best_spans(logits: Tensor, allowed: Tensor, longest: int = LONGEST) -> tuple[Tensor, Tensor, Tensor]:
    """The span with the largest sum of the logit of its start and that of its end.

    Args:
        logits: of start and end, `b t 2`.
        allowed: whether a token may be in an answer, `b t`; these are neighbours.
        longest: an answer ends so many tokens after its first one, at most.

    Returns:
        The sums, `b`, and starts and ends, int64 `b`. Where no token is allowed, the sum is -inf.
    """
    start, end = logits.float().masked_fill(~allowed[..., None], -torch.inf).unbind(-1)
    b, t = start.shape
    best, first, last = start.new_full((b,), -torch.inf), start.new_zeros(b).long(), start.new_zeros(b).long()
    for k in range(min(longest + 1, t)):
        value, place = (start[:, : t - k] + end[:, k:]).max(1)
        better = value > best
        best = torch.where(better, value, best)
        first, last = torch.where(better, place, first), torch.where(better, place + k, last)
    return best, first, last
