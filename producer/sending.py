"""Sends records to Kafka at a steady rate and counts what becomes of them."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from copy import copy
from threading import Lock
from typing import Any, NamedTuple
from zlib import crc32

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, KafkaTimeoutError

from kafka_access import security_options
from lifecycle import Stop
from refusals import denied, raise_if_login_refused, why
from settings import Settings

logger = logging.getLogger("producer")

MAX_IN_FLIGHT_RECORDS = 10_000  # kafka-python 3 has no bound: memory would grow while Kafka is away
MAX_CATCH_UP_SEC = 0.5
STATUS_INTERVAL_SEC = 5
FLUSH_TIMEOUT_SEC = 10
MAX_BLOCK_MS = 500  # how long a call may wait for metadata before we look for a stop


class Pacer:
    """Even steps at `rate` records per second, without drift; rate 0 never pauses."""

    def __init__(self, rate: float, now: float) -> None:
        self._step_sec = 1 / rate if rate else 0.0
        self._due = now

    def pause(self, now: float) -> float:
        """Seconds until the next record is due (none if <= 0); call it once per record."""
        # After a short stall the pacer catches up, so that the rate stays true. After a longer one
        # it skips the missed records: sent at once, they would be a burst that no shop ever sees.
        self._due = max(self._due + self._step_sec, now - MAX_CATCH_UP_SEC)
        return self._due - now


class Counts(NamedTuple):
    """What became of the records so far."""

    sent: int
    acknowledged: int
    failed: int

    @property
    def in_flight(self) -> int:
        return self.sent - self.acknowledged - self.failed


class Delivery:
    """Counts what became of the records; kafka-python calls back from a thread of its own."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.last_error: BaseException | None = None
        self._lock = Lock()

    def on_acknowledged(self, _metadata: object) -> None:
        with self._lock:
            self.acknowledged += 1

    def on_failed(self, error: BaseException) -> None:
        with self._lock:
            self.failed += 1
            self.last_error = error

    @property
    def in_flight(self) -> int:
        return self.sent - self.acknowledged - self.failed

    def counts(self) -> Counts:
        """May be called from any thread."""
        with self._lock:
            acknowledged, failed = self.acknowledged, self.failed
        return Counts(self.sent, acknowledged, failed)

    def is_stalled_since(self, before: "Delivery") -> bool:
        """Whether records were in flight before, and none has been settled since."""
        settled = self.acknowledged + self.failed
        return settled == before.acknowledged + before.failed < before.sent

    def __str__(self) -> str:
        return f"sent {self.sent}, acknowledged {self.acknowledged}, failed {self.failed}"


def new_producer(settings: Settings) -> KafkaProducer:
    """Does not block: with api_version given, a background thread connects, and keeps trying."""
    return KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        **security_options(settings),
        api_version=(3, 9),  # the newest to speak; older brokers are still understood
        acks="all",
        linger_ms=20,
        batch_size=64 * 1024,
        delivery_timeout_ms=2**31 - 1,  # 24 days: an outage delays records but never drops them
        max_block_ms=MAX_BLOCK_MS,
        request_timeout_ms=10_000,  # a connection that is silent for longer is given up
        reconnect_backoff_max_ms=1000,
    )


def wait_for_topic(producer: KafkaProducer, settings: Settings, stop: Stop) -> bool:
    """Wait until Kafka and the topic are there; False if a stop is requested first.

    Raises Refused.
    """
    attempts_per_status = STATUS_INTERVAL_SEC * 1000 // MAX_BLOCK_MS
    for attempt in itertools.count():
        if stop.requested:
            break
        try:
            producer.partitions_for(settings.raw_topic)
            return True
        except KafkaTimeoutError:
            pass
        except AuthorizationError:
            raise denied(f"topic {settings.raw_topic}") from None
        if attempt % attempts_per_status == 0:
            logger.warning(
                "waiting for Kafka at %s and its topic %s%s",
                settings.kafka_bootstrap_servers,
                settings.raw_topic,
                why(),
            )
        raise_if_login_refused()
    return False


def send(
    producer: KafkaProducer, topic: str, key: bytes, value: bytes, partition: int, stop: Stop
) -> Any:
    """kafka-python's future; None if a stop is requested first."""
    while not stop.requested:
        try:
            return producer.send(topic, value, key, partition=partition)
        except KafkaTimeoutError:
            continue  # a broker that has just come back may not know its topics yet
    return None


def produce(
    producer: KafkaProducer,
    records: Iterator[tuple[bytes, bytes]],
    settings: Settings,
    delivery: Delivery,
    stop: Stop,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send COUNT records at RATE and wait for their acknowledgement, unless a stop is requested."""
    topic = settings.raw_topic
    partitions = len(producer.partitions_for(topic))
    pacer = Pacer(settings.rate, clock())
    on_acknowledged, on_failed = delivery.on_acknowledged, delivery.on_failed
    for _ in range(settings.count) if settings.count else itertools.count():
        if (pause_sec := pacer.pause(clock())) > 0:
            stop.wait(pause_sec)
        while delivery.in_flight >= MAX_IN_FLIGHT_RECORDS and not stop.wait(0.01):
            pass
        key, value = next(records)
        # kafka-python's own partitioner, a hash in pure Python, takes longer than making the
        # record. Like it, CRC-32 keeps equal keys in one partition.
        future = send(producer, topic, key, value, crc32(key) % partitions, stop)
        if future is None:
            return
        delivery.sent += 1
        future.add_callback(on_acknowledged).add_errback(on_failed)
    while delivery.in_flight and not stop.wait(0.01):
        pass


def report(delivery: Delivery, settings: Settings, stop: Stop) -> None:
    """Log one line every few seconds; run it in a thread, to continue while produce() waits."""
    servers = settings.kafka_bootstrap_servers
    before = copy(delivery)
    while not stop.wait(STATUS_INTERVAL_SEC):
        now = copy(delivery)
        if now.is_stalled_since(before):
            logger.warning("waiting for Kafka at %s%s: %s", servers, why(), now)
        else:
            rate = (now.acknowledged - before.acknowledged) / STATUS_INTERVAL_SEC
            logger.info("%s, %.1f/s", now, rate)
        before = now


def finish(producer: KafkaProducer, delivery: Delivery) -> int:
    """Flush, close and log the totals; returns the exit code."""
    if delivery.in_flight:
        logger.info("waiting up to %d s for %d records", FLUSH_TIMEOUT_SEC, delivery.in_flight)
    try:
        producer.close(timeout=FLUSH_TIMEOUT_SEC)
    except KafkaTimeoutError:
        # Left open, its __del__ would wait again and print a traceback (kafka-python 3.0.12).
        producer._closed = True
    if delivery.last_error:
        logger.error("last error: %r", delivery.last_error)
    logger.info("stopped: %s, not acknowledged %d", delivery, delivery.in_flight)
    return 0 if delivery.acknowledged == delivery.sent else 1
