"""Addresses, and who reaches them."""

import socket

import pytest

from torchatlas import UserError
from torchatlas.serve.server import address_of, bound


def test_a_port_that_is_taken_is_said_in_one_sentence() -> None:
    with bound("127.0.0.1", 0) as found:
        found.listen()
        port = found.getsockname()[1]
        sentence = f"^port={port} is in use: end the program that has it, or use port={port + 1}$"
        with pytest.raises(UserError, match=sentence):
            bound("127.0.0.1", port)
    bound("127.0.0.1", port).close()


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host", "a" * 300, ""])
def test_an_address_of_another_machine_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(name: str, *arguments: object, **options: object) -> list[object]:  # without a question to the network
        if name.startswith("203"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 0))]
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(UserError, match=r"is no address of this machine: use host=127\.0\.0\.1, or host=0\.0\.0\.0"):
        bound(host, 0)


def test_the_address_is_what_a_browser_takes() -> None:
    for host, name in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")):
        with bound(host, 0) as found:
            assert address_of(found, host) == f"http://{name}:{found.getsockname()[1]}"
