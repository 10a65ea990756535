"""Each kind of data over HTTP: the rows of `predict`, and one pass for requests that come together."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers import Train
from helpers.serving import Client, Reply, serving

import torchatlas
from torchatlas.commands.serve import service_of
from torchatlas.serve.app import Service
from torchatlas.serve.limits import Limits

DONE = ("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch", "data.fake=true")
BERT = ("model=bert_tiny", "data.max_length=32")


def service_for(folder: Path) -> Service:
    return service_of(str(folder), {}, Limits(), torch.device("cpu"), 32, 0.5)


def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("file", "place", "input")} for row in rows]


def close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Equal but for the last digit of numbers, which depends on what stands beside in a batch."""
    numbers = [[value for value in row.values() if isinstance(value, float)] for row in (*found, *expected)]
    texts = [{k: v for k, v in row.items() if not isinstance(v, float)} for row in (*found, *expected)]
    half = len(found)
    return texts[:half] == texts[half:] and all(
        np.allclose(a, b, atol=2e-4) for a, b in zip(numbers[:half], numbers[half:], strict=True)
    )


def together(client: Client, asks: list[Callable[[], Reply]]) -> list[Reply]:
    with ThreadPoolExecutor(len(asks)) as pool:
        return [each.result() for each in [pool.submit(ask) for ask in asks]]


def counted(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the network gets from now on."""
    network, sizes = service.answering.model.network, list[int]()
    forward = network.forward

    def noted(x: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(x))
        return forward(x, *rest)

    monkeypatch.setattr(network, "forward", noted)
    return sizes


def test_texts(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = train(*BERT, "data=sst2", "task=classification", *DONE)
    service, texts = service_for(folder), ["word1 word2", "word2\nword1 word1", "word3", "a b c", "d"]
    expected = torchatlas.load(folder, "cpu").predict(texts)
    (tmp_path / "two.txt").write_text("word1\nword2\n")
    of_file = torchatlas.load(folder, "cpu").predict(tmp_path / "two.txt")
    with serving(service) as client:
        sizes = counted(service, monkeypatch)
        replies = together(client, [lambda text=text: client.json({"input": text}) for text in texts])
        assert sizes == [5]
        rows = [reply.json["answers"][0]["rows"] for reply in replies]
        assert close([row for one in rows for row in bare(one)], bare(expected))
        assert close(bare(client.form(text="word1 word2").json["answers"][0]["rows"]), bare(expected[:1]))
        assert close(
            bare(client.ask("/predict", b"word3", "text/plain").json["answers"][0]["rows"]), bare(expected[2:3])
        )
        (lines,) = client.form([("two.txt", b"word1\nword2\n")]).json["answers"]
        assert close(bare(lines["rows"]), bare(of_file))
        assert [row["place"] for row in lines["rows"]] == ["two.txt:1", "two.txt:2"]
        assert client.json({"inputs": [" ", "a"]}).status == 422


def test_questions(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(*BERT, "data=squad", "task=span", *DONE)
    service = service_for(folder)
    questions = [{"question": f"word{i}?", "context": f"word{i} word2\nword3"} for i in range(1, 4)]
    with serving(service) as client:
        alone = [client.json({"input": each}).json["answers"][0]["rows"] for each in questions]
        sizes = counted(service, monkeypatch)
        whole = client.json({"inputs": questions}).json["answers"]
        assert sizes == [3]
        assert close([row for each in whole for row in each["rows"]], [row for rows in alone for row in rows])
        assert [each["rows"][0]["question"] for each in whole] == ["word1?", "word2?", "word3?"]
        form = client.form(question="word1?", context="word1 word2\nword3").json["answers"]
        assert close(form[0]["rows"], alone[0])
        assert client.form(question="word1?").status == 422
        assert client.json({"input": "no tab"}).status == 422


def test_tags(train: Train) -> None:
    folder = train(*BERT, "data=conll", "task=token_classification", *DONE)
    service, texts = service_for(folder), ["word1 word2 word3", "Anna B-PER"]
    model = torchatlas.load(folder, "cpu")
    with serving(service) as client:
        answers = client.json({"inputs": texts}).json["answers"]
        for text, answer in zip(texts, answers, strict=True):
            assert close(bare(answer["rows"]), bare(model.predict([text])))
            assert answer["rows"][0]["text"] == text


def test_sounds(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = train("model=m5", "data=fsdd_waveform", *DONE)
    service, draw = service_for(folder), np.random.default_rng(0)
    waves = [(0.1 * draw.standard_normal(4000 + 500 * i)).astype(np.float32) for i in range(3)]
    for i, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{i}.wav", wave, 8000, subtype="FLOAT")
    expected = torchatlas.load(folder, "cpu").predict([tmp_path / f"{i}.wav" for i in range(3)])
    files = [(f"{i}.wav", (tmp_path / f"{i}.wav").read_bytes()) for i in range(3)]
    flac = io.BytesIO()
    soundfile.write(flac, waves[0], 8000, format="FLAC", subtype="PCM_24")
    with serving(service) as client:
        sizes = counted(service, monkeypatch)
        replies = together(client, [lambda file=file: client.form([file]) for file in files])
        assert sizes == [3]
        assert close([bare(reply.json["answers"][0]["rows"])[0] for reply in replies], bare(expected))
        (array,) = client.json({"input": {"array": waves[0].tolist(), "sample_rate": 8000}}).json["answers"]
        assert close(bare(array["rows"]), bare(expected[:1]))
        (body,) = client.ask("/predict", flac.getvalue(), "audio/flac").json["answers"]
        assert body["rows"][0]["class"] == expected[0]["class"]
        status, sentence = client.form([("a.webm", b"\x1aE\xdf\xa3" + bytes(50))]).refusal
        assert status == 422
        assert sentence.startswith("a.webm is of Matroska or WebM, which libsndfile cannot read")
