"""Sounds of a data set of Hugging Face."""

from ..hub_folder import HubFolder
from .sound_folder import MADE_CLASSES, SoundFolder


class HFSounds(HubFolder, SoundFolder):  # type: ignore[misc]  # its classes come of other arguments
    """Sounds with classes, of a data set of Hugging Face: on the hub, saved on this machine, or a folder of its files.

    Args:
        audio: name of the column of the sounds; None: the only one with sounds.
        others: see `HubFolder` and `SoundFolder`.
    """

    feature, column, made_classes = "Audio", "audio", MADE_CLASSES
