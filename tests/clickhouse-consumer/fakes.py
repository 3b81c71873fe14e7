"""Kafka and ClickHouse as far as the consumer uses them; no test waits or needs a server.

test_delivery.py runs the same tests against these fakes and against the real servers.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

from clickhouse_driver.errors import NetworkError, ServerException
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.structs import TopicPartition

from message import Row

TOPIC = "transactions_agg"
P0, P1, P2 = (TopicPartition(TOPIC, number) for number in range(3))
VIOLATED_CONSTRAINT = 469
TOO_MANY_PARTS, UNKNOWN_TABLE, NEVER_SEEN_CODE = 252, 60, 98765


def away() -> NetworkError:
    """What the driver raises while nobody listens on ClickHouse's port."""
    return NetworkError("Connection refused (localhost:9000)")


# What an insert may raise that is not about one of its rows.
SERVER_ERRORS = [
    away(),
    ServerException("Table does not exist", UNKNOWN_TABLE),
    ServerException("Too many parts", TOO_MANY_PARTS),
    ServerException("?", NEVER_SEEN_CODE),
    ServerException("no code"),
    EOFError("Unexpected EOF while reading bytes"),
    BrokenPipeError(32, "Broken pipe"),
    RuntimeError("not seen before"),
]


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    value: bytes | None
    timestamp: int = 0


class Broker:
    """A topic and what the group has committed: all that outlives a consumer."""

    def __init__(self, partitions: int = 3) -> None:
        self.logs: dict[TopicPartition, list[bytes | None]] = {
            TopicPartition(TOPIC, number): [] for number in range(partitions)
        }
        self.committed: dict[TopicPartition, int] = {}
        self.timestamp = 0  # of all records, in milliseconds

    def send(self, *values: bytes | None, to: TopicPartition = P0) -> None:
        self.logs[to].extend(values)


class FakeKafka:
    """A KafkaConsumer of the broker's topic. If poll() finds no records, the time passes."""

    def __init__(self, broker: Broker, clock: FakeClock) -> None:
        self.broker, self.clock = broker, clock
        self.positions: dict[TopicPartition, int] = {}
        self.paused_partitions: set[TopicPartition] = set()
        self.errors: list[Exception | None] = []  # of the next commits
        self.polls: list[dict[str, Any]] = []
        self.commits: list[dict[TopicPartition, int]] = []
        self.is_away = self.is_closed = False
        self._coordinator = SimpleNamespace(
            raise_if_replaced=lambda: None,
            stable=lambda: True,
            coordinator_id=0,
            _cluster=SimpleNamespace(unauthorized_topics=()),
        )
        self.assign(broker.logs)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """As in kafka-python 3: what stays assigned keeps its position and stays paused."""
        committed = self.broker.committed
        self.positions = {p: self.positions.get(p, committed.get(p, 0)) for p in partitions}
        self.paused_partitions &= self.positions.keys()

    def poll(self, timeout_ms: float, max_records: int) -> dict[TopicPartition, list[Record]]:
        self.polls.append({"timeout_ms": timeout_ms, "max_records": max_records})
        if self.is_away:
            self.clock.now += timeout_ms / 1000
            raise KafkaConnectionError("111 ECONNREFUSED")
        polled: dict[TopicPartition, list[Record]] = {}
        for partition in sorted(self.positions.keys() - self.paused_partitions):
            begin = self.positions[partition]
            values = self.broker.logs[partition][begin : begin + max_records]
            if values:
                polled[partition] = [
                    Record(*partition, offset, value, self.broker.timestamp)
                    for offset, value in enumerate(values, begin)
                ]
                self.positions[partition] += len(values)
                max_records -= len(values)
            if max_records == 0:
                break
        if not polled:
            self.clock.now += timeout_ms / 1000
        return polled

    def commit(self, timeout_ms: int) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        self.commits.append(dict(self.positions))
        self.broker.committed.update(self.positions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.positions)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused_partitions.difference_update(partitions)

    def paused(self) -> set[TopicPartition]:
        return set(self.paused_partitions)

    def end_offsets(
        self, partitions: set[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, int]:
        if self.is_away:
            raise KafkaTimeoutError
        return {partition: len(self.broker.logs[partition]) for partition in partitions}

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        return self.positions[partition]

    def close(self, timeout_ms: int) -> None:
        self.is_closed = True


class FakeClickHouse:
    """A Client of a server with the one table. Keeps each block, and the table that they make."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.blocks: list[list[Row]] = []
        self.table: dict[datetime, Row] = {}
        self.statements: set[str] = set()
        self.errors: list[Exception | None] = []  # of the next inserts
        self.error: Exception | None = None  # of every insert
        self.refuses: Callable[[Row], bool] = lambda row: False
        self.refusal: Exception = ServerException("Constraint ...", VIOLATED_CONSTRAINT)
        self.attempts: list[list[Row]] = []
        self.attempt_times: list[float] = []
        self.check_times: list[float] = []  # of inserts without a row
        self.is_closed = False

    def execute(self, statement: str, rows: list[Row]) -> int:
        self.statements.add(statement)
        if not rows:  # a check
            self.check_times.append(self.clock.now)
            if self.error:
                raise self.error
            return 0
        self.attempts.append(list(rows))
        self.attempt_times.append(self.clock.now)
        error = self.errors.pop(0) if self.errors else self.error
        if error:
            raise error
        if any(self.refuses(row) for row in rows):
            raise self.refusal
        self.store(rows)
        return len(rows)

    def store(self, rows: list[Row]) -> None:
        self.blocks.append(list(rows))
        for row in rows:  # ReplacingMergeTree(total_orders): among equals the last one
            old = self.table.get(row.window_start)
            if old is None or row.total_orders >= old.total_orders:
                self.table[row.window_start] = row

    def disconnect(self) -> None:
        self.is_closed = True
