"""Alignments of networks with attention."""

import pytest
import torch
import torch.nn.functional as F
from helpers.seq2seq import ATTENDING, NETWORKS, TINY, awake

from torchatlas.drawing.alignments import alignments
from torchatlas.tasks.seq2seq import BEGIN
from torchatlas.zoo import create_model


@pytest.mark.parametrize("kind", [*ATTENDING, "transformer", "lstm"])
@pytest.mark.parametrize("t", [2, 4, 5])  # with its end as long as the source, too
def test_alignments(kind: str, t: int) -> None:
    network = awake(create_model("transformer", **TINY) if kind == "transformer" else NETWORKS[kind]())
    source, output = torch.randint(4, 16, (5,)), torch.randint(4, 16, (t,))
    maps = alignments(network.train(), source, output)
    assert len(maps) == {"transformer": 2, "lstm": 0}.get(kind, 1)
    for weights in maps:
        assert weights.shape == (t + 1, 5)
        torch.testing.assert_close(weights.sum(1), torch.ones(t + 1))
    assert network.training
    for module in network.modules():
        assert not getattr(module, "written_out", False)
        assert getattr(module, "weights", None) is None
    if kind == "transformer":
        network.eval()
        state = network.read(source[None])
        cross = network.decoder[0].cross
        cross.written_out = True
        network.advance(F.pad(output, (1, 0), value=BEGIN)[None], state)
        torch.testing.assert_close(cross.weights[0].mean(0), maps[0])
