"""The whole pipeline at work: how soon it is ready, how fresh the table is, what it all takes."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import psutil

import oracle
from freshness import Freshness
from results import Row
from stack import SERVICES
from testbed import Testbed, java_below, resident_mb

WATERMARK = timedelta(minutes=10)
DAY_SEC = 86_400
WARM_UP_SEC, WARM_UP_RATE = 10, 100
POLL_SEC = 0.05
REST_SEC = 5.0
FOOTPRINT_RATE = 1_000
REPORT_SEC = 10  # of the consumer's line on its inserts

Answer = tuple[datetime, list[oracle.Row]]


def start(bed: Testbed) -> list[Row]:
    """From nothing: until every part answers, and until the table has a row."""
    ready, first_row = list[float](), list[float]()
    for _ in range(bed.sizes.runs):
        bed.end()
        begun = time.monotonic()
        bed.start_anew()
        ready.append(time.monotonic() - begun)
        with sending(bed, 100):
            while not bed.pipeline.query("SELECT 1 FROM aggregated_analytics LIMIT 1"):
                time.sleep(POLL_SEC)
            first_row.append(time.monotonic() - begun)
    return [
        Row("all parts ready", ready, "s", wanted="<= 20"),
        Row("first row in the table", first_row, "s", wanted="<= 30"),
    ]


@contextmanager
def sending(bed: Testbed, rate: float, processes: int = 1) -> Iterator[psutil.Process]:
    process = bed.pipeline.producer(RATE=rate, PROCESSES=processes)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    if process.returncode != 0:
        raise RuntimeError(log)


def fresh(bed: Testbed) -> list[Row]:
    """From each record's own Kafka timestamp to the first answer that counts it."""
    bed.run_all()
    phases, answers = list[datetime](), list[Answer]()
    ask(bed, WARM_UP_RATE, min(WARM_UP_SEC, bed.sizes.fresh_sec), answers)
    for rate in bed.sizes.fresh_rates:
        phases.append(datetime.now(UTC))
        ask(bed, rate, bed.sizes.fresh_sec, answers)
    poll(bed, time.monotonic() + REST_SEC, answers)
    phases.append(datetime.now(UTC))
    delays = delays_sec(bed, answers)
    rows = []
    for rate, (begun, end) in zip(bed.sizes.fresh_rates, pairwise(phases), strict=True):
        of_rate = [delay for when, delay in delays if begun <= when < end]
        cuts = quantiles(of_rate, n=100, method="inclusive")
        rows.append(Row(f"{rate}/s, p50", [cuts[49]], "s", wanted="<= 0.9"))
        rows.append(Row(f"{rate}/s, p99", [cuts[98]], "s", wanted="<= 2"))
    return rows


def ask(bed: Testbed, rate: float, seconds: float, answers: list[Answer]) -> None:
    """Send for so long and keep what the table answers meanwhile, each time it has changed."""
    with sending(bed, rate):
        poll(bed, time.monotonic() + seconds, answers)


def poll(bed: Testbed, end: float, answers: list[Answer]) -> None:
    client = bed.pipeline.client()
    while time.monotonic() < end:
        rows = sorted(oracle.fetch_rows(client, "aggregated_analytics"))
        if not answers or rows != answers[-1][1]:
            answers.append((datetime.now(UTC), rows))
        time.sleep(POLL_SEC)
    client.disconnect()


def delays_sec(bed: Testbed, answers: Iterable[Answer]) -> list[tuple[datetime, float]]:
    """Arrival and delay of every record, found afterwards so as not to take the pipeline's time.

    The table says how many records of a window it counts, not which: those that came first.
    """
    freshness = Freshness(oracle.Expected(WATERMARK))
    raw = oracle.RawTopic(bed.servers, "transactions_raw")
    for value, arrival in sorted(raw.read_new(), key=lambda record: record[1]):
        freshness.arrived(value, arrival)
    raw.close()
    found = []
    for moment, rows in answers:
        found += [(when, (moment - when).total_seconds()) for when in freshness.counted(rows)]
    if any(freshness.waiting.values()):
        raise RuntimeError(f"not counted: {sum(map(len, freshness.waiting.values()))} records")
    return found


def footprint(bed: Testbed) -> list[Row]:
    """Memory by process, and what a day writes, from the second half of the time."""
    bed.run_all()
    half_sec = bed.sizes.footprint_sec / 2
    with sending(bed, FOOTPRINT_RATE) as producer:
        time.sleep(half_sec)
        before = on_disk(bed)
        time.sleep(half_sec)
        after = on_disk(bed)
        memory = {**memory_mb(bed), "producer": resident_mb([producer])}
        inserts = inserts_per_second(bed)
    rows = [Row(f"memory of {name}", [mb], "MB") for name, mb in memory.items()]
    rows.append(Row("memory in all", [sum(memory.values())], "MB"))
    for name, (size, files) in after.items():
        a_day = DAY_SEC / half_sec
        grown, more_files = size - before[name][0], files - before[name][1]
        size_now, files_now = f"{size / 2**20:.1f} MB now", f"{files} now"
        rows.append(Row(f"{name}, bytes", [grown * a_day / 2**20], "MB a day", note=size_now))
        rows.append(Row(f"{name}, files", [more_files * a_day], "a day", note=files_now))
    rows.append(Row("inserts", [inserts], "a second", wanted="about 1"))
    return rows


def memory_mb(bed: Testbed) -> dict[str, float]:
    memory = {}
    for service in SERVICES:
        if pid := bed.stack.pid(service):
            process = psutil.Process(pid)
            memory[service] = resident_mb([process])
            if java := java_below(process):
                name = "executor" if service == "spark-worker" else f"{service}'s driver"
                memory[name] = resident_mb(java)
    return memory


def on_disk(bed: Testbed) -> dict[str, tuple[float, int]]:
    """Bytes and number of files; ClickHouse has one table, and keeps merged parts for 8 minutes."""
    places = {
        "checkpoint": "checkpoint",
        "transactions_raw": "kafka/transactions_raw-*",
        "transactions_agg": "kafka/transactions_agg-*",
        "aggregated_analytics": "clickhouse/store",
    }
    return {name: used(bed.stack.directory.glob(glob)) for name, glob in places.items()}


def used(folders: Iterable[Path]) -> tuple[float, int]:
    """Blocks, not lengths: Kafka's index files are mostly holes."""
    total, files = 0.0, 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_blocks * 512 if path.is_file() else 0
                files += path.is_file()
            except FileNotFoundError:  # a checkpoint is cleaned up all the time
                continue
    return total, files


def inserts_per_second(bed: Testbed) -> float:
    """From the consumer's last lines; 0 if there is none yet."""
    found = re.findall(r"rows in (\d+) inserts", bed.pipeline.log("clickhouse-consumer"))[-6:]
    return sum(map(int, found)) / (REPORT_SEC * len(found)) if found else 0.0
