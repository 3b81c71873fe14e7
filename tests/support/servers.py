"""Kafka and ClickHouse as real processes, for suites that test one service against them.

Starts them through the command line of local-stack, so that a suite which uses this module has no
other folder on its path than that of the service it tests.
"""

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = (PROJECT / ".venv" / "bin" / "python", PROJECT / "local-stack" / "stack.py")
PORT_VARIABLES = (
    "KAFKA_PORT",
    "ZOOKEEPER_PORT",
    "CLICKHOUSE_PORT",
    "CLICKHOUSE_HTTP_PORT",
    "SPARK_MASTER_PORT",
    "SPARK_MASTER_WEBUI_PORT",
    "SPARK_WORKER_WEBUI_PORT",
    "SPARK_UI_PORT",
)
SAFE_PORTS = range(15000, 32000)  # not given to outgoing connections
READY_SEC = 240  # a machine that runs several suites at once is slow


@dataclass(frozen=True)
class Servers:
    """Where the started services listen."""

    kafka: str  # host:port
    clickhouse_port: int
    clickhouse_http_port: int
    environment: dict[str, str]  # the variables for a program that uses these services


@contextmanager
def servers(directory: Path, *services: str) -> Iterator[Servers]:
    """Start the named services of local-stack on free ports, and stop them at the end.

    All their state is in `directory`. Raises AssertionError with the output, which ends with the
    log of the service that failed, if they do not answer.
    """
    ports = dict(zip(PORT_VARIABLES, free_ports(len(PORT_VARIABLES)), strict=True))
    environment = {
        "STACK_DIR": str(directory.resolve()),
        **{variable: str(port) for variable, port in ports.items()},
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{ports['KAFKA_PORT']}",
        "CLICKHOUSE_HOST": "127.0.0.1",
    }
    try:
        run("up", "--timeout", str(READY_SEC), *services, environment=environment)
        yield Servers(
            kafka=f"127.0.0.1:{ports['KAFKA_PORT']}",
            clickhouse_port=ports["CLICKHOUSE_PORT"],
            clickhouse_http_port=ports["CLICKHOUSE_HTTP_PORT"],
            environment=environment,
        )
    finally:
        run("down", environment=environment)


def run(*arguments: str, environment: dict[str, str]) -> None:
    result = subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * READY_SEC,
    )
    assert result.returncode == 0, f"stack.py {' '.join(arguments)} failed:\n{result.stdout}"


def free_ports(count: int) -> list[int]:
    candidates = random.sample(SAFE_PORTS, len(SAFE_PORTS))
    free = (port for port in candidates if is_free(port))
    return [next(free) for _ in range(count)]


def is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
