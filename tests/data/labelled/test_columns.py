"""Files of words and their columns, as people write them."""

from pathlib import Path

import pytest

from torchatlas.data.labelled.columns import find_files, read_columns
from torchatlas.data.labelled.conll import Conll
from torchatlas.errors import UserError

CONLLU = """# newdoc id = weblog
# sent_id = 1
# text = Don't go to them.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
1\tDo\tdo\tAUX\tVB\tMood=Imp\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tgone\tgo\tVERB\tVBN\t_\t_\t_\t3:conj\t_
4\t10 000\t10000\tNUM\tCD\t_\t3\tobl\t_\tSpaceAfter=No

# sent_id = 2
1\t#\t#\tSYM\tNFP\t_\t0\troot\t_\t_
2\tThey\tthey\tPRON\tPRP\t_\t1\tdep\t_\t_

"""
WORDS = [["Do", "n't", "go", "10 000"], ["#", "They"]]
UPOS = [["AUX", "PART", "VERB", "NUM"], ["SYM", "PRON"]]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


VARIANTS = {
    "as it is": CONLLU,
    "Windows": CONLLU.replace("\n", "\r\n"),
    "a byte order mark": "\N{BOM}" + CONLLU,
    "no comments": "\n".join(line for line in CONLLU.split("\n") if line[:2] != "# "),
    "comments without blanks": CONLLU.replace("# sent_id = ", "#sent_id="),
    "no last line": CONLLU.rstrip(),
    "empty lines": "\n\n" + CONLLU.replace("\n\n", "\n \n\n"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_conllu(variant: str, tmp_path: Path) -> None:
    """Words that are written as one, and words that are not written, are left out."""
    path = write(tmp_path / "train.txt", VARIANTS[variant])
    for column in (None, "upos", "UPOS", 3, -7):
        found = read_columns(path, column)
        assert [words for words, _ in found.sentences] == WORDS
        assert [tags for _, tags in found.sentences] == UPOS
    assert read_columns(path, "xpos").sentences[1] == (["#", "They"], ["NFP", "PRP"])
    assert read_columns(path, "upos", "lemma").sentences[1][0] == ["#", "they"]


def test_the_right_lines_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", CONLLU)
    assert read_columns(path).places["VERB"] == f"{path}, line 7"
    with pytest.raises(UserError, match=r"no column 'upo' for data\.column: did you mean upos"):
        read_columns(path, "upo")
    with pytest.raises(
        UserError, match=r"line 4: 10 columns, where 10 are in the first line, and the tags .* column 10"
    ):
        read_columns(path, 10)
    write(path, CONLLU + CONLLU.replace("\n\n# sent_id = 2", ""))  # two sentences in one
    with pytest.raises(UserError, match=r"line 24: '1' stands where the number of a word is expected"):
        read_columns(path)


def test_named_and_numbered_columns(tmp_path: Path) -> None:
    """CoNLL-U Plus says its names; files of Universal NER number their words, and have the tags in the third column."""
    plus = "# global.columns = ID FORM UPOS PARSEME:MWE\n1\tI\tPRON\t*\n2\tgo\tVERB\t1:IRV\n"
    assert read_columns(write(tmp_path / "a", plus), "parseme:mwe").sentences == [(["I", "go"], ["*", "1:IRV"])]
    assert read_columns(write(tmp_path / "a", plus)).sentences[0][1] == ["PRON", "VERB"]
    ner = "# sent_id = 1\n1\tAnn\tB-PER\t-\tx\n2\tgoes\tO\t-\tx\n\n1\tYes\tO\t-\tx\n"
    found = read_columns(write(tmp_path / "b", ner), 2)
    assert found.sentences == [(["Ann", "goes"], ["B-PER", "O"]), (["Yes"], ["O"])]
    assert (found.word, found.column, found.numbered) == (1, 2, True)
    with pytest.raises(UserError, match=r"has no names of columns, so that data\.column=upos is none"):
        read_columns(tmp_path / "b", "upos")


def test_words_that_begin_like_comments(tmp_path: Path) -> None:
    text = "# id 12 domain=train\n#yes O\n# O\nAnn B-PER\n\n# O\nit O\n\n# a comment of five words\nBo B-PER\t\n"
    found = read_columns(write(tmp_path / "a", text.replace("\t", "")))
    assert found.sentences == [
        (["#yes", "#", "Ann"], ["O", "O", "B-PER"]), (["#", "it"], ["O", "O"]), (["Bo"], ["B-PER"]),
    ]  # fmt: skip


def test_a_tab_at_the_end_of_lines(tmp_path: Path) -> None:
    assert read_columns(write(tmp_path / "a", "Ann\tB-PER\t\nis\tO\t\n")).sentences == [(["Ann", "is"], ["B-PER", "O"])]
    with pytest.raises(UserError, match="line 2: the tag of is is empty"):
        read_columns(write(tmp_path / "a", "Ann\tB-PER\nis\t\n"))


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("Zoë B-PER\nist O\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"is no UTF-8 text .* data\.encoding=latin-1"):
        read_columns(path)
    assert read_columns(path, encoding="latin-1").sentences[0][0] == ["Zoë", "ist"]


def test_files_of_a_treebank(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        write(tmp_path / f"en_ewt-ud-{part}.conllu", CONLLU)
    found = find_files("nowhere", str(tmp_path))
    assert [path.name for path in found.values()] == [f"en_ewt-ud-{part}.conllu" for part in ("train", "dev", "test")]
    data = Conll(num_classes=6, path=str(tmp_path), vocab_size=60, by="word")
    data.setup()
    assert data.classes == ["AUX", "NUM", "PART", "PRON", "SYM", "VERB"]
    with pytest.raises(UserError, match=r"train\.conllu is a file: name the folder"):
        find_files("nowhere", str(tmp_path / "en_ewt-ud-train.conllu"))
    write(tmp_path / "de_gsd-ud-dev.conllu", CONLLU)
    with pytest.raises(UserError, match=r"holds de_gsd-ud-dev\.conllu and en_ewt-ud-dev\.conllu"):
        find_files("nowhere", str(tmp_path))


def test_messages_are_short(tmp_path: Path) -> None:
    """Also of a column with thousands of different values."""
    for part in ("train", "dev", "test"):
        text = "".join(f"{i + 1}\tw\tl\tX\tY\t_\t0\troot\t_\t{part}{i}={'z' * i}\n" for i in range(3000))
        write(tmp_path / f"a-{part}.conllu", text)
    data = Conll(num_classes=3000, path=str(tmp_path), column=-1, vocab_size=60, by="word")
    with pytest.raises(UserError, match="is none of those of training") as caught:
        data.read_sentences()
    assert len(str(caught.value)) < 1000
    with pytest.raises(UserError, match="has the tag X alone in its column of tags"):
        Conll.declare_num_classes(path=str(tmp_path))


def test_files_of_the_shared_tasks(tmp_path: Path) -> None:
    """In German they are not in UTF-8."""
    for name in ("deu.train", "deu.testa", "deu.testb"):
        (tmp_path / name).write_bytes("Zürich Zürich NE I-NC I-LOC\nist sein VAFIN I-VC O\n".encode("latin-1"))
    assert [path.name for path in find_files("nowhere", str(tmp_path)).values()] == [
        "deu.train",
        "deu.testa",
        "deu.testb",
    ]
    assert Conll.declare_num_classes(path=str(tmp_path), encoding="latin-1") == 3
