"""`torchatlas serve` as it is typed: a process that is asked, and that ends well."""

import base64
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Train
from helpers.serving import Client, form_of, serving
from PIL import Image
from vega_datasets import data as vega_data

import torchatlas
from torchatlas.commands.serve import service_of
from torchatlas.serve.limits import Limits

Terminal = Callable[..., tuple[str, str]]
DONE = ("trainer=cpu", "logger=none", "callbacks=default", "debug=one_batch")


def image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "png")
    return file.getvalue()


class Process:
    """The command in a process of its own, and what it says."""

    def __init__(self, *words: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "torchatlas.cli", "serve", *words], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.lines: list[str] = []
        self.reading = threading.Thread(target=self.read, daemon=True)
        self.reading.start()

    def read(self) -> None:
        assert self.child.stdout is not None
        self.lines += iter(self.child.stdout.readline, "")

    def client(self) -> Client:
        """Waits until it answers."""
        ends = time.monotonic() + 300
        while time.monotonic() < ends and self.child.poll() is None:
            if match := re.search(r"answers at http://\S+?:(\d+) ", "".join(self.lines)):
                return Client(int(match[1]))
            time.sleep(0.1)
        raise AssertionError("".join(self.lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.child.send_signal(number)
        return self.child.wait(60)


@pytest.fixture
def process(trained_digits: Path) -> Iterator[Process]:
    found = Process(f"ckpt={trained_digits}", "port=0", "host=0.0.0.0", "accelerator=cpu", "top=2", "timeout=20")
    yield found
    found.child.kill()
    found.child.wait()
    found.reading.join()
    assert found.child.stdout is not None
    found.child.stdout.close()


def test_a_process_that_is_asked_and_ends_when_all_is_answered(process: Process, terminal: Terminal) -> None:
    client = process.client()
    assert client.ask("/health").json == {"status": "ok"}
    row = client.form([("a.png", image())]).json["answers"][0]["rows"][0]
    assert {"class_1", "class_2"} <= set(row)  # as the command says
    assert "class_3" in client.form([("a.png", image())], top="3").json["answers"][0]["rows"][0]
    said = "".join(process.lines)
    assert "host=0.0.0.0: everyone who reaches this address may ask" in said
    body, kind = form_of([("a.png", image())], {})
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        connection.sendall(head + body[:20])
        time.sleep(0.3)
        process.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[20:])
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")
    assert process.child.wait(60) == 0
    assert "Traceback" not in "".join(process.lines)
    with pytest.raises(ConnectionRefusedError):
        client.ask("/health")


def test_mistakes_are_one_sentence(trained_digits: Path, terminal: Terminal, train: Train) -> None:
    words = ("serve", f"ckpt={trained_digits}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"torchatlas: port={port} is in use" in terminal(*words, f"port={port}", status=2)[1]
    for word, sentence in (
        ("port=70000", "port=70000 must be from 0 to 65535"),
        ("batch_size=0", "batch_size=0 must be at least 1"),
        ("max_pixels=0", "max_pixels=0 must be positive"),
        ("timeout=soon", "timeout=soon must be a number"),
        ("prot=1", "there is no key 'prot': did you mean port"),
        ("mode=anomalies", "mode=anomalies does nothing for image data and the task classification"),
        ("tile=8", "tile=8 does nothing for image data"),
    ):
        _, err = terminal(*words, word, *(() if word.startswith("port=") else ("port=0",)), status=2)
        assert err.strip().splitlines()[-1].startswith(f"torchatlas: {sentence}")
    folder = train("model=autoencoder", "data=digits", *DONE)
    _, err = terminal("serve", f"ckpt={folder}", "port=0", status=2)
    assert "was trained for autoencoding, and serve answers for " in err
    assert "classification" in err
    assert err.strip().endswith("use torchatlas reconstruct ckpt=...")


def asked(folder: Path, ask: Callable[[Client], Any], **limits: Any) -> Any:
    service = service_of(str(folder), {}, Limits(**limits), torch.device("cpu"), 32, 0.05)
    with serving(service) as client:
        return ask(client)


def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in ("file", "place", "input")} for row in rows]


def test_masks_come_as_pictures(train: Train, tmp_path: Path) -> None:
    folder = train("model=unet_same", "data=digit_scenes", "data.fake=true", "model.width=4", "model.depth=1", *DONE)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (expected,) = torchatlas.load(folder, "cpu").predict(tmp_path / "a.png")
    reply = asked(folder, lambda client: client.form([("a.png", (tmp_path / "a.png").read_bytes())]))
    (row,) = reply.json["answers"][0]["rows"]
    assert row["mask"].startswith("data:image/png;base64,")
    mask = Image.open(io.BytesIO(base64.b64decode(row["mask"].partition(",")[2])))
    assert np.array_equal(np.asarray(mask), expected["mask"])
    assert {k: v for k, v in row.items() if k != "mask"} == {
        k: v for k, v in expected.items() if k != "mask"
    } | {"file": "a.png"}  # fmt: skip


def test_series_are_forecast_from_tables(train: Train, tmp_path: Path) -> None:
    folder = train("model=d_linear", "data=weather", *DONE)
    model = torchatlas.load(folder, "cpu")
    path = tmp_path / "weather.csv"
    vega_data.seattle_weather().to_csv(path, index=False)
    expected = model.predict(path)

    def ask(client: Client) -> Any:
        text = path.read_text()
        names, *cells = [line.split(",") for line in text.splitlines()]
        columns = {name: [row[i] for row in cells] for i, name in enumerate(names)}
        return (
            client.ask("/predict", text.encode(), "text/csv"),
            client.json({"input": text}),
            client.json({"input": columns}),
            client.form([("weather.csv", text.encode())]),
            client.json({"input": "time,x\n1,2\n"}),
            client.ask("/describe").json,
        )

    *same, wrong, said = asked(folder, ask)
    for reply in same:
        assert reply.status == 200, reply.body
        rows = bare(reply.json["answers"][0]["rows"])
        assert [list(row) for row in rows] == [list(row) for row in bare(expected)]
        for row, other in zip(rows, expected, strict=True):
            assert row["time"] == other["time"]
            for name in ("temp_max", "temp_min"):
                assert row[name] == pytest.approx(other[name], rel=1e-5)
    assert wrong.status == 422
    assert "the input" in wrong.json["error"]
    assert said["form"] == "table"
    assert said["lookback"] > 0


def test_a_language_model_goes_on_with_a_text_up_to_a_limit(train: Train) -> None:
    folder = train("model=lstm_lm", "model.dim=8", *DONE)
    expected = torchatlas.load(folder, "cpu").predict("The quick brown fox", length=10)
    first, long, short = asked(
        folder,
        lambda client: (
            client.json({"input": "The quick brown fox", "length": 10}),
            client.json({"input": "The quick brown fox", "length": 51}),
            client.json({"input": "T"}),
        ),
        length=50,
    )
    assert bare(first.json["answers"][0]["rows"]) == bare(expected)
    assert long.refusal == (413, "length=51 is over the 50 that this service takes")
    assert short.refusal == (422, "the input has 1 characters where at least 2 are needed")
