"""Files in the form of CoNLL-2003."""

from pathlib import Path

import pytest
import torch

from torchatlas.data.labelled import conll
from torchatlas.errors import UserError

CONLL = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
call NN I-NP O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
London NNP I-NP B-PER
"""


def conll_folder(folder: Path, text: str = CONLL) -> Path:
    for name in ("eng.train", "valid.txt", "test.conll"):
        (folder / name).write_text(text)
    return folder


def test_conll_files(tmp_path: Path) -> None:
    folder = conll_folder(tmp_path)
    assert conll.Conll.declare_num_classes("nowhere", str(folder)) == 7  # O, and B- and I- of three kinds
    assert conll.Conll.declare_num_classes("nowhere", fake=True) == 9
    data = conll.Conll(num_classes=7, path=str(folder), vocab_size=80, batch_size=2, max_length=40, lowercase=False)
    data.setup()
    assert data.classes == ["B-MISC", "B-ORG", "B-PER", "I-MISC", "I-ORG", "I-PER", "O"]
    (tokens, lengths, labels) = next(iter(data.test_dataloader()))
    order = lengths.argsort(descending=True)  # "EU rejects ..." is longer in pieces
    names = [[data.classes[y] for y in row[row >= 0].tolist()] for row in labels]
    assert sorted(names) == [["B-ORG", "O", "B-MISC", "O"], ["B-PER", "I-PER", "B-PER"]]
    for row, length, label in zip(tokens, lengths, labels, strict=True):
        pieces = data.codec.pieces(row[:length])
        assert pieces[0] == "[CLS]"
        assert pieces[-1] == "[SEP]"
        labelled = (label >= 0).nonzero()[:, 0].tolist()
        words = [
            "".join(p.removeprefix("##") for p in pieces[a:b])
            for a, b in zip(labelled, [*labelled[1:], -1], strict=True)
        ]
        assert words in (["EU", "rejects", "German", "call"], ["Peter", "Blackburn", "London"])
        assert (label[length:] == -100).all()
    assert len(order) == 2
    # The most frequent tag of each word is right on the text it was counted on.
    assert data.baselines["val"] == {
        "usual_tag_accuracy": 1.0, "usual_tag_precision": 1.0, "usual_tag_recall": 1.0, "usual_tag_f1": 1.0,
    }  # fmt: skip
    chunk = conll.Conll(num_classes=3, path=str(folder), column=2, vocab_size=80, batch_size=2)
    with pytest.raises(UserError, match="there are 5 tags, not"):
        chunk.setup()


def test_conll_words_that_do_not_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    folder = conll_folder(tmp_path)
    data = conll.Conll(num_classes=7, path=str(folder), vocab_size=80, batch_size=2, max_length=5, by="word")
    data.setup()
    assert "train: 1 of 2 inputs (50.0 %) were longer than data.max_length=5" in caplog.text
    tokens, lengths, labels = data.splits["train"][-1, torch.tensor([0, 1])]
    assert lengths.tolist() == [5, 5]
    assert ((labels >= 0).sum(1)).tolist() == [3, 3]
    assert tokens[:, -1].tolist() == [data.separator] * 2


def test_the_tag_for_none_of_conllu_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["1\ta\ta\tX\t_\t_\t0\troot\t_\t_", "2\tb\tb\t_\t_\t_\t1\tdep\t_\t_"]
    folder = conll_folder(tmp_path, "\n".join(rows) + "\n")
    conll.Conll(num_classes=2, path=str(folder), vocab_size=60, by="word").setup()
    assert "the tag _, which says in CoNLL-U that there is none, is a class like the others" in caplog.text
    assert "eng.train, line 2" in caplog.text


def test_mistakes_in_conll_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no train.txt or train.conll or eng.train.*licence"):
        conll.Conll.declare_num_classes(str(tmp_path))
    for text, column, message in (
        ("a O\nb\n", -1, "line 2: 1 columns, where 2 are in the first line"),
        ("a O\n", 4, "line 1: 2 columns"),
        ("word\n", -1, "line 1: 1 columns"),
        ("\n\n", -1, "holds no sentence"),
    ):
        folder = conll_folder(tmp_path, text)
        with pytest.raises(UserError, match=message):
            conll.Conll.declare_num_classes("nowhere", str(folder), column)
    conll_folder(tmp_path, "a O\nb B-X\n")
    (tmp_path / "test.conll").write_text("a B-Y\n")
    with pytest.raises(UserError, match="line 1: the tag B-Y is none of those of training: B-X, I-X, O"):
        conll.Conll(num_classes=3, path=str(tmp_path), vocab_size=60).setup()


def test_usual_tags_of_worked_example() -> None:
    """The word a is mostly O; a word that is new gets what words that come once have most, here B-X."""
    train = [(["a", "b", "a", "a", "c"], ["O", "B-X", "O", "B-X", "B-X"])]
    judged = [(["a", "new", "b"], ["O", "B-X", "O"])]
    assert conll.usual_figures(train, judged, ["B-X", "I-X", "O"]) == pytest.approx(
        {
            "usual_tag_accuracy": 2 / 3,
            "usual_tag_precision": 0.5,
            "usual_tag_recall": 1.0,
            "usual_tag_f1": 2 / 3,
        }
    )


# --- a user's files


@pytest.fixture
def trained(tmp_path: Path) -> conll.Conll:
    """Data as a run leaves them: words in the first column and tags in the last one."""
    data = conll.Conll(num_classes=7, path=str(conll_folder(tmp_path)), vocab_size=120, lowercase=False)
    data.setup()
    return data


def given(data: conll.Conll, path: Path, content: str) -> list[list[str]]:
    """The words of each text."""
    path.write_text(content)
    found = data.read(str(path))
    return [
        [about["text"][begin:end] for begin, end in spans]
        for about, spans in zip(found.about, found.words, strict=True)
    ]


def test_a_file_of_columns_is_read_as_in_training(trained: conll.Conll, tmp_path: Path) -> None:
    words = [["EU", "rejects", "German", "call"], ["Peter", "Blackburn", "London"]]
    assert given(trained, tmp_path / "new.txt", CONLL) == words
    assert given(trained, tmp_path / "new.txt", CONLL.replace("I-", "S-")) == words  # in another scheme
    numbered = "".join(f"{i}\t{word}\tO\n" for i, word in enumerate(words[0], 1))
    assert given(trained, tmp_path / "new.conllu", numbered) == words[:1]
    assert given(trained, tmp_path / "new.txt", "EU rejects\n\nGerman call!\n") == [
        ["EU", "rejects"], ["German", "call", "!"],
    ]  # fmt: skip
    (tmp_path / "new.conll").write_text(CONLL)
    found = trained.read(str(tmp_path / "new.conll"))
    assert [row["place"] for row in found.about] == [f"{tmp_path / 'new.conll'}:{n}" for n in (3, 8)]
    found = trained.read(str(tmp_path / "new.txt"))
    assert [row["place"] for row in found.about] == [f"{tmp_path / 'new.txt'}:{n}" for n in (1, 3)]
    assert given(trained, tmp_path / "new.csv", 'id,text\n1,"EU, rejects"\n2,German call\n') == [
        ["EU", ",", "rejects"], ["German", "call"],
    ]  # fmt: skip
    with pytest.raises(UserError, match="2 columns, where 3 are in the first line"):
        given(trained, tmp_path / "new.conllu", numbered + "5\tx\n")
