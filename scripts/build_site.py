"""Build the site from docs/, the pages of the root, and the docstrings of src/.

    uv run --group docs scripts/build_site.py [FOLDER] [stage=FOLDER]

What comes of it is in site/ unless another folder is named, and asks nothing of a network. The pages are those that
GitHub shows. They are laid out under build/site/: links out of docs/ lead to pages too, those to a file of the tree to
a page with its text, and each room of src/ gets a page of what its docstrings say. Then `zensical build --strict` makes
HTML of it, by the settings of mkdocs.yml and the order of `ORDER`.
"""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
ZENSICAL = Path(sys.executable).with_name("zensical")
WORDS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("words.py")))
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCED = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
# The pages of docs/ under their headings; those that are not there are left out, and others come at the end.
ORDER: dict[str, tuple[str, ...]] = {
    "Begin": ("index", "getting_started", "training", "runs", "errors"),
    "Networks": ("families/index", "models", "attention", "sequences", "text", "images", "parity", "text_parity"),
    "Data and tasks": ("data", "tasks", "licences"),
    "Results": ("results", "speed", "throughput"),
    "Use": ("python", "explain", "export", "sweep", "serve", "loggers", "clusters", "zoo", "notebooks"),
    "Add": ("own_package", "CONTRIBUTING"),
    "Look up": ("commands", "choices", "upgrades", "CHANGELOG", "SECURITY", "LICENSE"),
}
ROOMS = (
    "api", "zoo", "models", "data", "tasks", "weights", "training", "metrics", "generate", "analysis", "callbacks",
    "loggers", "predict", "explain", "storage", "run",
)  # fmt: skip


def titled(text: str, fallback: str) -> str:
    """The first heading of a page."""
    match = re.search(r"^# (.+)$", text, re.MULTILINE)
    return match[1] if match else fallback


def outside(text: str, change: Any) -> str:
    """The text with what is no code changed."""
    parts, last = [], 0
    for match in FENCED.finditer(text):
        parts += [change(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*parts, change(text[last:])])


def place_of(path: Path, shown: set[Path]) -> str:
    """Where a file of the tree lies in the site; a file that is no page is to be shown on one."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_relative_to(ROOT / "docs"):
        return path.relative_to(ROOT / "docs").as_posix()
    if name == "README.md":
        return "index.md"
    if path.parent == ROOT and (path.suffix == ".md" or name == "LICENSE"):
        return f"{path.stem}.md"
    shown.add(path)
    return f"source/{name}.md"


def relinked(text: str, page: Path, shown: set[Path]) -> str:
    """The page with its links as they are in the site."""
    here = Path(place_of(page, set())).parent

    def change(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        linked = (page.parent / target).resolve()
        if "://" in target or target.startswith("mailto:") or not target or not linked.is_file():
            return match[0]
        up = "../" * len(here.parts)
        return f"{match[1]}{up}{place_of(linked, shown)}{hash_}{anchor}{match[3]}"

    return outside(text, lambda part: LINK.sub(change, part))


def lay_out(stage: Path) -> None:
    """All pages, in a folder that is made anew."""
    docs, shown = stage / "docs", set[Path]()
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(ROOT / "docs", docs)
    roots = [*ROOT.glob("*.md"), ROOT / "LICENSE"]
    for page in [*(ROOT / "docs").rglob("*.md"), *(path for path in roots if path.name != "README.md")]:
        text = page.read_text()
        text = f"# Licence\n\n```text\n{text}```\n" if page.name == "LICENSE" else text
        (docs / place_of(page, shown)).write_text(relinked(text, page, shown))
    for path in sorted(shown):
        page = docs / place_of(path, set())
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(source_page(path))
    (docs / "reference").mkdir()
    for room in ROOMS:
        (docs / "reference" / f"{room}.md").write_text(reference_page(room))
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    settings["nav"] = nav(docs)
    (stage / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", ".txt": "text"}


def source_page(path: Path) -> str:
    """A file of the tree, to be read."""
    name = path.relative_to(ROOT).as_posix()
    fence = "`" * 6
    return f"# {name}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}{fence}\n"


# --- the reference


def reference_page(room: str) -> str:
    """What the docstrings of a room say, module by module."""
    place = ROOT / "src" / room
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    trees = ((path, ast.parse(path.read_text())) for path in paths)
    return "\n\n".join([f"# torchatlas.{room}", *(part for path, tree in trees for part in module(path, tree))]) + "\n"


def module(path: Path, tree: ast.Module) -> Iterator[str]:
    """A heading, and what it has for others."""
    dotted = "torchatlas." + path.relative_to(ROOT / "src").with_suffix("").as_posix().replace("/", ".")
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node)
    ]
    if not public and not ast.get_docstring(tree):
        return
    yield f"## {dotted.removesuffix('.__init__')}"
    if text := ast.get_docstring(tree):
        yield documented(text)
    for node in public:
        yield f"### {node.name}\n\n```python\n{signature(node)}\n```"
        yield documented(ast.get_docstring(node) or "")
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and ast.get_docstring(method):
                yield f"**`{node.name}.{method.name}{arguments(method)}`**"
                yield documented(ast.get_docstring(method) or "")


def signature(node: ast.ClassDef | ast.FunctionDef) -> str:
    """A class with what it is made of, or a function."""
    if isinstance(node, ast.FunctionDef):
        return f"def {node.name}{arguments(node)}"
    makes = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
    bases = ", ".join(map(ast.unparse, node.bases))
    return f"class {node.name}({bases})" + (f"\n    __init__{arguments(makes)}" if makes else "")


def arguments(node: ast.FunctionDef) -> str:
    """In brackets, a line each where they are long."""
    inner = ast.unparse(node.args)
    ends = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({inner}){ends}"


def documented(text: str) -> str:
    """A docstring in Markdown; of its sections each line is an item."""
    first, *sections = re.split(r"^(Args|Attributes|Returns|Yields|Raises|Examples):\n", text, flags=re.MULTILINE)
    parts = [WORDS["prose"](first, examples=True)]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        lines, _, rest = body.partition("\n\n")
        flat = re.sub(r"\n {5,}", " ", lines)
        items = [line.strip() for line in flat.splitlines() if line.strip()]
        parts.append(f"*{name}*\n\n" + "\n".join(f"- {WORDS['plain'](item)}" for item in items))
        if rest.strip():
            parts.append(WORDS["prose"](rest, examples=True))
    return "\n\n".join(filter(None, parts))


# --- the order of the pages


def nav(docs: Path) -> list[dict[str, Any]]:
    """Headings with their pages; a test holds that none is missing."""

    def entry(name: str) -> dict[str, str]:
        return {titled((docs / f"{name}.md").read_text(), name): f"{name}.md"}

    named = {name for names in ORDER.values() for name in names}
    found: list[dict[str, Any]] = [
        {heading: [entry(name) for name in names if (docs / f"{name}.md").is_file()]}
        for heading, names in ORDER.items()
    ]
    families = sorted(path.stem for path in (docs / "families").glob("*.md") if path.stem != "index")
    found[1]["Networks"].insert(1, {"Families": [entry(f"families/{name}") for name in families]})
    others = sorted(path.stem for path in docs.glob("*.md") if path.stem not in named)
    if others:
        found.append({"More": [entry(name) for name in others]})
    found.append({"Reference": [entry(f"reference/{room}") for room in ROOMS]})
    return found


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    stage = Path(
        next((word.partition("=")[2] for word in arguments if word.startswith("stage=")), ROOT / "build" / "site")
    )
    folder = Path(next((word for word in arguments if "=" not in word), "site")).absolute()
    lay_out(stage)
    built = subprocess.run([ZENSICAL, "build", "--strict", "--clean"], cwd=stage, check=False)
    if built.returncode == 0:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(stage / "out", folder)
        print(f"{folder}/index.html")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
