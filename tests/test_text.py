"""Text: codecs, splits, streams, and a state that is carried from batch to batch."""

import hashlib
import itertools
import json
import math
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import Train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_resume import StopsWithin, equal, stopped
from torch import nn

from torchatlas import cli
from torchatlas.callbacks.checkpoint import carried_rows, carry_on
from torchatlas.data.loading import Loader, StreamOrder
from torchatlas.data.text import wikitext2
from torchatlas.data.text.base import ALPHABET, CharacterCodec, Streams, Windows, codec_of
from torchatlas.data.text.pydoc import PydocWords
from torchatlas.data.text.text_file import TextFile, count_tokens, read_splits
from torchatlas.data.text.tiny_shakespeare import TinyShakespeare
from torchatlas.data.text.words import WordCodec, most_frequent, split_words
from torchatlas.errors import UserError
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import LanguageModeling, trigram_nll
from torchatlas.tasks.ngram import WittenBellTrigram
from torchatlas.tasks.sparse_ngram import SparseWittenBellTrigram
from torchatlas.zoo import create_model

# --- words and characters


def test_words() -> None:
    text = "It's “x_1”, isn’t it?\n\nYes: 3.5 €"
    words = ["It's", "“", "x_1", "”", ",", "isn’t", "it", "?", "\n", "\n", "Yes", ":", "3", ".", "5", "€"]
    assert split_words(text, "punctuation") == words
    assert split_words(" = A = \n \n b <unk>\n", "blanks") == ["=", "A", "=", "<eos>", "<eos>", "b", "<unk>", "<eos>"]
    assert split_words("no line feed", "blanks")[-1] == "<eos>"


def test_ties_are_broken_by_the_alphabet() -> None:
    assert most_frequent(["b", "a", "c", "c", "<unk>", "<unk>", "<unk>", "d"], 3, ["<unk>"]) == ["c", "a", "b"]


@pytest.mark.parametrize("rule", ["blanks", "punctuation"])
def test_word_codec(rule: str) -> None:
    text = "the cat sat\non the mat\n"
    codec = WordCodec(sorted(set(split_words(text, rule))), rule)
    assert codec.words[-1] == "<unk>"
    assert codec.decode(codec.encode(text)) == text
    assert codec.decode(codec.encode("the dog sat\n")) == "the <unk> sat\n"
    assert (
        codec.unknown("the dog, the dog") == {"punctuation": {"dog": 2, ",": 1}, "blanks": {"dog,": 1, "dog": 1}}[rule]
    )
    marked = WordCodec(["<unk>", "a"], rule)  # of a text in which it is a word like others
    assert marked.vocab_size == 2
    assert marked.encode("b")[0] == 0


@pytest.mark.parametrize("codec", [CharacterCodec("${ab"), WordCodec(["a", "b", "\n"], "punctuation")])
def test_a_codec_is_made_again_from_its_description(codec: Any) -> None:
    about = codec.describe()
    again = codec_of(json.loads(json.dumps(about)))
    assert again.encode("ab${\nzz b").tolist() == codec.encode("ab${\nzz b").tolist()
    assert "${" not in [part for value in about.values() for part in ([value] if isinstance(value, str) else value)]
    with pytest.raises(UserError, match="are no text"):
        codec_of({"kind": "image"})


def test_words_of_pydoc_are_the_most_frequent_of_training() -> None:
    data = PydocWords(vocab_size=500, context=16)
    data.setup()
    train = split_words(data.read_texts()["train"], "punctuation")
    counts = dict.fromkeys(train, 0)
    for word in train:
        counts[word] += 1
    words = data.codec.words
    assert len(words) == 500
    assert words[-1] == "<unk>"
    keys = [(-counts[word], word) for word in words[:-1]]
    assert keys == sorted(keys)
    assert max(counts[word] for word in set(counts) - set(words)) <= counts[words[-2]]
    with pytest.raises(UserError, match=r"data.vocab_size=9000 is not the \d+ of this text"):
        PydocWords(vocab_size=9000, context=16).setup()


# --- data sets


def test_tiny_shakespeare_is_cut_by_position(tmp_path: Path) -> None:
    data = TinyShakespeare(root=str(tmp_path), vocab_size=66, context=4, batch_size=2)
    data.path.parent.mkdir()
    text = "".join(data.alphabet[i % 65] for i in range(1001))
    data.path.write_text(text)
    data.setup()
    decoded = {split: data.codec.decode(dataset.tokens) for split, dataset in data.splits.items()}
    assert "".join(decoded[split] for split in ("train", "val", "test")) == text
    assert {split: len(part) for split, part in decoded.items()} == {"train": 900, "val": 50, "test": 51}
    assert len(set(data.alphabet)) == 65


def test_wikitext_is_unpacked_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "wikitext-2-v1.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in wikitext2.FILES.values():
            archive.writestr(f"wikitext-2/{name}", " = A = \n" + " the <unk> cat \n" * 20)
    monkeypatch.setattr(wikitext2, "MD5", hashlib.md5(packed.read_bytes()).hexdigest())
    monkeypatch.setattr(wikitext2, "LINES", dict.fromkeys(wikitext2.FILES, 21))
    data = wikitext2.WikiText2(root=str(tmp_path), vocab_size=6, context=8, batch_size=2)
    data.prepare_data()
    data.setup()
    assert data.codec.words == ["<eos>", "cat", "the", "=", "A", "<unk>"]
    assert len(data.splits["val"].tokens) == 4 + 20 * 4
    packed.unlink()
    data.prepare_data()  # unpacked files are enough
    path = tmp_path / "wikitext-2" / "wiki.valid.tokens"
    path.write_text("torn")
    with pytest.raises(UserError, match=r"wiki.valid.tokens has 0 lines where 21 are right"):
        wikitext2.WikiText2(root=str(tmp_path), vocab_size=6).setup()


def own_text(**options: Any) -> TextFile:
    by, share, largest = options.get("by", "character"), options.get("share", 0.05), options.get("max_tokens", 10_000)
    size = count_tokens(options["path"], by, share, largest, False)
    data = TextFile(**{"vocab_size": size, "context": 8, "batch_size": 2, **options})
    data.setup()
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    words = [f"word{i % 37 + i % 11}" for i in range(2000)]
    found = tmp_path / "own.txt"
    found.write_text("\n".join(" ".join(words[i : i + 9]) for i in range(0, 2000, 9)) + "\nat the end ÿ stands\n")
    return found


def test_own_text_is_cut_between_words(path: Path) -> None:
    splits = read_splits(path, 0.1)
    text = path.read_text()
    assert splits["train"] + splits["val"] + splits["test"] == text
    assert [len(splits[s]) / len(text) for s in ("train", "val", "test")] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert all(splits[s][-1].isspace() for s in ("train", "val"))


@pytest.mark.parametrize("by", ["character", "word"])
def test_own_text_has_its_own_vocabulary(by: str, path: Path) -> None:
    """Of the training part alone: what only the test has is unknown."""
    data = own_text(path=str(path), by=by)
    train = data.read_texts()["train"]
    types = set(train) if by == "character" else set(split_words(train, "punctuation"))
    assert data.vocab_size == len(types) + 1
    assert data.codec.encode("ÿ")[0] == data.vocab_size - 1
    assert data.unit == by
    small = own_text(path=str(path), by=by, max_tokens=5)
    assert small.vocab_size == 5
    unknown = [float((d.splits["train"].tokens == d.vocab_size - 1).float().mean()) for d in (data, small)]
    assert unknown[0] == 0 < unknown[1]


def test_a_changed_text_keeps_the_numbers_of_the_checkpoint(path: Path) -> None:
    data = own_text(path=str(path))
    path.write_text("z" + path.read_text().replace("w", "%"))
    later = TextFile(path=str(path), vocab_size=data.vocab_size, context=8)
    later.load_state_dict(data.describe())
    later.setup()
    assert later.codec.describe() == data.codec.describe()
    with pytest.raises(UserError, match=r"is not the \d+ of this text"):
        TextFile(path=str(path), vocab_size=data.vocab_size, context=8).setup()


def test_a_folder_of_texts(tmp_path: Path) -> None:
    for name, text in (("b.txt", "second"), ("a.txt", "\N{BOM}first\r\n"), ("c.md", "none")):
        (tmp_path / name).write_bytes(text.encode())
    assert "".join(read_splits(tmp_path, 0.1).values()) == "first\n\n\nsecond"


def test_mistakes_in_a_text_are_named(tmp_path: Path) -> None:
    def refuses(match: str, **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            own_text(**options)

    file = tmp_path / "a.txt"
    refuses("needs a text: name a file", path=None)
    refuses("there is no file or folder nowhere", path="nowhere")
    refuses("holds no file that ends in .txt", path=str(tmp_path))
    file.write_text(" \n")
    refuses("a.txt is empty", path=str(file))
    file.write_bytes("naïve".encode("latin-1"))
    refuses("a.txt is no UTF-8 text", path=str(file))
    file.write_text("a b c d " * 8)
    refuses(
        r"the train text has 58 characters, too few for data.context=40: use data.context=7",
        path=str(file),
        context=40,
    )
    file.write_text("a b c d " * 20)
    refuses(r"the val text has \d words, too few for data.context=8", path=str(file), by="word")
    refuses("data.by=letter must be character, word, bpe or wordpiece", path=str(file), by="letter")
    refuses("data.share=0.5 must be between", path=str(file), share=0.5)
    refuses("data.max_tokens=1 must be at least 2", path=str(file), max_tokens=1)
    file.write_text("word" * 50 + " " * 20)
    refuses("the val text is empty", path=str(file), share=0.04)


# --- streams


def batches(order: StreamOrder, epoch: int = 0) -> list[torch.Tensor]:
    order.set_epoch(epoch)
    return [positions for _, positions in order]


@pytest.mark.parametrize(("size", "rows", "context"), [(1000, 4, 10), (55, 4, 10), (1003, 7, 16), (9, 2, 2)])
def test_streams_of_training_go_on(size: int, rows: int, context: int) -> None:
    found = batches(StreamOrder(size, rows, context, shuffle=True))
    assert len(found) == len(StreamOrder(size, rows, context, shuffle=True)) > 0
    assert all(positions.shape == (rows, context + 1) for positions in found)
    for before, after in itertools.pairwise(found):
        assert torch.equal(before[:, -1], after[:, 0])
    predicted = torch.cat([positions[:, 1:].flatten() for positions in found])
    assert len(predicted.unique()) == len(predicted) > size - 1 - (rows + 1) * context
    assert 0 <= int(found[0].min()) <= int(found[-1].max()) < size
    joined = torch.cat([found[0][:, :1], *(positions[:, 1:] for positions in found)], 1)
    assert (joined.diff(dim=1) == 1).all()


def test_streams_begin_elsewhere_in_each_epoch() -> None:
    order = StreamOrder(1000, 4, 10, shuffle=True, seed=3)
    starts = {int(batches(order, epoch)[0][0, 0]) for epoch in range(40)}
    assert len(starts) > 10
    assert max(starts) < 1000 - 4 * 10 * len(order)
    assert torch.equal(batches(order, 7)[0], batches(StreamOrder(1000, 4, 10, shuffle=True, seed=3), 7)[0])
    assert not torch.equal(batches(order, 7)[0], batches(StreamOrder(1000, 4, 10, shuffle=True, seed=4), 7)[0])
    whole = batches(order, 7)
    order.start = 5
    assert all(map(torch.equal, batches(order, 7), whole[5:]))
    assert len(batches(order, 7)) == len(whole)


CASES = [(1000, 4, 10), (1001, 4, 10), (1003, 4, 10), (45, 4, 10), (30, 8, 10), (1002, 5, 200), (64, 3, 7), (9, 4, 1)]


@pytest.mark.parametrize(("size", "rows", "context"), CASES)
def test_streams_of_evaluation_predict_each_token_once(size: int, rows: int, context: int) -> None:
    order = StreamOrder(size, rows, context, shuffle=False)
    found = batches(order)
    assert len(found) == len(order)
    predicted = torch.cat([positions[:, 1:].flatten() for positions in found])
    assert predicted.sort().values.tolist() == list(range(1, size))
    for before, after in itertools.pairwise(found):
        assert torch.equal(before[: len(after), -1], after[:, 0])  # rows drop out at the end of the batch only
        assert after.shape[1] - 1 <= context


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [1000, 1001, 1005])
def test_processes_share_the_streams(shuffle: bool, size: int) -> None:
    whole = batches(StreamOrder(size, 6, 10, shuffle=shuffle))
    shares = [batches(StreamOrder(size, 6, 10, shuffle=shuffle, rank=rank, world=2)) for rank in range(2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share[0], whole[0][rank::2])
        for before, after in itertools.pairwise(share):
            assert torch.equal(before[: len(after), -1], after[:, 0])
    if shuffle:
        assert len(shares[0]) == len(shares[1]) == len(whole)
    else:
        predicted = torch.cat([positions[:, 1:].flatten() for share in shares for positions in share])
        assert predicted.sort().values.tolist() == list(range(1, size))
        assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_streams_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"8 streams of data.context=10 need more than the 70 tokens.*batch_size=6"):
        StreamOrder(70, 8, 10, shuffle=True)
    assert len(StreamOrder(70, 6, 10, shuffle=True)) == 1
    with pytest.raises(UserError, match="multiple of the 2 processes"):
        StreamOrder(700, 7, 10, shuffle=True, world=2)


def test_workers_read_the_same_streams() -> None:
    text = Streams(torch.arange(100), 8)
    alone, helped = ([b[0] for b in Loader(text, StreamOrder(100, 4, 8, shuffle=True), num_workers=n)] for n in (0, 1))
    assert all(map(torch.equal, alone, helped))


# --- the carried state


def recurrent() -> LanguageModeling:
    network = create_model("lstm_lm", vocab_size=11, dim=6, depth=2, dropout=0.0)
    return LanguageModeling(network.double(), carry=True)


@torch.no_grad()
def test_a_carried_state_is_as_if_the_stream_were_read_at_once() -> None:
    """In evaluation, with rows that drop out, against the network on each whole stream."""
    task, text = recurrent().eval(), torch.randint(11, (84,))
    order = StreamOrder(84, 3, 9, shuffle=False)
    nll, total = 0.0, 0
    for positions in batches(order):
        batch = (text[positions],)
        nll, total = nll + float(task.step(batch)["loss"]) * task.weight(batch), total + task.weight(batch)
    assert total == 83
    expected = 0.0
    for begin, end in ((0, 28), (28, 56), (56, 83)):
        stream = text[None, begin : end + 1]
        expected += float(F.cross_entropy(task.network(stream[:, :-1])[0], stream[0, 1:], reduction="sum"))
    assert nll == pytest.approx(expected, rel=1e-9)
    assert task.nll(text, 10) == pytest.approx(
        float(F.cross_entropy(task.network(text[None, :-1])[0], text[1:], reduction="sum")), rel=1e-9
    )


def test_gradients_end_at_the_border_of_a_batch() -> None:
    """Those of the second batch are the ones from a given state."""
    task, text = recurrent(), torch.randint(11, (2, 17))
    task.step((text[:, :9],))
    state = task.states["train"]
    assert all(part.shape == (2, 2, 6) and not part.requires_grad for part in state)
    task.zero_grad()
    task.step((text[:, 8:],))["loss"].backward()
    carried = [p.grad.clone() for p in task.network.parameters()]
    task.zero_grad()
    logits, _ = task.network.advance(text[:, 8:-1], state)
    F.cross_entropy(logits.flatten(0, 1), text[:, 9:].flatten()).backward()
    for one, p in zip(carried, task.network.parameters(), strict=True):
        torch.testing.assert_close(one, p.grad)


class NoState(nn.Module):
    """A network without `advance`, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal, self.logits = causal, nn.Parameter(torch.zeros(5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*tokens.shape, 5)


def test_what_cannot_be_carried_or_generated() -> None:
    with pytest.raises(ValueError, match=r"task.carry=true needs a recurrent network, and NoState has no state"):
        LanguageModeling(NoState(causal=True), carry=True)
    prompt = torch.tensor([1])
    assert len(LanguageModeling(NoState(causal=True)).generate(prompt, 4, context=3)) == 5
    with pytest.raises(UserError, match="NoState is not causal"):
        LanguageModeling(NoState(causal=False)).generate(prompt, 4, context=3)


def test_a_prompt_is_read_whole_where_the_state_is_carried() -> None:
    task = recurrent().float()
    prompt = torch.randint(11, (30,))
    whole = task.network.eval()(prompt[None])[0, -1].argmax()
    assert task.generate(prompt, 1, context=4, temperature=0)[-1] == whole
    other = torch.cat([(prompt[:15] + 1) % 11, prompt[15:]])
    task.carry = False
    assert torch.equal(*(task.generate(p, 5, context=4, seed=1)[30:] for p in (prompt, other)))


def test_a_state_is_dealt_out_to_any_number_of_processes() -> None:
    """As the rows of the text are: process r of w has every w-th row from r on."""
    whole = [torch.arange(2 * 12 * 3.0).view(2, 12, 3), torch.rand(1, 12, 5)]
    kept = [[part[:, rank::3] for part in whole] for rank in range(3)]
    for world in (1, 2, 3, 4):
        for rank in range(world):
            task = recurrent()
            carry_on(task, kept, rank, world)
            assert all(map(torch.equal, carried_rows(task), [part[:, rank::world] for part in whole]))
    carry_on(task, [[part[..., :2]] for part in (whole[0], whole[0])], 0, 2)
    assert isinstance(task.states["train"], torch.Tensor)
    carry_on(task := recurrent(), [[], []], 0, 2)
    assert task.states == {}


TINY = ("model=lstm_lm", "model.dim=8", "trainer=cpu", "data.context=16", "data.batch_size=8")


def test_a_carried_state_survives_a_stop(train: Train) -> None:
    """Within the second epoch, with accumulated gradients, dropout and an evaluation that has a state of its own."""
    arguments = [*TINY, "task.carry=true", "model.dropout=0.3", "trainer.limit_train_batches=10", "logger=none"]
    arguments += ["trainer.max_epochs=3", "callbacks=default", "trainer.limit_val_batches=3", "optim.lr=0.02"]
    arguments += ["trainer.limit_test_batches=5"]
    whole = train(*arguments)
    part = stopped(train, StopsWithin, *arguments, status=128 + signal.SIGTERM)
    path = part / "checkpoints" / "last.ckpt"
    about = read(path)["torchatlas"]
    assert [rows.shape for rows in about["processes"][0]["carried"]] == [(2, 8, 8)] * 2
    train(f"resume={part}")
    assert equal(whole, part) == []
    assert read(path)["torchatlas"]["processes"][0]["carried"] == []  # an epoch begins without a state


def test_carrying_needs_streams(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(*TINY, "task.carry=true", "data.streams=false")
    assert "add data.streams=true" in capsys.readouterr().err


# --- baselines


def test_the_sparse_trigram_is_the_dense_one() -> None:
    dense, train = WittenBellTrigram(7), [torch.randint(6, (4, 30)), torch.randint(6, (1, 50))]
    for windows in train:
        dense.update(windows)
    judged = torch.randint(7, (5, 12))
    torch.testing.assert_close(
        SparseWittenBellTrigram(7, train).nll(judged), dense.nll(judged).double(), rtol=1e-5, atol=1e-6
    )
    large = SparseWittenBellTrigram(2_000_000, [torch.tensor([[1_999_999, 5, 1_999_999, 5]])])
    assert float(large.probability(large._code(torch.tensor([[5, 1_999_999, 5]]), 3), 3)) > 0.8
    with pytest.raises(ValueError, match="at most 2097151 tokens"):
        SparseWittenBellTrigram(2**21, train)


def test_a_baseline_of_words_beats_chance_and_is_judged_on_the_networks_tokens() -> None:
    tokens = torch.arange(3000) % 300
    windows, stream = Windows(tokens, 10, 0, shift=False), Streams(tokens, 10)
    assert sum(w[:, 1:].numel() for w in stream.windows()) == 2999
    assert trigram_nll(stream, stream, 300) < 0.3 < math.log(300)
    model = SparseWittenBellTrigram(300, windows.windows())
    by_hand = torch.cat([model.nll(w).flatten() for w in windows.windows()]).mean()
    assert trigram_nll(windows, windows, 300) == pytest.approx(float(by_hand))
    assert sum(w[:, 1:].numel() for w in windows.windows()) == 10 * len(windows)


# --- through the command line


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["torchatlas", "predict", *arguments])
        capsys.readouterr()
        cli.main()
        printed = capsys.readouterr()
        return json.loads(printed.out.splitlines()[-1]), printed.out + printed.err

    return run


def test_a_run_by_word(train: Train, predict: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures have the names of words; samples and predictions are words, with a carried state."""
    folder = train(
        *TINY, "data=pydoc_words", "task.carry=true", "trainer.max_epochs=1", "trainer.limit_train_batches=5",
        "callbacks.samples.length=12", "callbacks.samples.temperatures=[0.5,1.0]", "trainer.limit_val_batches=2",
        "trainer.limit_test_batches=2",
    )  # fmt: skip
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert {"test/loss", "test/perplexity", "test/trigram_perplexity"} == set(figures)
    assert figures["test/perplexity"] == pytest.approx(math.exp(figures["test/loss"]), rel=1e-4)
    assert 10 < figures["test/trigram_perplexity"] < 100
    assert "trigram baseline: perplexity" in (folder / "train.log").read_text()
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"summary/test perplexity", "epoch/trigram_perplexity/val"} <= set(events.Tags()["scalars"])
    for temperature in (0.5, 1.0):
        (event, *_) = events.Tensors(f"validation text/temperature {temperature}/text_summary")
        assert " ⟦" in event.tensor_proto.string_val[0].decode()

    file = tmp_path / "a.txt"
    file.write_text("the zebra is a list of zebra objects\n")
    row, printed = predict(f"ckpt={folder}", f"input={file}", "length=6")
    assert "2 of 9 words are unknown to the network" in printed
    assert "'zebra' 2" in printed
    assert row["words"] == 9
    assert 1000 < row["perplexity"] < 3000  # five steps of training: near the 2,000 of no knowledge
    assert "bits_per_character" not in row
    file.write_text("zebra zebra")
    with pytest.raises(SystemExit):
        predict(f"ckpt={folder}", f"input={file}")
    assert "a.txt has no word that the network was trained on" in capsys.readouterr().err
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SystemExit):
        predict(f"ckpt={folder}", f"input={file}")
    assert "a.txt is no UTF-8 text" in capsys.readouterr().err


def test_made_data_have_the_declared_size() -> None:
    for by, size in (("character", len(ALPHABET) + 1), ("word", 1000)):
        assert count_tokens(None, by, 0.05, 10_000, True) == size
        data = TextFile(by=by, vocab_size=size, fake=True, context=8, batch_size=4)
        data.setup()
        assert data.codec.vocab_size == size
        assert int(data.splits["train"].tokens.max()) < size
