"""Stand-ins for Kafka, the clock and the sleep."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from kafka.errors import KafkaTimeoutError

from lifecycle import Stop

PARTITIONS = 3
MANY = 200_000
"""More calls than any test needs: code that calls on and on fails instead of hanging."""


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeStop(Stop):
    """Waiting moves the clock instead of sleeping, `late_sec` too far, as a real sleep does."""

    def __init__(self, late_sec: float = 0.0) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.late_sec = late_sec
        self.waits: list[float] = []
        self.while_waiting: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        assert len(self.waits) < MANY
        self.clock.now += seconds + self.late_sec
        self.while_waiting()
        return self.requested


class FakeFuture:
    """Calls back once it is settled and both callbacks are there, whichever comes last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._callback: Callable[[object], None] | None = None
        self._errback: Callable[[BaseException], None] | None = None
        self._is_settled = False
        self._error: BaseException | None = None

    def add_callback(self, callback: Callable[[object], None]) -> "FakeFuture":
        self._callback = callback
        return self

    def add_errback(self, errback: Callable[[BaseException], None]) -> "FakeFuture":
        with self._lock:
            self._errback = errback
            self._call_back()
        return self

    def settle(self, error: BaseException | None = None) -> None:
        with self._lock:
            self._is_settled, self._error = True, error
            self._call_back()

    def _call_back(self) -> None:
        if self._is_settled and self._callback and self._errback:
            if self._error:
                self._errback(self._error)
            else:
                self._callback("metadata")


class Record(NamedTuple):
    topic: str
    partition: int
    key: bytes
    value: bytes


class FakeKafka:
    """Takes records as KafkaProducer does, for a Kafka with all topics but the missing ones.

    It stores and acknowledges each record at once, but keeps all of them pending while it is
    frozen, and refuses values that are too large.
    """

    def __init__(self) -> None:
        self.missing_topics: set[str] = set()
        self.is_frozen = False
        self.max_value_bytes = 1_000_000
        self.timeouts_ahead = 0
        self.timeouts = 0
        self.timeout_sec = 0.0
        self.clock: Callable[[], float] = lambda: 0.0
        self.on_send: Callable[[], None] = lambda: None
        self.sent: list[Record] = []
        self.sent_at: list[float] = []
        self.pending: list[tuple[FakeFuture, Record]] = []
        self.stored: list[Record] = []
        self.closed_with_timeout: float | None = None
        self._closed = False
        self._lock = Lock()

    def partitions_for(self, topic: str) -> set[int]:
        self._maybe_time_out(topic)
        return set(range(PARTITIONS))

    def send(self, topic: str, value: bytes, key: bytes, partition: int) -> FakeFuture:
        self._maybe_time_out(topic)
        future, record = FakeFuture(), Record(topic, partition, key, value)
        self.sent.append(record)
        self.sent_at.append(self.clock())
        with self._lock:
            self.pending.append((future, record))
            if not self.is_frozen:
                self.settle_one()
        self.on_send()
        return future

    def settle_one(self) -> None:
        future, record = self.pending.pop(0)
        if len(record.value) > self.max_value_bytes:
            future.settle(OSError("too large"))
        else:
            self.stored.append(record)
            future.settle()

    def resume(self) -> None:
        with self._lock:
            self.is_frozen = False
            while self.pending:
                self.settle_one()

    def close(self, timeout: float) -> None:
        self.closed_with_timeout = timeout
        if self.pending:
            raise KafkaTimeoutError
        self._closed = True

    def keys(self) -> list[bytes]:
        return [record.key for record in self.sent]

    def _maybe_time_out(self, topic: str) -> None:
        if self.timeouts_ahead or topic in self.missing_topics:
            self.timeouts_ahead = max(self.timeouts_ahead - 1, 0)
            self.timeouts += 1
            assert self.timeouts < MANY
            time.sleep(self.timeout_sec)
            raise KafkaTimeoutError


class FileKafka(FakeKafka):
    """Writes one line per record, "pid key", because the processes share no memory."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def send(self, topic: str, value: bytes, key: bytes, partition: int) -> FakeFuture:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {key.decode()}\n")
        return super().send(topic, value, key, partition)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def pids(self) -> set[int]:
        return {int(line.split()[0]) for line in self.lines()}
