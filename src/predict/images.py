"""Classes of images."""

from pathlib import Path
from typing import Any

import torch

from ..data.images.image_folder import load_image
from ..errors import UserError
from ..tasks.classification import Classification
from .inputs import BATCH


@torch.no_grad()
def _classify(task: Classification, about: dict[str, Any], paths: list[Path], top: int) -> list[dict[str, Any]]:
    classes = about["classes"]
    if not 1 <= top <= len(classes):
        raise UserError(f"top={top} must be from 1 to the {len(classes)} classes")
    mean, std = (torch.tensor(about[key])[:, None, None] for key in ("mean", "std"))
    rows = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        images = torch.stack(
            [load_image(p, about["in_channels"], about["image_size"], about.get("resize")) for p in part]
        )
        x = ((images / 255 - mean) / std).to(task.device)
        if about["kind"] == "pixels":  # read row by row or pixel by pixel
            x = x.flatten(1) if about["order"] is None else x.flatten(1)[:, about["order"]]
            x = x.unflatten(1, (-1, about["image_size"] if about["by"] == "row" else 1))
        each = task.predict(x)[None] if task.averaged is None else task.averaged(task.network, x)
        spreads = each.std(0, correction=0).cpu()
        for path, row, spread in zip(part, each.mean(0).cpu(), spreads, strict=True):
            values, places = row.topk(top)
            entry: dict[str, Any] = {"file": str(path)}
            for i, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True), start=1):
                suffix = "" if top == 1 else f"_{i}"
                entry |= {f"class{suffix}": classes[place], f"probability{suffix}": round(value, 6)}
                if task.averaged is not None:
                    entry[f"spread{suffix}"] = round(float(spread[place]), 6)
            rows.append(entry)
    return rows
