"""The consumer on a backlog, beside a loop that only polls, reads JSON and inserts."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from kafka import KafkaProducer

from kafka_topic import PARTITIONS, Topic
from results import Row
from testbed import Testbed

FIRST_WINDOW = datetime(2001, 1, 1, tzinfo=UTC)  # never one of the pipeline's own
OPEN_WINDOWS = 6  # the current one and those of late records, as the producer makes them
UPDATES_PER_WINDOW = 600


class Stored(NamedTuple):
    rows: int
    seconds: float
    inserts: int
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Processor time per row."""
        return 1e6 * self.cpu_seconds / self.rows


def backlog(bed: Testbed) -> list[Row]:
    bed.run_engines_only()
    topic = bed.new_topic()
    fill(topic, bed.sizes.stored_rows)
    bare, ours = list[Stored](), list[Stored]()
    for run in range(bed.sizes.runs):
        for function, found in (("store_bare", bare), ("store", ours)):
            group = f"{topic.name}-{function}-{run}"
            settings = {"agg_topic": topic.name, "consumer_group": group, "health_file": None}
            stored = bed.run_inside(
                "clickhouse-consumer", function, settings=settings, rows=bed.sizes.stored_rows
            )
            found.append(Stored(**stored))
    topic.delete()
    bare_speeds, speeds = ([run.per_second for run in runs] for runs in (bare, ours))
    blocks = [run.rows / run.inserts for run in ours]
    return [
        Row("consumer", speeds, "rows/s", bare_speeds, ">= 0.60"),
        Row("consumer, rows a block", blocks, "rows", wanted=">= 10,000"),
    ]


def fill(topic: Topic, rows: int) -> None:
    with KafkaProducer(bootstrap_servers=topic.servers, linger_ms=20, batch_size=65536) as kafka:
        for key, value in updates(rows):
            kafka.send(topic.name, value, key, partition=zlib.crc32(key) % PARTITIONS)


def updates(rows: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values as the job writes them: each window again and again, with more orders."""
    for number in range(rows):
        minute = number // UPDATES_PER_WINDOW + number % OPEN_WINDOWS
        start = FIRST_WINDOW + timedelta(minutes=minute)
        window_start, window_end = (
            f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, start + timedelta(minutes=1))
        )
        value = (
            f'{{"window_start":"{window_start}","window_end":"{window_end}",'
            f'"total_sales":{1000 + number * 35}.75,"total_orders":{1 + number},'
            f'"average_order_value":35.42,"top_product":"P{number % 100:04d}"}}'
        )
        yield window_start.encode(), value.encode()
