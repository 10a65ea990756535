"""Downloads, from a server on this machine."""

import functools
import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from torchatlas.data import download
from torchatlas.data.download import fetch, fetch_checked
from torchatlas.errors import UserError

# --- downloads, from a server on this machine


class Server(BaseHTTPRequestHandler):
    """Serves `content`, by ranges if asked and allowed; can cut the connection after some bytes."""

    content = bytes(range(256)) * 5000
    ranges, cut = True, None
    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        content = b"damaged" if self.path == "/damaged" else self.content
        asked = self.headers.get("Range")
        type(self).seen.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        self.wfile.write(body[: self.cut] if self.cut else body)
        type(self).cut = None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.ranges, Server.cut, Server.seen = True, None, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=functools.partial(http.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


MD5 = hashlib.md5(Server.content).hexdigest()


def test_download_tries_mirrors_and_checks(server: str, tmp_path: Path) -> None:
    path = fetch([f"{server}/missing", f"{server}/damaged", f"{server}/good"], tmp_path / "sub" / "file", MD5)
    assert path.read_bytes() == Server.content
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    Server.seen = []
    fetch([f"{server}/good"], path, MD5)
    assert Server.seen == []  # what is there is not asked for again
    path.write_bytes(b"damaged")
    assert fetch([f"{server}/good"], path, MD5).read_bytes() == Server.content


def test_a_file_that_was_packed_anew_is_used(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name and time stand in the header, and are no content."""
    content = b"what is in it " * 100
    official, theirs = (tmp_path / name for name in ("official.gz", "train.gz"))
    official.write_bytes(gzip.compress(content, mtime=0))
    md5 = hashlib.md5(official.read_bytes()).hexdigest()
    monkeypatch.setattr(download, "CONTENTS", {md5: hashlib.md5(content).hexdigest()})
    Server.seen = []
    with theirs.open("wb") as raw, gzip.GzipFile("renamed", "wb", fileobj=raw, mtime=12345) as file:
        file.write(content)
    packed = theirs.read_bytes()
    assert packed != official.read_bytes()
    assert fetch([f"{server}/missing"], theirs, md5).read_bytes() == packed
    for damaged in (packed[:-9], packed[:20] + b"x" + packed[21:], gzip.compress(b"other"), b"no gzip"):
        theirs.write_bytes(damaged)
        with pytest.raises(UserError, match="could not be downloaded"):
            fetch([f"{server}/missing"], theirs, md5)


@pytest.mark.parametrize("ranges", [True, False])
def test_download_continues_a_partial_file(server: str, tmp_path: Path, ranges: bool) -> None:
    Server.cut, Server.ranges = 300_000, ranges
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch([f"{server}/good"], tmp_path / "file", MD5)
    assert (tmp_path / "file.part").stat().st_size == 300_000
    assert not (tmp_path / "file").exists()
    fetch([f"{server}/good"], tmp_path / "file", MD5)
    assert (tmp_path / "file").read_bytes() == Server.content
    assert Server.seen == [None, "bytes=300000-"]


@pytest.mark.parametrize("partial", [b"something else", Server.content, Server.content + b"more"])
def test_download_recovers_from_any_partial_file(server: str, tmp_path: Path, partial: bytes) -> None:
    (tmp_path / "file.part").write_bytes(partial)
    assert fetch([f"{server}/good"], tmp_path / "file", MD5).read_bytes() == Server.content


def test_download_says_every_reason(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"404.*wrong checksum.*data.root=FOLDER"):
        fetch([f"{server}/missing", f"{server}/damaged"], tmp_path / "file", MD5)


# --- the UCR archive


def test_fetch_checked_keeps_a_good_file_and_replaces_a_bad_one(
    tmp_path: Path, served: Callable[..., list[str]]
) -> None:
    def fault(path: Path) -> str:
        return "" if path.read_bytes() == b"good" else "it is bad"

    asked = served("b.org", b"good")
    path = tmp_path / "folder" / "file"
    assert fetch_checked(["http://a.org/file", "http://b.org/file"], path, fault).read_bytes() == b"good"
    assert fetch_checked(["http://b.org/file"], path, fault) == path
    assert asked == ["http://a.org/file", "http://b.org/file"]
    path.write_bytes(b"bad")
    assert fetch_checked(["http://b.org/file"], path, fault).read_bytes() == b"good"
    served("b.org", b"other")
    path.unlink()
    with pytest.raises(UserError, match="it is bad"):
        fetch_checked(["http://b.org/file"], path, fault)
    assert not list(path.parent.iterdir())
