"""Who takes part in `torchatlas bench`: our trainer, loops around the same step, and the same by other means.

Each trains the network of the config on its data in batches of the same size, with its optimiser, clipping, precision
and threads, without end: a `Watch` says when it has had enough. Nothing is validated and no weights are written beyond
what a contestant does of itself.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..analysis.flops import count_flops
from ..analysis.hot_spots import hot_spots
from ..data.base import DataModule
from ..data.loading import Loader
from ..tasks.base import Task
from ..training import optimizers
from ..training.durations import Plan
from .assemble import Parts, assemble
from .build import build_trainer
from .devices import device_of
from .measure import count_tokens
from .tutorial import samples_of
from .watch import Watch, product_rate

ENDLESS = 10**9  # steps
FAKE_BATCHES, FAKE_BYTES = 400, 2**28  # of an epoch of made images, which is else two batches


def prepared(config: dict[str, Any], watch: Watch) -> Parts:
    """Data, network and task as training has them; the watch learns what they can tell, and sees the data's time."""
    parts = assemble(config)
    data, task = parts.data, parts.task
    data.prepare_data()
    data.setup("fit")
    lengthen(data)
    reading = Loader.__iter__
    Loader.__iter__ = lambda loader: watch.each(reading(loader))  # type: ignore[method-assign]
    transform = data.transform
    data.transform = lambda batch: watch.timed(transform, batch)  # type: ignore[method-assign]
    task.limits = [f"{ENDLESS}st"]
    watch.facts = lambda: facts(data, task, config)
    watch.operations = lambda events: hot_spots(events, {n: tuple(p.shape) for n, p in task.network.named_parameters()})
    return parts


def lengthen(data: DataModule) -> None:
    """Made images of more than two batches, so that an epoch has steps enough to be one."""
    images = getattr(data.splits["train"], "images", None)
    if data.fake and isinstance(images, Tensor):
        times = min(FAKE_BATCHES * data.batch_size // len(images), FAKE_BYTES // max(1, images.nbytes))
        train: Any = data.splits["train"]
        train.images = images.repeat(max(1, times), *(1,) * (images.ndim - 1))
        train.labels = train.labels.repeat(max(1, times))


def facts(data: DataModule, task: Task, config: Mapping[str, Any]) -> dict[str, Any]:
    """What does not depend on the clock, and the device's rate at matrix products."""
    raw = next(iter(data.loader("train", shuffle=True)))
    device = next(task.network.parameters()).device
    batch = data.transform(tuple(x.to(device) if isinstance(x, Tensor) else x for x in raw))
    dtype = torch.bfloat16 if str(config["trainer"]["precision"]).startswith("bf16") else torch.float32
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        with_gradients, others = count_flops(lambda: task.step(batch)["loss"])
    return {
        "parameters": sum(p.numel() for p in task.network.parameters()),
        "samples_per_step": data.batch_size,
        "tokens_per_step": count_tokens(task, batch),
        "flops_per_step": 3 * with_gradients + others,
        "flops_per_second_of_products": product_rate(device, dtype),
        "layout": "channels last" if _channels_last(task.network) else "contiguous",
    }


def _channels_last(network: nn.Module) -> bool:
    kernels = [p for p in network.parameters() if p.ndim == 4 and not p.is_contiguous()]
    return bool(kernels) and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


# --- ours


def _torchatlas(config: dict[str, Any], folder: Path, watch: Watch) -> None:
    parts = prepared(config, watch)
    build_trainer(config, folder).fit(parts.task, datamodule=parts.data)


def _alone(config: dict[str, Any], folder: Path, watch: Watch) -> None:
    _torchatlas(config | {"callbacks": {}, "logger": {}}, folder, watch)


def _loop(config: dict[str, Any], _: Path, watch: Watch) -> None:
    parts = prepared(config, watch)
    data, task = parts.data, parts.task
    device, options = device_of(config["trainer"]["accelerator"]), config["trainer"]
    task.to(device).train()
    task.setup("fit")
    optimizer = task.build_optimizer()
    plan = Plan(ENDLESS, data.batch_size, ENDLESS)
    schedule = None if task.make_schedule is None else task.make_schedule(optimizer, plan)
    loader = data.train_dataloader()
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=options["precision"] == "bf16-mixed")
    for epoch in range(ENDLESS):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            moved = tuple(x.to(device) if isinstance(x, Tensor) else x for x in batch)
            with autocast:
                loss = task.step(data.transform(moved))["loss"]
            optimizer.zero_grad()
            loss.backward()
            if options["gradient_clip_val"]:
                optimizers.clip(optimizer, options["gradient_clip_val"], options["gradient_clip_algorithm"])
            optimizer.step()
            if schedule is not None:
                schedule.step()


# --- as others write it


def loss_of(task: Task) -> Callable[[nn.Module, Any], Tensor]:
    """The loss of a network for a batch, without what our task does beside it."""
    if task.name == "classification":
        return lambda network, batch: F.cross_entropy(network(batch[0]), batch[1])
    return lambda _, batch: task.step(tuple(batch))["loss"]


def plainly(config: dict[str, Any]) -> tuple[Task, nn.Module, DataLoader[Any], torch.optim.Optimizer]:
    """Task and network of the config, a loader of single samples, and torch's optimiser with nothing chosen for it."""
    parts = assemble(config)
    parts.data.prepare_data()
    parts.data.setup("fit")
    lengthen(parts.data)
    assert parts.task.make_optimizer is not None
    loader = DataLoader(samples_of(parts.data), parts.data.batch_size, shuffle=True, drop_last=True)
    optimizer = parts.task.make_optimizer(parts.network.parameters())
    return parts.task, parts.network, loader, optimizer


def _naive(config: dict[str, Any], _: Path, watch: Watch) -> None:
    task, network, loader, optimizer = plainly(config)
    loss_function, options = loss_of(task), config["trainer"]
    device = device_of(options["accelerator"])
    network.to(device).train()
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=options["precision"] == "bf16-mixed")
    running = 0.0
    while True:
        for batch in loader:
            moved = [x.to(device) for x in batch]
            optimizer.zero_grad()
            with autocast:
                loss = loss_function(network, moved)
            loss.backward()
            if options["gradient_clip_val"]:
                nn.utils.clip_grad_norm_(network.parameters(), options["gradient_clip_val"])
            optimizer.step()
            running += loss.item()


class Newcomer(lightning.LightningModule):
    """As the first page of Lightning's documentation has it."""

    def __init__(self, network: nn.Module, loss: Callable[..., Tensor], optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.network, self.loss, self.optimizer = network, loss, optimizer

    def training_step(self, batch: Any, _: int) -> Tensor:
        loss = self.loss(self.network, batch)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


def _lightning(config: dict[str, Any], folder: Path, watch: Watch) -> None:
    task, network, loader, optimizer = plainly(config)
    options = config["trainer"]
    same = {key: options[key] for key in ("accelerator", "devices", "precision", "gradient_clip_val")}
    trainer = lightning.Trainer(max_epochs=-1, default_root_dir=folder, **same)
    trainer.fit(Newcomer(network, loss_of(task), optimizer), loader)


class Answering(nn.Module):
    """A network as the Trainer of transformers wants it: batches by name in, the loss out."""

    def __init__(self, network: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.loss(self.network, list(batch.values()))}


class ByName(torch.utils.data.Dataset[dict[str, Any]]):
    """Samples whose parts have names."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {f"part{i}": part for i, part in enumerate(self.samples[index])}


def _huggingface(config: dict[str, Any], folder: Path, watch: Watch) -> None:
    from transformers import Trainer, TrainingArguments

    task, network, loader, optimizer = plainly(config)
    options = config["trainer"]
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=config["data"]["batch_size"], max_steps=ENDLESS, save_strategy="no",
        report_to="none", remove_unused_columns=False, seed=config["seed"], dataloader_drop_last=True,
        bf16=options["precision"] == "bf16-mixed", max_grad_norm=options["gradient_clip_val"] or 0.0,
        use_cpu=device_of(options["accelerator"]).type == "cpu",
    )  # fmt: skip
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    Trainer(
        Answering(network, loss_of(task)), arguments, train_dataset=ByName(loader.dataset),
        optimizers=(optimizer, constant),
    ).train()  # fmt: skip


CONTESTANTS: dict[str, Callable[[dict[str, Any], Path, Watch], None]] = {
    "torchatlas": _torchatlas, "alone": _alone, "loop": _loop, "naive": _naive, "lightning": _lightning,
    "huggingface": _huggingface,
}  # fmt: skip
