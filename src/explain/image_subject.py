"""Images and the classifier that is asked about them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..data.base import DataModule
from ..data.images.base import ImageDescription
from ..errors import UserError
from ..models.contract import claims, positions_of
from ..run.restore import training_data
from . import methods as ex


@dataclass
class Subject:
    """What is explained.

    Attributes:
        network: in eval mode, on `device`.
        config: of the run.
        about: what the checkpoint says of the data: classes, size, mean, std.
        layer: whose feature map Grad-CAM takes; empty for the last.
        target: a class; None for the one that the network sees in each image.
        paths: the image files.
        x: these images as the network takes them, `b c h w`; empty where there are none.
    """

    network: nn.Module
    config: dict[str, Any]
    about: ImageDescription
    device: torch.device
    layer: str
    target: int | None
    paths: list[Path]
    x: Tensor

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.about["classes"]]

    @property
    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        both = self.about["mean"], self.about["std"]
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in both)
        return mean, std

    def visible(self, x: Tensor) -> Tensor:
        """Images on the scale 0..1."""
        mean, std = self.mean_and_std
        return (x * std + mean).clamp(0, 1).float().cpu()

    def images(self) -> Tensor:
        """The images.

        Raises:
            UserError: none were given.
        """
        if not self.paths:
            raise UserError("it needs images: name a file or a folder with input=PATH")
        return self.x

    @cached_property
    def probabilities(self) -> Tensor:
        with predicting(self.network):
            return self.network(self.images()).float().softmax(1)  # type: ignore[no-any-return]

    @cached_property
    def targets(self) -> Tensor:
        """The class that is explained, of each image."""
        predicted = self.probabilities.argmax(1)
        return predicted if self.target is None else torch.full_like(predicted, self.target)

    def title(self, i: int) -> str:
        """The file, what the network says of it and, where it is another one, the class that is explained."""
        said, asked = int(self.probabilities[i].argmax()), int(self.targets[i])
        lines = [self.paths[i].name, f"{self.classes[said]}: {100 * float(self.probabilities[i, said]):.1f} %"]
        if asked != said:
            lines.append(f"why {self.classes[asked]}? {100 * float(self.probabilities[i, asked]):.1f} %")
        return "\n".join(line if len(line) <= 24 else f"{line[:23]}…" for line in lines)

    @cached_property
    def example(self) -> Tensor:
        """Two images of noise."""
        size, channels = self.about["image_size"], self.about["in_channels"]
        return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)).to(self.device)

    @cached_property
    def calls(self) -> list[ex.Call]:
        return ex.trace(self.network, self.example)

    @cached_property
    def stages(self) -> list[str]:
        """Names of the layers with feature maps.

        Raises:
            UserError: the network has none.
        """
        found = ex.stages(self.network, self.calls)
        if not found:
            raise UserError("the network has no convolution with a map of more than one place")
        return found

    @property
    def special_tokens(self) -> int:
        """Tokens before those of the patches; 0: the network has no patches."""
        return claims(self.network).special_tokens or 0

    @property
    def unasked(self) -> tuple[str, ...]:
        """Methods that are left out in silence unless they are named."""
        return ("attention",) if claims(self.network).special_tokens is None else ()

    @cached_property
    def token_layers(self) -> list[str]:
        """Names of the layers that give the tokens of all patches."""
        if not self.special_tokens:
            return []
        positions = positions_of(self.network)
        assert isinstance(positions, Tensor)
        count = len(positions[0])
        return [call.name for call in self.calls if call.name and call.made[1:2] == (count,) and len(call.made) == 3]

    @cached_property
    def data(self) -> DataModule:
        """The data of training; see `training_data`."""
        return training_data(self.config, self.about)

    def samples(self, split: str, most: int) -> tuple[Tensor, Tensor]:
        """Images and labels, evenly spaced, not augmented."""
        dataset = self.data.splits[split]
        places = torch.linspace(0, len(dataset) - 1, min(most, len(dataset))).round().long()
        x, y = self.data.transform(dataset[-1, places])
        return x.to(self.device), y.to(self.device)
