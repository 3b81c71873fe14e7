"""Stores a backlog with the consumer's own code, or with a bare loop in its place.

testbed.py runs this with only clickhouse-consumer/ on the path and the consumer's environment:
inside_consumer.py store | store_bare, with the arguments of the function as a JSON object on stdin.
Prints what it returns as JSON on stdout.
"""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer

from lifecycle import set_up_logging
from loader import Loader
from metrics import ConsumerMetrics
from reporting import Monitor
from settings import Settings
from table import connect_clickhouse, insert_statement
from topic import connect_kafka

sys.path.append(str(Path(__file__).parent))  # at its end: must not hide files of the service
from scraper import scraped  # noqa: E402


def store(settings: Mapping[str, Any], rows: int, is_scraped: bool = False) -> dict[str, float]:
    """What the service does, without its start; with a scrape of its metrics every second."""
    chosen = Settings(**settings)
    kafka = joined(chosen)
    loader = Loader(kafka, connect_clickhouse(chosen), chosen)
    monitor = Monitor(kafka, chosen)
    collector = ConsumerMetrics(loader.totals, loader.insert_metrics, monitor)
    start, cpu_start = time.monotonic(), time.process_time()
    with scraped(collector, chosen) if is_scraped else nullcontext():
        while loader.totals.stored < rows:
            loader.step()
        seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
    kafka.close()
    return {
        "rows": loader.totals.stored,
        "seconds": seconds,
        "inserts": loader.totals.inserts,
        "cpu_seconds": cpu_seconds,
    }


def store_bare(settings: Mapping[str, Any], rows: int) -> dict[str, float]:
    """Poll, read JSON, insert. Times are parsed, too, because the driver accepts no text."""
    chosen = Settings(**settings)
    kafka, clickhouse = joined(chosen), connect_clickhouse(chosen)
    statement, read_time = insert_statement(chosen), datetime.fromisoformat
    stored, inserts = 0, 0
    block: list[tuple[object, ...]] = []
    start, cpu_start = time.monotonic(), time.process_time()
    while stored < rows:
        for records in kafka.poll(1000, max_records=chosen.max_batch_rows - len(block)).values():
            for record in records:
                window_start, window_end, *rest = json.loads(record.value).values()
                block.append((read_time(window_start), read_time(window_end), *rest))
        if len(block) == chosen.max_batch_rows or stored + len(block) == rows:
            stored += clickhouse.execute(statement, block)
            inserts, block = inserts + 1, []
    seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu_start
    kafka.close()
    return {"rows": stored, "seconds": seconds, "inserts": inserts, "cpu_seconds": cpu_seconds}


def joined(settings: Settings) -> KafkaConsumer:
    """A consumer with its partitions assigned, at their beginning."""
    kafka = connect_kafka(settings)
    while not kafka.assignment():
        kafka.poll(timeout_ms=100, max_records=1)
    for partition in kafka.assignment():
        kafka.seek(partition, 0)
    return kafka


if __name__ == "__main__":
    set_up_logging()
    function = {"store": store, "store_bare": store_bare}[sys.argv[1]]
    json.dump(function(**json.load(sys.stdin)), sys.stdout)
