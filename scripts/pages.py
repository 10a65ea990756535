"""Keep runs as records, and write the generated parts of the documents from records, configs and signatures.

    python scripts/pages.py [RUN_FOLDER ...]

Each run folder becomes `records/<name>-<time>.json`: command, config, seed, figures of each epoch, hardware, versions,
commit. Then `configs/recorded.yaml`, which says of each recipe whether it was run, and what stands between marks such
as `<!-- results -->` in the pages of `PARTS` are written anew. With --check nothing is written, and the status is 1 if
a page is not what they say; its name is printed.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from torchatlas.commands.help import about, usage, values
from torchatlas.commands.signature import FOLDER, Command, Key, places, read
from torchatlas.metrics.figures import format_figure
from torchatlas.run.check import limits
from torchatlas.run.compose import composed
from torchatlas.run.renamed import renamed
from torchatlas.run.summary import known_figures
from torchatlas.weights.terms import TERMS
from torchatlas.zoo import GROUPS, chosen, config_text, headline, list_models, model_card, options, terms

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "records"
DOCS = ROOT / "docs"
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
    "lstm_lm-ptb": "perplexity 82.7 (Zaremba et al. 2014)",
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


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Markdown: a line of names, a line of dashes, a line a row."""
    heads = list(heads)
    lines = [" | ".join(heads), "|".join(["---"] * len(heads)), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in lines)


def figures_of(record: dict[str, Any]) -> str:
    """What a record says of the test set, and of the validation set beside trigrams."""
    metrics, config = record["metrics"], renamed(record["config"])
    known = known_figures(config)
    tabled = {f"test/{name}" for name, figure in known.items() if figure.tabled}
    figures = [
        f"{key.removeprefix('test/').replace('_', ' ')} {format_figure(key, value, known)}"
        for key, value in metrics["test"].items()
        if key in tabled
    ]
    best = metrics["best"]
    for key, name in (("bits_per_character", "bits per character"), ("perplexity", "perplexity")):
        baseline = best.get(f"val/trigram_{key}")
        if baseline is not None:
            nats = f" ({best['val/loss']:.3f} nats)" if key == "bits_per_character" else ""
            figures.append(f"validation {best[f'val/{key}']:.3f} {name}{nats}, trigrams {baseline:.3f}")
    return ", ".join(figures)


def result(record: dict[str, Any]) -> list[str]:
    """A row: what was typed, on what, how long, with which test figures."""
    last, metrics, config = record["starts"][-1], record["metrics"], record["config"]
    hardware = last["hardware"]["gpus"] or [f"{last['hardware']['cores']} cores of {last['hardware']['cpu']}"]
    return [
        ", then ".join(f"`{start['command']}`" for start in record["starts"]),
        figures_of(record),
        "" if config["data"].get("permute") else PUBLISHED.get(record["name"], ""),
        str(metrics["epochs"]),
        f"{metrics['seconds'] / 60:.1f} min",
        f"{', '.join(hardware)}, {config['trainer']['precision']}",
        (last["commit"] or "none")[:9] + (" with changes" if last["uncommitted_changes"] else ""),
    ]


def all_records() -> list[dict[str, Any]]:
    """Those that are kept, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]


RESULT = ("command", "test", "published", "epochs", "time", "hardware", "commit")


def results_table() -> str:
    """A row per record."""
    return table(RESULT, map(result, all_records()))


# Words and keys that change no figure, or that name files of the machine.
ASIDE = re.compile(
    r"(callbacks|logger|seed|name|resume|weights)\b|data\.(root|path|num_workers|tokenizer)\b|trainer(=|\.max_)"
)
SHOWN = 3  # words in which a run was otherwise
DECIDES = re.compile(r"(model|data|task|optim|schedule|trainer)\.")  # and of these, no length: see `limits`


def otherwise(record: dict[str, Any], recipe: str) -> str | None:
    """What was typed beside a recipe in a record of it, as in "duration=5ep"; None where it is of no such run."""
    typed = [word for start in record["starts"] for word in start["command"].split()[2:]]
    if f"experiment={recipe}" in typed:
        return " ".join(word for word in typed if word != f"experiment={recipe}" and not ASIDE.match(word))
    choice = chosen([f"experiment={recipe}"])
    if record["name"] != f"{choice['model']}-{choice['data']}":
        return None
    config = composed([f"experiment={recipe}"]).config  # unresolved: what data declare may need files
    if limits(config) != limits({"duration": None} | record["config"]):
        return None
    asked, had = flat(OmegaConf.to_container(config)), flat(renamed(record["config"]))
    said = {key: value for key, value in asked.items() if DECIDES.match(key) and "${" not in str(value)}
    same = (had[key] == value for key, value in said.items() if key in had and not ASIDE.match(key))
    return "" if all(same) else None


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a config by dotted keys."""
    if not isinstance(config, dict):
        return {prefix[:-1]: config}
    return {key: value for name, part in config.items() for key, value in flat(part, f"{prefix}{name}.").items()}


def recipes() -> str:
    """Of each experiment of which there is a record, with which other values the closest to it was run."""
    records, lines = all_records(), []
    for name in options("experiment"):
        found = [words for record in records if (words := otherwise(record, name)) is not None]
        if found:
            closest = min((words.split() for words in found), key=len)
            more = ["with", *closest[:SHOWN], *["..."] * (len(closest) > SHOWN)] if closest else []
            lines.append(" ".join([f"{name}: run", *more]))
    said = (
        "# Whether each recipe was run, by records/; one that is not here never was. Written by scripts/pages.py.\n"
        "# Read as text, and chosen by nobody.\n"
    )
    return said + "\n".join(lines) + "\n"


def licences_table() -> str:
    """A row per data set that is not the user's own."""
    rows = (([f"`{name}`", t.licence, t.source, t.cite]) for name in options("data") if (t := terms(name)).source)
    return table(("`data=`", "licence", "said by", "to cite"), rows)


def weights_table() -> str:
    """A row per source of weights."""
    rows = ([f"`{name}`", t.licence, t.source, t.cite] for name, t in TERMS.items())
    return table(("weights of", "licence", "said by", "to cite"), rows)


def models_table() -> str:
    """A row per network, from the config files."""
    cards = map(model_card, list_models())
    rows = ([f"`{c.name}`", f"{c.parameters:,}", f"`{c.task}`", f"`{c.data}`", c.paper] for c in cards)
    return table(("`model=`", "parameters", "task", "data", "paper"), rows)


def kind_of_data(name: str) -> str:
    """The folder under `src/data/` of a set's class, which its YAML names or the YAML that it begins with."""
    config = OmegaConf.create(config_text("data", name))
    if "_target_" not in config:
        return kind_of_data(config.defaults[0])
    return str(config._target_).split(".")[2]


def data_table() -> str:
    """A row per data set, by kind, from the config files."""
    rows = sorted((kind_of_data(name), position, name) for position, name in enumerate(options("data")))
    return table(("kind", "`data=`", ""), ([kind, f"`{name}`", headline("data", name)] for kind, _, name in rows))


def choices_tables() -> str:
    """A table per group but those that have a page of their own."""
    groups = [group for group in GROUPS if group not in ("model", "data")]
    tables = (
        table((f"`{group}=`", ""), ([f"`{name}`", headline(group, name)] for name in options(group)))
        for group in groups
    )
    return "\n\n".join(tables)


SMALL = "tests/weights/test_small_image_repositories.py"
HELD_AGAINST = {  # what the networks that torchvision has not are held against, and where
    "lenet5": "the paper's parameters by layer, tests/models/test_lenet5.py",
    "lstm_lm": "the paper's equations, token by token, tests/models/test_lstm_lm.py",
    "mlp": "matrix products and worked examples, tests/models/test_mlp.py",
    "perceptron": "Rosenblatt's rule written out, tests/tasks/test_perceptron.py",
    "preact_resnet18": f"the network of kuangliu/pytorch-cifar, built anew in {SMALL}",
    "wrn28_10": f"the network of xternalz/WideResNet-pytorch, built anew in {SMALL}",
    "tcn": "the papers' parameters and equations written out, tests/models/test_sequence_models.py",
    "cnn1d": "the parameters of the paper's network, padding and length, tests/models/test_sequence_models.py",
    **dict.fromkeys(
        ("rnn", "lstm", "gru"), "cells written out, which are torch's, tests/models/test_sequence_models.py"
    ),
    **dict.fromkeys(("d_linear", "n_linear"), "the paper's equations, tests/models/test_d_linear.py"),
    "m5": "the layers of the paper's table, tests/models/test_m5.py",
    **dict.fromkeys(("res8", "res15"), "the networks of the authors' code, tests/models/test_res8.py"),
    **dict.fromkeys(("unet", "unet_same"), "a U-Net put together from torch.nn, tests/models/test_unet.py"),
    "unet_resnet34": "torchvision's encoder and the decoder written out, tests/models/test_unet_resnet.py",
    **dict.fromkeys(
        ("fcn32s", "fcn16s", "fcn8s"), "VGG as a sliding classifier, its scores written out, tests/models/test_fcn.py"
    ),
    "fcn_resnet50": "torchvision's fcn_resnet50, bit for bit, tests/models/test_fcn_resnet.py",
    **dict.fromkeys(
        ("autoencoder", "autoencoder_linear", "autoencoder_conv"),
        "PCA and matrix products, tests/models/test_autoencoder.py",
    ),
    **dict.fromkeys(
        ("vae", "vae_conv"), "sizes and closed forms, tests/models/test_vae.py and tests/tasks/test_elbo.py"
    ),
    **dict.fromkeys(("ddpm", "ddpm_small"), "the network of diffusers, tests/models/test_unet_ddpm.py"),
    "vit_cifar": "torchvision's ViT at a small size, tests/models/test_vit.py",
    **dict.fromkeys(
        ("deit_tiny", "deit_small", "deit_base"), "timm's and transformers' networks, tests/models/test_vit.py"
    ),
    "transformer": "torch.nn.Transformer, tests/models/test_transformer.py",
    "seq2seq": "its cells step by step, padding and order of the source, tests/models/test_seq2seq.py",
    "seq2seq_attention": "the papers' equations written out, tests/models/test_seq2seq.py",
    **dict.fromkeys(
        ("bert_tiny", "bert_mini", "bert_small", "bert_medium", "bert_base", "bert_large"),
        "the network of transformers, tests/models/test_bert.py",
    ),
    **dict.fromkeys(
        ("gpt2", "gpt2_medium", "gpt2_large", "gpt2_xl", "gpt_char", "gpt_char_cpu"),
        "the network of transformers, tests/models/test_gpt.py",
    ),
    **dict.fromkeys(
        ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        f"the network of akamaster/pytorch_resnet_cifar10, built anew in {SMALL}",
    ),
}


def held_against_table() -> str:
    """A row per network that torchvision has not."""
    cards = (model_card(name) for name in list_models() if name in HELD_AGAINST)
    rows = ([f"`{card.name}`", f"{card.parameters:,}", HELD_AGAINST[card.name], card.paper] for card in cards)
    return table(("`model=`", "parameters", "held against", "paper"), rows)


def key_row(key: Key) -> list[str]:
    """A key of a command, its values, and its help."""
    cells = (f"`{key.key.upper() if key.positional else key.key}`", f"`{values(key)}`", about(key))
    return [cell.replace("|", "\\|") for cell in cells]


def command_section(command: Command) -> str:
    """All that a command says of itself."""
    rows = [key_row(key) for key in command.keys.values()]
    if command.words is not None:
        rows.append(["...", "", command.words_help])
    keys = table(("key", "value", ""), rows) if rows else ""
    parts = [f"## {command.name}", f"{command.headline}.", f"`{usage(command)}`", command.text, keys]
    return "\n\n".join(filter(None, [*parts, f"```\n{command.examples}\n```"]))


def command_sections() -> str:
    """A section per command of this package, from its function's signature and docstring."""
    names = sorted(name for name, place in places().items() if place.path.parent == FOLDER)
    return "\n\n".join(command_section(read(name)) for name in names)


def speed_row(record: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each program of one comparison; what was typed, where, and how quiet it was, beside the first."""
    machine, steps = record["hardware"], record["steps"]
    for i, result in enumerate(record["results"]):
        if not (found := result.get("figures")):
            continue
        alone = min(r["cpu_seconds"] / r["seconds"] for r in result["rounds"])
        first = (
            f"`torchatlas bench {' '.join(record['words'])}`",
            f"{machine['cpu'] if record['device'] == 'cpu' else record['device']} ({', '.join(machine['flags'])}), "
            f"{record['threads']} of {machine['cores']} cores, {record['precision']}, torch "
            f"{record['versions']['torch']}, {(record['commit'] or 'none')[:9]}"
            f"{' with changes' if record.get('uncommitted_changes', True) else ''}, {len(result['rounds'])} x "
            f"{steps} steps",
        )
        yield [
            first[0] if i == 0 else "", result["name"], f"{1e3 * found['seconds_per_step']:.4g}",
            f"{1e3 * found['cpu_seconds_per_step']:.4g}", f"{found['ratio']:.2f}", f"{found['cpu_ratio']:.2f}",
            f"{100 * alone:.0f} %" if record["device"] == "cpu" else "", first[1] if i == 0 else "",
        ]  # fmt: skip


SPEED = ("command", "program", "ms a step", "CPU ms", "ratio", "ratio by CPU", "least share of the CPU", "where")


def speed_table() -> str:
    """Rows of all comparisons that are kept."""
    kept = [json.loads(path.read_text()) for path in sorted((RECORDS / "speed").glob("*.json"))]
    return table(SPEED, (row for record in kept for row in speed_row(record)))


PARTS: tuple[tuple[str, str, Callable[[], str]], ...] = (  # page, mark, what is written there
    ("models.md", "models", models_table),
    ("models.md", "held against", held_against_table),
    ("data.md", "data", data_table),
    ("licences.md", "data", licences_table),
    ("licences.md", "weights", weights_table),
    ("choices.md", "choices", choices_tables),
    ("commands.md", "commands", command_sections),
    ("results.md", "results", results_table),
    ("speed.md", "speed", speed_table),
)


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
    status = written(ROOT / "configs" / "recorded.yaml", recipes(), check)
    for name, mark, part in PARTS:
        status |= written(DOCS / name, with_part((DOCS / name).read_text(), mark, part()), check)
    return status


def written(path: Path, text: str, check: bool) -> int:
    """Write a file if it says something else, or say so and return 1."""
    if path.exists() and path.read_text() == text:
        return 0
    if not check:
        path.write_text(text)
        return 0
    print(f"{path.relative_to(ROOT)} is not what records, configs and signatures say: run python scripts/pages.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
