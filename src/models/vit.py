"""Vision Transformer (ViT).

Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani, Minderer, Heigold, Gelly, Uszkoreit and
Houlsby 2020, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", arXiv:2010.11929. The image
is cut into N patches x_p, which become the tokens of a Transformer's encoder behind a learned class token (equations 1
to 4):

    z_0 = [x_class; x_p^1 E; ...; x_p^N E] + E_pos
    z'_l = MSA(LN(z_{l-1})) + z_{l-1},        z_l = MLP(LN(z'_l)) + z'_l,        y = LN(z_L^0)

and a linear map of y gives the logits. E is a convolution whose stride is its kernel's side.

Differs from the paper: no hidden layer in the head, which is for pre-training alone (section 3.2). Weights start as in
torchvision, which is written after the authors' code, but for the head: normal with a spread of 0.01 in place of zeros,
so that the first step teaches all layers.

Images get at least 4x4 patches: where `patch_size` would leave fewer, as 16 does on CIFAR's 32 pixels, a patch is a
quarter of the side. On such images smaller ones than that, patch_size=4, are usual.

>>> import torch
>>> base, large, huge = dict(dim=768, heads=12), dict(dim=1024, heads=16), dict(dim=1280, heads=16)
>>> rest = [dict(patch_size=16, depth=12, hidden=3072, **base), dict(patch_size=32, depth=12, hidden=3072, **base),
...         dict(patch_size=16, depth=24, hidden=4096, **large), dict(patch_size=14, depth=32, hidden=5120, **huge)]
>>> with torch.device("meta"):
...     sizes = [ViT(image_size=224, num_classes=1000, **options) for options in rest]
...     cifar = ViT(image_size=32, patch_size=4, dim=384, depth=7, heads=12, hidden=384, num_classes=10)
>>> [sum(p.numel() for p in network.parameters()) for network in (*sizes, cifar)]
[86567656, 88224232, 304326632, 632045800, 6268810]
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .classifier import Classifier, FeatureInfo
from .transformer import EncoderLayer

FEWEST = 4  # patches on a side


class ViT(Classifier):
    """Patches and a class token, an encoder with normalisation before each sublayer, a linear head.

    Args:
        image_size: height and width of the input image, in pixels.
        patch_size: of a patch, in pixels; a quarter of the image's side where that is less.
        in_channels: channels of the input image.
        num_classes: number of logits.
        dim, heads, hidden: width, heads of each layer, and hidden units of its MLP.
        depth: number of layers.
        dropout: of embeddings, sublayers and hidden units.
        attention_dropout: of the weights of attention.
        eps: added to the variance in layer normalisation.

    Attributes:
        special_tokens: tokens before those of the patches.
        grid: patches on a side.

    Raises:
        ValueError: the image cannot be divided into such patches, or these are of no pixel.
    """

    heads: tuple[str, ...] = ("head",)
    special_tokens = 1

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
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size, self.wanted_patch_size = in_channels, image_size, patch_size
        if patch_size < 1:
            raise ValueError(f"patch_size={patch_size} must be at least 1")
        self.patch_size = p = max(1, min(patch_size, image_size // FEWEST))
        if image_size % p:
            fits = max(side for side in range(1, p) if image_size % side == 0)
            below = image_size // p * p
            raise ValueError(
                f"an image of {image_size} pixels cannot be cut into patches of {p}: patch_size={fits} can, or images "
                f"of {below} or {below + p} pixels"
            )
        self.grid = image_size // p
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, self.special_tokens + self.grid**2, dim))
        self.patches = nn.Conv2d(in_channels, dim, p, stride=p)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                dim, heads, hidden, dropout=dropout, attention_dropout=attention_dropout, hidden_dropout=dropout,
                norm_first=True, activation="gelu", eps=eps,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim, eps)
        self.head = nn.Linear(dim, num_classes)
        self.num_features = dim
        self.feature_info = FeatureInfo(*((f"layers.{i}", dim, p) for i in range(depth)))

        nn.init.normal_(self.positions, std=0.02)
        nn.init.trunc_normal_(self.patches.weight, std=(in_channels * p**2) ** -0.5)
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            nn.init.xavier_uniform_(layer.attention.qkv.weight)
            nn.init.zeros_(layer.attention.qkv.bias)
            nn.init.zeros_(layer.attention.output.bias)
            for linear in (layer.up, layer.down):
                nn.init.xavier_uniform_(linear.weight)
                nn.init.normal_(linear.bias, std=1e-6)
        self.init_head(self.head)

    def init_head(self, head: nn.Linear) -> None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def special(self) -> tuple[Tensor, ...]:
        """The tokens before those of the patches, `1 1 d` each."""
        return (self.class_token,)

    def embed(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b t d"]:
        """z_0: the special tokens, and behind them the patches, row by row."""
        patches = self.patches(x).flatten(2).mT
        z = torch.cat([*(token.expand(patches.shape[0], -1, -1) for token in self.special()), patches], 1)
        embedded: Tensor = self.dropout(z + self.positions)  # eq. 1
        return embedded

    def stages(self, x: Float[Tensor, "b c h w"]) -> Iterator[Tensor]:
        """z_l of each layer without the special tokens, as maps `b d h w`."""
        z = self.embed(x)
        for layer in self.layers:
            z, _ = layer(z)
            yield z[:, self.special_tokens :].mT.unflatten(2, (self.grid, self.grid))

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b t d"]:
        """LN(z_L)."""
        z = self.embed(x)
        for layer in self.layers:  # eq. 2 and 3
            z, _ = layer(z)
        normed: Tensor = self.norm(z)
        return normed

    def forward_head(self, x: Float[Tensor, "b t d"], pre_logits: bool = False) -> Float[Tensor, "b k"]:
        y = x[:, 0]
        return y if pre_logits else self.head(y)  # eq. 4

    def example_input(self, batch: int = 2) -> tuple[Float[Tensor, "b c h w"]]:
        """A random input of the declared shape, for tests, tables and graphs."""
        return (torch.randn(batch, self.in_channels, self.image_size, self.image_size),)

    def extra_repr(self) -> str:
        said = f"{self.grid}x{self.grid} patches of {self.patch_size}x{self.patch_size} pixels"
        if self.patch_size == self.wanted_patch_size:
            return said
        return f"{said}, since {self.image_size} pixels have fewer than {FEWEST}x{FEWEST} of {self.wanted_patch_size}"
