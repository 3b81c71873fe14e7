"""The consumer on a backlog, beside a loop that polls, reads JSON and inserts, and no more."""

import json
import logging
import math
import time
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from kafka import KafkaConsumer, KafkaProducer

from backlog import PARTITIONS, Topic, in_fresh_process
from consumer import Loader, connect_kafka
from results import Row
from settings import Config
from table import connect_clickhouse, insert_statement
from testbed import Testbed

FIRST_WINDOW = datetime(2001, 1, 1, tzinfo=UTC)  # never one of the pipeline's own
OPEN_WINDOWS = 6  # of now and of the late records, as the producer makes them
UPDATES_A_WINDOW = 600


class Stored(NamedTuple):
    rows: int
    seconds: float
    inserts: int

    @property
    def per_second(self) -> float:
        return self.rows / self.seconds


def backlog(bed: Testbed) -> list[Row]:
    bed.run_engines_only()
    topic = bed.new_topic()
    fill(topic, bed.sizes.stored_rows)
    bare, ours = list[Stored](), list[Stored]()
    for run in range(bed.sizes.runs):
        settings = {**bed.consumer_environment, "AGG_TOPIC": topic.name}
        for way, found in ((store_bare, bare), (store, ours)):
            settings["CONSUMER_GROUP"] = f"{topic.name}-{way.__name__}-{run}"
            found.append(in_fresh_process(way, settings, bed.sizes.stored_rows))
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
    """Keys and values as the job writes them: each window comes again and again, fuller."""
    for number in range(rows):
        minute = number // UPDATES_A_WINDOW + number % OPEN_WINDOWS
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


def joined(config: Config) -> KafkaConsumer:
    """With its partitions assigned, at their beginning."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    kafka = connect_kafka(config)
    while not kafka.assignment():
        kafka.poll(timeout_ms=100, max_records=1)
    for partition in kafka.assignment():
        kafka.seek(partition, 0)
    return kafka


def store(environment: Mapping[str, str], rows: int) -> Stored:
    """What the service does, without its start."""
    config = Config.from_env({**environment, "HEALTH_FILE": ""})
    kafka = joined(config)
    loader = Loader(kafka, connect_clickhouse(config), config)
    loader.report_at = math.inf  # a report sets its counts back to 0
    start = time.monotonic()
    while loader.stored < rows:
        loader.step()
    seconds = time.monotonic() - start
    kafka.close()
    return Stored(loader.stored, seconds, loader.inserts)


def store_bare(environment: Mapping[str, str], rows: int) -> Stored:
    """The driver takes no text for a time, so that is the one thing that is read beyond JSON."""
    config = Config.from_env({**environment, "HEALTH_FILE": ""})
    kafka, clickhouse = joined(config), connect_clickhouse(config)
    statement, read_time = insert_statement(config), datetime.fromisoformat
    stored, inserts = 0, 0
    block: list[tuple[object, ...]] = []
    start = time.monotonic()
    while stored < rows:
        for records in kafka.poll(1000, max_records=config.max_batch_rows - len(block)).values():
            for record in records:
                window_start, window_end, *rest = json.loads(record.value).values()
                block.append((read_time(window_start), read_time(window_end), *rest))
        if len(block) == config.max_batch_rows or stored + len(block) == rows:
            stored += clickhouse.execute(statement, block)
            inserts, block = inserts + 1, []
    seconds = time.monotonic() - start
    kafka.close()
    return Stored(stored, seconds, inserts)
