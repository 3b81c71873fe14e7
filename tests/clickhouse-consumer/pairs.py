"""Kafka and ClickHouse, fake or real, behind one interface: the same tests run against both."""

import itertools
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol, Self

from clickhouse_driver import Client
from clickhouse_driver.errors import TypeMismatchError
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import CoordinatorNotAvailableError
from kafka.structs import TopicPartition

import table
import topic
from builders import message, row
from fakes import TOPIC, Broker, FakeClickHouse, FakeClock, FakeKafka, away
from loader import Loader
from message import Row
from servers import Servers
from settings import Settings
from waiting import eventually

PARTITIONS = 3
DEADLINE_SEC = 60
MINUTES_PER_TEST = 1000
# The account cannot delete rows, so each test has windows of its own, far in the past.
first_minutes = itertools.count(-20_000_000, MINUTES_PER_TEST)


class Pair(Protocol):
    """A topic without records, a group that has committed nothing, and a table without rows."""

    partitions: list[TopicPartition]
    first_minute: int

    def send(self, *values: bytes | None, to: int = 0) -> None:
        """Append records to a partition of the topic."""

    def new_consumer(self) -> Any:
        """A KafkaConsumer of the topic: another member of the group."""

    def new_client(self) -> Any:
        """A Client of ClickHouse."""

    def new_client_without_server(self) -> Any:
        """A Client of a ClickHouse that does not run."""

    def loader(self, kafka: Any, clickhouse: Any, **settings: Any) -> Loader: ...

    def share(self, first: Any, second: Any) -> list[Any]:
        """Wait until the group has split the partitions between two members.

        Returns the records that the second one has polled meanwhile.
        """

    def kill(self, kafka: Any) -> None:
        """End a consumer without a last commit; its partitions are free at once."""

    def committed(self) -> list[int]:
        """The offset that the group has committed of each partition; 0 if none."""

    def windows(self) -> list[Row]:
        """The rows of this test that a SELECT finds, in order of window_start."""


def window(pair: Pair, minute: int = 0, orders: int = 1) -> Row:
    """A row of this test alone."""
    return row(pair.first_minute + minute, orders)


def update(pair: Pair, minute: int = 0, orders: int = 1) -> bytes:
    """The value of the record that becomes `window(pair, minute, orders)`."""
    return message(pair.first_minute + minute, orders)


def join(kafka: Any) -> None:
    """Poll until the group has assigned partitions. The topic must have no records yet."""

    def is_assigned() -> bool:
        assert topic.poll(kafka, 0.1, 1) == []
        return bool(kafka.assignment())

    eventually(is_assigned, "partitions are assigned", DEADLINE_SEC, 0)


def polled_records(kafka: Any, count: int) -> list[tuple[int, int]]:
    """Poll until there are that many records; the partition and offset of each."""
    found: list[tuple[int, int]] = []

    def has_all() -> bool:
        if wanted := min(3, count - len(found)):
            records = topic.poll(kafka, 0.1, wanted)
            assert len(records) <= wanted
            found.extend((record.partition, record.offset) for record in records)
        return len(found) == count

    eventually(has_all, f"{count} records are polled", DEADLINE_SEC, 0)
    return found


def step_until(loader: Loader, condition: Callable[[], object], what: str) -> None:
    """Let the loader work until the condition is true; `what` says which it is."""

    def step() -> object:
        loader.step()
        return condition()

    eventually(step, what, DEADLINE_SEC, 0)


class FakePair:
    first_minute = 0

    def __init__(self) -> None:
        self.clock, self.broker = FakeClock(), Broker(PARTITIONS)
        self.partitions = list(self.broker.logs)
        self.clickhouse = self.new_client()
        self.members: list[FakeKafka] = []

    def send(self, *values: bytes | None, to: int = 0) -> None:
        self.broker.send(*values, to=self.partitions[to])

    def new_consumer(self) -> FakeKafka:
        kafka = FakeKafka(self.broker, self.clock)
        if self.members:
            kafka.assign(())
        self.members.append(kafka)
        return kafka

    def new_client(self) -> FakeClickHouse:
        clickhouse = FakeClickHouse(self.clock)
        clickhouse.refuses = lambda row: row.total_orders < 0  # as a column of UInt64 does
        clickhouse.refusal = TypeMismatchError("Column total_orders")
        if hasattr(self, "clickhouse"):
            clickhouse.table = self.clickhouse.table
        return clickhouse

    def new_client_without_server(self) -> FakeClickHouse:
        clickhouse = self.new_client()
        clickhouse.error = away()
        return clickhouse

    def loader(self, kafka: Any, clickhouse: Any, **settings: Any) -> Loader:
        return Loader(kafka, clickhouse, Settings(agg_topic=TOPIC, **settings), self.clock)

    def share(self, first: FakeKafka, second: FakeKafka) -> list[Any]:
        first.assign(self.partitions[:2])
        second.assign(self.partitions[2:])
        return []

    def kill(self, kafka: FakeKafka) -> None:
        self.members.remove(kafka)

    def committed(self) -> list[int]:
        return [self.broker.committed.get(partition, 0) for partition in self.partitions]

    def windows(self) -> list[Row]:
        return [row for _, row in sorted(self.clickhouse.table.items())]


class RealPair:
    def __init__(self, servers: Servers, **topic_configs: str) -> None:
        self.servers, self.topic_configs = servers, topic_configs
        self.first_minute = next(first_minutes)
        self.name = f"test-{uuid.uuid4()}"
        self.partitions = [TopicPartition(self.name, number) for number in range(PARTITIONS)]
        self.closing = ExitStack()

    def __enter__(self) -> Self:
        servers = self.servers.kafka
        self.admin = self.closing.enter_context(KafkaAdminClient(bootstrap_servers=servers))
        self.producer = self.closing.enter_context(KafkaProducer(bootstrap_servers=servers))
        self.create_topic()
        self.reader = self.new_client()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    def create_topic(self) -> None:
        configs = self.topic_configs
        topic = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": configs}
        self.admin.create_topics({self.name: topic})

    def settings(self, **changes: Any) -> Settings:
        return Settings(
            **{
                "kafka_bootstrap_servers": self.servers.kafka,
                "agg_topic": self.name,
                "consumer_group": self.name,
                "clickhouse_port": self.servers.clickhouse_port,
                **changes,
            }
        )

    def send(self, *values: bytes | None, to: int = 0) -> None:
        for value in values:
            self.producer.send(self.name, value, key=b"key", partition=to)
        self.producer.flush()

    def new_consumer(self) -> Any:
        kafka = topic.connect_kafka(self.settings())
        self.closing.callback(topic.close, kafka)
        return kafka

    def new_client(self) -> Client:
        clickhouse = table.connect_clickhouse(self.settings())
        self.closing.callback(clickhouse.disconnect)
        return clickhouse

    def new_client_without_server(self) -> Client:
        with socket.socket() as nobody:  # bound, but not listening
            nobody.bind(("localhost", 0))
            port = nobody.getsockname()[1]
        return table.connect_clickhouse(self.settings(clickhouse_port=port))

    def loader(self, kafka: Any, clickhouse: Any, **settings: Any) -> Loader:
        return Loader(kafka, clickhouse, self.settings(**settings), time.monotonic)

    def share(self, first: Any, second: Any) -> list[Any]:
        polled: list[Any] = []

        def is_shared() -> bool:
            assert topic.poll(first, 0.1, 1) == []
            polled.extend(topic.poll(second, 0.1, 1))
            shares = first.assignment(), second.assignment()
            return all(shares) and sum(map(len, shares)) == PARTITIONS

        eventually(is_shared, "both members have partitions", DEADLINE_SEC, 0)
        return polled

    def kill(self, kafka: Any) -> None:
        topic.close(kafka)

    def committed(self) -> list[int]:
        try:
            offsets = self.admin.list_group_offsets(self.name)[self.name]
        except CoordinatorNotAvailableError:  # a new broker first has to make its topic of offsets
            offsets = {}
        return [
            offsets[partition].offset if partition in offsets else 0
            for partition in self.partitions
        ]

    def windows(self) -> list[Row]:
        first, after = (row(self.first_minute + n).window_start for n in (0, MINUTES_PER_TEST))
        query = (
            f"SELECT {', '.join(Row._fields)} FROM aggregated_analytics"
            " WHERE window_start >= %(first)s AND window_start < %(after)s ORDER BY window_start"
        )
        found = self.reader.execute(query, {"first": first, "after": after})
        return [Row(*values) for values in found]
