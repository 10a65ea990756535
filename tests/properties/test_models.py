"""Properties that every network of the zoo has to have."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import all_outputs, network_class, tiny_network
from torch import nn

from torchatlas.errors import UserError
from torchatlas.training.optimizers import layers
from torchatlas.training.precision import computes_lstm, is_fused_lstm, require_precision
from torchatlas.zoo import create_model, model_card


def loss_of(*outputs: torch.Tensor) -> torch.Tensor:
    """Something that depends on all outputs, unevenly."""
    weighted = [(out * torch.linspace(0.5, 1.5, out.numel()).view_as(out)).square().mean() for out in outputs]
    return torch.stack(weighted).sum()


def fill_zeros(network: nn.Module) -> None:
    """Layers that begin at zero, as they would be after some training: behind them nothing has a gradient."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def test_published_size(model_name: str) -> None:
    """The YAML's number of parameters is that of the network, and it runs."""
    with torch.device("meta"):
        network = create_model(model_name)
        output = all_outputs(network(*network.example_input(2)))[0]
    assert sum(p.numel() for p in network.parameters()) == model_card(model_name).parameters
    assert output.shape[0] == 2


def test_every_parameter_gets_a_gradient(tiny_name: str) -> None:
    network = tiny_network(tiny_name)
    fill_zeros(network)
    loss_of(*all_outputs(network(*network.example_input(4)))).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_state_dict_round_trip(tiny_name: str) -> None:
    network, other = tiny_network(tiny_name), tiny_network(tiny_name)
    inputs = network.example_input(3)
    network(*inputs)  # buffers move
    other.load_state_dict(network.state_dict())
    pairs = zip(all_outputs(network.eval()(*inputs)), all_outputs(other.eval()(*inputs)), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_examples_do_not_influence_each_other_in_eval(tiny_name: str) -> None:
    network = tiny_network(tiny_name).eval()
    inputs = network.example_input(4)
    alone = [all_outputs(network(*(x[i : i + 1] for x in inputs))) for i in range(4)]
    for together, parts in zip(all_outputs(network(*inputs)), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(parts), rtol=1e-5, atol=5e-6)


def test_eval_is_deterministic(tiny_name: str) -> None:
    network = tiny_network(tiny_name).eval()
    inputs = network.example_input(2)
    pairs = zip(all_outputs(network(*inputs)), all_outputs(network(*inputs)), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_causal(tiny_name: str) -> None:
    """What is answered at a step does not depend on later ones, and does on this one."""
    chosen = {"targets": "step"} if "targets" in inspect.signature(network_class(tiny_name)).parameters else {}
    if not getattr(network_class(tiny_name), "causal", False):
        assert model_card(tiny_name).task != "language_modeling", "a language model has to be, and to say, causal"
        if not (chosen and getattr(tiny_network(tiny_name), "causal", False)):
            return
    for tokens in (False, True) if chosen else (False,):
        network = tiny_network(tiny_name, **chosen, **({"vocab_size": 11} if tokens else {})).eval()
        (x,) = network.example_input(2)
        changed = x.clone()
        changed[:, 5:] = x[:, 5:] + 1 if x.is_floating_point() else (x[:, 5:] + 1) % network.vocab_size
        before, after = network(x), network(changed)
        assert torch.equal(before[:, :5], after[:, :5])
        assert not torch.equal(before[:, 5], after[:, 5])


@pytest.mark.filterwarnings("ignore")  # the compiler's own advice
def test_compiles_to_the_same_function(class_name: str) -> None:
    network = tiny_network(class_name).eval()
    inputs = network.example_input(2)
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), network(*inputs))


def test_bf16_agrees_with_fp32(tiny_name: str) -> None:
    """Or is refused, where this CPU cannot compute it."""
    network = tiny_network(tiny_name).eval()
    if any(map(is_fused_lstm, network.modules())) and not computes_lstm(torch.bfloat16):
        with pytest.raises(UserError, match=r"use trainer\.precision=32-true$"):
            require_precision(network, "bf16-mixed", "cpu")
        return
    fill_zeros(network)
    inputs = network.example_input(4)
    exact = all_outputs(network(*inputs))
    with torch.autocast("cpu", torch.bfloat16):
        rough = all_outputs(network(*inputs))
    for one, two in zip(rough, exact, strict=True):
        assert (one.float() - two).norm() < 0.05 * two.norm()


def test_initial_loss_is_near_theory(tiny_name: str) -> None:
    """A new network knows nothing: cross-entropy near ln K; a new forecast or image is of the size of its input."""
    network = tiny_network(tiny_name)
    task = model_card(tiny_name).task
    if task in ("forecasting", "autoencoding", "elbo", "diffusion"):
        made = all_outputs(network(*network.example_input(64)))[0].detach()
        assert float(made.square().mean()) < 4
        return
    logits = all_outputs(network(*network.example_input(64)))[0].detach()
    if task == "segmentation":  # classes last
        logits = logits.movedim(1, -1)
    classes = logits.shape[-1]
    labels = torch.randint(classes, logits.shape[:-1])
    loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten())
    assert abs(float(loss) - math.log(classes)) < 0.35


def test_layers_are_in_order_and_hold_each_parameter_once(tiny_name: str) -> None:
    network = tiny_network(tiny_name)
    found = [p for layer in layers(network) for p in layer]
    assert {id(p) for p in found} == {id(p) for p in network.parameters()}
    assert len(found) == len({id(p) for p in found})
