"""Networks as after training."""

from torch import nn


def randomised(network: nn.Module) -> nn.Module:
    """As after training: statistics and weights by which a mistake would be seen."""
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(1 if name.endswith("weight") else 0, 0.2)
        elif value.is_floating_point() and not value.any():
            value.normal_(0, value[0].numel() ** -0.5)
    return network.eval()
