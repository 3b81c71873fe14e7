"""A relay in front of a server, on another address or with TLS, as a company's load balancer."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UPSTREAM_HOST = "127.0.0.1"


class Relay:
    """Passes everything on between its clients and a port of this machine."""

    def __init__(self, upstream_port: int) -> None:
        self.connections = 0  # so far
        self.address = ""  # host:port where it listens
        self._upstream_port = upstream_port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        from_server, to_server = await asyncio.open_connection(UPSTREAM_HOST, self._upstream_port)
        await asyncio.gather(copy(reader, to_server), copy(from_server, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything on until one side hangs up."""
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def relay(
    upstream_port: int, certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[Relay]:
    """Listen on a free port until the block ends.

    With `certificate`, a PEM file that also has the key, clients speak TLS and the server does not.
    """
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    running = Relay(upstream_port)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(running.handle, host, 0, ssl=context))
    running.address = f"{host}:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
