"""Ask a running cluster who does what at the moment."""

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

from kafka import KafkaAdminClient

import probes
from cluster_faults import COMPONENTS, instances
from faults import numbered, recovering
from injection import running
from stack import Stack
from waiting import eventually

Answer = TypeVar("Answer")

TIMEOUT_MS = 3000  # a frozen one never answers
ROLE_SEC = 90  # until somebody has a role
IN_SYNC_SEC = 180
ANSWERS = 5  # each of another broker, by chance


class Roles:
    """Who does what in the cluster of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def find(self, names: Collection[str]) -> tuple[str, ...]:
        """The components that these names stand for at the moment. Raises NotRecovered."""
        found = []
        for name in names:
            look = {
                "leader": self.leader,
                "controller": self.controller,
                "zookeeper-leader": self.zookeeper_leader,
                "active-master": lambda: self.masters("ALIVE"),
                "standby-master": lambda: self.masters("STANDBY"),
                "busy-worker": lambda: self.workers()[:1],
                "idle-worker": lambda: self.workers()[1:],
                "executors": self.executors,
                "everything": lambda: COMPONENTS,
            }.get(name)
            found.append(wait_for(look, f"there is: {name}", ROLE_SEC) if look else (name,))
        return tuple(chain.from_iterable(found))

    def leader(self) -> tuple[str, ...]:
        """Of the first partition of transactions_raw."""
        (topic,) = self.ask_kafka(lambda admin: admin.describe_topics(["transactions_raw"]))
        first = min(topic["partitions"], key=lambda partition: partition["partition_index"])
        return brokers([first["leader_id"]])

    def controller(self) -> tuple[str, ...]:
        return brokers([self.ask_kafka(lambda admin: admin.describe_cluster())["controller_id"]])

    def zookeeper_leader(self) -> tuple[str, ...]:
        return tuple(each for each in instances("zookeeper") if "Mode: leader" in self.srvr(each))

    def srvr(self, zookeeper: str) -> str:
        """What a ZooKeeper says of itself; nothing if it does not answer."""
        with (
            suppress(OSError),
            probes.connection(self.port(self.stack.zookeeper_port, zookeeper)) as server,
        ):
            server.sendall(b"srvr\n")
            return server.recv(4096).decode()
        return ""

    def masters(self, status: str) -> tuple[str, ...]:
        return tuple(each for each in instances("master") if self.status(each) == status)

    def status(self, master: str) -> str:
        """Of a master; nothing if it does not answer."""
        with suppress(*probes.FAILURES):
            answer = probes.get(self.port(self.stack.spark_master_webui_port, master), "/json/")
            return str(json.loads(answer)["status"])
        return ""

    def workers(self) -> tuple[str, ...]:
        """The workers, that with the most executors first."""

        def executors(worker: str) -> int:
            return len(running(self.stack, worker.replace("worker", "executor")))

        return tuple(sorted(instances("worker"), key=executors, reverse=True))

    def executors(self) -> tuple[str, ...]:
        names = (worker.replace("worker", "executor") for worker in instances("worker"))
        return tuple(each for each in names if running(self.stack, each))

    def in_sync(self) -> list[set[str]]:
        """For each partition of each topic, the brokers whose replica is in sync."""
        topics = self.ask_kafka(lambda admin: admin.describe_topics())
        if not topics:
            raise probes.NotReady("the broker does not know its topics yet")
        partitions = (partition for topic in topics for partition in topic["partitions"])
        return [set(brokers(partition["isr_nodes"])) for partition in partitions]

    def wait_until_in_sync(self) -> None:
        """Wait until every service answers and every replica is in sync.

        Raises NotRecovered or StackError.
        """
        self.stack.wait_until_healthy(IN_SYNC_SEC, say=lambda _: None)
        everywhere = set(instances("broker"))

        def is_in_sync() -> bool:
            # By several answers: a broker that was frozen does not know at once what it has missed.
            return all(each == everywhere for _ in range(ANSWERS) for each in self.in_sync())

        wait_for(is_in_sync, "every replica is in sync", IN_SYNC_SEC)

    def ask_kafka(self, question: Callable[[KafkaAdminClient], Any]) -> Any:
        """Raises KafkaError if the broker that is asked does not answer."""
        admin = KafkaAdminClient(
            bootstrap_servers=self.stack.servers("kafka", self.stack.kafka_port),
            bootstrap_timeout_ms=TIMEOUT_MS,
            request_timeout_ms=TIMEOUT_MS,
        )
        try:
            return question(admin)
        finally:
            admin.close()

    def port(self, first: int, component: str) -> int:
        """The port of an instance, such as "master-2"; `first` is that of the first one."""
        return self.stack.block(first)[int(component.partition("-")[2] or 1) - 1]


def brokers(ids: Collection[int]) -> tuple[str, ...]:
    """The names of brokers; -1 stands for none."""
    return tuple(numbered("broker", each) for each in ids if each > 0)


def wait_for(look: Callable[[], Answer], what: str, deadline_sec: float) -> Answer:
    """What `look` returns once that is true; until then it may raise one of probes.FAILURES.

    Raises NotRecovered.
    """

    def seen() -> Answer | None:
        with suppress(*probes.FAILURES):
            return look()
        return None

    with recovering():
        return eventually(seen, what, deadline_sec, 0.5)
