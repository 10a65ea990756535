"""The commands generate and translate, on small trained runs."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Train
from PIL import Image
from torch import Tensor, nn

from torchatlas import cli
from torchatlas.commands import generate as generation
from torchatlas.commands.generate import generate
from torchatlas.commands.translate import translate
from torchatlas.data.text.base import ALPHABET, CharacterCodec, Codec
from torchatlas.data.text.tokenizer import GPT, TRANSLATION, TokenizerCodec, train_codec
from torchatlas.data.text.words import WordCodec
from torchatlas.errors import UserError
from torchatlas.generate.decoding import continue_
from torchatlas.generate.text_stream import TextStream
from torchatlas.run.restore import restore
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import LanguageModeling

QUICK = ("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")
TEXT = 'He said: "naïve café, 3 €"\n\nIt isn\'t 東京 🎉🎉 yet\n'


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command; what it has printed, and said beside."""

    def run(*arguments: str, status: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["torchatlas", *arguments])
        capsys.readouterr()
        if status:
            with pytest.raises(SystemExit) as caught:
                cli.main()
            assert caught.value.code == status
        else:
            cli.main()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return run


# --- tokens to text


def byte_level() -> TokenizerCodec:
    return train_codec(["He said he said it isn't"] * 3, "bpe", 270, GPT)


CODECS: dict[str, Callable[[], Codec]] = {
    "bytes": byte_level,
    "characters": lambda: CharacterCodec(ALPHABET),
    "words": lambda: WordCodec([*sorted(set(re.findall(r"\w+|[^\w\s]", TEXT))), "\n"], "punctuation"),
    "marked": lambda: WordCodec(["<eos>", "He", "said", "It"], "blanks"),
}


@pytest.mark.parametrize("cut", [0, 1, 4, 11])
@pytest.mark.parametrize("name", CODECS)
def test_a_stream_gives_the_text_of_its_tokens(name: str, cut: int) -> None:
    """Whatever the tokens are, and wherever the prompt ends: its text and the stream's are the text of all."""
    codec = CODECS[name]()
    tokens = codec.encode(TEXT)
    stream = TextStream(codec, tokens[:cut])
    pieces = [stream.push(int(token)) for token in tokens[cut:]]
    written = "".join(pieces) + stream.close()
    expected, given = codec.decode(tokens), codec.decode(tokens[:cut])
    if not given.endswith("\N{REPLACEMENT CHARACTER}"):
        assert given + written == expected
    if name == "bytes":
        assert len(tokens) > len(TEXT)  # some characters have no token of their own, and the last two have four bytes
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
        assert "🎉" in pieces


def test_an_unfinished_character_is_shown_at_the_end() -> None:
    codec = byte_level()
    stream = TextStream(codec, codec.encode("a"))
    assert [stream.push(int(token)) for token in codec.encode("b€")[:-1]] == ["b", "", ""]
    assert stream.close() == "\N{REPLACEMENT CHARACTER}"
    assert stream.close() == ""
    special = TextStream(codec, torch.tensor([0]))
    assert special.push(0) + "".join(map(special.push, codec.encode("it €").tolist())) + special.close() == "it €"


@pytest.mark.parametrize(("stop", "expected"), [("cd", "ab"), ("abcd", ""), ("cca", "abcdab"), ("x", "abcdabccab")])
def test_a_stream_stops(stop: str, expected: str) -> None:
    """Nothing of the stop is given away before it is known not to come."""
    codec = CharacterCodec("abcdx")
    stream = TextStream(codec, codec.encode("cc"), stop)
    shown = ""
    for token in codec.encode("abcdabccab"):
        shown += stream.push(int(token))
        assert expected.startswith(shown)
        if stream.ended:
            break
    assert stream.ended == (stop != "x")
    assert shown + stream.close() == expected


# --- generate


@pytest.fixture
def writer(train: Train) -> Path:
    return train("model=lstm_lm", "model.dim=16", *QUICK)


def expected_texts(folder: Path, prompts: list[str], seeds: list[int], length: int, **options: Any) -> list[str]:
    _, task, about = restore(str(folder))
    assert isinstance(task, LanguageModeling)
    codec = CharacterCodec("".join(about["data"]["alphabet"]))
    written = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        tokens = codec.encode(prompt)
        text = task.generate(tokens, length, context=about["data"]["context"], seed=seed, **options)
        written.append(codec.decode(text[len(tokens) :]))
    return written


def test_generate(writer: Path, command: Any, tmp_path: Path) -> None:
    """As one by one in Python; plain lines; a file, and a file of objects."""
    out, err = command("generate", f"ckpt={writer}", "prompt=The list", "length=30", "top_k=9", "top_p=0.9")
    (text,) = expected_texts(writer, ["The list"], [0], 30, temperature=0.8, top_k=9, top_p=0.9)
    assert out == f"The list{text}\n"
    assert re.search(r"^30 characters in \d+\.\d s: \d+ a second$", err, re.MULTILINE)

    file = tmp_path / "prompts.txt"
    file.write_text("The list\na\n")
    arguments = ("generate", f"ckpt={writer}", f"input={file}", "samples=2", "seed=5", "length=20", "temperature=1")
    texts = expected_texts(writer, ["The list", "The list", "a", "a"], [5, 6, 7, 8], 20)
    plain = tmp_path / "texts.txt"
    out, err = command(*arguments, f"output={plain}", "cache=false")
    starts = ["The list", "The list", "a", "a"]
    assert out == "".join(f"--- {i + 1} of 4 ---\n{p}{t}\n" for i, (p, t) in enumerate(zip(starts, texts, strict=True)))
    assert plain.read_text() == out
    assert "80 characters" in err
    command(*arguments, f"output={tmp_path / 'texts.jsonl'}")
    rows = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["sample"]) for row in rows] == [("The list", 1), ("The list", 2), ("a", 1), ("a", 2)]
    assert [row["continuation"] for row in rows] == texts


def test_generate_ends_at_a_text(writer: Path, command: Any) -> None:
    (text,) = expected_texts(writer, ["The"], [0], 200, temperature=0.8)
    stop = text[50:53]
    out, _ = command("generate", f"ckpt={writer}", "prompt=The", f"stop={stop}")
    assert out == f"The{text[: text.index(stop)]}\n"
    out, _ = command("generate", f"ckpt={writer}", "prompt=The", "length=400", r"stop=\n", "seed=1")
    assert out.count("\n") == 1
    out, _ = command("generate", f"ckpt={writer}", "length=5")  # a text begins with a line break
    assert out == expected_texts(writer, ["\n"], [0], 5, temperature=0.8)[0] + "\n"


def test_a_terminal_sees_each_token_as_it_comes(writer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            shown.append(text)
            return len(text)

    monkeypatch.setattr("sys.stdout", Terminal())
    (text,) = generate(str(writer), "The list", length=25)
    monkeypatch.undo()
    assert "".join(shown) == f"The list{text}\n"
    assert len([piece for piece in shown if piece]) >= 20
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr(LanguageModeling, "require_causal", lambda self: self.network.register_forward_hook(escape))
    shown.clear()
    generate(str(writer), "a\N{ESCAPE}[2J", length=1, samples=2)
    monkeypatch.undo()
    assert "\N{ESCAPE}" not in "".join(shown)  # which would clear the screen


def escape(module: nn.Module, given: Any, made: Any) -> None:
    """A hook that changes nothing."""


def test_generate_with_beams(writer: Path, command: Any) -> None:
    """The likeliest text of all: no likelier one among those that were drawn, nor by the greedy way."""
    out, _ = command("generate", f"ckpt={writer}", "prompt=The list", "beams=8", "length=6")
    _, task, about = restore(str(writer))
    codec = CharacterCodec("".join(about["data"]["alphabet"]))

    def log_p(text: Tensor) -> float:
        with torch.no_grad():
            logits = task.network(text[None, :-1])[0, -6:]
        return float(logits.log_softmax(1).gather(1, text[-6:, None]).sum())

    prompt = codec.encode("The list")
    found = codec.encode(out.removesuffix("\n"))
    others = continue_(task.network, [prompt] * 30, 6, context=128, temperature=0.5)
    others += continue_(task.network, [prompt], 6, context=128, temperature=0)
    assert len(found) == len(prompt) + 6
    assert log_p(found) >= max(map(log_p, others)) - 1e-5


def test_a_network_with_a_window_writes_beyond_it(train: Train, command: Any) -> None:
    small = ("model=gpt_char_cpu", "model.dim=16", "model.depth=1", "model.heads=2", "data.context=12")
    folder = train(*small, "data=pydoc", *QUICK)
    arguments = ("generate", f"ckpt={folder}", "prompt=The list of all", "length=40")
    out, _ = command(*arguments)
    assert out == command(*arguments, "cache=false")[0]
    assert len(out) == 15 + 40 + 1
    with pytest.raises(SystemExit):
        train(*small, "data=pydoc", "task.carry=true", "data.streams=true", *QUICK)


def test_a_carried_state_is_carried_in_generation(train: Train, command: Any) -> None:
    """A prompt is read from its beginning, however long it is."""
    carry = ("task.carry=true", "data.streams=true", "data.context=8")
    folder = train("model=lstm_lm", "model.dim=16", *carry, *QUICK)
    _, task, _ = restore(str(folder))
    codec, prompt = CharacterCodec(), "The list of all " * 5
    out, _ = command("generate", f"ckpt={folder}", f"prompt={prompt}", "length=1", "temperature=0")
    with torch.no_grad():
        likeliest = task.network(codec.encode(prompt)[None])[0, -1].argmax()
    assert out == prompt + codec.decode(likeliest[None]) + "\n"


def test_what_generate_refuses(writer: Path, command: Any, tmp_path: Path, train: Train) -> None:
    empty, latin = tmp_path / "empty.txt", tmp_path / "latin.txt"
    empty.write_text("\n")
    latin.write_bytes("naïve".encode("latin-1"))
    digits = train("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")
    for arguments, said in (
        (["prompt=a", "length=0"], "length=0 must be a positive whole number"),
        (["prompt=a", "length=x"], "length=x is not a whole number"),
        (["prompt=a", "temperature=-1"], "temperature=-1.0 must be"),
        (["prompt=a", "top_p=0"], "top_p=0.0 must be over 0"),
        (["prompt=a", "samples=0"], "samples=0 must be"),
        (["prompt=a", "beams=2", "samples=3"], "beams=2 searches for one text and draws none"),
        (["prompt=a", "cache=yes"], "cache=yes must be true or false"),
        (["prompt=a", f"input={empty}"], "prompt and input cannot be given together"),
        ([f"input={empty}"], "empty.txt is empty"),
        ([f"input={latin}"], "latin.txt is no UTF-8 text"),
        (["input=nowhere.txt"], "there is no file nowhere.txt"),
        (["prompt=東京"], "no character of the input is known to the network"),
        (["promt=a"], "did you mean prompt"),
        (["prompt=a", f"ckpt={digits}"], "was trained for classification: use torchatlas predict ckpt=..."),
        (["prompt=a", "ckpt=nowhere"], "there is no checkpoint nowhere"),
    ):
        _, err = command("generate", f"ckpt={writer}", *arguments, status=2)
        assert said in err, err
        assert err.count("\n") == 1
    said = "".join(command("generate", f"ckpt={writer}", "prompt=a 東京", "length=3"))
    assert "2 of 4 characters are unknown to the network" in said


@pytest.mark.parametrize(("by", "size"), [("bpe", 300), ("word", 40)])
def test_prompts_of_other_tokens(by: str, size: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Subwords end at the end-of-text token, which is where a text begins; words need one to begin with."""
    specials = GPT if by == "bpe" else ("<unk>",)
    codec = train_codec(["the cat sat on the mat"] * 3, by, size, specials)
    end = codec.tokenizer.token_to_id(GPT[0])

    class Counting(nn.Module):
        """The cat, the mat, and no more."""

        causal = True

        def __init__(self) -> None:
            super().__init__()
            self.order = [*codec.encode("the cat sat").tolist(), 0]
            self.zero = nn.Parameter(torch.zeros(1))

        def forward(self, tokens: Tensor) -> Tensor:
            logits = self.zero + torch.zeros(*tokens.shape, codec.vocab_size)
            for b, t in torch.cartesian_prod(*map(torch.arange, tokens.shape)).tolist():
                token = int(tokens[b, t])
                place = self.order.index(token) + 1 if token in self.order[:-1] else 0
                logits[b, t, self.order[place]] = 99
            return logits

    about = {"data": codec.describe() | {"context": 8}}
    monkeypatch.setattr(generation, "restore", lambda where: (Path("x.ckpt"), LanguageModeling(Counting()), about))
    if by == "bpe":
        assert end == 0
        assert generate("x") == ["the cat sat"]
        assert generate("x", beams=3, length=20) == ["the cat sat"]
        assert generate("x", "the") == [" cat sat"]
        assert f"{len(codec.encode(' cat sat'))} tokens in" in capsys.readouterr().err
    else:
        assert generate("x", "the", length=2) == [" cat sat"]
        with pytest.raises(UserError, match=r'has to begin with something: give prompt="..."'):
            generate("x")
        with pytest.raises(UserError, match="the prompt '  ' has no word"):
            generate("x", "  ")


# --- translate

PAIRS = [
    (f"{a} {b}", f"{b.upper()} {a.upper()}") for a in ("one", "two", "six", "ten") for b in ("cats", "dogs", "hens")
]


@pytest.fixture
def translator(train: Train, tmp_path: Path) -> Path:
    """A small Transformer that has learned a dozen pairs by heart: two words change places, in capitals."""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS * 4))
    return train(
        "model=transformer", "model.dim=32", "model.depth=2", "model.heads=2", "model.hidden=64",
        "model.dropout=0.0",
        "model.shared=false", "model.tied=false",
        "data=parallel_files", *(f"data.{split}source_path={pairs}" for split in ("", "val_", "test_")), "data.by=word",
        "data.batch_size=12", "trainer.max_epochs=40",
        "optim=adam", "optim.lr=0.003", "schedule=constant", "task.decode=0", "trainer=cpu", "logger=none",
        "callbacks=default",
    )  # fmt: skip


def test_translate(translator: Path, command: Any, tmp_path: Path) -> None:
    """Right answers, one line out for each line in, in their order, in batches and alone, with and without a cache."""
    learned = dict(PAIRS)
    out, err = command("translate", f"ckpt={translator}", "input=two hens")
    assert out == "HENS TWO\n"
    assert "1 sentence in" in err
    lines = ["ten dogs", "", "one cats", "six", "two hens", "one cats"]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    out, _ = command("translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}")
    found = out.split("\n")[:-1]
    assert len(found) == len(lines)
    assert found[1] == ""
    for line, text in zip(lines, found, strict=True):
        if line in learned:
            assert text == learned[line]
    for options in (["cache=false"], ["beams=1"], ["length_penalty=0"]):
        again, _ = command("translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}", *options)
        assert [t for t, line in zip(again.split("\n"), lines, strict=False) if line in learned] == [
            learned[line] for line in lines if line in learned
        ]
    out, _ = command(
        "translate", f"ckpt={translator}", f"input={tmp_path / 'in.txt'}", f"output={tmp_path / 'out.txt'}"
    )
    assert out == ""
    assert (tmp_path / "out.txt").read_text().split("\n")[:-1] == found
    out, _ = command("translate", f"ckpt={translator}", "input=two hens", "max_length=1")
    assert out == "HENS\n"
    said = "".join(command("translate", f"ckpt={translator}", "input=two zebras"))
    assert "1 of 2 words are unknown to the network, which sees one sign for all of them: 'zebras' 1" in said

    # The picture of an alignment.
    picture = tmp_path / "pictures" / "a.png"
    _, err = command("translate", f"ckpt={translator}", "input=two hens", f"alignment={picture}")
    assert str(picture) in err
    with Image.open(picture) as image:
        assert min(image.size) > 100
        assert len(image.convert("L").getcolors() or range(257)) > 20  # it is not empty
    two = tmp_path / "two.txt"
    two.write_text("two hens\none cats\n")
    for arguments, said in (
        ([f"input={two}", f"alignment={picture}"], "shows one sentence, and"),
        (["input=two hens", "alignment=a.jpg"], "alignment=a.jpg must end in .png"),
    ):
        _, err = command("translate", f"ckpt={translator}", *arguments, status=2)
        assert said in err


def test_what_translate_refuses(train: Train, command: Any, tmp_path: Path) -> None:
    small = ("model.dim=8", "model.embedding_dim=8", "model.depth=1", "data.fake=true", "data=dates", "task.decode=4")
    folder = train("model=seq2seq", *small, *QUICK)
    digits = train(*QUICK)
    for arguments, said in (
        (["input="], "there is nothing to translate"),
        (["input=nowhere.txt"], "there is no file nowhere.txt"),
        (["input=word1", "beams=0"], "beams=0 must be a positive whole number"),
        (["input=a", "max_length=-1"], "max_length=-1 must be"),
        (["input=a", "length_penalty=x"], "length_penalty=x is not a number"),
        (["input=word1 word2", "alignment=a.png"], "Seq2Seq does not attend to its source: leave out alignment"),
        (["input=word1", f"ckpt={digits}"], "was trained for classification: use torchatlas predict ckpt=..."),
        ([], "input=... is missing"),
    ):
        _, err = command("translate", f"ckpt={folder}", *arguments, status=2)
        assert said in err, err
    _, err = command("generate", f"ckpt={folder}", "prompt=a", status=2)
    assert "was trained for seq2seq: use torchatlas translate ckpt=..." in err
    lm = train("model=lstm_lm", "model.dim=8", *QUICK)
    _, err = command("translate", f"ckpt={lm}", "input=a", status=2)
    assert "was trained for language_modeling: use torchatlas generate ckpt=..." in err
    _, err = command("predict", f"ckpt={folder}", f"input={tmp_path}", status=2)
    assert "seq2seq" in err


def test_a_source_beyond_the_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchatlas.models.transformer import Transformer
    from torchatlas.tasks.seq2seq import SequenceToSequence

    codec = train_codec(["a b c d"], "word", 8, TRANSLATION)
    network = Transformer(source_vocab_size=8, target_vocab_size=8, max_length=5)
    about = {"data": {"kind": "translation", "source": codec.describe(), "target": codec.describe()}}
    task = SequenceToSequence(network).eval()
    monkeypatch.setattr(generation, "restore", lambda where: (Path("x.ckpt"), task, about))
    with pytest.raises(UserError, match="line 2 has 6 words, more than the 5 that the network can read: divide it"):
        translate("x", "a b\na b c d a b")
    (text,) = translate("x", "a b c d a")  # a target stays below it
    assert len(codec.encode(text)) <= 5


def test_checkpoints_need_nothing_else(writer: Path, command: Any) -> None:
    """Neither the run folder's files nor the data."""
    for path in writer.rglob("*"):
        if path.is_file() and path.name != "best.ckpt":
            path.unlink()
    assert read(writer / "checkpoints" / "best.ckpt")["torchatlas"]["data"]["kind"] == "characters"
    out, _ = command("generate", f"ckpt={writer}", "prompt=a", "length=3")
    assert len(out) == 5
