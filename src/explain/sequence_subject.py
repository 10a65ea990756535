"""Sequences and the network that reads them."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from ..models.gru import GRUCell
from ..models.lstm import LSTMCell
from ..models.rnn import ElmanCell
from ..run.build import build_network

CELLS: dict[str, type[nn.Module]] = {"RNN_TANH": ElmanCell, "LSTM": LSTMCell, "GRU": GRUCell}
STEPS = 60  # of a sequence that is drawn


@dataclass
class Sequences:
    """What is explained.

    Attributes:
        network: in eval mode.
        config: of the run's model.
        x: sequences, `b t c` or tokens `b t`.
        source: where they come from, in words.
        words: what stands at each step of the first sequence, where it is text.
    """

    network: nn.Module
    config: dict[str, Any]
    x: Tensor
    source: str
    words: list[str]

    def fresh(self) -> nn.Module:
        """The same network with new weights."""
        return build_network(self.config).to(self.x.device)


def recurrent_layers(network: nn.Module) -> nn.RNNBase:
    """The network's torch layers.

    Raises:
        UserError: it has none.
    """
    for module in network.modules():
        if isinstance(module, nn.RNNBase) and module.mode in CELLS:
            return module
    raise UserError("the network has no recurrent layers")


def inputs_of_layers(network: nn.Module, x: Tensor) -> Tensor:
    """What the first layer behind an embedding gets, `b t c`: embedded tokens, or x itself."""
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            return module(x)  # type: ignore[no-any-return]
    return x
