"""The command `torchatlas evaluate`: figures of a checkpoint on a split of its data."""

from pathlib import Path
from typing import Annotated, Any, Literal

import lightning
import torch

from ..metrics.figures import format_figure, reported
from ..predict.passes import average_passes
from ..run.console import quiet_libraries
from ..run.devices import device_of
from ..run.restore import restore, restored_data, tell_changes
from ..storage.files import write_json
from ..training.precision import precision_to_evaluate
from ..training.threads import cores, divide


def evaluate(
    ckpt: str, split: Literal["test", "val", "train"] = "test", data_root: Annotated[str, "data.root"] = "",
    output: str = "", *, tta: Literal["none", "flip", "ten"] = "none", mc_samples: int = 0, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Figures of a checkpoint on a split of its data.

    Args:
        ckpt: a run folder, of which the best checkpoint is taken, or a checkpoint.
        split: of the data; train is without augmentation.
        data_root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
        output: a JSON file for the figures.
        tta: test-time augmentation of an image classifier: the mean over an image and its mirror, or over ten crops.
        mc_samples: passes with dropout whose mean a classifier answers with; 0 is one pass without.
        seed: of that dropout.

    Returns:
        The figures by name, as in "test/accuracy".

    Examples:
        torchatlas evaluate ckpt=runs/mlp-digits split=val
    """
    path, task, about = restore(ckpt)
    average_passes(task, tta, mc_samples, about["data"]["kind"])
    torch.manual_seed(seed)
    config = about["config"]
    data = restored_data(about, data_root)
    data.prepare_data()
    data.setup("test")
    tell_changes(data, about, [split])
    device = device_of()
    threads, data.num_workers = divide(
        cores(), in_memory=data.in_memory, on_gpu=device.type == "cuda", workers=data.num_workers
    )
    torch.set_num_threads(threads)
    quiet_libraries()
    precision: Any = precision_to_evaluate(config["trainer"]["precision"], device)
    trainer = lightning.Trainer(
        accelerator="auto", devices=1, precision=precision, logger=False, callbacks=[],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    data.splits["test"] = data.splits[split]
    if split in (sizes := getattr(data, "bytes_per_token", {})):
        sizes["test"] = sizes[split]
    trainer.test(task, datamodule=data, verbose=False)
    figures = {key.replace("test/", f"{split}/", 1): v for key, v in task.figures.items() if key.startswith("test/")}
    print(f"{config['name']}: {path} on {len(data.splits[split])} samples of {split}")
    known = reported(type(task), type(data))
    for key, value in figures.items():
        print(f"  {key:<28} {format_figure(key, value, known)}")
    if output:
        write_json(Path(output), {"checkpoint": str(path), "name": config["name"], **figures})
    return figures
