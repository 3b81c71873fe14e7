"""The settings of a stack: its folder and its ports.

Needs only Python's standard library, and runs on a Python that is too old, so that doctor.py can
say so.
"""

from __future__ import annotations

import errno
import json
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paths import LOCAL, PROJECT, USABLE_PATHS, is_usable

if TYPE_CHECKING:
    from typing import Self

# Where the services listen, and where clients connect: `localhost` may also mean ::1, where another
# program may listen.
HOST = "127.0.0.1"
SECURED_PORTS = ("kafka_sasl_port", "kafka_ssl_port")
CLUSTER_PORTS = ("zookeeper_peer_port", "zookeeper_election_port")
# How many instances of a service a cluster has. The others have one.
CLUSTER = {
    "zookeeper": 3,
    "kafka": 3,
    "clickhouse-server": 2,
    "spark-master": 2,
    "spark-worker": 2,
    "clickhouse-consumer": 4,  # two for each ClickHouse server
}
MAX_PORT = 65535
PORT_STEP = 100  # from the port of an instance to that of the next one
SAFE_PORTS = range(15000, 32000)  # below the ports that systems give to outgoing connections


class SettingsError(ValueError):
    """A setting has a wrong value; the text is one line that names it and what is allowed."""


@dataclass(frozen=True)
class StackSettings:
    """The folder and the ports of one stack.

    Each port is the environment variable of its name in capitals; the folder is STACK_DIR.
    """

    directory: Path = LOCAL / "stack"
    kafka_port: int = 9092
    zookeeper_port: int = 2181
    clickhouse_port: int = 9000
    clickhouse_http_port: int = 8123
    spark_master_port: int = 7077
    spark_master_webui_port: int = 8080
    spark_worker_webui_port: int = 8081
    spark_ui_port: int = 4040
    job_metrics_port: int = 9101
    consumer_metrics_port: int = 9102
    kafka_sasl_port: int = 9093  # these two with SECURE=1 only, see secured.py
    kafka_ssl_port: int = 9094
    zookeeper_peer_port: int = 2888  # these two with CLUSTER=1 only, see cluster.py
    zookeeper_election_port: int = 3888
    secure: bool = False
    cluster: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check all settings; an empty variable counts as not set. Raises SettingsError.

        A relative STACK_DIR is a folder of the project.
        """
        secure, cluster = (env.get(name) == "1" for name in ("SECURE", "CLUSTER"))
        if secure and cluster:
            raise SettingsError("SECURE=1 and CLUSTER=1 cannot be combined")
        usual = LOCAL / "cluster" if cluster else cls.directory
        directory = PROJECT / (env.get("STACK_DIR") or usual)
        for path in (directory, PROJECT):
            if not is_usable(path):
                raise SettingsError(
                    f"STACK_DIR and the project {USABLE_PATHS}, unlike {str(path)!r}"
                )
        values: dict[str, Any] = {name: port_from(env, name.upper()) for name in port_names()}
        stack = cls(directory, secure=secure, cluster=cluster, **values)
        used: set[int] = set()
        for variable, first in stack.ports().items():
            for port in stack.block(first):
                if port > MAX_PORT:
                    raise SettingsError(f"{variable} is too high: CLUSTER=1 also needs {port}")
                if port in used:
                    raise SettingsError(
                        f"{variable} must be a port of its own, {port} is used twice"
                    )
                used.add(port)
        return stack

    @classmethod
    def on_free_ports(cls, directory: Path, cluster: bool = False) -> Self:
        """A stack that can run beside any other."""
        stack = cls(directory.resolve(), cluster=cluster)
        candidates = iter(random.sample(SAFE_PORTS, len(SAFE_PORTS)))
        values: dict[str, Any] = {}
        used: set[int] = set()
        for name in port_names():
            blocks = (stack.block(port) for port in candidates)
            block = next(b for b in blocks if used.isdisjoint(b) and all(map(is_free, b)))
            values[name] = block[0]
            used.update(block)
        return replace(stack, **values)

    @classmethod
    def last_started_in(cls, directory: Path) -> Self | None:
        """The stack that was last started in a folder, whether it runs or not; None if unknown."""
        ports = read_json(directory / "ports.json")
        if not isinstance(ports, dict):
            return None
        try:
            stack = cls.from_env({name: str(port) for name, port in ports.items()})
        except SettingsError:
            return None
        return replace(stack, directory=directory)

    def ports(self) -> dict[str, int]:
        """Variable -> port."""
        absent = {*(() if self.secure else SECURED_PORTS), *(() if self.cluster else CLUSTER_PORTS)}
        return {name.upper(): getattr(self, name) for name in port_names() if name not in absent}

    def instances(self, service: str) -> int:
        """How many processes do the work of a service."""
        return CLUSTER.get(service, 1) if self.cluster else 1

    def block(self, port: int) -> range:
        """The ports that a setting stands for: its own, and those of further instances."""
        length = max(CLUSTER.values()) if self.cluster else 1
        return range(port, port + length * PORT_STEP, PORT_STEP)

    def servers(self, service: str, port: int, host: str = HOST) -> str:
        """The addresses of all instances of a service; `port` is that of the first one."""
        ports = self.block(port)[: self.instances(service)]
        return ",".join(f"{host}:{each}" for each in ports)

    def saved(self) -> dict[str, str]:
        """What `last_started_in` needs to know."""
        ports = {variable: str(port) for variable, port in self.ports().items()}
        flags = {"SECURE": self.secure, "CLUSTER": self.cluster}
        return {**ports, **{name: "1" if is_set else "" for name, is_set in flags.items()}}

    def environment(self) -> dict[str, str]:
        """The variables for a program that uses this stack, such as the producer."""
        return {
            "STACK_DIR": str(self.directory),
            **{variable: str(port) for variable, port in self.ports().items()},
            "KAFKA_BOOTSTRAP_SERVERS": self.servers("kafka", self.kafka_port),
            "CLICKHOUSE_HOST": HOST,
        }

    def health_file(self, service: str) -> Path:
        """The file that a service without a port touches while it can work."""
        return self.directory / "health" / service

    def log_file(self, service: str) -> Path:
        return self.directory / "log" / f"{service}.log"


def port_names() -> list[str]:
    return [field.name for field in fields(StackSettings) if field.name.endswith("_port")]


DEFAULT_PORTS = StackSettings().ports()


def port_from(env: Mapping[str, str], variable: str) -> int:
    """The port that a variable sets, or its default. Raises SettingsError."""
    text = env.get(variable) or str(getattr(StackSettings, variable.lower()))
    if not (text.isdecimal() and 1 <= int(text) <= MAX_PORT):
        raise SettingsError(f"{variable} must be a port from 1 to {MAX_PORT}, not {text!r}")
    return int(text)


def read_json(file: Path) -> Any:
    """The content of the file; None if there is none, or if it was damaged, as by a full disk."""
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now, and none listens on ::1."""
    for family, host in ((socket.AF_INET, HOST), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind((host, port))
        except OSError as error:
            # Without IPv6, no other program can listen there, either.
            if host == HOST or error.errno == errno.EADDRINUSE:
                return False
    return True
