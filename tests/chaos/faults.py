"""What can happen to a running pipeline, and in which order a seed makes it happen."""

import random
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import psutil

from stack import Stack

SERVICE = {
    "job": "spark-job",
    "worker": "spark-worker",
    "master": "spark-master",
    "consumer": "clickhouse-consumer",
    "broker": "kafka",
    "zookeeper": "zookeeper",
    "clickhouse": "clickhouse-server",
}
COMPONENTS = ("producer", "job", "driver", "executor", *list(SERVICE)[1:])
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
JOIN_SEC = 8  # the time for a second consumer to get partitions
START_SEC = 60  # for a process that is about to be started again


class NotRecovered(Exception):
    """The pipeline did not come back by itself."""


class Fault(NamedTuple):
    kind: str  # kill, freeze, outage or join
    components: tuple[str, ...]
    seconds: int = 0  # how long it lasts

    def __str__(self) -> str:
        lasting = f" for {self.seconds} s" if self.seconds else ""
        return f"{self.kind} {' and '.join(self.components)}{lasting}"


def schedule(rng: random.Random) -> Iterator[Fault]:
    """Endless; of each 24, every component is killed once and frozen once."""
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


def processes(stack: Stack, component: str) -> list[psutil.Process]:
    """What runs of a component of the stack at the moment; of the producer nothing."""
    service = {"driver": "spark-job", "executor": "spark-worker"}.get(component)
    pid = stack.pid(service or SERVICE[component])
    if not pid:
        return []
    try:
        process = psutil.Process(pid)
        if service is None:
            return [process]
        return [child for child in process.children(recursive=True) if child.name() == "java"]
    except psutil.NoSuchProcess:
        return []


def wait_for(find: Callable[[], list[psutil.Process]], what: str) -> list[psutil.Process]:
    """Raises NotRecovered if there is none within START_SEC."""
    deadline = time.monotonic() + START_SEC
    while not (found := find()):
        if time.monotonic() > deadline:
            raise NotRecovered(f"{what} is not started again within {START_SEC} s")
        time.sleep(0.1)
    return found
