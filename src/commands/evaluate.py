"""The command `torchatlas evaluate`: figures of a checkpoint on a split of its data."""

from pathlib import Path

import lightning
import torch

from ..errors import UserError, nearest
from ..metrics.figures import format_figure
from ..predict.passes import average_passes
from ..run.console import quiet_libraries
from ..run.devices import device_of
from ..run.restore import restore, restored_data
from ..storage.files import write_json
from ..training.threads import cores, divide

SPLITS = ("train", "val", "test")


def evaluate(
    where: str, split: str = "test", root: str = "", output: str = "", *, tta: str = "none", mc_samples: int = 0,
    seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Compute the task's figures on a split, print them, and return them.

    Args:
        where: see `restore`.
        split: "test", "val" or "train" (without augmentation).
        root: folder of the data; else the one of training if it is there, else the one in TORCHATLAS_DATA.
        output: a JSON file to write the figures to.
        tta, mc_samples: see `average_passes`.
        seed: of Monte Carlo dropout.
    """
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}{nearest(split, list(SPLITS))}")
    path, task, about = restore(where)
    average_passes(task, tta, mc_samples, about["data"]["kind"])
    torch.manual_seed(seed)
    config = about["config"]
    data = restored_data(about, root)
    data.prepare_data()
    data.setup("test")
    threads, data.num_workers = divide(
        cores(), in_memory=data.in_memory, on_gpu=device_of().type == "cuda", workers=data.num_workers
    )
    torch.set_num_threads(threads)
    quiet_libraries()
    trainer = lightning.Trainer(
        accelerator="auto", devices=1, precision=config["trainer"]["precision"], logger=False, callbacks=[],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    data.splits["test"] = data.splits[split]
    if split in (sizes := getattr(data, "bytes_per_token", {})):
        sizes["test"] = sizes[split]
    trainer.test(task, datamodule=data, verbose=False)
    figures = {key.replace("test/", f"{split}/", 1): v for key, v in task.figures.items() if key.startswith("test/")}
    print(f"{config['name']}: {path} on {len(data.splits[split])} samples of {split}")
    for key, value in figures.items():
        print(f"  {key:<28} {format_figure(key, value)}")
    if output:
        write_json(Path(output), {"checkpoint": str(path), "name": config["name"], **figures})
    return figures
