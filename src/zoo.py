"""What is in the zoo: read from the config files, without Hydra, Lightning or torch."""

import fnmatch
import functools
import importlib
import logging
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError, nearest
from .licences import Terms
from .packages import config_folders, file_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from torch import Tensor, nn

log = logging.getLogger(__name__)
GROUPS = (
    "model", "data", "augment", "task", "optim", "schedule", "trainer", "callbacks", "logger", "experiment", "debug",
)  # fmt: skip
# What timm's users type, and what it is called here.
TIMM_WORDS = {
    "in_chans": "in_channels", "img_size": "image_size", "drop_rate": "dropout", "drop_path_rate": "stochastic_depth",
    "attn_drop_rate": "attention_dropout", "embed_dim": "dim", "num_heads": "heads", "layers": "depths",
    "cardinality": "groups", "growth_rate": "growth", "block_config": "depths", "checkpoint_path": "pretrained",
    "pretrained_cfg": "pretrained",
}  # fmt: skip
TIMM_NAMES = {
    "mobilenetv2_100": "mobilenet_v2", "vit_base_patch16_224": "vit_b_16", "vit_base_patch32_224": "vit_b_32",
    "vit_large_patch16_224": "vit_l_16", "vit_huge_patch14_224": "vit_h_14",
    **{f"deit_{size}_distilled_patch16_224": f"deit_{size}" for size in ("tiny", "small", "base")},
}  # fmt: skip


@dataclass(frozen=True)
class ModelCard:
    """What a model's YAML says of the published network.

    Attributes:
        name: as in `model=<name>`.
        paper: the network's full name and where it was published.
        parameters: at the published size; None: a config of the user's own does not say it.
        task, data: the defaults, as in `task=<task> data=<data>`.
        file: that with the mathematics, from the folder on that the package lies in, as src/models/resnet.py.
        weights: those that `pretrained=True` takes, as in `weights=<weights>`; None: none are known.
    """

    name: str
    paper: str
    parameters: int | None
    task: str
    data: str
    file: str
    weights: str | None


def config_text(group: str, name: str) -> str:
    """The YAML file of one choice.

    Raises:
        UserError: there is none of that name; the nearest one is said.
    """
    if name not in options(group):
        raise UserError(f"there is no {group} {name!r}{nearest(name, options(group))}")
    return next(path for path in files_of(group, name) if path.is_file()).read_text(encoding="utf-8")


def files_of(group: str, name: str) -> "list[Path | Traversable]":
    """Where the YAML of a choice can be: the first one counts, which is that of this package."""
    places = (files("torchatlas.configs"), *config_folders())
    return [place.joinpath(group, f"{name}.yaml") for place in places]


def require_one(group: str, name: str) -> None:
    """Refuse a choice that one of the user's own configs hides behind one of this package, or behind another.

    Raises:
        UserError: it names the file.
    """
    found = [path for path in files_of(group, name) if path.is_file()]
    if len(found) > 1:
        raise UserError(f"{found[1]} has a name that is taken, and {group}={name} is another one: rename the file")


def options(group: str) -> list[str]:
    """Names of the choices of a group, numbers inside them in numeric order."""
    return list(_options(group, config_folders()))


@functools.cache
def _options(group: str, folders: "tuple[Path, ...]") -> tuple[str, ...]:
    here = files("torchatlas.configs").joinpath(group)
    places = [here, *(folder / group for folder in folders if (folder / group).is_dir())]
    names = {path.name[:-5] for place in places for path in place.iterdir() if path.name.endswith(".yaml")}
    return tuple(sorted(names, key=lambda name: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", name)]))


def config_keys() -> list[str]:
    """What stands alone at the left of a word of training: the groups, and the keys that are in none.

    >>> {"model", "seed", "weights"} <= set(config_keys())
    True
    """
    keys = re.findall(r"^(\w+):", _first_text(), re.MULTILINE)
    return [*GROUPS, *(key for key in keys if key not in ("defaults", "hydra"))]


def _first_text() -> str:
    return files("torchatlas.configs").joinpath("train.yaml").read_text(encoding="utf-8")


def chosen(words: Sequence[str]) -> dict[str, str]:
    """The choice of each group by words of training: what is typed, what that brings with it, or else the default.

    >>> chosen(["model=lstm_lm", "optim=sgd"])["data"], chosen([])["data"]
    ('pydoc', 'digits')
    """
    found = dict(pair for pair in (word.split("=", 1) for word in words if "=" in word) if pair[0] in GROUPS)
    first = dict(re.findall(r"^  - (\w+): (\w+)$", _first_text(), re.MULTILINE))
    for group in ("experiment", "model", "task"):
        name = found.get(group, first[group])
        if name in options(group):
            found = dict(re.findall(r"override /(\w+): (\w+)", config_text(group, name))) | found
    return {group: name for group, name in (first | found).items() if group in GROUPS and name in options(group)}


def settings(words: Sequence[str]) -> list[str]:
    """Keys inside the groups that words of training choose, as in optim.lr.

    >>> {"optim.lr", "optim.weight_decay", "data.batch_size", "trainer.max_epochs"} <= set(settings(["optim=sgd"]))
    True
    """
    return list(dict.fromkeys(key for group, name in chosen(words).items() for key in _settings(group, name)))


def _settings(group: str, name: str) -> list[str]:
    """Those of one choice, and of the choice that it begins with."""
    text = config_text(group, name)
    found: list[str] = []
    bases = [base for base in re.findall(r"^  - (\w+)$", text, re.MULTILINE) if base in options(group)]
    package = match[1] if (match := re.search(r"@package ([a-z_.]+)$", text, re.MULTILINE)) else group
    path = [(-1, "" if package == "_global_" else f"{package}.")]  # the sections around a line, by their indent
    for indent, key, value in re.findall(r"^( *)([a-z]\w*):(.*)$", text, re.MULTILINE):
        while path[-1][0] >= len(indent):
            path.pop()
        path.append((len(indent), f"{path[-1][1]}{key}."))
        if value.strip() and not value.startswith(" ${"):  # a section, or what follows another key
            found.append(path[-1][1][:-1])
    return list(dict.fromkeys([key for base in bases for key in _settings(group, base)] + found))


def headline(group: str, name: str) -> str:
    """The first line of comment, which says in one sentence what the choice is, and of a recipe whether it was run.

    A user's own need not have one.
    """
    lines = config_text(group, name).splitlines()
    comment = next((x[2:] for x in lines if x.startswith("# ") and not x.startswith("# @package")), "")
    return f"{comment} [{recorded(name)}]" if group == "experiment" else comment


def recorded(recipe: str) -> str:
    """Whether an experiment was run, by the records of this project: "run", "run with" other values, or "never run".

    >>> recorded("autoencoder_digits"), recorded("resnet50_imagenet")
    ('run', 'never run')
    """
    return _recorded().get(recipe, "never run")


@functools.cache
def _recorded() -> dict[str, str]:
    text = files("torchatlas.configs").joinpath("recorded.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+): (.+)$", text, re.MULTILINE))


def terms(data: str) -> Terms:
    """What the YAML of a data set says of its licence.

    >>> terms("cifar100") == terms("cifar10"), terms("fsdd").licence
    (True, 'CC BY-SA 4.0')
    """
    found = dict(re.findall(r"^# (Licence|Said by|Cite): +(.+)$", config_text("data", data), re.MULTILINE))
    licence = found.get("Licence", "")
    if licence.startswith("as data="):
        return terms(licence.removeprefix("as data="))
    return Terms(licence, found.get("Said by", ""), found.get("Cite", ""))


def model_card(name: str) -> ModelCard:
    """What is known of a model; see `ModelCard`."""
    text = config_text("model", name)

    def find(pattern: str) -> str:
        match = re.search(pattern, text, re.MULTILINE)
        return match[1] if match else ""

    first = chosen([])
    number = find(r"^# ([\d,]+) parameters").replace(",", "")
    return ModelCard(
        name=name,
        paper=headline("model", name),
        parameters=int(number) if number else None,
        task=find(r"override /task: (\w+)") or first["task"],
        data=find(r"override /data: (\w+)") or first["data"],
        file=mathematics(find(r"_target_: ([\w.]+)")),
        weights=match[1] if (match := re.search(r"^# weights: (\S+)$", text, re.MULTILINE)) else None,
    )


def mathematics(target: str) -> str:
    """The file of a class, from the folder on that its package lies in; where there is none, the module's name.

    A class that the package's `__init__.py` takes from a file beside it is looked for there.

    >>> mathematics("torchatlas.models.resnet.ResNet").rpartition("/models/")[2], mathematics("no.such.Network")
    ('resnet.py', 'no.such')
    """
    module, _, name = target.rpartition(".")
    path = file_of(module)
    if path.name == "__init__.py":
        text = path.read_text(encoding="utf-8")
        if found := re.search(rf"^from \.(\w+) import (?:\([^)]*|[^\n]*)\b{name}\b", text, re.MULTILINE):
            module, path = f"{module}.{found[1]}", file_of(f"{module}.{found[1]}")
    if not path.is_file():
        return module
    depth = module.count(".") + (path.name == "__init__.py")
    return path.relative_to(path.parents[min(depth, len(path.parents) - 1)]).as_posix()


def list_models(
    filter: str | Sequence[str] | None = "",
    *,
    task: str | None = None,
    data: str | None = None,
    pretrained: bool = False,
    exclude_filters: str | Sequence[str] = "",
) -> list[str]:
    """Names that `create_model` and `model=` take.

    Args:
        filter: what a name is like, as "resnet*" or "*resn[ex]t5?"; without `*`, `?` and `[` a part of it. Small and
            capital letters are the same. Of several one is enough.
        task: of networks with this default task alone, as "segmentation".
        data: of networks with this default data set alone, as "cifar10".
        pretrained: of networks alone of which `pretrained=True` knows weights.
        exclude_filters: names that are left out, as of `filter`.

    Raises:
        UserError: no such task or data; the nearest one is said.
    """

    def like(name: str, patterns: str | Sequence[str]) -> bool:
        wanted = [p.lower() for p in ([patterns] if isinstance(patterns, str) else patterns)]
        return any(fnmatch.fnmatchcase(name.lower(), p if re.search(r"[*?[]", p) else f"*{p}*") for p in wanted)

    for group, chosen in (("task", task), ("data", data)):
        if chosen is not None and chosen not in options(group):
            raise UserError(f"there is no {group} {chosen!r}{nearest(chosen, options(group))}")
    names = [name for name in options("model") if like(name, filter or "")]
    names = [name for name in names if not exclude_filters or not like(name, exclude_filters)]
    if not (task or data or pretrained):
        return names
    cards = map(model_card, names)
    return [
        c.name for c in cards if task in (None, c.task) and data in (None, c.data) and (c.weights or not pretrained)
    ]


def create_model(
    name: str,
    pretrained: "bool | str | Path | Mapping[str, Tensor] | None" = False,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    **overrides: Any,
) -> "nn.Module":
    """A network of the zoo.

    Args:
        name: one of `list_models()`.
        pretrained: weights to begin with: True for those that the network is known for, else what `load_weights`
            takes, as "torchvision:IMAGENET1K_V2", a file or a run folder. What they are for the log says, and the
            `preprocessing` of a classifier. A last layer for another number of classes is new; a first convolution for
            other image channels is made of theirs, see `adapt_channels`.
        features_only: the maps of several strides in place of the answer, see `FeatureNet`.
        out_indices: of these maps: which, or how many from the last on.
        overrides: arguments of the network's class in place of the published size's, e.g. `num_classes=10`;
            `num_classes=0`: no last layer. `in_chans` is `in_channels`.

    Returns:
        The network, in train mode, on torch's default device.

    Raises:
        UserError: no such model, argument or weights; or it is no classifier, which the word is for.
        ValueError: the network cannot have that size.
    """
    from omegaconf import OmegaConf

    if not isinstance(name, str):
        raise UserError(f"a {type(name).__name__} is no name of a model: torchatlas.list_models() has them")
    if isinstance(pretrained, numbers.Number | list | tuple) and not isinstance(pretrained, bool):
        raise UserError(f"pretrained={pretrained!r:.40}: use True, the name of weights, a file, or a run folder")
    ours = TIMM_NAMES.get(name.partition(".")[0], name.partition(".")[0])
    if name not in options("model") and ours in options("model"):
        raise UserError(f"timm's {name} is called {ours} here, and its weights are pretrained='timm:{name}'")
    config: Any = OmegaConf.create(config_text("model", name))
    # a user's own file may have no other section, and then Hydra lets the section's name go
    arguments: Any = OmegaConf.to_container(config.get("model", config), resolve=True)
    arguments.pop("defaults", None)
    target = arguments.pop("_target_")
    given = _understood(name, overrides, arguments)
    headless = given.get("num_classes") == 0 and given.pop("num_classes") == 0
    if out_indices is not None and not features_only:
        raise UserError(f"out_indices={out_indices} is for maps: add features_only=True")
    module, _, attribute = target.rpartition(".")
    network_class: type[nn.Module] = getattr(importlib.import_module(module), attribute)
    if headless or features_only:
        _require_classifier(name, network_class, "num_classes=0" if headless else "features_only=True")
    network = network_class(**{**arguments, **given})
    if pretrained is not None and pretrained is not False:
        _load(name, network, pretrained)
    return _as_features(network, headless, features_only, out_indices)


def _understood(name: str, overrides: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by our words, sizes as numbers of Python.

    Args:
        published: the network's arguments, with their values.

    Raises:
        UserError: the network has no such argument, and the right word is said; a size is no number that can be one.
    """
    given, known = dict(overrides), list(published)
    for key, least in (("in_chans", 1), ("in_channels", 1), ("num_classes", 0)):
        value = given.get(key)
        if key not in given or (value is None and published.get(key, 0) is None):
            continue
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            raise UserError(f"{key}={value!r:.40} must be a whole number, at least {least}")
        given[key] = int(value)
    if "in_chans" in given and "in_channels" not in given and "in_channels" in known:
        given["in_channels"] = given.pop("in_chans")
    for key in given:
        if key not in known:
            ours = TIMM_WORDS.get(key)
            if ours in known or ours == "pretrained":
                raise UserError(f"{name} has no argument {key!r}: it is called {ours} here")
            raise UserError(f"{name} has no argument {key!r}{nearest(key, [*known, 'pretrained', 'features_only'])}")
    return given


def _require_classifier(name: str, network_class: "type[nn.Module]", word: str) -> None:
    from .models.classifier import Classifier

    if not issubclass(network_class, Classifier):
        raise UserError(
            f"{name} is no classifier, which {word} is for: torchatlas.list_models(task='classification') names those"
        )


def _load(name: str, network: "nn.Module", pretrained: Any) -> None:
    """Give a new network weights, and say in the log what became of them."""
    from .models.classifier import Classifier
    from .weights import load_weights

    weights = model_card(name).weights if pretrained is True else pretrained
    if weights is None:
        raise UserError(
            f"no weights of {name} are known: use pretrained='FILE', a run folder, or another network, of those of "
            "torchatlas.list_models(pretrained=True)"
        )
    try:
        report = load_weights(network, weights, name=name)
    except UserError as error:  # which names the words of the command line
        said = re.sub(r"\b(data|model)\.(?=\w+=)", "", str(error))
        raise UserError(re.sub(r"\bweights=", "pretrained=", said)) from error
    log.info("%s: %s", name, report.describe())
    if isinstance(network, Classifier):
        network.preprocessing = report.preprocessing


def _as_features(
    network: "nn.Module", headless: bool, features_only: bool, out_indices: int | Sequence[int] | None
) -> "nn.Module":
    """The network without its last layer, or its maps.

    Raises:
        UserError: it has no such layer or maps.
    """
    from .models.classifier import Classifier, FeatureNet

    try:
        if isinstance(network, Classifier) and headless:
            network.reset_classifier(0)
        if isinstance(network, Classifier) and features_only:
            return FeatureNet(network, out_indices)
    except ValueError as error:
        raise UserError(str(error)) from error
    return network
