"""The classification tasks of GLUE."""

import hashlib
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch

from ...errors import UserError, nearest, some
from ..decoding import read_text
from ..download import fetch, fetch_checked
from ..splits import label_name, stratified
from ..tables import Cells
from .labeled_text import Examples, LabeledText

log = logging.getLogger(__name__)
ADDRESSES = ("https://dl.fbaipublicfiles.com/glue/data/",)
SOURCE = "https://dl.fbaipublicfiles.com/senteval/senteval_data/"
MRPC_MD5 = "793daf7b6224281e75fe61c1f80afe35"  # of msr_paraphrase_train.txt, as in torchtext
HOMES = ("glue", "glue_data", "GLUE", ".")  # in which the folder of a task may be
HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


class Facts(NamedTuple):
    """What is known of a task.

    Attributes:
        folder: where its files lie, and the name of the zip file's folder.
        packed: name of the zip file; "": there is none.
        md5: of the zip file, as torchtext knows it; "": none is published.
        columns: names of the columns of the one text or the two, and of the label; or, of a file without a line of
            names, their numbers.
        labels: as they stand in the files.
        classes: as people call them.
        train, dev: numbers of examples (Wang et al. 2018, table 1, and the authors' files).
        judged: the file of the development set.
    """

    folder: str
    packed: str
    md5: str
    columns: tuple[str, ...] | tuple[int, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    train: int
    dev: int
    judged: str = "dev.tsv"


NLI = ("entailment", "neutral", "contradiction")
ENTAILMENT = ("entailment", "not_entailment")
SENTENCES = ("sentence1", "sentence2")
TASKS = {
    "cola": Facts("CoLA", "CoLA.zip", "", (3, 1), ("0", "1"), ("unacceptable", "acceptable"), 8_551, 1_043),
    "sst2": Facts(
        "SST-2", "SST-2.zip", "9f81648d4199384278b86e315dac217c", ("sentence", "label"), ("0", "1"),
        ("negative", "positive"), 67_349, 872,
    ),
    "mrpc": Facts(
        "MRPC", "", "", ("#1 String", "#2 String", "Quality"), ("0", "1"), ("different", "paraphrase"), 3_668, 408
    ),
    "qqp": Facts(
        "QQP", "QQP-clean.zip", "", ("question1", "question2", "is_duplicate"), ("0", "1"), ("different", "duplicate"),
        363_846, 40_430,
    ),
    "mnli": Facts(
        "MNLI", "MNLI.zip", "", (*SENTENCES, "gold_label"), NLI, NLI, 392_702, 9_815, "dev_matched.tsv"
    ),
    "mnli_mismatched": Facts(
        "MNLI", "MNLI.zip", "", (*SENTENCES, "gold_label"), NLI, NLI, 392_702, 9_832, "dev_mismatched.tsv"
    ),
    "qnli": Facts(
        "QNLI", "QNLIv2.zip", "b4efd6554440de1712e9b54e14760e82", ("question", "sentence", "label"), ENTAILMENT,
        ENTAILMENT, 104_743, 5_463,
    ),
    "rte": Facts(
        "RTE", "RTE.zip", "bef554d0cafd4ab6743488101c638539", (*SENTENCES, "label"), ENTAILMENT, ENTAILMENT, 2_490, 277
    ),
    "wnli": Facts(
        "WNLI", "WNLI.zip", "a1b4bd2861017d302d29e42139657a42", (*SENTENCES, "label"), ("0", "1"),
        ("not_entailment", "entailment"), 635, 71,
    ),
}  # fmt: skip


def facts_of(name: str) -> Facts:
    """What is known of a task of this name.

    Raises:
        UserError: there is none; the nearest is said.
    """
    if name not in TASKS:
        raise UserError(f"data.name={name} is no classification task of GLUE{nearest(name, list(TASKS))}")
    return TASKS[name]


def read_tsv(path: Path, facts: Facts) -> Examples:
    """The labelled examples of a file as GLUE has them, without quotes.

    Raises:
        UserError: a column is missing, or a line has another label; it is named by its number.
    """
    lines = [line.split("\t") for line in read_text(path).split("\n") if line]
    places: list[int] = []
    if isinstance(facts.columns[0], str):
        header = lines[0] if lines else []
        for column in map(str, facts.columns):
            if column not in header:
                raise UserError(f"{path} has no column {column}: its first line must name it, with tabs between")
            places.append(header.index(column))
    else:
        places = list(map(int, facts.columns))
    start = int(isinstance(facts.columns[0], str))
    labels = {label: k for k, label in enumerate(facts.labels)}
    fields: list[list[str]] = [[] for _ in places]
    broken = 0
    for number, row in enumerate(lines[start:], start + 1):
        if len(row) <= max(places):  # QQP has a few, which nobody counts
            broken += 1
            continue
        row[places[-1]] = label_name(row[places[-1]])
        if row[places[-1]] not in labels:
            raise UserError(
                f"{path}, line {number}: the label is {some([row[places[-1]]])!r}, which is not one of "
                f"{', '.join(labels)}"
            )
        for field, place in zip(fields, places, strict=True):
            field.append(row[place])
    if broken:
        log.info("%s: %d lines have too few fields and are left out", path, broken)
    pairs = fields[1] if len(fields) == 3 else None
    return Examples(fields[0], pairs, [labels[label] for label in fields[-1]])


def pick(examples: Examples, places: Sequence[int]) -> Examples:
    """Some of the examples."""
    pairs = None if examples.pairs is None else [examples.pairs[i] for i in places]
    return Examples([examples.texts[i] for i in places], pairs, [examples.labels[i] for i in places])


def carve(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Training and validation examples, stratified by class, always cut in the same way; see `stratified`."""
    stay, taken = stratified(torch.tensor(examples.labels), share)
    return pick(examples, stay.tolist()), pick(examples, taken.tolist())


class Glue(LabeledText):
    """A classification task of GLUE: cola, sst2, mrpc, qqp, mnli, mnli_mismatched, qnli, rte or wnli.

    Wang, Singh, Michael, Hill, Levy and Bowman 2018, "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural
    Language Understanding", arXiv:1804.07461. The labels of the test sets are secret, so what is called test here is
    the official development set, on which most papers report, and a stratified share of the training set validates,
    always the same one. Some training sets have the same sentence more than once, or parts of it (SST-2 has phrases),
    so that validation is easier there than the test.

    The files lie in `root/glue/<folder>`, `root/glue_data/<folder>` or `root/<folder>` as GLUE's own script leaves them
    (CoLA/train.tsv, ...), or are downloaded from where that script finds them. Checksums are those of
    torchtext where it has one; elsewhere the zip file's own are verified. Files with another number of examples than
    the authors' are used, and the log says so. MRPC is divided by GLUE's list of development pairs.

    Args:
        name: of the task.
        num_classes: see `declare_num_classes`.
        root: folder that has, or gets, the files.
        val_share: of the training examples of each class, for validation.
        common: see `LabeledText`.
    """

    vocabulary = 10_000

    def __init__(
        self, *, name: str, num_classes: int, root: str = "data", val_share: float = 0.1, **common: Any
    ) -> None:
        self.facts = facts_of(name)
        self.classes, self.pair = self.facts.classes, len(self.facts.columns) == 3
        super().__init__(num_classes=num_classes, **common)
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share={val_share} must be between 0 and 1, as in data.val_share=0.1")
        self.task_name, self.val_share = name, val_share
        here, name = Path(root).expanduser(), self.facts.folder
        homes = [*(here / home / name for home in HOMES), *([here] if here.name == name else [])]
        self.folder = next((home for home in homes if all((home / file).is_file() for file in self.files)), homes[0])

    @classmethod
    def declare_num_classes(cls, name: str) -> int:
        """The classes of the task."""
        return len(facts_of(name).classes)

    @property
    def files(self) -> tuple[str, str]:
        return "train.tsv", self.facts.judged

    def prepare_data(self) -> None:
        if self.fake or all((self.folder / name).is_file() for name in self.files):
            return
        if not self.facts.packed:
            self.divide_mrpc()
            return
        path = self.folder.parent / self.facts.packed
        fetch_checked([address + self.facts.packed for address in ADDRESSES], path, self.fault)
        with zipfile.ZipFile(path) as archive:
            for member in self.members(archive):
                write_whole(self.folder / PurePosixPath(member).name, archive.read(member))
        path.unlink()

    def members(self, archive: zipfile.ZipFile) -> list[str]:
        """The files of this task in the zip file; nothing, if one is missing."""
        found = {PurePosixPath(m).name: m for m in archive.namelist() if "/original/" not in m and "__MACOSX" not in m}
        wanted = {*self.files, *({"dev_mismatched.tsv", "dev_matched.tsv"} & set(found))}
        return sorted(found[name] for name in wanted) if wanted <= set(found) else []

    def fault(self, path: Path) -> str:
        """What is wrong with the zip file, or nothing."""
        if self.facts.md5:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if digest.hexdigest() != self.facts.md5:
                return "the file has a wrong checksum"
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return "the zip file is damaged"
                return "" if self.members(archive) else f"the zip file does not hold {' and '.join(self.files)}"
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
            return "it is no zip file, or a damaged one"

    def divide_mrpc(self) -> None:
        """Training and development set of MRPC from Microsoft's training file and GLUE's list of pairs."""
        source = fetch([SOURCE + "msr_paraphrase_train.txt"], self.folder / "msr_paraphrase_train.txt", MRPC_MD5)
        chosen = fetch_checked(
            [address + "mrpc_dev_ids.tsv" for address in ADDRESSES],
            self.folder / "dev_ids.tsv",
            lambda path: "" if len(path.read_text().split()) == 2 * TASKS["mrpc"].dev else "it does not list 408 pairs",
        )
        pairs = {tuple(line.split()) for line in chosen.read_text().splitlines()}
        dev = train = HEADER
        for line in read_text(source).split("\n")[1:]:
            fields = line.strip().split("\t")
            if len(fields) == 5:
                text = "\t".join(fields) + "\n"
                dev, train = (dev + text, train) if tuple(fields[1:3]) in pairs else (dev, train + text)
        write_whole(self.folder / "dev.tsv", dev.encode())
        write_whole(self.folder / "train.tsv", train.encode())

    def columns_of(self, cells: Cells) -> tuple[Sequence[str], Sequence[str]]:
        """The columns of the authors' files, where a user's table has them."""
        names = [cells.names[c] if isinstance(c, int) and c < len(cells.names) else str(c) for c in self.facts.columns]
        known = set(names[:-1]) <= set(cells.names)
        return (names[:1], names[1:-1]) if known else super().columns_of(cells)

    def read_examples(self) -> dict[str, Examples]:
        found = {}
        for name, right in zip(self.files, (self.facts.train, self.facts.dev), strict=True):
            path = self.folder / name
            found[name] = read_tsv(path, self.facts)
            tell_numbers(path, len(found[name].texts), right, "examples", speaks=self.speaks)
        train, val = carve(found["train.tsv"], self.val_share)
        return {"train": train, "val": val, "test": found[self.facts.judged]}


def tell_numbers(path: Path, found: int, right: int, what: str, *, speaks: bool) -> None:
    """Say that files are not those of the authors, with which others compare their figures.

    Raises:
        UserError: there is nothing.
    """
    if not found:
        raise UserError(f"{path} has no {what}: name a folder with others with data.root=FOLDER")
    if found != right and speaks:
        log.warning(
            "%s has %d %s where the authors have %d: they are used, and figures are not those that others report",
            path, found, what, right,
        )  # fmt: skip


def write_whole(path: Path, content: bytes) -> None:
    """A file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
