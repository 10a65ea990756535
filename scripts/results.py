"""Keep runs as records, and write the tables of the documents from them.

    python scripts/results.py [RUN_FOLDER ...]

Each run folder becomes `records/<name>-<time>.json`: command, config, seed, figures of each epoch, hardware, versions,
commit. Then the parts between the marks `<!-- results -->` and `<!-- models -->` in README.md are written anew. With
--check nothing is written, and the status is 1 if the README is not what the records say.
"""

import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from torchatlas.metrics.figures import format_figure
from torchatlas.zoo import list_models, model_card

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "records"
README = ROOT / "README.md"
# What a row of the table says of the test set, where the task has it.
FIGURES = (
    "accuracy", "exact_match", "exact_match_long", "bleu", "chrf", "masked_nll", "masked_accuracy", "unigram_nll",
    "bag_of_words_accuracy", "bits_per_character", "mse", "mae", "mse_over_best_baseline", "nll", "recall_accuracy",
    "mean_mse", "memoryless_loss", "last_value_mse", "seasonal_naive_mse", "drift_mse", "linear_mse",
    "mean_iou", "dice", "pixel_accuracy", "threshold_mean_iou", "threshold_dice", "majority_mean_iou",
    "reconstruction", "kl", "iwae_bound", "active_units", "bits_per_dim", "pca_mse",
    "denoised_mse", "corrupted_mse", "loss",
)  # fmt: skip


# What others report of the same network on the same data, by the run's name; with other settings where it says so.
BAI = "Bai et al. 2018"
PUBLISHED = {
    "tcn-mnist_pixels": f"accuracy 99.0 % ({BAI})",
    "tcn-adding": f"mse 5.8e-5 at T = 600 ({BAI})",
    "gru-adding": f"mse 5.3e-5 at T = 600 ({BAI})",
    "lstm-adding": f"mse .164 at T = 600 ({BAI})",
    "rnn-adding": f"mse .177 at T = 600 ({BAI})",
    "tcn-copy_memory": f"loss 3.5e-5 at T = 1000 ({BAI})",
    "gru-copy_memory": f"loss .0197 at T = 1000 ({BAI})",
    "lstm-copy_memory": f"loss .0204 at T = 1000 ({BAI})",
    "rnn-copy_memory": f"loss .0202 at T = 1000 ({BAI})",
    "tcn-jsb_chorales": f"nll 8.10 ({BAI})",
    "d_linear-etth1": "mse .375 (Zeng et al. 2022)",
    "gpt_char_cpu-tiny_shakespeare": "1.88 nats on the last tenth (nanoGPT), of which our validation is the first half",
    "transformer-multi30k": "BLEU 36.52, of words (bentrevett/pytorch-seq2seq)",
    "vae-mnist": "loss 104 to 106 nats (pytorch/examples)",
    "lstm_lm-tiny_shakespeare": "a Transformer: 1.4697 nats (nanoGPT), of which our validation is the first half",
}


def keep(folder: Path) -> None:
    """One run folder as one JSON file, without paths of the machine."""
    record = json.loads((folder / "record.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    config["data"].pop("root", None)
    record |= {"config": config, "metrics": metrics}
    record["epochs"] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    started = record["starts"][0]["time"][:19].replace(":", "-")
    (RECORDS / f"{record['name']}-{started}.json").write_text(json.dumps(record, indent=1) + "\n")


def results_table() -> str:
    """A row per record: what was typed, on what, how long, with which test figures."""
    lines = ["| command | test | published | epochs | time | hardware | commit |", "|---|---|---|---|---|---|---|"]
    for path in sorted(RECORDS.glob("*.json")):
        record = json.loads(path.read_text())
        first, metrics = record["starts"][-1], record["metrics"]
        commands = ", then ".join(f"`{start['command']}`" for start in record["starts"])
        hardware = first["hardware"]["gpus"] or [f"{first['hardware']['cores']} cores of {first['hardware']['cpu']}"]
        figures = [
            f"{key.removeprefix('test/').replace('_', ' ')} {format_figure(key, value)}"
            for key, value in metrics["test"].items()
            if key.removeprefix("test/") in FIGURES
            and (key != "test/loss" or record["name"].endswith("copy_memory") or "test/kl" in metrics["test"])
        ]
        best = metrics["best"]
        for key, name in (("bits_per_character", "bits per character"), ("perplexity", "perplexity")):
            baseline = best.get(f"val/trigram_{key}")
            if baseline is not None:
                nats = f" ({best['val/loss']:.3f} nats)" if key == "bits_per_character" else ""
                figures.append(f"validation {best[f'val/{key}']:.3f} {name}{nats}, trigrams {baseline:.3f}")
        commit = (first["commit"] or "none")[:9] + (" with changes" if first["uncommitted_changes"] else "")
        permuted = record["config"]["data"].get("permute")
        published = "" if permuted else PUBLISHED.get(record["name"], "")
        cells = [
            commands, ", ".join(figures), published, metrics["epochs"],
            f"{metrics['seconds'] / 60:.1f} min", f"{', '.join(hardware)}, {record['config']['trainer']['precision']}",
            commit,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def models_table() -> str:
    """A row per model, from the config files."""
    lines = ["| `model=` | parameters | default data | paper |", "|---|---|---|---|"]
    for card in map(model_card, list_models()):
        lines.append(f"| `{card.name}` | {card.parameters:,} | `{card.data}` | {card.paper} |")
    return "\n".join(lines)


def with_part(text: str, mark: str, part: str) -> str:
    """The text with what stands between `<!-- mark -->` and `<!-- /mark -->` replaced."""
    before, _, rest = text.partition(f"<!-- {mark} -->")
    _, _, after = rest.partition(f"<!-- /{mark} -->")
    return f"{before}<!-- {mark} -->\n{part}\n<!-- /{mark} -->{after}"


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    check = "--check" in arguments
    for folder in (a for a in arguments if a != "--check"):
        keep(Path(folder))
    old = README.read_text()
    new = with_part(with_part(old, "results", results_table()), "models", models_table())
    if check:
        return int(new != old)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
