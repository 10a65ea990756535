"""DeiT answers twice in training."""

import torch
import torch.nn.functional as F
from helpers.vit import SMALL, images

from torchatlas.models.deit import DeiT, LeftOut
from torchatlas.tasks.classification import Classification


def test_deit_answers_twice_in_training_and_once_in_evaluation() -> None:
    network = DeiT(**SMALL)
    x = images()
    logits, taught = network.train()(x)
    assert not torch.equal(logits, taught)
    torch.testing.assert_close(network.eval()(x), (logits + taught) / 2)
    rates = [layer.dropout.rate for layer in DeiT(**SMALL, stochastic_depth=0.2).layers]
    assert rates == [0, 0.1, 0.2]
    kept = LeftOut(0.5).train()(torch.ones(64, 3, 2)).flatten(1)
    assert (kept == kept[:, :1]).all()
    assert set(kept.unique().tolist()) == {0, 2}


def test_without_a_teacher_both_heads_learn_from_the_labels() -> None:
    network, x, y = DeiT(**SMALL), images(), torch.tensor([1, 2, 3])
    loss = Classification(network).train().step((x, y))["loss"]
    torch.testing.assert_close(loss, sum(F.cross_entropy(logits, y) for logits in network(x)))
