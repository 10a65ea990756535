"""The end of a run whose loss is no number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from ..errors import UserError
from ..storage.checkpoints import write
from ..storage.random_state import random_state, restore_random_state
from ..tasks.base import Task
from .base import Callback


class Finite(Callback):
    """Stops a run at a loss that is NaN or infinite.

    The batch, the random states from before its forward pass and the weights are saved in `nonfinite.ckpt`, and the
    forward pass is computed once more to name the first layer whose output is not finite.

    Args:
        every_n_steps: steps between two looks. With 1 the optimiser has not used the loss yet, and weights, batch and
            layer are those of the first step that failed. On a GPU a look waits for the device, and several processes
            ask one another, so there it is `log_every_n_steps` where nothing is given; on a CPU it is 1.
        config: the run's, resolved, for the file.
    """

    def __init__(self, every_n_steps: int | None = None, config: Mapping[str, Any] | None = None) -> None:
        if every_n_steps is not None and (not isinstance(every_n_steps, int) or every_n_steps < 1):
            raise UserError(f"callbacks.finite.every_n_steps={every_n_steps} must be a positive whole number or null")
        self.given, self.config = every_n_steps, dict(config or {})
        self.batch: Any = None
        self.random: dict[str, Any] | None = None
        self.every = 1

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        cheap = pl_module.device.type == "cpu" and trainer.world_size == 1
        self.every = self.given or (1 if cheap else trainer.log_every_n_steps)  # type: ignore[attr-defined]

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.batch = batch
        self.torch_state = torch.get_rng_state()
        self.cuda_state = torch.cuda.get_rng_state() if pl_module.device.type == "cuda" else None

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        if (trainer.global_step + 1) % self.every:
            return
        bad = not bool(loss.isfinite())
        anywhere = bad if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(bad, all=False)
        if bad:
            self.stop(trainer, pl_module, loss)
        if anywhere:
            raise UserError("the loss of another process is NaN or infinite")

    def stop(self, trainer: lightning.Trainer, module: lightning.LightningModule, loss: Tensor) -> None:
        assert isinstance(module, Task)
        step, value = trainer.global_step + 1, float(loss.detach())
        path = Path(trainer.default_root_dir) / f"nonfinite{trainer.global_rank or ''}.ckpt"
        state = random_state() | {"torch": self.torch_state, "cuda": self.cuda_state}
        write(
            {
                "state_dict": module.state_dict(),
                "torchatlas": {
                    "config": self.config,
                    "data": trainer.datamodule.describe(),  # type: ignore[attr-defined]
                    "batch": list(self.batch),
                    "random": state,
                    "step": step,
                },
            },
            path,
        )
        restore_random_state(state)
        where = first_nonfinite(module, self.batch)
        rate = max(group["initial_lr"] for group in trainer.optimizers[0].param_groups)
        raise UserError(
            f"the loss of step {step} (epoch {trainer.current_epoch + 1}) is {value}: {where}; batch, weights and "
            f"random state are in {path}. Try a lower rate (optim.lr={rate / 10:.1g}), trainer.gradient_clip_val=1, a "
            "longer schedule.warmup, or trainer.precision=32-true"
        )


def first_nonfinite(task: Task, batch: Any) -> str:
    """What a forward pass shows: the first input, weight or layer that is not finite, in the order of computation."""
    found: list[str] = []

    def finite(value: Any) -> bool:
        if isinstance(value, Tensor):
            return not value.is_floating_point() or bool(value.isfinite().all())
        return all(finite(v) for v in value) if isinstance(value, list | tuple) else True

    def watch(name: str, layer: nn.Module) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if found or finite(output):
                return
            bad = [key for key, p in module.named_parameters(recurse=False) if not finite(p)]
            cause = f"its {bad[0]} is not finite: an update before was too large" if bad else "its weights are finite"
            found.append(f"the first output that is not finite is of layer {name} ({type(layer).__name__}; {cause})")

        return layer.register_forward_hook(hook)

    if not finite(batch):
        return "the batch itself holds values that are not finite, so the data are damaged"
    leaves = [(name, m) for name, m in task.network.named_modules() if not list(m.children())]
    hooks = [watch(name or "network", layer) for name, layer in leaves]
    try:
        with torch.no_grad(), task.trainer.precision_plugin.forward_context():
            task.step(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "all layers are finite and the loss function alone is not"
