"""What a network with attention looks at in a text, and how it tells places apart: pictures of `explain`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..analysis.modes import predicting
from ..data.decoding import read_text
from ..data.labelled.base import EncodedText
from ..data.pairs.base import ParallelData
from ..data.text.base import Codec
from ..data.text.tokenizer import TokenizerCodec
from ..drawing.alignments import labels
from ..errors import UserError
from ..generate.decoding import greedy
from ..models.contract import Attention, claims, positions_of
from ..models.transformer import Positions
from ..predict.registry import answers
from ..run.restore import reader
from ..tasks.base import Task
from ..tasks.language_modeling import LanguageModeling
from ..tasks.seq2seq import BEGIN, END, SequenceToSequence
from .attention_maps import recorded
from .base import Drawn
from .sequence_subject import Sequences
from .sequences import draw_gradients

SHOWN = 40  # tokens of a text that is looked at
NAMED = 28  # tokens of an axis that has names for them
EXAMPLE_SOURCE, TYPED = "an example", "the text"  # where a text comes from that is in no file
EXAMPLE = "the list of the names that a class has is a dictionary"


@dataclass
class Attending:
    """What is explained.

    Attributes:
        network: in eval mode.
        config: of the run's model.
        device: of the network.
        tokens: of the text, `1 t`, as the network takes them.
        maps: weights of attention by group ("encoder", "decoder", "alignment", or "self") and module, `h t s`.
        names: of each group, what stands at its rows and columns.
        source: where the text comes from, in words.
        language_model: whether each step answers for the next token.
    """

    network: nn.Module
    config: dict[str, Any]
    device: torch.device
    tokens: Tensor
    source: str
    language_model: bool
    maps: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    names: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)


def applies(network: nn.Module) -> bool:
    """Whether a network has attention that can be drawn."""
    return any(isinstance(module, Attention) for module in network.modules())


def names_of(codec: Codec, tokens: Tensor) -> list[str]:
    """Each token as a text that shows, for pictures."""
    if isinstance(codec, TokenizerCodec):
        return labels(codec, tokens)
    return [(codec.decode(token[None]).strip() or "␣").replace("$", r"\$") for token in tokens]


@answers(
    tasks=("language_modeling", "masked_lm", "seq2seq", "classification", "token_classification", "span"),
    kinds=(
        "characters", "words", "tokenizer", "masked_text", "translation", "text_classes", "token_tags", "text_spans",
    ),
)  # fmt: skip
def look(task: Task, about: dict[str, Any], given: str) -> Attending:
    """Let a network read a text, and keep what it attends to.

    Args:
        task: with the trained network.
        about: what the checkpoint says of config and data.
        given: a file in UTF-8, of which the first lines are read, or the text itself; "": an example.

    Raises:
        UserError: the text has no tokens, or the network reads no texts.
    """
    data: Any = reader(about)
    config, device = about["config"]["model"], task.device
    network = task.network
    text, source = text_of(given, getattr(data, "encoding", None))
    if isinstance(task, SequenceToSequence):
        return look_at_translation(task, data, config, text, source)
    if isinstance(data, EncodedText) and source not in (EXAMPLE_SOURCE, TYPED):
        text = data.read(given).about[0].get("text", text)  # the first one of the file, as it is read in training
    codec = data.codec
    tokens = codec.encode(text)
    if isinstance(task, LanguageModeling):
        tokens = tokens[: min(SHOWN, data.context)]
    else:
        assert isinstance(codec, TokenizerCodec)
        begin, end = codec.number("[CLS]", "<s>"), codec.number("[SEP]", "</s>")
        most = min(SHOWN, claims(network).max_length or SHOWN)
        tokens = torch.cat([torch.tensor([begin]), tokens[: most - 2], torch.tensor([end])])
    if len(tokens) < 2:
        raise UserError(f"{source} has {len(tokens)} tokens where at least 2 are needed")
    subject = Attending(network, config, device, tokens[None].to(device), source, isinstance(task, LanguageModeling))
    with predicting(network), recorded(network) as maps:
        network(subject.tokens)
    names = names_of(codec, tokens)
    subject.maps["self"] = {name: weights[0].float().cpu() for name, weights in maps.items()}
    subject.names["self"] = names, names
    return subject


def text_of(given: str, encoding: str | None = None) -> tuple[str, str]:
    """A text and where it comes from: a file of the user's, in this encoding, what was typed, or an example.

    Raises:
        UserError: one word, which is no file.
    """
    if not given:
        return EXAMPLE, EXAMPLE_SOURCE
    path = Path(given).expanduser()
    try:
        is_file = path.is_file()
    except OSError:  # a text may be too long for a name
        is_file = False
    if is_file:
        return read_text(path, encoding), path.name
    if len(given.split()) < 2:
        raise UserError(f"there is no file {given}: name a text with input=FILE, or give one with input='...'")
    return given, TYPED


def look_at_translation(
    task: SequenceToSequence, data: ParallelData, config: dict[str, Any], text: str, source: str
) -> Attending:
    """The source is read, and the network's own output is what the decoder is given."""
    network, device = task.network, task.device
    codec, target_codec = data.source_codec, data.target_codec
    line = next((line for line in text.splitlines() if line.strip()), "")
    if not line:
        raise UserError("it needs a sentence to translate: give one with input='...'")
    tokens = codec.encode(line.lower() if data.lowercase else line).to(device)
    if not len(tokens):
        raise UserError(f"{source} has no tokens")
    limit = claims(network).limit or 10**9
    if len(tokens) > limit:
        raise UserError(f"{source} has {len(tokens)} tokens, more than the {limit} that the network can read")
    lengths = torch.tensor([len(tokens)], device=device)
    with predicting(network):
        (output,) = greedy(
            network, tokens[None], lengths, begin=BEGIN, end=END, max_length=min(2 * len(tokens) + 50, limit - 1)
        )
        target = torch.cat([torch.tensor([BEGIN], device=device), output.to(device)])
        with recorded(network) as maps:
            network(tokens[None], target[None], lengths)
    read, written = names_of(codec, tokens.cpu()), names_of(target_codec, target.cpu())
    subject = Attending(network, config, device, tokens[None], source, False)
    sides = {"encoder": (read, read), "decoder": (written, written), "alignment": ([*written[1:], "<eos>"], read)}
    attends_to_itself = any(name.endswith("cross") for name in maps)
    for name, weights in maps.items():
        group = "alignment"
        if attends_to_itself and not name.endswith("cross"):
            group = "encoder" if name.startswith("encoder") else "decoder"
        subject.maps.setdefault(group, {})[name] = weights[0].float().cpu()
        subject.names[group] = sides[group]
    return subject


def draw_attention(subject: Attending) -> Drawn:
    """A panel for each layer and head: row t says how much step t takes from each step."""
    if not subject.maps:
        raise UserError("the network has no attention")
    for group, maps in subject.maps.items():
        rows, columns = subject.names[group]
        table = {name: [head.tolist() for head in weights.round(decimals=4)] for name, weights in maps.items()}
        yield f"attention_{group}", {"text": subject.source, "rows": rows, "columns": columns, "weights": table}
        yield f"attention_{group}", draw_maps(list(maps.values()), rows, columns)


def draw_maps(maps: list[Tensor], rows: list[str], columns: list[str]) -> Figure:
    """Layers from top to bottom, heads from left to right, `h t s` each."""
    heads = max(len(weights) for weights in maps)
    named = max(len(rows), len(columns)) <= NAMED
    side = (1.2 + 0.11 * max(len(rows), len(columns))) if named else 2.0
    figure = Figure(figsize=(min(30, side * heads + 0.6), min(30, side * len(maps) + 0.6)), layout="constrained")
    for i, weights in enumerate(maps):
        for j, head in enumerate(weights):
            axes = figure.add_subplot(len(maps), heads, i * heads + j + 1)
            axes.imshow(head.numpy(), "Blues", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            axes.set_title(f"layer {i + 1}, head {j + 1}" if heads > 1 else f"layer {i + 1}", fontsize=7)
            below, left = i == len(maps) - 1, j == 0
            axes.set_xticks(range(len(columns)) if named and below else [])
            axes.set_yticks(range(len(rows)) if named and left else [])
            if named and below:
                axes.set_xticklabels(columns, rotation=90, fontsize=6)
            if named and left:
                axes.set_yticklabels(rows, fontsize=6)
    return figure


def position_table(network: nn.Module) -> Tensor | None:
    """What is added for each position, `t d`; None where nothing is."""
    found = positions_of(network)
    if isinstance(found, Positions):
        if found.kind == "learned":
            found = found.embedding.weight
        else:
            found = found.table if found.kind in ("sinusoidal", "rotary") else None
    elif isinstance(found, nn.Embedding):
        found = found.weight
    if not isinstance(found, Tensor):
        return None
    return found.detach().float().cpu().flatten(0, -2)


def draw_positions(subject: Any) -> Drawn:
    """The encoding of each position, and how like those of two positions are (the cosine of their angle)."""
    table = position_table(subject.network)
    found = positions_of(subject.network)
    if table is None and isinstance(found, Positions) and found.kind == "alibi":
        bias = found.bias(64, 64, subject.device)
        assert bias is not None
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        for head, row in enumerate(bias[:, -1].flip(1).cpu(), start=1):
            axes.plot(row.numpy(), label=f"head {head}", linewidth=1.2)
        axes.set(xlabel="distance", ylabel="added to the score")
        axes.legend(fontsize=7)
        yield "positions", figure
        return
    if table is None:
        raise UserError("the network adds nothing for positions")
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bound = float(table.abs().quantile(0.995)) if table.numel() < 10**7 else float(table.abs().max())
    picture = left.imshow(table.numpy(), "RdBu_r", vmin=-bound, vmax=bound, aspect="auto", interpolation="nearest")
    left.set(xlabel="dimension", ylabel="position")
    figure.colorbar(picture, ax=left)
    unit = nn.functional.normalize(table, dim=1)
    picture = right.imshow((unit @ unit.T).numpy(), "RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    right.set(xlabel="position", ylabel="position", title="cosine similarity")
    figure.colorbar(picture, ax=right)
    yield "positions", figure


def draw_distances(subject: Attending) -> Drawn:
    """See `sequences.gradient_by_distance`."""
    if not subject.language_model:
        raise UserError("gradients by distance are drawn of language models")
    names = subject.names["self"][0]
    yield from draw_gradients(Sequences(subject.network, subject.config, subject.tokens, subject.source, names))


METHODS: dict[str, Callable[[Attending], Drawn]] = {
    "attention": draw_attention,
    "positions": draw_positions,
    "gradients": draw_distances,
}
