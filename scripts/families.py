"""Write a page for each family of networks, with its picture, and the page of the tasks: docs/families/, docs/tasks.md.

    python scripts/families.py

A family is a file of `src/models/`: its title, text and equations are the docstring of that file, its networks the
configs that name it, its recipes the experiments that choose one of these, its results the records of them. The picture
is drawn from the network itself: its modules in the order in which a forward pass without values calls them. With
--check nothing is written, and the status is 1 if something is not what they say.
"""

import ast
import re
import runpy
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from torchatlas.run.check import class_of
from torchatlas.zoo import chosen, config_text, create_model, headline, list_models, model_card, options, recorded

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("words.py")))
PAGES: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("pages.py")))
AREAS = ("Images", "Segmentation", "Making images", "Text", "Sequences, series, sound")
OF_TASK = {
    "segmentation": "Segmentation", "autoencoding": "Making images", "elbo": "Making images",
    "diffusion": "Making images", "perceptron": "Images",
}  # fmt: skip
OF_KIND = {"images": "Images", "text": "Text", "masked": "Text", "labelled": "Text", "pairs": "Text"}
SMALL = re.compile(r"(Batch|Layer|Group|RMS)Norm|(Re|Ge|GE|Si)LU|Hard|Tanh|Sigmoid|Dropout|Identity|Flatten|Softmax")


# --- the picture

Calls = dict[nn.Module, tuple[int, tuple[int, ...]]]  # when each module was called first, and the shape of what it gave


@dataclass(frozen=True)
class Box:
    """A part of a network: name, class, shape of its output without the batch axis, parameters, when it was called.

    `number`: how many it stands for, up to the one called `last`; `within`: the list in which it is.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    place: int
    number: int = 1
    last: str = ""
    within: str = ""


def called(network: nn.Module) -> Calls:
    """Of each module that a forward pass calls, when that was and the shape of what it gave."""
    found: Calls = {}

    def note(module: nn.Module, given: Any, out: Any) -> None:
        found.setdefault(module, (len(found), shape_of(out)))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    with torch.no_grad():
        network.eval()(*network.example_input(1))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    return found


def shape_of(out: Any) -> tuple[int, ...]:
    """Of the first tensor in an output."""
    if isinstance(out, Tensor):
        return tuple(out.shape[1:])
    parts = out.values() if isinstance(out, dict) else out if isinstance(out, list | tuple) else ()
    return next((shape for part in parts if (shape := shape_of(part))), ())


def boxes(network: nn.Module) -> list[Box]:
    """The parts of a network, in the order in which they are called; those alike in one list as one."""
    calls = called(network)
    found = parts(network, calls)
    while len(found) == 1 and [*network.children()]:
        ((name, network),) = list(network.named_children())[:1]
        found = parts(network, calls, f"{name}.") or found
    merged: list[Box] = []
    for box in sorted(found, key=lambda box: box.place):
        last = merged[-1] if merged else None
        if last and (last.kind, last.shape, last.within) == (box.kind, box.shape, box.within) and box.within:
            more = {"parameters": last.parameters + box.parameters, "number": last.number + box.number}
            merged[-1] = replace(last, last=box.name, **more)  # type: ignore[arg-type]
        else:
            merged.append(box)
    return merged


def parts(module: nn.Module, calls: Calls, within: str = "") -> list[Box]:
    """Those one level below; of lists of modules what is in them, and at once if nothing else is called meanwhile."""
    found, lists = [], []
    for name, child in module.named_children():
        when = sorted(calls[part] for part in child.modules() if part in calls)
        if not when:
            continue
        if type(child) in (nn.Sequential, nn.ModuleList, nn.ModuleDict):  # a class of its own has a name
            inner = parts(child, calls, f"{within}{name}.")
            lists.append((Box(f"{within}{name}", "", when[-1][1], size(child), when[0][0]), when[-1][0], inner))
        elif not SMALL.match(type(child).__name__):
            place, shape = calls.get(child, (when[0][0], when[-1][1]))
            found.append(Box(f"{within}{name}", type(child).__name__, shape, size(child), place, within=within))
    starts = {box.name: [box.place] for box in found}
    starts |= {box.name: [part.place for part in inner] for box, _, inner in lists}
    for box, end, inner in lists:
        kinds = {part.kind for part in inner}
        alone = not any(box.place < start <= end for name in starts if name != box.name for start in starts[name])
        if alone and len(kinds) == 1 and len({part.within for part in inner}) == 1:
            found.append(replace(box, kind=inner[0].kind, shape=inner[-1].shape, number=len(inner)))
        else:
            found += inner
    return found


def size(module: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in module.parameters())


def breadth(shape: tuple[int, ...]) -> float:
    """Of a bar: places of an image or a sequence, on a scale of logarithms from 0 to 1."""
    places = 1
    for n in shape[1:] if len(shape) == 3 else shape[:1] if len(shape) == 2 else ():
        places *= n
    return min(1.0, torch.log2(torch.tensor(float(places), device="cpu")).item() / 16)


def drawn(name: str) -> str:
    """The picture of a network of the zoo, as SVG."""
    with torch.device("meta"):
        network = create_model(name)
        found = boxes(network)
        given = shape_of(network.example_input(1))  # type: ignore[operator]
    rows = [("input", given, None), *((label(box), box.shape, box.parameters) for box in found)]
    height, width, middle = 46 * len(rows) + 12, 420, 70
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        'font-family="system-ui, sans-serif">',
        f"<title>{escape(name)}: its parts in the order of the forward pass</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
        f'<path d="M{middle} 24V{height - 28}" stroke="#9aa5b1" stroke-width="1.5"/>',
    ]
    for i, (said, shape, parameters) in enumerate(rows):
        y, bar = 10 + 46 * i, 24 + round(96 * breadth(shape))
        fill = "#d9dee4" if parameters is None else "#4c78a8" if parameters else "#a9bdd4"
        about = [" × ".join(f"{n:,}" for n in shape)] * bool(shape)
        about += [f"{parameters or 0:,} parameters"] * bool(parameters)
        lines += [
            f'<rect x="{middle - bar // 2}" y="{y}" width="{bar}" height="28" rx="3" fill="{fill}"/>',
            f'<text x="148" y="{y + 12}" font-size="13" font-weight="600" fill="#1f2933">{escape(said)}</text>',
            f'<text x="148" y="{y + 28}" font-size="12" fill="#52606d">{" · ".join(about)}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


def label(box: Box) -> str:
    """`layer1: 2 × BasicBlock`, or `features.6 to 8: 2 × Conv2d`."""
    name = f"{box.name} to {box.last.rpartition('.')[2]}" if box.last else box.name
    return f"{name}: {box.kind}" if box.number == 1 else f"{name}: {box.number} × {box.kind}"


# --- families


def module_of(model: str) -> str:
    """The file of `src/models/` that a network's config names."""
    return str(OmegaConf.create(config_text("model", model)).model._target_).split(".")[-2]


def families() -> dict[str, list[str]]:
    """The networks of each file."""
    found: dict[str, list[str]] = {}
    for name in list_models():
        found.setdefault(module_of(name), []).append(name)
    return found


def docstring(module: str) -> tuple[str, str]:
    """Title and text of a file with mathematics."""
    text = ast.get_docstring(ast.parse((ROOT / "src" / "models" / f"{module}.py").read_text())) or ""
    title, _, rest = text.partition("\n")
    return title.rstrip("."), rest


def area(name: str) -> str:
    """Under which heading a network stands."""
    card = model_card(name)
    kind = "" if re.search("_(pixels|rows)$", card.data) else PAGES["kind_of_data"](card.data)
    return OF_TASK.get(card.task) or OF_KIND.get(kind, "Sequences, series, sound")


def shown(names: list[str], module: str) -> str:
    """The network whose picture stands for a family."""
    return module if module in names else names[0]


def family_page(module: str, names: list[str]) -> str:
    """All that is known of a family."""
    title, text = docstring(module)
    table, first = PAGES["table"], shown(names, module)
    cards = map(model_card, names)
    networks = ([f"`{c.name}`", f"{c.parameters:,}", f"`{c.task}`", f"`{c.data}`", c.paper] for c in cards)
    recipes = [n for n in options("experiment") if chosen([f"experiment={n}"])["model"] in names]
    told = ([f"`{n}`", headline("experiment", n).rpartition(" [")[0], recorded(n)] for n in recipes)
    models = {f"torchatlas.models.{module}"}
    records = [r for r in PAGES["all_records"]() if r["config"]["model"]["_target_"].rpartition(".")[0] in models]
    results = table(PAGES["RESULT"], map(PAGES["result"], records))
    path = f"src/models/{module}.py"
    parts = [
        f"# {title}",
        f"[`{path}`](../../{path}) is the whole of it; what follows is its docstring.",
        WORDS["prose"](text),
        "## Picture",
        f"`{first}` as it computes, drawn by `scripts/families.py`: each part with the shape of what it gives;\n"
        "the wider its bar, the more places (pixels, steps) it has.",
        f"![{title}]({module}.svg)",
        "## Networks",
        table(("`model=`", "parameters", "task", "data", "paper"), networks),
        f"```\npython train.py model={first}\ntorchatlas show {first}\n```",
    ]
    if recipes:
        parts += ["## Recipes", table(("`experiment=`", "", "recorded"), told)]
    if records:
        parts += ["## Recorded results", results]
    return "\n\n".join(parts) + "\n"


def index_page(found: dict[str, list[str]]) -> str:
    """The families under their headings."""
    parts = ["# The networks, by family", "A file of `src/models/` each. Written by `scripts/families.py`."]
    for heading in AREAS:
        rows = (
            [f"[{docstring(module)[0]}]({module}.md)", ", ".join(f"`{name}`" for name in names)]
            for module, names in found.items()
            if area(shown(names, module)) == heading
        )
        parts += [f"## {heading}", PAGES["table"](("family", "`model=`"), rows)]
    return "\n\n".join(parts) + "\n"


# --- tasks


def tasks_page() -> str:
    """A section for each task: what is optimised, and its figures."""
    intro = (
        "What is optimised: `task=NAME`, which each network chooses for itself. `task.monitor` names the figure of the "
        "validation set that chooses the best weights.\nWritten by `scripts/families.py` from `src/tasks/`."
    )
    return "\n\n".join(["# The tasks", intro, *map(task_section, options("task"))]) + "\n"


def task_section(name: str) -> str:
    """What its class says of it."""
    task = class_of(name)
    text = re.split(r"\n(?=Args:)", textwrap.dedent((task.__doc__ or "").partition("\n")[2]))[0]
    first = (task.__doc__ or "").partition("\n")[0]
    reports: dict[str, Any] = {}
    for base in reversed(task.__mro__):
        reports |= vars(base).get("reports", {})
    figures = (
        [f"`{key}`", figure.better, figure.unit or "", "yes" if figure.chooses else ""]
        for key, figure in reports.items()
    )
    path = f"src/{task.__module__.partition('.')[2].replace('.', '/')}.py"
    parts = [
        f"## {name}",
        f"{headline('task', name)} [`{path}`](../{path})",
        WORDS["plain"](first),
        WORDS["prose"](text),
        PAGES["table"](("figure", "better", "unit", "`task.monitor`"), figures),
    ]
    return "\n\n".join(parts)


def files() -> Iterator[tuple[Path, str]]:
    """All that is written."""
    found = families()
    for module, names in found.items():
        yield DOCS / "families" / f"{module}.md", family_page(module, names)
        yield DOCS / "families" / f"{module}.svg", drawn(shown(names, module))
    yield DOCS / "families" / "index.md", index_page(found)
    yield DOCS / "tasks.md", tasks_page()


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    (DOCS / "families").mkdir(exist_ok=True)
    status: int = max([PAGES["written"](path, text, "--check" in arguments) for path, text in files()])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
