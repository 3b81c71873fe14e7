"""A shop that keeps account: which of its orders Kafka has acknowledged, and when."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from gaps import longest_gap
from raw_topic import RawTopic
from records import transaction

PREFIX = "probe-"
PARTITIONS = 3
FLUSH_SEC = 60


class Acknowledgement(NamedTuple):
    at: float  # of the monotonic clock
    partition: int
    order_id: str


class Prober:
    """Sends valid orders, to each partition of the raw topic in turn."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.kafka = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            delivery_timeout_ms=2**31 - 1,
            max_block_ms=500,
            reconnect_backoff_max_ms=1000,
        )
        self.sent = 0
        self.acknowledged: list[Acknowledgement] = []

    def __enter__(self) -> "Prober":
        return self

    def __exit__(self, *_: object) -> None:
        self.kafka.close(timeout=FLUSH_SEC)

    def send(self) -> None:
        """Send one order; none if no broker is there."""
        self.sent += 1
        order_id, partition = f"{PREFIX}{self.sent}", self.sent % PARTITIONS
        value = transaction(order_id=order_id, transaction_time=datetime.now(UTC).isoformat())

        def note(_: object) -> None:
            self.acknowledged.append(Acknowledgement(time.monotonic(), partition, order_id))

        with suppress(KafkaError):
            sent = self.kafka.send(
                "transactions_raw", value, key=order_id.encode(), partition=partition
            )
            sent.add_callback(note)

    def between(self, begin: float, end: float) -> int:
        """How many orders were acknowledged in this time."""
        return sum(begin < each.at < end for each in self.acknowledged)


def longest_write_gap(acknowledged: Sequence[Acknowledgement], begin: float, end: float) -> float:
    """The longest time without an acknowledgement in the worst of the partitions."""
    return max(
        longest_gap([each.at for each in acknowledged if each.partition == number], begin, end)
        for number in range(PARTITIONS)
    )


def lost_or_repeated(acknowledged: Iterable[Acknowledgement], raw: RawTopic) -> list[str]:
    """The acknowledged orders that are not exactly once in the topic, of which nothing was read."""
    there = Counter(
        json.loads(record.value)["order_id"]
        for record in raw.read_new()
        if record.value and f'"{PREFIX}'.encode() in record.value
    )
    return [
        f"acknowledged order {order_id} is {there[order_id]} times in the topic"
        for _, _, order_id in acknowledged
        if there[order_id] != 1
    ]
