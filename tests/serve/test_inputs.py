"""Whatever a request has becomes one input, or is refused."""

import io
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from torchatlas.serve.inputs import Taker, array_of, flat, sides_of
from torchatlas.serve.limits import Limits


def taker(*endings: str, sides: tuple[str, ...] = (), **limits: Any) -> Taker:
    data: Any = SimpleNamespace(endings=endings, sample_rate=8000)
    return Taker(data, sides, Limits(**limits))


def refused(function: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        function(*arguments)
    return caught.value.status_code, caught.value.detail


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_an_array_is_read_as_it_was_saved() -> None:
    for array in (np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((2, 3, 3)), np.asfortranarray(np.eye(3, 2))):
        assert np.array_equal(array_of(npy(array), "a"), array)


def test_the_head_of_an_array_is_not_believed() -> None:
    content = npy(np.zeros((2, 3)))
    for shape in (b"(9, 3)", b"(1, 3)", b"(2,-3)"):
        assert refused(array_of, content.replace(b"(2, 3)", shape), "a.npy")[0] == 422
    assert refused(array_of, npy(np.array([{}]), allow_pickle=True), "a.npy")[0] == 422
    assert refused(array_of, content[:20], "a.npy")[0] == 422
    assert refused(array_of, b"\x93NUMPY\x09\x00" + struct.pack("<H", 4) + b"{}  ", "a.npy")[0] == 422


def test_texts() -> None:
    one = taker(".txt", ".csv", characters=20)
    assert one.of_value("two\nlines").value == "two\nlines"
    assert one.of_value({"text": "so"}).value == "so"
    assert one.of_body("ä".encode(), "text/plain").value == "ä"
    assert one.of_file(b"a\nb", "x.csv").ending == ".csv"
    assert one.of_file(b"a\nb", "x.exe").ending == ".txt"
    assert refused(one.of_value, " \n") == (422, "text must be a text that is not empty")
    assert refused(one.of_value, "x" * 21)[0] == 413
    assert refused(one.of_value, {"text": 3})[0] == 422
    assert refused(one.of_value, {"question": "a"})[0] == 422
    assert refused(one.of_value, [[1]])[0] == 422
    assert refused(one.of_body, b"\xff", "text/plain") == (422, "the input is no UTF-8 text: save it as UTF-8")
    assert refused(one.of_body, b"a", "image/png")[0] == 415


def test_texts_of_two_sides() -> None:
    assert sides_of({"kind": "text_spans"}) == ("question", "context")
    assert sides_of({"kind": "text_classes", "pair": True}) == ("text", "pair")
    assert sides_of({"kind": "text_classes", "pair": False}) == ()
    pair = taker(".txt", sides=("text", "pair"))
    assert pair.of_value({"text": "a", "pair": "b\nc"}).value == ("a", "b\nc")
    assert pair.of_value("a\tb").value == ("a", "b")
    assert refused(pair.of_value, "a") == (422, "text and pair must be a text that is not empty")
    question = taker(".txt", sides=("question", "context")).of_value({"question": "who?", "context": "a\tb\n c"})
    assert (question.value, question.ending, question.question) == (b"who?\ta b c", ".txt", True)
    assert flat("a\r\n\r\nb\u2028c") == "a b c"


def test_sounds() -> None:
    sound = taker(".wav", seconds=2.0)
    samples, rate = sound.of_value([0.0, 0.5]).value
    assert (samples.tolist(), rate) == ([0.0, 0.5], 8000)
    assert sound.of_value({"array": [0.0], "sample_rate": 16000}).value[1] == 16000
    assert sound.of_file(npy(np.zeros(9, np.float32)), "a.npy").value[1] == 8000
    for rate in (0, -1, "8000", True, 2**40, 1.5):
        assert refused(sound.of_value, {"array": [0.0], "sample_rate": rate})[0] == 422
    assert refused(sound.of_value, [0.0] * 16001)[0] == 413
    assert refused(sound.of_value, {"array": [0.0], "rate": 8000})[0] == 422


def test_tables() -> None:
    table = taker(".csv", rows=3)
    columns = table.of_value({"time": ["a", "b"], "load": [1, None]}).value
    rows = table.of_value([{"time": "a", "load": 1}, {"time": "b"}]).value
    assert columns.equals(rows)
    assert list(columns.columns) == ["time", "load"]
    assert table.of_value("time,load\na,1\n").value == b"time,load\na,1\n"
    assert refused(table.of_value, {"a": [1, 2], "b": [1]})[1] == "the columns of a table must have the same length"
    assert refused(table.of_value, {"a": [[1], [2]]})[1] == "the cells of a table must be numbers or texts"
    assert refused(table.of_value, {})[0] == refused(table.of_value, [1])[0] == 422
    assert refused(table.of_value, {"a": [1, 2, 3, 4]})[0] == 413


def test_names_are_no_paths() -> None:
    file = taker(".pdb")
    for name in ("../../a.pdb", "C:\\x\\a.pdb", "/etc/a.pdb"):
        found = file.of_file(b"x", name)
        assert (found.name, found.ending) == ("a.pdb", ".pdb")
    assert file.of_file(b"x", "a" * 999).name == "a" * 200
    assert file.of_file(b"x", "\ud800.pdb").name == "?.pdb"
