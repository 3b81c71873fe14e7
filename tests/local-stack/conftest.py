"""What several tests of the suite need."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def ipv6_only_server() -> Iterator[socket.socket]:
    """Another program, which listens on a port of ::1 and not of 127.0.0.1."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        yield server


@pytest.fixture
def ipv6_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` means ::1, as it does on most systems."""
    lookup = socket.getaddrinfo

    def ipv6_first(host: str, *rest: Any, **options: Any) -> Any:
        return lookup("::1" if host == "localhost" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", ipv6_first)
