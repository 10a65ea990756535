"""The service over HTTP: what it answers, and how it refuses."""

import base64
import gzip
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.serving import Client, form_of, serving
from PIL import Image
from sklearn.datasets import load_digits

import torchatlas
from torchatlas.commands.serve import service_of
from torchatlas.serve.answering import Answer
from torchatlas.serve.app import Service
from torchatlas.serve.limits import Limits

LIMITS = Limits(bytes=50_000, inputs=8, pixels=10_000, timeout=1.0, queue=8)


def pictures(number: int) -> list[bytes]:
    """Real digits as PNG files."""
    found = []
    for pixels in load_digits(return_X_y=True)[0][:number].reshape(-1, 8, 8):
        file = io.BytesIO()
        Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8)).save(file, "png")
        found.append(file.getvalue())
    return found


@pytest.fixture
def service(trained_digits: Path) -> Service:
    return service_of(str(trained_digits), {}, LIMITS, torch.device("cpu"), 32, 0.3)


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with serving(service) as found:
        yield found


def test_the_same_rows_as_predict_in_every_way_of_asking(client: Client, trained_digits: Path, tmp_path: Path) -> None:
    files = pictures(3)
    for i, content in enumerate(files):
        (tmp_path / f"{i}.png").write_bytes(content)
    expected = torchatlas.load(trained_digits, "cpu").predict([tmp_path / f"{i}.png" for i in range(3)], top=2)
    answers = client.form([(f"{i}.png", content) for i, content in enumerate(files)], top="2").json["answers"]
    for i, (answer, row) in enumerate(zip(answers, expected, strict=True)):
        assert answer == {"name": f"{i}.png", "rows": [{**row, "file": f"{i}.png"}]}
        assert list(answer["rows"][0]) == list(row)
    bare = {key: value for key, value in expected[0].items() if key != "file"}
    array = np.asarray(Image.open(io.BytesIO(files[0])))
    npy = io.BytesIO()
    np.save(npy, array)
    ways = {
        "list": client.json({"input": array.tolist(), "top": 2}),
        "fractions": client.json({"input": {"array": (array / 255).tolist()}, "top": 2}),
        "base64": client.json({"inputs": [{"base64": base64.b64encode(files[0]).decode()}], "top": 2}),
        "body": client.ask("/predict?top=2", files[0], "image/png"),
        "npy": client.ask("/predict?top=2", npy.getvalue(), "application/octet-stream"),
    }
    for way, reply in ways.items():
        assert reply.status == 200, (way, reply.body)
        assert reply.json == {"answers": [{"name": "", "rows": [bare]}]}, way


def test_requests_at_the_same_time_go_through_the_network_once(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(6)
    alone = [client.form([("a.png", content)]).json["answers"][0]["rows"][0] for content in files]
    network, sizes = service.answering.model.network, list[int]()
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda x: sizes.append(len(x)) or forward(x))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda content: client.form([("a.png", content)]), files))
    assert sizes == [6]
    for reply, row in zip(found, alone, strict=True):
        together = reply.json["answers"][0]["rows"][0]
        assert together == {**row, "probability": pytest.approx(row["probability"], abs=2e-6)}


def test_a_torn_file_takes_no_other_with_it(client: Client) -> None:
    good = pictures(2)
    torn = good[0][:60] + bytes(20)
    answers = client.form([("a.png", good[0]), ("torn.png", torn), ("b.png", good[1])]).json["answers"]
    assert ["rows" in answer for answer in answers] == [True, False, True]
    assert re.match(r"torn\.png cannot be read as an image", answers[1]["error"])
    status, sentence = client.form([("torn.png", torn)]).refusal
    assert status == 422
    assert sentence.startswith("torn.png cannot be read as an image")
    assert "/" not in sentence


def test_mistakes_have_a_status_and_a_sentence(client: Client) -> None:
    image = pictures(1)[0]
    huge = Image.new("L", (200, 51))
    large = io.BytesIO()
    huge.save(large, "png")
    body, kind = form_of([("a.png", image)], {})
    two, kind_of_two = form_of([("a.png", image), ("b.png", image)], {})
    for reply, status, sentence in (
        (client.ask("/predict", b"{", "application/json"), 400, "the body is no JSON"),
        (client.ask("/predict", b"[" * 40_000, "application/json"), 400, "the body is no JSON"),
        (client.json([1]), 422, 'the body must be {"input": ...}'),
        (client.json({"inputs": []}), 422, "nothing is asked"),
        (client.json({"inputs": "a"}), 422, '"inputs" must be a list'),
        (client.json({"input": "a"}), 422, "an input must be a list of rows of pixels"),
        (client.json({"input": {"base64": "?"}}), 422, "base64 cannot be read"),
        (client.json({"input": [[1, 2], [3]]}), 422, "the rows of an array must have the same length"),
        (client.json({"input": [["a"]]}), 422, "an array must have numbers"),
        (client.json({"input": [[300]]}), 422, "the input has whole numbers from 300 to 300"),
        (client.json({"input": [[1]], "top": "many"}), 422, "top=many must be a whole number"),
        (client.json({"input": [[1]], "mc_samples": 2, "seed": 2**64}), 422, "seed=18446744073709551616 is too large"),
        (client.json({"input": [[1]], "top": 11}), 422, "top=11 must be from 1 to the 10 classes"),
        (client.json({"input": [[1]], "topp": 1}), 422, "there is no option 'topp': did you mean top?"),
        (client.json({"input": [[1]], "output": "/tmp/x"}), 422, "there is no option 'output'"),
        (client.json({"input": [[1]], "mc_samples": 10**9}), 413, "mc_samples=1000000000 is over the 100"),
        (client.json({"inputs": [[[1]]] * 9}), 413, "there are 9 inputs, and this service takes 8 at a time"),
        (client.ask("/predict", body[:-30], kind), 400, "the form cannot be read"),
        (client.ask("/predict", two[:-100], kind_of_two), 400, "the form cannot be read"),
        (client.ask("/predict", body, "multipart/form-data"), 400, "the form"),
        (client.ask("/predict", body, kind.replace("=", "=x")), 400, "the form cannot be read"),
        (client.ask("/predict", b"x", "application/xml"), 415, "the content type application/xml is none of"),
        (client.ask("/predict", b"", "image/png"), 400, "the body is empty"),
        (client.form([("a.png", b"no image")]), 415, "a.png is no image that can be read here: send one of"),
        (client.form([("a.png", b"")]), 422, "a.png is empty"),
        (client.form([("../../etc/a.png", large.getvalue())]), 413, "a.png, 200x51, has 10,200 pixels"),
        (client.form([("a.png", bytes(60_000))]), 413, "the body has more than 50,000 bytes"),
        (client.form(text="seven"), 422, "nothing is asked: send a file"),
        (client.form([("a.png", image)], text="seven"), 422, "there is no option 'text'"),
        (client.ask("/predict"), 405, "Method Not Allowed"),
        (client.ask("/nowhere"), 404, "Not Found"),
    ):
        assert reply.status == status, (sentence, reply)
        assert sentence in reply.json["error"], (sentence, reply.json)
        assert reply.headers["content-type"] == "application/json"
    assert client.form([("a.png", image)]).status == 200


def test_an_error_of_the_program_says_nothing_of_the_program(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("secret place")

    monkeypatch.setattr(service.answering.model.network, "forward", fails)
    reply = client.form([("a.png", pictures(1)[0])])
    assert reply.refusal == (500, "the network could not answer; the log of the service says why")
    assert "secret place" in caplog.text
    monkeypatch.setattr(service.taker, "of_file", fails)
    reply = client.form([("a.png", pictures(1)[0])])
    assert reply.status == 500
    assert b"secret" not in reply.body


def test_a_full_service_says_when_to_ask_again(service: Service) -> None:
    free, inside = threading.Event(), threading.Semaphore(0)
    real = service.answering

    def slow(inputs: Sequence[Any], options: Any) -> Any:
        inside.release()
        free.wait(30)
        return real(inputs, options)

    image = pictures(1)[0]
    changed = replace(service, answering=slow, limits=replace(LIMITS, queue=2), batch_size=1)
    with serving(changed) as client, ThreadPoolExecutor(2) as pool:
        assert client.ask("/ready").json == {"status": "ready", "under_way": 0}
        asked = [pool.submit(client.form, [("a.png", image)]) for _ in range(2)]
        inside.acquire(timeout=30)
        while client.ask("/ready").status == 200:
            time.sleep(0.01)
        reply = client.form([("a.png", image)])
        assert reply.status == 503
        assert reply.json["error"].startswith("too many requests are under way")
        assert int(reply.headers["retry-after"]) > 0
        assert client.ask("/health").json == {"status": "ok"}
        free.set()
        assert [each.result().status for each in asked] == [200, 200]
        assert client.form([("a.png", image)]).status == 200


def test_slow_requests_end(client: Client) -> None:
    """A body that stops amid, a head that stops amid, and a connection that never says anything."""
    body, kind = form_of([("a.png", pictures(1)[0])], {})
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for sent, said in ((head + body[:50], b"HTTP/1.1 408 "), (head[:30], b""), (b"", b"")):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            connection.sendall(sent)
            answer = connection.makefile("rb").read()
        assert answer.startswith(said)
        assert bool(answer) == bool(said)
        assert 0.5 < time.monotonic() - began < 15
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:  # who keeps on is heard
        for part in (head[:30], head[30:], body[:50], body[50:]):
            connection.sendall(part)
            time.sleep(0.1)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_the_page_asks_no_other_address(client: Client) -> None:
    reply = client.ask("/")
    text = reply.body.decode()
    assert reply.headers["content-type"].startswith("text/html")
    places = set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+""", re.sub(r"(?m)^\s*// .*$", "", text)))
    assert places <= {"http://www.w3.org"}, places  # the name of a language, which is no address
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["'](?!data:)""", text)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert not re.search(
        r'\sstyle="|\son\w+="|innerHTML', text
    )  # which the policy, or a foreign file's name, would break


def test_describe_says_what_can_be_asked(client: Client) -> None:
    said = client.ask("/describe").json
    assert said["form"] == "image"
    assert said["classes"] == [str(i) for i in range(10)]
    assert said["task"] == "classification"
    assert said["limits"]["bytes"] == 50_000
    options = {option["name"]: option for option in said["options"]}
    assert list(options) == ["top", "tta", "mc_samples", "seed"]
    assert options["tta"]["choices"] == ["none", "flip", "ten"]
    assert options["mc_samples"]["most"] == 100
    assert all(option["help"] for option in said["options"])
    assert ".png" in said["endings"]


def test_an_option_is_for_one_request_alone(client: Client) -> None:
    image = pictures(1)[0]
    first = client.form([("a.png", image)]).json
    assert client.form([("a.png", image)], tta="ten").json != first
    assert client.form([("a.png", image)]).json == first


def test_requests_with_dropout_are_answered_alone(service: Service) -> None:
    """What it draws depends on what stands beside in a batch."""
    batches: list[tuple[int, Any]] = []

    def noted(inputs: Sequence[Any], options: Any) -> list[Answer]:
        batches.append((len(inputs), dict(options)["mc_samples"]))
        return [Answer([{"class": "0"}]) for _ in inputs]

    image = pictures(1)[0]
    with serving(replace(service, answering=noted)) as client, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.form, [("a.png", image)], mc_samples=n) for n in ("0", "5", "0", "5")]
        assert [each.result().status for each in asked] == [200] * 4
        assert client.form([("a.png", image)] * 3, mc_samples="5").status == 200
    assert sorted(batches[:3]) == [(1, 5), (1, 5), (2, 0)]
    assert batches[3:] == [(3, 5)]


def test_a_packed_body_is_no_image(client: Client) -> None:
    assert client.form([("a.png", gzip.compress(pictures(1)[0]))]).status == 415
    assert json.loads(client.ask("/health").body) == {"status": "ok"}
