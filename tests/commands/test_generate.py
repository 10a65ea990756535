"""The command `generate`, on small trained runs."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Train
from torch import Tensor, nn

from torchatlas.commands import generate as generation
from torchatlas.commands.generate import generate
from torchatlas.data.text.base import CharacterCodec
from torchatlas.data.text.tokenizer import GPT, train_codec
from torchatlas.errors import UserError
from torchatlas.generate.decoding import continue_
from torchatlas.run.restore import restore
from torchatlas.storage.checkpoints import read
from torchatlas.tasks.language_modeling import LanguageModeling

QUICK = ("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")


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


def test_generate(writer: Path, terminal: Any, tmp_path: Path) -> None:
    """As one by one in Python; plain lines; a file, and a file of objects."""
    out, err = terminal("generate", f"ckpt={writer}", "prompt=The list", "length=30", "top_k=9", "top_p=0.9")
    (text,) = expected_texts(writer, ["The list"], [0], 30, temperature=0.8, top_k=9, top_p=0.9)
    assert out == f"The list{text}\n"
    assert re.search(r"^30 characters in \d+\.\d s: \d+ a second$", err, re.MULTILINE)

    file = tmp_path / "prompts.txt"
    file.write_text("The list\na\n")
    arguments = ("generate", f"ckpt={writer}", f"input={file}", "samples=2", "seed=5", "length=20", "temperature=1")
    texts = expected_texts(writer, ["The list", "The list", "a", "a"], [5, 6, 7, 8], 20)
    plain = tmp_path / "texts.txt"
    out, err = terminal(*arguments, f"output={plain}", "cache=false")
    starts = ["The list", "The list", "a", "a"]
    assert out == "".join(f"--- {i + 1} of 4 ---\n{p}{t}\n" for i, (p, t) in enumerate(zip(starts, texts, strict=True)))
    assert plain.read_text() == out
    assert "80 characters" in err
    terminal(*arguments, f"output={tmp_path / 'texts.jsonl'}")
    rows = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["sample"]) for row in rows] == [("The list", 1), ("The list", 2), ("a", 1), ("a", 2)]
    assert [row["continuation"] for row in rows] == texts


def test_generate_ends_at_a_text(writer: Path, terminal: Any) -> None:
    (text,) = expected_texts(writer, ["The"], [0], 200, temperature=0.8)
    stop = text[50:53]
    out, _ = terminal("generate", f"ckpt={writer}", "prompt=The", f"stop={stop}")
    assert out == f"The{text[: text.index(stop)]}\n"
    out, _ = terminal("generate", f"ckpt={writer}", "prompt=The", "length=400", r"stop=\n", "seed=1")
    assert out.count("\n") == 1
    out, _ = terminal("generate", f"ckpt={writer}", "length=5")  # a text begins with a line break
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


def test_generate_with_beams(writer: Path, terminal: Any) -> None:
    """The likeliest text of all: no likelier one among those that were drawn, nor by the greedy way."""
    out, _ = terminal("generate", f"ckpt={writer}", "prompt=The list", "beams=8", "length=6")
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


def test_a_network_with_a_window_writes_beyond_it(train: Train, terminal: Any) -> None:
    small = ("model=gpt_char_cpu", "model.dim=16", "model.depth=1", "model.heads=2", "data.context=12")
    folder = train(*small, "data=pydoc", *QUICK)
    arguments = ("generate", f"ckpt={folder}", "prompt=The list of all", "length=40")
    out, _ = terminal(*arguments)
    assert out == terminal(*arguments, "cache=false")[0]
    assert len(out) == 15 + 40 + 1
    with pytest.raises(SystemExit):
        train(*small, "data=pydoc", "task.carry=true", "data.streams=true", *QUICK)


def test_a_carried_state_is_carried_in_generation(train: Train, terminal: Any) -> None:
    """A prompt is read from its beginning, however long it is."""
    carry = ("task.carry=true", "data.streams=true", "data.context=8")
    folder = train("model=lstm_lm", "model.dim=16", *carry, *QUICK)
    _, task, _ = restore(str(folder))
    codec, prompt = CharacterCodec(), "The list of all " * 5
    out, _ = terminal("generate", f"ckpt={folder}", f"prompt={prompt}", "length=1", "temperature=0")
    with torch.no_grad():
        likeliest = task.network(codec.encode(prompt)[None])[0, -1].argmax()
    assert out == prompt + codec.decode(likeliest[None]) + "\n"


def test_what_generate_refuses(writer: Path, terminal: Any, tmp_path: Path, train: Train) -> None:
    empty, latin = tmp_path / "empty.txt", tmp_path / "latin.txt"
    empty.write_text("\n")
    latin.write_bytes("naïve".encode("latin-1"))
    digits = train("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")
    for arguments, said in (
        (["prompt=a", "length=0"], "length=0 must be a positive whole number"),
        (["prompt=a", "length=x"], "length=x must be a whole number, as in length=200"),
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
        _, err = terminal("generate", f"ckpt={writer}", *arguments, status=2)
        assert said in err, err
        assert err.count("\n") == 1
    said = "".join(terminal("generate", f"ckpt={writer}", "prompt=a 東京", "length=3"))
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


def test_checkpoints_need_nothing_else(writer: Path, terminal: Any) -> None:
    """Neither the run folder's files nor the data."""
    for path in writer.rglob("*"):
        if path.is_file() and path.name != "best.ckpt":
            path.unlink()
    assert read(writer / "checkpoints" / "best.ckpt")["torchatlas"]["data"]["kind"] == "characters"
    out, _ = terminal("generate", f"ckpt={writer}", "prompt=a", "length=3")
    assert len(out) == 5
