"""What tasks share whose networks make images."""

from collections.abc import Sequence
from typing import ClassVar

from ..errors import UserError
from ..models.contract import OfImages
from .base import Chosen, Task


class ImageMaking(Task):
    """A task that makes images like those that it is given.

    What a network makes is turned back into pixels without a word from the data, so that they have to be scaled as the
    task says.
    """

    pixels: ClassVar[tuple[float, float]] = (0.0, 1.0)  # black and white, as the network gets them
    conditional: bool = False  # whether images of a chosen class can be made

    @classmethod
    def check(cls, chosen: Chosen) -> None:
        """Refuse data that are no images, and pixels on another scale than that of the task."""
        if not chosen.data.of_images:
            raise UserError(f"the task {cls.name} makes images, and data={chosen.data_name} has none{chosen.advice}")
        black, white = cls.pixels
        mean, std = -black / (white - black), 1 / (white - black)
        for wanted, given in ((mean, chosen.config.data.mean), (std, chosen.config.data.std)):
            if any(value != wanted for value in (given if isinstance(given, Sequence) else [given])):
                raise UserError(
                    f"the task {cls.name} needs pixels from {black:g} to {white:g}: leave out data.mean and data.std"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's images.

        Raises:
            UserError: the network does not say.
        """
        if not isinstance(self.network, OfImages):
            raise UserError(
                f"{type(self.network).__name__} does not say which images it makes: give it the attributes in_channels "
                "and image_size"
            )
        return self.network.in_channels, self.network.image_size, self.network.image_size
