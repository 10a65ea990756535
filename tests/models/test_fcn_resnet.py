"""FCN on a dilated ResNet is torchvision's."""

import torch
import torchvision
from helpers.networks import randomised
from torch import nn
from torchvision.models import segmentation

from torchatlas.models.fcn_resnet import FCNResNet
from torchatlas.weights import load_weights
from torchatlas.zoo import create_model, model_card


def test_fcn_resnet_is_torchvisions() -> None:
    """The same names and shapes at the published size, and at a smaller one the same bits, in training mode too."""
    with torch.device("meta"):
        ours = create_model("fcn_resnet50")
        theirs = segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in theirs.parameters()) == model_card("fcn_resnet50").parameters

    with torch.device("meta"):  # the weights come later
        body = torchvision.models.ResNet(
            torchvision.models.resnet.Bottleneck, [1, 1, 1, 2], replace_stride_with_dilation=[False, True, True]
        )
        del body.fc
        theirs = segmentation.fcn._fcn_resnet(body, 4, True)
        ours = FCNResNet(depths=(1, 1, 1, 2), width=64, auxiliary=True, num_classes=4)
    ours = ours.to_empty(device="cpu").eval()
    theirs = theirs.to_empty(device="cpu")
    numbers = torch.randn(2**18)
    for value in theirs.state_dict().values():  # pieces of one row of numbers, since there are many
        if value.ndim == 4:
            value.view(-1).copy_(numbers.repeat(-(-value.numel() // len(numbers)))[: value.numel()])
            value.mul_((2 / value[0].numel()) ** 0.5)
        else:
            value.zero_()
    randomised(theirs)
    report = load_weights(ours, theirs.state_dict())
    assert not report.missing
    assert not report.unexpected
    x = torch.randn(2, 3, 40, 65)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x)["out"])
    for network in (ours, theirs):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
    found, expected = ours(x), theirs(x)
    assert torch.equal(found[0], expected["out"])
    assert torch.equal(found[1], expected["aux"])
    assert ours.auxiliary_weight == 0.5
    classifier = load_weights(
        ours, torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 2, 2]).state_dict()
    )
    assert {key.split(".")[0] for key in classifier.missing} == {"classifier", "aux_classifier"}
