"""What can happen to a running pipeline, and in which order a seed makes it happen."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

# A component is a service of the stack, the producer, or a process that a service starts and that
# can fail by itself: the driver of the job (its JVM) and the executor of the worker.
SERVICE = {
    "job": "spark-job",
    "worker": "spark-worker",
    "master": "spark-master",
    "consumer": "clickhouse-consumer",
    "broker": "kafka",
    "zookeeper": "zookeeper",
    "clickhouse": "clickhouse-server",
}
PARENT = {"driver": "spark-job", "executor": "spark-worker"}
COMPONENTS = ("producer", "job", *PARENT, *list(SERVICE)[1:])  # cluster_faults.py has other ones
# Longer than the time-out after which the others give the component up: the broker's session with
# ZooKeeper (6 s), the consumer's with its group (6 s), an answer of ClickHouse (10 s), heartbeats
# inside Spark (30 s, spark-defaults.conf).
FREEZE_SEC = {
    "producer": 8,
    "job": 10,
    "driver": 40,
    "executor": 40,
    "worker": 40,
    "master": 40,
    "consumer": 10,
    "broker": 22,
    "zookeeper": 22,
    "clickhouse": 14,
}
OUTAGE_SEC = {"clickhouse": 120, "broker": 60}
JOIN_SEC = 8  # enough for a second consumer to get partitions


class NotRecovered(Exception):
    """The pipeline has not recovered by itself; the text says from what."""


@contextmanager
def recovering() -> Iterator[None]:
    """Raises NotRecovered when the deadline of a wait inside the block has passed."""
    try:
        yield
    except AssertionError as error:
        raise NotRecovered(str(error)) from None


class Fault(NamedTuple):
    """One fault, of one or more components at the same time."""

    kind: str  # kill, freeze, outage or join here; clusters and scenarios have others
    components: tuple[str, ...]
    seconds: int = 0  # how long it lasts

    def __str__(self) -> str:
        lasting = f" for {self.seconds} s" if self.seconds else ""
        return f"{self.kind} {' and '.join(self.components)}{lasting}"


def numbered(name: str, number: int) -> str:
    """The name of an instance, counted from 1: "broker", "broker-2" and so on."""
    return name if number == 1 else f"{name}-{number}"


def service_of(component: str) -> str:
    """The service whose processes a component is, "kafka-2" of "broker-2"."""
    name, dash, number = component.partition("-")
    return f"{(SERVICE | PARENT)[name]}{dash}{number}"


def schedule(rng: random.Random) -> Iterator[Fault]:
    """Endless faults. Each 24 of them kill every component once and freeze every component once."""
    while True:
        first = {component: rng.choice(("kill", "freeze")) for component in COMPONENTS}
        then = {name: "freeze" if kind == "kill" else "kill" for name, kind in first.items()}
        specials = [
            Fault("kill", tuple(rng.sample(COMPONENTS, 2))),
            Fault("join", ("consumer",), JOIN_SEC),
            *[Fault("outage", (name,), seconds) for name, seconds in OUTAGE_SEC.items()],
        ]
        rng.shuffle(specials)
        for kinds, special in ((first, specials[:2]), (then, specials[2:])):
            for name in rng.sample(COMPONENTS, len(COMPONENTS)):
                seconds = FREEZE_SEC[name] if kinds[name] == "freeze" else 0
                yield Fault(kinds[name], (name,), seconds)
            yield from special
