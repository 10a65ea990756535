"""The command `explain`: pictures of what a trained network computes, and of what its answers rest on."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.utils.tensorboard.writer import SummaryWriter

from ..errors import UserError, nearest
from ..predict.registry import Answerer, Trained, fitting, taken
from ..run.devices import device_of
from ..run.restore import restore
from ..storage.files import write_json
from ..storage.run_folder import shown
from ..tasks.base import Task

EVENTS = ".explain"  # how the name of the event file ends


def explain(ckpt: str, input: str = "", output: str = "", methods: tuple[str, ...] = (), **options: Any) -> Path:
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
        methods: any of these; else all that apply to this network, these files and this machine.
        options: of the function that looks at the network, see `predict.registry`.

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
        task.float()
        task.place(device)
        checkpoint = Trained.of_checkpoint(task, about)
        explainer = find_explainer(path, task, checkpoint)
        known = explainer.file().METHODS
        for name in methods:
            if name not in known:
                raise UserError(f"there is no method {name!r}{nearest(name, list(known))}")
        options = taken(explainer, checkpoint, {key: value for key, value in options.items() if value != ""})
        subject = explainer.load()(task, about, input, **options)
        wanted = methods or [name for name in known if name not in getattr(subject, "unasked", ())]
        folder, events = folders_for(path, output)
        made, reasons = 0, []
        writer = SummaryWriter(str(events), filename_suffix=EVENTS)
        try:
            for name in dict.fromkeys(wanted):
                try:
                    for key, figure in known[name](subject):
                        write_figure(key, figure, folder, writer)
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


def find_explainer(path: Path, task: Task, checkpoint: Trained) -> Answerer:
    """The file of `explain/` that is for a checkpoint.

    Raises:
        UserError: there is none.
    """
    for each in fitting("explain", checkpoint):
        if each.file().applies(task.network):
            return each
    raise UserError(
        f"{path} was trained for {task.name}, and explain is for image classifiers, networks with attention, "
        "recurrent networks that answer for themselves and TCNs"
    )


def folders_for(checkpoint: Path, output: str) -> tuple[Path, Path]:
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


def write_figure(name: str, made: Figure | dict[str, Any], folder: Path, writer: SummaryWriter) -> None:
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
