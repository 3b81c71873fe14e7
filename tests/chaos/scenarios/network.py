"""Links between services are cut, lose the packets of one direction, are reset and slowed down.

The stack runs in a network of its own: see links.py. At the end, each order of the producer must be
in the raw topic exactly once, besides what every run checks.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import services
from chaos_run import ChaosRun
from faults import Fault, recovering
from injection import Injector
from raw_topic import Record
from scenarios import links
from scenarios.links import LINKS, Links, Machine
from services import Service
from stack import Stack
from traffic import Producer
from waiting import eventually

CUT_SEC = 60  # longer than every time-out
SLOW_SEC = 30
RECOVERY_SEC = 30  # from the moment the link is back
# Spark never gives up a silent connection to its master, so it waits until the kernel sends again,
# which is after 42 s. Then comes a new executor, perhaps a new job.
SPARK_RECOVERY_SEC = 120
RESETS = 3  # of a link with requests
RESET_DEADLINE_SEC = 30  # for a request to come by
PAUSE_SEC = 3  # between two resets, at most
CUT, REQUESTS, ANSWERS = "cut", "requests lost", "answers lost"
SLOW, RESET = "slow", "reset"
DIRECTIONS = {CUT: ("requests", "answers"), REQUESTS: ("requests",), ANSWERS: ("answers",)}
# Broken at the same time, to save time. The first one of a pair does not stop the flow of the data.
SPARK_PAIR = ("worker-master", "driver-executor")
PAIRS = (
    ("producer-broker", "consumer-clickhouse"),
    ("broker-zookeeper", "consumer-broker"),
    ("driver-master", "job-broker"),
    SPARK_PAIR,
)
KINDS = (CUT, REQUESTS, ANSWERS, REQUESTS, ANSWERS)
# As the producer writes them, and nothing else does.
ORDER = re.compile(rb'\{"order_id":"[0-9a-f]{8}-[0-9a-f]{4}-4')
MACHINES = {
    "zookeeper": Machine.ZOOKEEPER,
    "kafka": Machine.BROKER,
    "clickhouse-server": Machine.CLICKHOUSE,
    "spark-master": Machine.MASTER,
    "spark-worker": Machine.WORKER,
    "spark-job": Machine.JOB,
    "clickhouse-consumer": Machine.CONSUMER,
}
SPARK_PORTS = {
    "spark.driver.port": links.DRIVER_PORT,
    "spark.driver.blockManager.port": links.DRIVER_BLOCKS_PORT,
    "spark.blockManager.port": links.EXECUTOR_BLOCKS_PORT,
}


def schedule(seed: int) -> Iterator[Fault]:
    """Endless faults in rounds of 8, of which the seed is the number of the first.

    Each round cuts every link, wholly or in one direction, and slows and resets half of them. Five
    rounds have every kind of fault on every link.
    """
    rng = random.Random(seed)
    for number in count(seed):
        faults = [
            Fault(KINDS[(place + number) % len(KINDS)], pair, CUT_SEC)
            for place, pair in enumerate(PAIRS)
        ]
        half = number % 2 * 2
        faults += [Fault(SLOW, pair, SLOW_SEC) for pair in PAIRS[half : half + 2]]
        faults += [Fault(RESET, pair) for pair in PAIRS[2 - half : 4 - half]]
        rng.shuffle(faults)
        yield from faults


class NetworkInjector(Injector):
    """Breaks links; the notes say how many packets were lost or slowed, and what was reset."""

    def __init__(self, stack: Stack, producer: Producer, seed: int) -> None:
        super().__init__(stack, producer)
        self.links = Links()
        self.rng = random.Random(seed)

    def inflict(self, fault: Fault) -> datetime:
        if fault.kind == RESET:
            # The links to Spark's master come last: without them the others may be idle.
            names = reversed(fault.components)
            self.notes = {"resets": {name: self.reset(name) for name in names}}
        else:
            broken = (
                self.links.slow(fault.components)
                if fault.kind == SLOW
                else self.links.losing(fault.components, DIRECTIONS[fault.kind])
            )
            with broken:
                if "driver-master" in fault.components:  # which is silent unless executors change
                    self.signal(Fault("kill", ("executor",)))
                self.hold(fault)
                self.notes = {"packets": self.links.packets()}
        return datetime.now(UTC)

    def reset(self, name: str) -> int:
        """Reset connections while a request is under way: it has arrived, the answer is lost."""
        if not LINKS[name].request:
            return self.links.reset(name)
        resets = 0
        for _ in range(RESETS):
            with self.links.losing_next_answer(name):
                with recovering():
                    eventually(self.links.packets, f"{name} is used", RESET_DEADLINE_SEC, 0.05)
                resets += self.links.reset(name)
            time.sleep(self.rng.uniform(0, PAUSE_SEC))
        return resets


class NetworkRun(ChaosRun):
    """A run on a stack in a network of its own."""

    injector: NetworkInjector

    @classmethod
    def missing(cls) -> str:
        return links.missing()

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        usual = services.TABLE
        services.TABLE = tuple(map(on_its_machine, usual))
        try:
            with links.network_of_its_own(stack):
                yield {}
        finally:
            services.TABLE = usual

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.producer.group = Machine.PRODUCER
        self.injector = NetworkInjector(stack, self.producer, seed)
        self.faults = schedule(seed)
        self.wrong: list[str] = []
        self.orders = Counter[bytes]()  # of the producer, in the raw topic
        self.newest_order = datetime.min.replace(tzinfo=UTC)  # when it arrived

    def inflict_and_wait(self, fault: Fault) -> None:
        """As ChaosRun does; a fault that missed, and a slow recovery, are wrong."""
        super().inflict_and_wait(fault)
        done = self.done[-1]
        if not all(hits(done, name) for name in fault.components):
            self.wrong.append(f"{fault} did not hit: {self.injector.notes}")
        if done["recovery_sec"] > recovery_limit_sec(fault):
            self.wrong.append(f"{fault}: recovered only after {done['recovery_sec']} s")

    def note(self, record: Record) -> None:
        super().note(record)
        if record.value and ORDER.match(record.value):
            self.orders[record.value] += 1
            self.newest_order = max(self.newest_order, record.arrival)

    def wait_until_counted(self, moment: datetime, what: str) -> float:
        """As ChaosRun does; also wait until an order of the producer has reached Kafka."""
        start = time.monotonic()
        super().wait_until_counted(moment, what)
        with recovering():
            eventually(
                lambda: self.newest_order > moment, f"after {what}, the producer's orders arrive"
            )
        return time.monotonic() - start

    def settle(self) -> list[str]:
        """As ChaosRun does; also check that each acknowledged record is in the topic once."""
        wrong = [*super().settle(), *self.wrong]
        wrong += [f"{n} times in the topic: {order!r}" for order, n in self.orders.items() if n > 1]
        acknowledged = self.noise.acknowledged + self.acknowledged_by_producer()
        if (size := self.raw.size()) != acknowledged:
            wrong.append(f"{acknowledged} records acknowledged, {size} in the topic")
        return wrong

    def acknowledged_by_producer(self) -> int:
        log = self.stack.log_file("producer").read_text()
        return sum(map(int, re.findall(r"stopped: sent \d+, acknowledged (\d+)", log)))

    def findings(self) -> dict[str, Any]:
        resets = Counter[str]()
        for fault in self.done:
            resets.update(fault.get("resets", {}))
        return {"resets": dict(resets)}


def recovery_limit_sec(fault: Fault) -> int:
    # A master that loses the connection to a driver ends its application.
    is_slow = fault.components == SPARK_PAIR or (
        fault.kind == RESET and "driver-master" in fault.components
    )
    return SPARK_RECOVERY_SEC if is_slow else RECOVERY_SEC


def hits(done: dict[str, Any], link: str) -> int:
    """How many packets or connections of a link a fault has hit."""
    return int(done.get("packets", done.get("resets", {})).get(link, 0))


def on_its_machine(service: Service) -> Service:
    """The service as a process of its machine's group, with known ports."""
    if service.name not in MACHINES:
        return service
    group = str(int(MACHINES[service.name]))
    command = ("setpriv", "--regid", group, "--clear-groups", *service.command)
    environment = dict(service.environment)
    if service.name == "spark-worker":
        command = (*command[:-1], "--port", str(links.WORKER_PORT), command[-1])
    if service.name == "spark-job":
        ports = " ".join(f"--conf {name}={port}" for name, port in SPARK_PORTS.items())
        environment["PYSPARK_SUBMIT_ARGS"] = f"{ports} {environment['PYSPARK_SUBMIT_ARGS']}"
    return replace(service, command=command, environment=environment)
