"""A service that is asked over HTTP, in this process."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torchatlas.serve.app import Service, create_app
from torchatlas.serve.server import bound, server_for


class Reply(NamedTuple):
    """What a service has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.json["error"]


class Client(NamedTuple):
    """Asks the service at a port of this machine."""

    port: int

    def ask(self, path: str, body: Any = None, kind: str = "", method: str = "") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": kind} if kind else {}
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers)
        answer = connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return reply

    def json(self, said: Any, path: str = "/predict") -> Reply:
        return self.ask(path, json.dumps(said).encode(), "application/json")

    def form(self, files: Sequence[tuple[str, bytes]] = (), **fields: str) -> Reply:
        return self.ask("/predict", *form_of(files, fields))


def form_of(files: Sequence[tuple[str, bytes]], fields: dict[str, str]) -> tuple[bytes, str]:
    """A multipart form as browsers send it, and its content type."""
    mark, parts = uuid.uuid4().hex, []
    for name, value in fields.items():
        parts.append(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, content in files:
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join([*parts, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


@contextmanager
def serving(service: Service) -> Iterator[Client]:
    """The service on a free port; it ends when all is answered."""
    with bound("127.0.0.1", 0) as found:
        server = server_for(create_app(service), timeout=service.limits.timeout)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield Client(found.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(60)
        assert not thread.is_alive()
