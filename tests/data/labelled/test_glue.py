"""The tasks of GLUE in the form of their files."""

import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from torchatlas.data.labelled import glue
from torchatlas.data.labelled.labeled_text import Examples
from torchatlas.data.labelled.sst2 import SST2
from torchatlas.errors import UserError


def test_tables_of_glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of each file as GLUE has it: one task without a header, one with quotes that mean nothing."""
    files = {
        "cola": ("gj04\t1\t\tOur friends won't buy this.\ngj04\t0\t*\tThe \"gardener.\n", None),
        "sst2": ("sentence\tlabel\nhide new secretions \t0\nfine \t1\n", None),
        "mrpc": (
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said.\tSaid he.\n0\t7\t9\tA\tB\n",
            "Said he.",
        ),
        "qqp": (
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tA?\tB?\t0\nbroken\n1\t2\t3\tC?\tD?\t1\n",
            "B?",
        ),
        "mnli": (
            "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\tentailment\n1\tC\tD\tx\tneutral\n",
            "B",
        ),
        "qnli": ("index\tquestion\tsentence\tlabel\n0\tA?\tB\tentailment\n1\tC?\tD\tnot_entailment\n", "B"),
        "rte": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n1\tC\tD\tnot_entailment\n", "B"),
        "wnli": ("index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n1\tC\tD\t0\n", "B"),
    }
    expected = {"cola": [1, 0], "mrpc": [1, 0], "wnli": [1, 0]}
    for name, (text, second) in files.items():
        facts = glue.facts_of(name)
        path = tmp_path / f"{name}.tsv"
        path.write_text(text)
        found = glue.read_tsv(path, facts)
        assert found.labels == expected.get(name, [0, 1])
        assert (None if found.pairs is None else found.pairs[0]) == second
        assert glue.Glue.declare_num_classes(name) == len(facts.classes) == (3 if name == "mnli" else 2)
    assert glue.read_tsv(tmp_path / "cola.tsv", glue.facts_of("cola")).texts[1] == 'The "gardener.'
    with pytest.raises(UserError, match=r"data\.name=sst is no classification task of GLUE.*sst2"):
        glue.Glue.declare_num_classes("sst")
    with pytest.raises(UserError, match="has no column gold_label"):
        glue.read_tsv(tmp_path / "rte.tsv", glue.facts_of("mnli"))
    (tmp_path / "rte.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\tA\tB\tmaybe\n")
    with pytest.raises(UserError, match="line 2: the label is 'maybe', which is not one of entailment, not_entailment"):
        glue.read_tsv(tmp_path / "rte.tsv", glue.facts_of("rte"))


def test_glue_from_a_zip_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "".join(f"{i}\ttext {i}\tother {i}\t{i % 2}\n" for i in range(40))
    text = f"index\tsentence1\tsentence2\tlabel\n{rows}"
    facts = glue.TASKS["wnli"]._replace(train=40, dev=40, md5="")
    monkeypatch.setitem(glue.TASKS, "wnli", facts)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("train.tsv", "dev.tsv", "test.tsv", "original/train.tsv"):
            archive.writestr(f"WNLI/{name}", text if "/" not in name else "")
    path = tmp_path / "glue" / "WNLI.zip"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    data = glue.Glue(name="wnli", num_classes=2, root=str(tmp_path), vocab_size=120, batch_size=4, val_share=0.2)
    data.prepare_data()
    assert sorted(p.name for p in (tmp_path / "glue" / "WNLI").iterdir()) == ["dev.tsv", "train.tsv"]
    data.setup()
    assert {split: len(d) for split, d in data.splits.items()} == {"train": 32, "val": 8, "test": 40}  # type: ignore[arg-type]
    found = data.read_examples()
    assert not set(found["train"].texts) & set(found["val"].texts)
    assert Counter(found["val"].labels) == {0: 4, 1: 4}
    assert data.fault(tmp_path / "glue" / "WNLI" / "dev.tsv") == "it is no zip file, or a damaged one"
    monkeypatch.setattr(data, "facts", facts._replace(md5="0" * 32))
    assert data.fault(tmp_path / "glue" / "WNLI" / "dev.tsv") == "the file has a wrong checksum"
    (tmp_path / "glue" / "WNLI" / "dev.tsv").write_text(text[: text.index("30\t")])
    monkeypatch.setattr(data, "facts", facts)
    assert len(data.read_examples()["test"].texts) == 30
    assert "dev.tsv has 30 examples where the authors have 40: they are used" in caplog.text
    (tmp_path / "glue" / "WNLI" / "dev.tsv").write_text(text[: text.index("0\t")])
    with pytest.raises(UserError, match="has no examples"):
        data.read_examples()


def test_mrpc_is_divided_by_the_list_of_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "glue" / "MRPC"
    folder.mkdir(parents=True)
    monkeypatch.setitem(glue.TASKS, "mrpc", glue.TASKS["mrpc"]._replace(train=3, dev=1))
    source, ids = folder / "msr_paraphrase_train.txt", folder / "dev_ids.tsv"
    rows = "".join(f"{i % 2}\t{i}\t{i + 5}\tfirst {i}\tsecond {i}\r\n" for i in range(4))
    source.write_bytes(b"\xef\xbb\xbf" + (glue.HEADER.strip() + "\r\n" + rows).encode())
    ids.write_text("2\t7\n")
    monkeypatch.setattr(glue, "fetch", lambda *_, **__: source)
    data = glue.Glue(name="mrpc", num_classes=2, root=str(tmp_path), vocab_size=60, val_share=0.5)
    data.prepare_data()
    assert glue.read_tsv(folder / "dev.tsv", data.facts) == Examples(["first 2"], ["second 2"], [0])
    assert glue.read_tsv(folder / "train.tsv", data.facts).labels == [0, 1, 1]


@pytest.mark.parametrize("home", ["glue/SST-2", "glue_data/SST-2", "SST-2", ""])
def test_folders_in_which_people_have_it(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(glue.TASKS, "sst2", glue.TASKS["sst2"]._replace(train=20, dev=20))
    root = tmp_path / "SST-2"
    folder = root / home
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        rows = "".join(f"film {i} \t{i % 2}\n" for i in range(20))
        (folder / name).write_text(f"sentence\tlabel\n{rows}")
    data = SST2(num_classes=2, root=str(root), vocab_size=60, val_share=0.2)
    data.prepare_data()
    found = data.read_examples()
    assert [len(part.texts) for part in found.values()] == [16, 4, 20]
    # And so is a file that is named for predict.
    assert [text.text for text in data.given_texts(folder / "dev.tsv")] == [f"film {i}" for i in range(20)]


def test_files_of_glue_are_read_for_predict(tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text('index\tquestion\tsentence\n0\tWho "he?\tHe\n1\tWhen?\tNow\n')
    data = glue.Glue(name="qnli", num_classes=2, vocab_size=60)
    assert [text[1:3] for text in data.given_texts(path)] == [('Who "he?', "He"), ("When?", "Now")]
    path.write_text("".join(f"gj04\t{i % 2}\t\tOur friends {i}.\n" for i in range(9)))
    cola = glue.Glue(name="cola", num_classes=2, vocab_size=60)
    assert [text.text for text in cola.given_texts(path)] == [f"Our friends {i}." for i in range(9)]
