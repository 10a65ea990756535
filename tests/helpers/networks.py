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


def disturbed(network: nn.Module) -> nn.Module:
    """Batch statistics and scales that are not those of the beginning, in eval mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()
