"""Data-efficient image Transformer (DeiT) with a distillation token.

Touvron, Cord, Douze, Massa, Sablayrolles and Jegou 2020, "Training data-efficient image transformers & distillation
through attention", arXiv:2012.12877. ViT with a second learned token beside the class token, whose output goes to a
head of its own, which learns from a teacher where the class token's learns from the labels (section 4):

    z_0 = [x_class; x_distillation; x_p^1 E; ...; x_p^N E] + E_pos

In training both logits are returned, in evaluation their mean. Without a teacher both heads learn from the labels.

Differs from the paper: it adds the two heads' probabilities (section 4), where the authors' code takes the mean of the
logits, as here. Also as in that code, weights start from truncated normals with a spread of 0.02, and residuals are
left out (Huang et al. 2016, arXiv:1603.09382) with a probability that rises linearly from 0 to r in the last layer;
r is 0.1 (table 9). Small images: see `vit`.

>>> import torch
>>> with torch.device("meta"):
...     sizes = [DeiT(image_size=224, patch_size=16, num_classes=1000, dim=d, depth=12, heads=d // 64, hidden=4 * d)
...              for d in (192, 384, 768)]
>>> [sum(p.numel() for p in network.parameters()) for network in sizes]
[5910800, 22436432, 87338192]
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .resnet import StochasticDepth
from .vit import ViT


class LeftOut(StochasticDepth):
    """Stochastic depth of tokens in place of feature maps."""

    def forward(self, residual: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        return super().forward(residual[..., None])[..., 0]


class DeiT(ViT):
    """ViT with two tokens and two heads.

    Args:
        image_size, patch_size, in_channels, num_classes: see `ViT`.
        dim, depth, heads, hidden: see `ViT`.
        stochastic_depth: r, the probability with which each of the last layer's residuals is left out in training.

    Attributes:
        distilled: that the second of the outputs in training is what a teacher teaches.
        auxiliary_weight: of the second head's loss where there is no teacher.

    Raises:
        ValueError: the image cannot be divided into such patches.
    """

    heads = ("head", "head_distillation")
    special_tokens = 2
    distilled = True
    auxiliary_weight = 1.0

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch_size: int = 8,
        in_channels: int = 3,
        num_classes: int = 10,
        dim: int = 16,
        depth: int = 2,
        heads: int = 2,
        hidden: int = 32,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__(
            image_size=image_size, patch_size=patch_size, in_channels=in_channels, num_classes=num_classes, dim=dim,
            depth=depth, heads=heads, hidden=hidden,
        )  # fmt: skip
        self.distillation_token = nn.Parameter(torch.empty(1, 1, dim))
        self.head_distillation = nn.Linear(dim, num_classes)
        for i, layer in enumerate(self.layers):
            layer.dropout = LeftOut(stochastic_depth * i / max(1, depth - 1))
        for parameter in (self.class_token, self.distillation_token, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                self.init_head(module)

    def init_head(self, head: nn.Linear) -> None:
        """As all layers."""
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)

    def get_classifier(self) -> tuple[nn.Module, nn.Module]:
        """The last layers of the class token and of the distillation token."""
        return self.head, self.head_distillation

    def special(self) -> tuple[Tensor, ...]:
        """The tokens before those of the patches, `1 1 d` each."""
        return self.class_token, self.distillation_token

    def forward_head(  # type: ignore[override]
        self, x: Float[Tensor, "b t d"], pre_logits: bool = False
    ) -> Float[Tensor, "b k"] | tuple[Tensor, Tensor]:
        """Logits: in training those of the class token and of the distillation token, else their mean.

        With `pre_logits` the mean of both tokens.
        """
        y, y_distillation = x[:, 0], x[:, 1]
        if pre_logits:
            return (y + y_distillation) / 2
        logits, taught = self.head(y), self.head_distillation(y_distillation)
        return (logits, taught) if self.training else (logits + taught) / 2
