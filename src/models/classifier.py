"""What classifiers have in common: features, a head whose last layer can be another, and maps of several strides.

The interface is that of timm (Wightman 2019, github.com/huggingface/pytorch-image-models, `docs/feature_extraction`),
with its names. An input x becomes logits in two steps, and the second can stop before the last layer:

    f = forward_features(x)        logits = forward_head(f)        values = forward_head(f, pre_logits=True)

`features` are what a network computes before its head: f, with `num_features` channels. A submodule that is called
`features` holds all layers that compute them, or all but the last, as torchvision has it. `stages(x)` gives maps on the
way to f.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn


class NoHead(nn.Identity):
    """In place of a last layer that was taken away: gives back the `in_features` values that come to it."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = self.out_features = in_features


class FeatureInfo(Sequence[dict[str, Any]]):
    """What is known of the maps of stages before they are computed.

    >>> info = FeatureInfo(("relu", 64, 2), ("layer1", 64, 4), ("layer2", 128, 8))
    >>> info.channels(), info.reduction(), info.only([-1]).module_name(), info[0]
    ([64, 64, 128], [2, 4, 8], ['layer2'], {'module': 'relu', 'num_chs': 64, 'reduction': 2})
    """

    def __init__(self, *stages: tuple[str, int, int], out_indices: Sequence[int] | None = None) -> None:
        """Of each stage: the module behind which it ends, its channels, and its stride in pixels or steps."""
        self.stages = stages
        self.out_indices = tuple(range(len(stages)) if out_indices is None else out_indices)

    def only(self, out_indices: Sequence[SupportsIndex]) -> "FeatureInfo":
        """The same, of which some are given out; negative ones count from the last."""
        return FeatureInfo(*self.stages, out_indices=[range(len(self.stages))[i] for i in out_indices])

    def module_name(self) -> list[str]:
        """Of each map that is given out: the module behind which it is taken."""
        return [self.stages[i][0] for i in self.out_indices]

    def channels(self) -> list[int]:
        """Of each map that is given out."""
        return [self.stages[i][1] for i in self.out_indices]

    def reduction(self) -> list[int]:
        """Of each map that is given out: the stride in pixels, or in steps of a sequence."""
        return [self.stages[i][2] for i in self.out_indices]

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[j] for j in range(len(self))[i]]
        return dict(zip(("module", "num_chs", "reduction"), self.stages[i], strict=True))

    def __len__(self) -> int:
        return len(self.stages)


class Classifier(nn.Module, ABC):
    """A network whose `forward` is `forward_head` of `forward_features`.

    Attributes:
        heads: names of the last layers, those of auxiliary heads first.
        num_features: channels of what `forward_features` gives.
        feature_info: of the maps that `stages` gives; empty where there are none.
        preprocessing: of the images with which its weights were trained, where it was made with weights and it is
            known.
    """

    heads: tuple[str, ...]
    num_features: int
    feature_info: FeatureInfo = FeatureInfo()
    preprocessing: Any = None

    @abstractmethod
    def forward_features(self, x: Any, /) -> Tensor:
        """What is computed before the head: `b d h w`, `b d t` of convolutions over time, else `b t d` or `b d`."""

    @abstractmethod
    def forward_head(self, x: Any, /, pre_logits: bool = False) -> Any:
        """The logits of features; with `pre_logits` the values `b d` that the last layer gets."""

    def forward(self, x: Any) -> Any:
        return self.forward_head(self.forward_features(x))

    def stages(self, x: Any, /) -> Iterator[Tensor]:
        """The maps that `feature_info` describes, each computed when it is asked for.

        Here of a network of which they all come from layers of its submodule `features`.
        """
        ends = {module for module, _, _ in self.feature_info.stages}
        for name, layer in self.get_submodule("features").named_children():
            x = layer(x)
            if f"features.{name}" in ends:
                yield x

    def init_head(self, head: nn.Linear) -> None:
        """How a last layer starts; unless a class says otherwise, as torch's linear layers do."""

    @property
    def head_hidden_size(self) -> int:
        """Values that the last layer gets."""
        return self._last_layer(self.heads[-1]).in_features

    @property
    def num_classes(self) -> int:
        """Values that the last layer gives; 0 where it was taken away."""
        last = self._last_layer(self.heads[-1])
        return 0 if isinstance(last, NoHead) else last.out_features

    def get_classifier(self) -> Any:
        """The last layer."""
        return self._last_layer(self.heads[-1])

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new last layer in the place of the old, which starts as that of a new network.

        Args:
            num_classes: of the new one; 0: there is none, and `forward` gives what it would get.

        Raises:
            ValueError: a number below 0.
        """
        if num_classes < 0:
            raise ValueError(f"num_classes={num_classes} must be 0, for no last layer, or more")
        for name in self.heads:
            old, like = self._last_layer(name), next(self.parameters(), torch.empty(0))
            new: nn.Module = NoHead(old.in_features)
            if num_classes:
                new = nn.Linear(old.in_features, num_classes, device=like.device, dtype=like.dtype)
                self.init_head(new)
            parent, _, attribute = name.rpartition(".")
            setattr(self.get_submodule(parent), attribute, new)

    def _last_layer(self, name: str) -> nn.Linear | NoHead:
        found = self.get_submodule(name)
        assert isinstance(found, nn.Linear | NoHead)
        return found


class FeatureNet(nn.Module):
    """The maps of a classifier's stages in place of its logits.

    What lies behind the last of these maps is taken out of the network.

    Args:
        network: from which they are taken.
        out_indices: which stages, negative ones from the last on; a number n: the last n; None: all, or of stages that
            have all one stride the last three, as in timm.

    Attributes:
        feature_info: `channels()`, `reduction()` and `module_name()` of the maps.

    Raises:
        ValueError: the network has no maps of stages, or not so many.
    """

    trunk = "network"  # weights of a classifier begin it

    def __init__(
        self, network: Classifier, out_indices: SupportsIndex | Sequence[SupportsIndex] | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        kind, number = type(network).__name__, len(network.feature_info)
        if not number:
            raise ValueError(f"{kind} has no maps of several stages: take the answer of its forward_features")
        if out_indices is None:
            out_indices = number if len(set(network.feature_info.reduction())) > 1 else min(3, number)
        chosen = range(-out_indices.__index__(), 0) if isinstance(out_indices, SupportsIndex) else tuple(out_indices)
        if not chosen or not all(isinstance(i, SupportsIndex) and -number <= i.__index__() < number for i in chosen):
            raise ValueError(f"{kind} has {number} stages: out_indices={out_indices} must be of 0 to {number - 1}")
        self.network = network
        self.feature_info = network.feature_info.only(chosen)
        self.preprocessing = network.preprocessing
        take_out_behind(network, network.feature_info[max(self.feature_info.out_indices)]["module"])

    def forward(self, *inputs: Any) -> list[Tensor]:
        """The maps, in the order of `out_indices`.

        Args:
            inputs: as of the network's `forward`.
        """
        wanted, found = self.feature_info.out_indices, {}
        for i, maps in enumerate(self.network.stages(*inputs)):
            if i in wanted:
                found[i] = maps
            if i == max(wanted):
                break
        return [found[i] for i in wanted]

    def example_input(self, batch: int = 2) -> Any:
        """As of the network."""
        example: Any = self.network.example_input
        return example(batch)


def take_out_behind(network: nn.Module, name: str) -> None:
    """Delete the modules that stand behind one of them, whose name may have dots."""
    parent, _, rest = name.partition(".")
    names = list(dict(network.named_children()))
    for child in names[names.index(parent) + 1 :]:
        delattr(network, child)
    if rest:
        take_out_behind(network.get_submodule(parent), rest)
