"""The command `explain`: pictures of what a trained network computes, and of what its answers rest on."""

import difflib
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard.writer import SummaryWriter

from ..data.images.image_folder import load_image
from ..data.text.base import codec_of, read_text
from ..errors import UserError, nearest
from ..explain import sequences, texts
from ..explain.images import BATCH, METHODS, Subject
from ..explain.sequences import Sequences
from ..predict.inputs import _images
from ..run.devices import device_of
from ..run.restore import restore, training_data
from ..storage.files import write_json
from ..storage.run_folder import shown
from ..tasks.classification import Classification
from ..tasks.seq2seq import SequenceToSequence

EVENTS = ".explain"  # how the name of the event file ends


def explain(
    ckpt: str, input: str = "", output: str = "", class_: Annotated[str, "class"] = "", layer: str = "",
    methods: tuple[
        Literal[
            "filters", "features", "gradcam", "saliency", "occlusion", "maximisation", "lesion", "gradients",
            "attention", "gates", "singular_values", "receptive_field", "causality", "positions",
        ],
        ...,
    ] = (),
) -> Path:  # fmt: skip
    """Pictures of what a network computes, and of what its answers rest on, as files and in TensorBoard.

    Of an image classifier. filters: the first layer's. features: the maps of its stages for each image. gradcam,
    saliency (with integrated gradients) and occlusion: which places of an image speak for a class. maximisation: images
    that excite classes and channels most. lesion: accuracy without one block each, on at most 1000 validation samples.
    gradients: their norm in each layer, of the trained weights and of new ones. attention: of a Vision Transformer,
    what the class token attends to in each layer and head, and through all layers (rollout).

    Of a network for sequences. gradients: how strongly the last answer depends on each earlier step, of the trained
    weights and of new ones. gates: what gates, cell and state of recurrent layers do over a sequence. singular_values:
    of the matrices through time. receptive_field: of a TCN, by the formula and as measured. causality: each step is
    changed alone, and the states that change are marked.

    Of a network for texts with attention. attention: the weights of each layer and head over the text; of a translator
    those of encoder and decoder, and the alignment of its own output. positions: their encoding, and how alike those of
    two places are. gradients: as above, of language models.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        input: an image, or a folder, of which the first eight are taken; of a network for texts a file, or with
            attention the text itself. Some methods need none.
        output: a folder; else explain in the run folder.
        class_: the class to be explained; else the one that the network sees in each image.
        layer: whose feature map or tokens gradcam takes; else the last one that has places.
        methods: any of these; else all that apply to this network, these files and this machine.

    Returns:
        The folder. The pictures are in TensorBoard under `explain/...`, in the run folder or else in this one.

    Raises:
        UserError: something named does not exist or cannot be read or written, the network is of another kind, or a
            method that was named does not apply.

    Examples:
        torchatlas explain ckpt=runs/resnet18-cifar10 input=photo.png methods=gradcam,occlusion
    """
    device = device_of()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        path, task, about = restore(ckpt)
        task.network.float().to(device)
        of_images = isinstance(task, Classification) and about["data"]["kind"] == "image"
        others = about["data"]["kind"] in ("image", "segmentation")  # attention over pixels is no attention over words
        of_texts = not of_images and not others and texts.applies(task.network)
        known: Any = METHODS if of_images else sequences.METHODS
        if of_texts:
            known = texts.METHODS
        elif not of_images and (isinstance(task, SequenceToSequence) or not sequences.applies(task.network)):
            raise UserError(
                f"{path} was trained for {task.name}, and explain is for image classifiers, "
                "networks with attention, recurrent networks that answer for themselves and TCNs"
            )
        for name in methods:
            if name not in known:
                raise UserError(f"there is no method {name!r}{nearest(name, list(known))}")
        attends = of_texts or hasattr(task.network, "special_tokens")
        wanted = methods or [name for name in known if name != "attention" or attends]
        subject: Any = (
            _subject(task.network, about, device, input, class_, layer)
            if of_images
            else texts.attending(task, about, device, input)
            if of_texts
            else _sequences(task.network, about, device, input)
        )
        folder, events = _folders(path, output)
        made, reasons = 0, []
        writer = SummaryWriter(str(events), filename_suffix=EVENTS)
        try:
            for name in dict.fromkeys(wanted):
                try:
                    for key, figure in known[name](subject):
                        _write(key, figure, folder, writer)
                        made += 1
                except UserError as error:
                    if methods:
                        raise UserError(f"{name}: {error}") from error
                    reasons.append(f"{name} is left out: {error}")
                    print(reasons[-1])
        finally:
            writer.close()
    if not made:
        raise UserError("; ".join(reasons))
    return folder


def _sequences(network: nn.Module, about: dict[str, Any], device: torch.device, given: str) -> Sequences:
    """A text of the user's, or else validation samples of training, or else made ones."""
    data, config = about["data"], about["config"]["model"]
    codec = codec_of(data) if data["kind"] in ("characters", "words", "tokenizer") else None

    def words(tokens: Tensor) -> list[str]:
        return [] if codec is None else [codec.decode(token[None]) for token in tokens.cpu()]

    if given:
        if codec is None:
            raise UserError("input= names a text for a language model: leave it out")
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path}: name a text with input=FILE")
        tokens = codec.encode(read_text(path))[: data["context"]]
        if len(tokens) < 2:
            raise UserError(f"{path} has {len(tokens)} tokens where at least 2 are needed")
        return Sequences(network, config, tokens[None].to(device), path.name, words(tokens))
    try:
        module: Any = training_data(about["config"], data)
    except UserError as error:
        print(f"noise is taken: {error}")
        (x,) = network.example_input(BATCH)  # type: ignore[operator]
        return Sequences(network, config, x.to(device), "noise", words(x[0]) if not x.is_floating_point() else [])
    split = module.splits["val"]
    if codec is not None:
        count = min(BATCH, len(split.tokens) // module.context)
        x = split.tokens[: count * module.context].view(count, -1)
    else:
        x, *rest = module.transform(split[-1, torch.arange(min(BATCH, len(split)))])
        lengths = next((part for part in rest if part.ndim == 1 and part is not rest[-1]), None)
        if lengths is None and data["kind"] == "piano_roll":
            lengths = rest[-1]
        if lengths is not None:  # the steps that half of the sequences have
            length = int(lengths.median())
            x = x[lengths >= length][:, :length]
    return Sequences(network, config, x.to(device), f"{len(x)} validation samples", words(x[0]) if codec else [])


def _subject(
    network: nn.Module, about: dict[str, Any], device: torch.device, given: str, target: str, layer: str
) -> Subject:
    data = about["data"]
    classes = [str(name) for name in data["classes"]]
    if target and target not in classes:
        raise UserError(f"there is no class {target!r}{nearest(target, classes)}")
    paths = _images(given) if given else []
    x = torch.empty(0)
    if paths:
        x = torch.stack(
            [load_image(path, data["in_channels"], data["image_size"], data.get("resize")) for path in paths]
        ).to(device)
    subject = Subject(
        network, about["config"], data, device, layer, classes.index(target) if target else None, paths, x
    )
    if paths:
        mean, std = subject.mean_and_std
        subject.x = (x / 255 - mean) / std
    if layer:
        maps = [call.name for call in subject.calls if call.is_map and call.name] + subject.token_layers
        if layer not in maps:
            near = difflib.get_close_matches(layer, maps, n=1, cutoff=0.5)
            raise UserError(f"there is no feature map {layer!r}{nearest(layer, maps if near else subject.stages)}")
    return subject


def _folders(checkpoint: Path, output: str) -> tuple[Path, Path]:
    """Where the pictures go, and where the events; an earlier explanation's events are removed."""
    home = checkpoint.absolute().parent
    in_run = (home.parent / "config.yaml").is_file()
    home = home.parent if in_run else home
    folder = Path(output).expanduser() if output else home / "explain"
    events = home if in_run and not output else folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, events):
            tempfile.TemporaryFile(dir=place).close()
        for old in events.glob(f"events.out.tfevents.*{EVENTS}"):
            old.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name a folder with output=FOLDER") from error
    return folder, events


def _write(name: str, made: Figure | dict[str, Any], folder: Path, writer: SummaryWriter) -> None:
    path = folder / f"{name}.{'json' if isinstance(made, dict) else 'png'}"
    if isinstance(made, dict):
        write_json(path, made)
    else:
        try:
            made.savefig(path, dpi=120)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        writer.add_figure(f"explain/{name}", made)
    print(shown(path))
