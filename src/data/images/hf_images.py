"""Images of a data set of Hugging Face."""

from ..hub_folder import HubFolder
from .image_folder import MADE_CLASSES, ImageFolder


class HFImages(HubFolder, ImageFolder):  # type: ignore[misc]  # its classes come of other arguments
    """Images with classes, of a data set of Hugging Face: on the hub, saved on this machine, or a folder of its files.

    Args:
        image: name of the column of the images; None: the only one with images.
        others: see `HubFolder` and `ImageFolder`.
    """

    feature, column, made_classes = "Image", "image", MADE_CLASSES
