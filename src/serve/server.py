"""The server: its address, its end, and patience with slow connections."""

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import UserError

log = logging.getLogger(__name__)
BACKLOG = 128
KEPT = 5  # seconds for which a connection stays open between two requests


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which nobody can ask yet: a taken port is found before the network is read.

    Raises:
        UserError: another program has the port, or there is no such address here.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"host={host} is no address of this machine: use host=127.0.0.1, or host=0.0.0.0") from error
    found = socket.socket(family, kind)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(address)
    except PermissionError as error:
        found.close()
        raise UserError(f"port={port} is for the system's own services: use port=8000") from error
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port={port} is in use: end the program that has it, or use port={port + 1}") from error
        raise UserError(f"host={host} is no address of this machine: use host=127.0.0.1, or host=0.0.0.0") from error
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(found: socket.socket, host: str) -> str:
    """What is typed into a browser."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{found.getsockname()[1]}"


class Patient(H11Protocol):
    """HTTP/1.1 where the head of a request must come in time, as its body must.

    uvicorn ends a connection that is idle behind an answer; one that never begins, or stops amid the head, it keeps.
    """

    head_timeout = 30.0
    waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.stop_waiting()
        elif self.waiting is None:
            self.wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        super().connection_lost(exc)

    def wait_for_head(self) -> None:
        self.waiting = asyncio.get_running_loop().call_later(self.head_timeout, self.give_up)

    def stop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def give_up(self) -> None:
        self.waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def server_for(app: Starlette, *, timeout: float) -> uvicorn.Server:
    """A server of one process.

    Args:
        app: what answers.
        timeout: seconds for the head of a request, and for requests under way when it ends.
    """
    protocol = type("Protocol", (Patient,), {"head_timeout": timeout})
    config = uvicorn.Config(
        app, http=protocol, ws="none", loop="asyncio", lifespan="on", log_config=None, access_log=False,
        server_header=False, backlog=BACKLOG, timeout_keep_alive=KEPT, timeout_graceful_shutdown=max(1, round(timeout)),
    )  # fmt: skip
    return uvicorn.Server(config)


def run(app: Starlette, found: socket.socket, *, timeout: float) -> None:
    """Serve until a signal comes: what is under way is answered, and SIGTERM is a good end.

    Args:
        app, timeout: see `server_for`.
        found: see `bound`.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    with ended_by_sigterm():
        server_for(app, timeout=timeout).run(sockets=[found])


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends no more than the server, which raises it again behind its end."""

    def nothing(*_: Any) -> None:
        return None

    before = signal.signal(signal.SIGTERM, nothing)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
