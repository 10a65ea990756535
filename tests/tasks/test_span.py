"""Spans: the loss, and the best of all windows."""

import pytest
import torch
from helpers.labelled import CONTEXT, question, sentences, windows

from torchatlas.data.labelled import squad
from torchatlas.data.text.tokenizer import BERT, TokenizerCodec, train_codec
from torchatlas.models.bert import Bert
from torchatlas.tasks.span import Span, choose, window_scores


@pytest.fixture(scope="module")
def codec() -> TokenizerCodec:
    return train_codec(sentences(50), "wordpiece", 60, BERT, lowercase=True)


# --- answers


def test_the_best_of_all_windows_is_the_answer(codec: TokenizerCodec) -> None:
    asked = [question("Seven small cats"), question("fox"), squad.Question("cats", CONTEXT, [], [])]
    data = windows(codec, asked, unanswerable=True)
    tokens, lengths, segments, starts, ends, _ = data[-1, torch.arange(len(data))]
    logits = torch.zeros(*tokens.shape, 2)
    steps = torch.arange(len(data))
    logits[steps, starts, 0] = torch.where(starts > 0, 9.0, 4.0)
    logits[steps, ends, 1] = torch.where(starts > 0, 9.0, 4.0)
    logits[steps, lengths - 1] = 100.0  # a separator is no answer, however sure the network is
    logits[:, 1] = 100.0  # neither is the question
    table = window_scores(logits, lengths, segments)
    assert choose(table, data) == {0: "Seven small cats", 1: "fox", 2: ""}
    data.unanswerable = False
    assert choose(table, data)[2] != ""
    table[data.questions == 1, 4] = 0  # not seen, as in a validation that is cut short
    assert set(choose(table, data)) == {0, 2}


def test_span_loss_is_the_mean_of_two_cross_entropies() -> None:
    batch = (
        torch.randint(16, (5, 9)), torch.tensor([9, 7, 8, 9, 5]), (torch.arange(9) > 2).long().expand(5, 9),
        torch.tensor([3, 0, 4, 8, 3]), torch.tensor([5, 0, 4, 8, 4]), torch.arange(5),
    )  # fmt: skip
    network = Bert(targets="span").eval()
    task = Span(network).eval()
    out = {key: value.detach() for key, value in task.step(batch).items()}
    logits = network(*batch[:3]).detach()
    total = 0.0
    for i, n in enumerate(batch[1].tolist()):
        for side, target in ((0, batch[3]), (1, batch[4])):
            total -= float(logits[i, :n, side].log_softmax(0)[target[i]]) / 10
    assert float(out["loss"]) == pytest.approx(total, rel=1e-5)
    padded = [torch.nn.functional.pad(x, (0, 4), value=5) if x.ndim == 2 else x for x in batch]
    padded[2] = padded[2].clamp(max=1)
    assert float(task.step(tuple(padded))["loss"].detach()) == pytest.approx(total, rel=1e-5)
