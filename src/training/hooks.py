"""What keeps Lightning's hooks cheap."""

from typing import Any

EACH_BATCH = (
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "on_train_batch_end",
)  # fmt: skip


def leave_out(owner: Any, base: type) -> None:
    """Let Lightning pass over the hooks of each step that a callback or a task leaves as they are.

    It does so with hooks that cannot be called. An empty one costs three microseconds, and eight callbacks with six
    hooks each more than a small network's whole update.

    Args:
        owner: it gets None in place of each hook that it has from `base`.
        base: `lightning.Callback` or `lightning.LightningModule`.
    """
    for hook in EACH_BATCH:
        if getattr(type(owner), hook, None) is getattr(base, hook):
            vars(owner)[hook] = None
