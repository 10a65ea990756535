"""res8 and res15 are the authors' code."""

import pytest
import torch
import torch.nn.functional as F

from torchatlas.zoo import create_model


@pytest.mark.parametrize("name", ["res8", "res15"])
def test_res_networks_are_those_of_the_authors_code(name: str) -> None:
    """The rule by numbers of layers, as in github.com/castorini/honk, with the same weights."""
    network = create_model(name, num_classes=12)
    x = torch.randn(3, 101, 40)
    for _ in range(3):
        network(x)  # moves the running statistics
    network.eval()
    weights = [network.conv.weight, *(block.conv.weight for block in network.blocks)]
    with torch.no_grad():
        h = x[:, None]
        for i, weight in enumerate(weights):
            d = 2 ** ((i - 1) // 3) if name == "res15" and i else 1
            y = F.relu(F.conv2d(h, weight, padding=d, dilation=d))
            if i == 0:
                y = F.avg_pool2d(y, (4, 3)) if name == "res8" else y
                kept = y
            elif i % 2 == 0:
                kept = y = y + kept
            if i:
                norm = network.blocks[i - 1].norm
                y = F.batch_norm(y, norm.running_mean, norm.running_var)
            h = y
        expected = F.linear(h.flatten(2).mean(2), network.output.weight, network.output.bias)
    torch.testing.assert_close(network(x), expected)


def test_res8_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="too few for a pooling over 3 features: use spectral features"):
        create_model("res8", in_channels=1)
    with pytest.raises(ValueError, match="no residual block"):
        create_model("res8", depth=3)
    with pytest.raises(ValueError, match="two positive numbers"):
        create_model("res8", pooling=[4])
