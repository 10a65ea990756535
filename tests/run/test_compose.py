"""What a config says by interpolation holds."""

from typing import Any


def test_permuted_pixels_train_and_sums_go_on(train: Any) -> None:
    """What a config says by interpolation holds when it is tried on the meta device, and in a resumed run."""
    small = ("debug=one_batch", "trainer=cpu", "model.dim=4", "logger=none", "callbacks=default")
    train("model=gru", "data=digits_pixels", "data.permute=true", *small)
    folder = train("model=gru", "data=adding", "task=regression", "data.fake=true", *small)
    train(f"resume={folder}", "trainer.max_epochs=2")
    figures = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(figures) == 2
    assert '"val/mean_mse": 0.1666' in figures[1]
