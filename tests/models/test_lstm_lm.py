"""The LSTM language model is the paper's equations."""

import torch

from torchatlas.zoo import create_model


def test_lstm_lm_is_the_papers_equations() -> None:
    """Zaremba et al. 2014, section 3.1, written out token by token."""
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0)
    tokens = torch.randint(11, (3, 7))
    h = torch.zeros(2, 3, 6)
    c = torch.zeros(2, 3, 6)
    logits = []
    for t in range(7):
        x = network.embedding.weight[tokens[:, t]]
        for layer in range(2):
            p = {n: getattr(network.lstm, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            gates = x @ p["weight_ih"].T + h[layer] @ p["weight_hh"].T + p["bias_ih"] + p["bias_hh"]
            i, f, g, o = gates.chunk(4, 1)
            c[layer] = f.sigmoid() * c[layer] + i.sigmoid() * g.tanh()
            h[layer] = o.sigmoid() * c[layer].tanh()
            x = h[layer].clone()
        logits.append(x @ network.decoder.weight.T + network.decoder.bias)
    torch.testing.assert_close(network(tokens), torch.stack(logits, 1))


def test_lstm_lm_goes_on_from_its_state() -> None:
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0).eval()
    tokens = torch.randint(11, (2, 9))
    first, state = network.advance(tokens[:, :4])
    second, _ = network.advance(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), network(tokens))
