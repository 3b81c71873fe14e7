"""Serves the metrics of a service and asks for them every second, as Prometheus would.

Runs inside the process of the service, with its code.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from urllib.request import ProxyHandler, build_opener

INTERVAL_SEC = 1.0


@contextmanager
def scraped(
    collector: Any, settings: Any, also: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Until the block ends. Calls `also` before each scrape. Raises RuntimeError if many failed."""
    from metrics_server import serve

    port = free_port()
    serve(collector, settings.model_copy(update={"metrics_port": port}))
    urlopen, is_over, scrapes = build_opener(ProxyHandler({})).open, Event(), 0

    def scrape() -> None:
        nonlocal scrapes
        while not is_over.wait(INTERVAL_SEC):
            also()
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                scrapes += b"purchases_" in answer.read()

    thread, began = Thread(target=scrape), time.monotonic()
    thread.start()
    yield
    is_over.set()
    thread.join()
    if scrapes < int((time.monotonic() - began) / INTERVAL_SEC / 2):
        raise RuntimeError(f"{scrapes} scrapes only")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
