"""The network of a run breaks the links it is told to, and no others."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scenarios import links
from scenarios.links import Links, Machine
from stack import Stack

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(bool(reason := links.missing()), reason=reason),
]

LINK = "consumer-clickhouse"
ROWS = b"\x02" + bytes(200)  # as ClickHouse's clients send them
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both ends of a connection from the consumer to ClickHouse."""
    stack = Stack(tmp_path)
    with (
        links.network_of_its_own(stack),
        closing(socket.create_server(("127.0.0.1", stack.clickhouse_port))) as server,
        closing(connect(Machine.CONSUMER, server)) as client,
        closing(server.accept()[0]) as accepted,
    ):
        client.settimeout(0.5)
        accepted.settimeout(0.5)
        yield client, accepted


def connect(machine: Machine, server: socket.socket) -> socket.socket:
    os.setegid(machine)
    try:
        return socket.create_connection(server.getsockname(), timeout=0.5)
    finally:
        os.setegid(os.getgid())


def arrives(sender: socket.socket, receiver: socket.socket, what: bytes = b"x") -> bool:
    sender.sendall(what)
    try:
        return receiver.recv(1000) == what
    except TimeoutError:
        return False


def test_a_cut_link_passes_nothing_and_no_connection(pair: Pair) -> None:
    client, server = pair
    address = client.getpeername()
    with Links().losing((LINK,), ("requests", "answers")):
        assert not arrives(client, server)
        assert not arrives(server, client)
        os.setegid(Machine.CONSUMER)
        try:
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.5)
        finally:
            os.setegid(os.getgid())
        socket.create_connection(address, timeout=0.5).close()  # by the reader, say
        assert Links().packets()[LINK] > 0
    server.settimeout(30)
    assert server.recv(1000) == b"x"  # sent again


@pytest.mark.parametrize(("lost", "is_sent"), [("requests", False), ("answers", True)])
def test_one_direction_of_a_link_is_lost(pair: Pair, lost: str, is_sent: bool) -> None:
    client, server = pair
    with Links().losing((LINK,), (lost,)):
        assert arrives(client, server) == is_sent
        assert arrives(server, client) != is_sent


def test_other_links_are_not_broken(pair: Pair) -> None:
    others = tuple(set(links.LINKS) - {LINK})
    with Links().losing(others, ("requests", "answers")), Links().slow(others):
        assert arrives(*pair)
        assert arrives(*reversed(pair))
        assert Links().packets() == {}


def test_a_connection_is_reset_between_a_request_and_its_answer(pair: Pair) -> None:
    client, server = pair
    with Links().losing_next_answer(LINK):
        assert arrives(client, server, b"ping")
        assert arrives(server, client, b"pong")
        assert Links().reset(LINK) == 0
        assert arrives(client, server, ROWS)
        assert not arrives(server, client, b"stored")
        assert Links().reset(LINK) == 1
    with pytest.raises(ConnectionAbortedError):
        client.recv(1000)
    with pytest.raises(ConnectionResetError):
        server.recv(1000)


def test_a_slow_link_passes_64_kilobytes_per_second(pair: Pair) -> None:
    client, server = pair
    size, seconds = 96_000, 1.5
    server.settimeout(20)
    with Links().slow((LINK,)):
        start = time.monotonic()
        client.sendall(bytes(size))
        received = 0
        while received < size:
            received += len(server.recv(size))
        assert time.monotonic() - start > 0.9 * seconds
