"""Names of earlier versions in configs that were saved then: where what they name is today."""

from typing import Any

# Modules, and single classes that have left theirs; without the package's name.
RENAMED = {
    "callbacks.classification_pictures": "pictures.classification",
    "callbacks.curves.EventLogger": "loggers.tensorboard.EventLogger",
    "callbacks.embeddings": "pictures.embeddings",
    "callbacks.filled_text": "pictures.filled_text",
    "callbacks.forecast_pictures": "pictures.forecast",
    "callbacks.generation_pictures": "pictures.generation",
    "callbacks.segmentation_pictures": "pictures.segmentation",
    "callbacks.separability": "pictures.separability",
    "callbacks.sound_pictures": "pictures.sound",
    "callbacks.text_samples": "pictures.text_samples",
    "callbacks.translations": "pictures.translations",
    "data.adding": "data.sequences.adding",
    "data.ag_news": "data.labelled.ag_news",
    "data.augment": "data.images.augment",
    "data.border_weights": "data.masks.border_weights",
    "data.camvid": "data.masks.camvid",
    "data.cifar": "data.images.cifar",
    "data.conll": "data.labelled.conll",
    "data.copy_memory": "data.sequences.copy_memory",
    "data.dates": "data.pairs.dates",
    "data.digit_scenes": "data.masks.digit_scenes",
    "data.digits": "data.images.digits",
    "data.encoded_text": "data.labelled.base",
    "data.ett": "data.series.ett",
    "data.fsdd": "data.sound.fsdd",
    "data.glue": "data.labelled.glue",
    "data.image_folder": "data.images.image_folder",
    "data.imagenet": "data.images.imagenet",
    "data.images": "data.images.base",
    "data.imdb": "data.labelled.imdb",
    "data.isbi2012": "data.masks.isbi2012",
    "data.joint_augment": "data.masks.joint_augment",
    "data.labeled_text": "data.labelled.labeled_text",
    "data.logic": "data.sequences.logic",
    "data.mask_folder": "data.masks.mask_folder",
    "data.masked": "data.masked.base",
    "data.masked_texts": "data.masked.masked_texts",
    "data.mnist": "data.images.mnist",
    "data.multi30k": "data.pairs.multi30k",
    "data.oxford_pets": "data.masks.oxford_pets",
    "data.parallel": "data.pairs.base",
    "data.parallel_files": "data.pairs.parallel_files",
    "data.pixels": "data.images.pixels",
    "data.polyphonic": "data.sequences.polyphonic",
    "data.pydoc": "data.text.pydoc",
    "data.pydoc_order": "data.labelled.pydoc_order",
    "data.segmentation": "data.masks.base",
    "data.series": "data.series.base",
    "data.series_csv": "data.series.series_csv",
    "data.sound": "data.sound.base",
    "data.sound_folder": "data.sound.sound_folder",
    "data.speech_commands": "data.sound.speech_commands",
    "data.squad": "data.labelled.squad",
    "data.sst2": "data.labelled.sst2",
    "data.stl10": "data.images.stl10",
    "data.svhn": "data.images.svhn",
    "data.text": "data.text.base",
    "data.text_csv": "data.labelled.text_csv",
    "data.text_file": "data.text.text_file",
    "data.text_order": "data.labelled.text_order",
    "data.tiny_imagenet": "data.images.tiny_imagenet",
    "data.tiny_shakespeare": "data.text.tiny_shakespeare",
    "data.token_file": "data.text.token_file",
    "data.token_writing": "data.text.token_writing",
    "data.tokenizer": "data.text.tokenizer",
    "data.ucr": "data.series.ucr",
    "data.unlabelled_folder": "data.images.unlabelled_folder",
    "data.voc2012": "data.masks.voc2012",
    "data.weather": "data.series.weather",
    "data.wikitext103": "data.text.wikitext103",
    "data.wikitext2": "data.text.wikitext2",
    "data.words": "data.text.words",
    "optimizers": "training.optimizers",
    "schedules": "training.schedules",
}


def today(target: str) -> str:
    """A dotted name as it is today.

    >>> today("torchatlas.data.cifar.CIFAR10")
    'torchatlas.data.images.cifar.CIFAR10'
    """
    package, _, own = target.partition(".")
    module, _, name = own.rpartition(".")
    if package != "torchatlas":
        return target
    return f"torchatlas.{RENAMED[own]}" if own in RENAMED else f"torchatlas.{RENAMED.get(module, module)}.{name}"


def renamed(config: Any) -> Any:
    """A saved config with each `_target_` as it is named today; what was given is left as it is."""
    if isinstance(config, dict):
        return {
            key: today(value) if key == "_target_" and isinstance(value, str) else renamed(value)
            for key, value in config.items()
        }
    return [renamed(value) for value in config] if isinstance(config, list | tuple) else config
