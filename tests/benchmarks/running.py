"""The whole pipeline at work: how soon it is ready, how fresh the table is, what it all takes."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import psutil

import oracle
from freshness import Freshness
from results import Row
from stack import SERVICES
from testbed import Testbed, java_below, resident_mb
from waiting import eventually

WATERMARK = timedelta(minutes=10)
DAY_SEC = 86_400
WARM_UP_SEC, WARM_UP_RATE = 10, 100
POLL_SEC = 0.05
REST_SEC, RESTS = 5.0, 12  # how long the last records may take, looked at so many times
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
            row = "SELECT 1 FROM aggregated_analytics LIMIT 1"
            eventually(partial(bed.pipeline.query, row), "the table has a row", 180, POLL_SEC)
            first_row.append(time.monotonic() - begun)
    return [
        Row("all parts ready", ready, "s", wanted="<= 20"),
        Row("first row in the table", first_row, "s", wanted="<= 30"),
    ]


@contextmanager
def sending(bed: Testbed, rate: float, processes: int = 1) -> Iterator[psutil.Process]:
    process = bed.pipeline.producer(RATE=rate, PROCESSES=processes)
    try:
        assert process.stderr
        process.stderr.readline()  # its first line; from there on it stops when it is told to
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
    rates = bed.sizes.fresh_rates * bed.sizes.runs
    for rate in rates:
        phases.append(datetime.now(UTC))
        ask(bed, rate, bed.sizes.fresh_sec, answers)
    phases.append(datetime.now(UTC))
    delays = delays_sec(bed, answers, partial(poll, bed, REST_SEC, answers))
    cuts: dict[int, list[list[float]]] = {rate: [] for rate in bed.sizes.fresh_rates}
    for rate, (begun, end) in zip(rates, pairwise(phases), strict=True):
        of_phase = [delay for when, delay in delays if begun <= when < end]
        cuts[rate].append(quantiles(of_phase, n=100, method="inclusive"))
    return [
        Row(f"{rate}/s, p{percent}", [run[percent - 1] for run in runs], "s", wanted=wanted)
        for rate, runs in cuts.items()
        for percent, wanted in ((50, "<= 0.9"), (99, "<= 2"))
    ]


def ask(bed: Testbed, rate: float, seconds: float, answers: list[Answer]) -> None:
    """Send for so long and keep what the table answers meanwhile, each time it has changed."""
    with sending(bed, rate):
        poll(bed, seconds, answers)


def poll(bed: Testbed, seconds: float, answers: list[Answer]) -> None:
    client, end = bed.pipeline.client(), time.monotonic() + seconds
    while time.monotonic() < end:
        rows = sorted(oracle.fetch_rows(client, "aggregated_analytics"))
        if not answers or rows != answers[-1][1]:
            answers.append((datetime.now(UTC), rows))
        time.sleep(POLL_SEC)
    client.disconnect()


def delays_sec(
    bed: Testbed, answers: list[Answer], look: Callable[[], None]
) -> list[tuple[datetime, float]]:
    """Arrival and delay of every record, found afterwards so as not to take the pipeline's time.

    The table says how many records of a window it counts, not which: those that came first.
    `look` adds answers; it is called once, then for as long as a record is not counted.
    """
    look()
    freshness = Freshness(oracle.Expected(WATERMARK))
    raw = oracle.RawTopic(bed.servers, "transactions_raw")
    for value, arrival in sorted(raw.read_new(), key=lambda record: record[1]):
        freshness.arrived(value, arrival)
    raw.close()
    found, seen = list[tuple[datetime, float]](), 0
    for _ in range(RESTS):
        for moment, rows in answers[seen:]:
            found += [(when, (moment - when).total_seconds()) for when in freshness.counted(rows)]
        seen = len(answers)
        if not any(freshness.waiting.values()):
            return found
        look()
    raise RuntimeError(f"not counted: {sum(map(len, freshness.waiting.values()))} records")


def footprint(bed: Testbed) -> list[Row]:
    """Memory by process, and what a day adds once old files go as fast as new ones come."""
    bed.run_all()
    disk, memory, inserts = list[dict[str, Used]](), list[dict[str, float]](), list[float]()
    with sending(bed, FOOTPRINT_RATE) as producer:
        time.sleep(bed.sizes.settle_sec)
        disk.append(on_disk(bed))
        for _ in range(bed.sizes.runs):
            time.sleep(bed.sizes.footprint_sec)
            disk.append(on_disk(bed))
            memory.append({**memory_mb(bed), "producer": resident_mb([producer])})
            inserts.append(inserts_per_second(bed))
    rows = [Row(f"memory of {name}", [run[name] for run in memory], "MB") for name in memory[0]]
    rows.append(Row("memory in all", [sum(run.values()) for run in memory], "MB"))
    a_day = DAY_SEC / bed.sizes.footprint_sec
    for name, now in disk[-1].items():
        stretches = [(before[name], after[name]) for before, after in pairwise(disk)]
        grown = [(after.mb - before.mb) * a_day for before, after in stretches]
        more_files = [(after.files - before.files) * a_day for before, after in stretches]
        rows.append(Row(f"{name}, bytes", grown, "MB a day", note=f"{now.mb:.1f} MB now"))
        rows.append(Row(f"{name}, files", more_files, "a day", note=f"{now.files} now"))
    rows.append(Row("inserts", inserts, "a second", wanted="about 1"))
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


class Used(NamedTuple):
    mb: float
    files: int


def on_disk(bed: Testbed) -> dict[str, Used]:
    """By what is kept; ClickHouse has one table, and keeps merged parts for 8 minutes."""
    places = {
        "checkpoint": "checkpoint",
        "transactions_raw": "kafka/transactions_raw-*",
        "transactions_agg": "kafka/transactions_agg-*",
        "aggregated_analytics": "clickhouse/store",
    }
    return {name: used(bed.stack.directory.glob(glob)) for name, glob in places.items()}


def used(folders: Iterable[Path]) -> Used:
    """Blocks, not lengths: Kafka's index files are mostly holes."""
    total, files = 0.0, 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_blocks * 512 if path.is_file() else 0
                files += path.is_file()
            except FileNotFoundError:  # a checkpoint is cleaned up all the time
                continue
    return Used(total / 2**20, files)


def inserts_per_second(bed: Testbed) -> float:
    """From the consumer's last lines; 0 if there is none yet."""
    found = re.findall(r"rows in (\d+) inserts", bed.pipeline.log("clickhouse-consumer"))[-6:]
    return sum(map(int, found)) / (REPORT_SEC * len(found)) if found else 0.0
