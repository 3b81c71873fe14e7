"""What every part of the benchmark works on: a stack of its own, and how much to do on it."""

import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil

from backlog import Topic
from pipeline import Pipeline
from stack import PROJECT, Stack

RESULTS = PROJECT / ".local" / "bench"
SAMPLE_SEC = 0.2
READY_SEC = 240


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Rates are per second; growth and windows are one drain for each.

    The footprint settles for longer than ClickHouse keeps merged parts (8 minutes) and Spark the
    files of old batches; then it is measured from one end of a run to the other.
    """

    name: str
    runs: int
    sent_records: int
    pace_sec: int
    job_records: int
    growth: tuple[int, ...]
    windows: tuple[int, ...]
    windows_records: int
    tuning_records: int
    stored_rows: int
    fresh_rates: tuple[int, ...]
    fresh_sec: int
    page_rate: int
    page_warm_up_sec: int
    page_sec: int
    settle_sec: int
    footprint_sec: int
    overload_rate: int
    overload_sec: int


FULL = Sizes(
    name="full",
    runs=3,
    sent_records=500_000,
    pace_sec=30,
    job_records=3_000_000,
    growth=(1_000_000, 3_000_000, 10_000_000),
    windows=(10, 100, 1000),
    windows_records=1_000_000,
    tuning_records=1_000_000,
    stored_rows=300_000,
    fresh_rates=(100, 1_000, 10_000),
    fresh_sec=120,
    page_rate=10_000,
    page_warm_up_sec=90,
    page_sec=40,
    settle_sec=600,
    footprint_sec=100,
    overload_rate=20_000,
    overload_sec=300,
)
QUICK = Sizes(
    name="quick",
    runs=1,
    sent_records=30_000,
    pace_sec=2,
    job_records=60_000,
    growth=(20_000, 60_000),
    windows=(10, 100),
    windows_records=20_000,
    tuning_records=20_000,
    stored_rows=30_000,
    fresh_rates=(1_000,),
    fresh_sec=6,
    page_rate=1_000,
    page_warm_up_sec=10,
    page_sec=6,
    settle_sec=2,
    footprint_sec=2,
    overload_rate=2_000,
    overload_sec=6,
)


@dataclass
class Testbed:
    """The stack, started when first asked for."""

    sizes: Sizes
    stack: Stack = field(default_factory=lambda: Stack.on_free_ports(RESULTS / "stack"))
    numbers: "count[int]" = field(default_factory=count)
    job_environment: dict[str, str] = field(default_factory=dict)
    consumer_environment: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> str:
        return f"localhost:{self.stack.kafka_port}"

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.stack)

    def start_anew(self) -> None:
        self.end()
        shutil.rmtree(self.stack.directory, ignore_errors=True)
        self.stack.up(deadline_sec=READY_SEC, say=lambda _: None)
        # What the stack gives its job and its consumer, for those that are run here instead.
        self.job_environment = psutil.Process(self.stack.pid("spark-job")).environ()
        self.consumer_environment = psutil.Process(self.stack.pid("clickhouse-consumer")).environ()

    def run_all(self) -> None:
        """The whole pipeline runs."""
        if not self.stack.is_up():
            self.start_anew()
        self.stack.start("spark-job")
        self.stack.start("clickhouse-consumer")
        self.stack.wait_until_healthy(READY_SEC, say=lambda _: None)

    def run_engines_only(self) -> None:
        """Kafka, ClickHouse and Spark's master and worker run; what is measured comes instead."""
        if not self.stack.is_up():
            self.start_anew()
        self.stack.stop("spark-job")
        self.stack.stop("clickhouse-consumer")

    def end(self) -> None:
        if self.stack.is_up():
            self.stack.down(say=lambda _: None)

    def new_topic(self, sender_time: bool = False) -> Topic:
        return Topic(self.servers, f"bench_{next(self.numbers)}").create(sender_time)

    def new_checkpoint(self) -> Path:
        return self.stack.directory / f"checkpoint-{next(self.numbers)}"

    def executors(self) -> list[psutil.Process]:
        return java_below(psutil.Process(self.stack.pid("spark-worker")))


def java_below(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for each in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if each.name() == "java":
                found.append(each)
    return found


def resident_mb(processes: Iterable[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


class PeakMemory:
    """The most that the driver (started from here) and the executors took, sampled in a thread."""

    def __init__(self, bed: Testbed) -> None:
        self.bed = bed
        self.driver_mb = self.executor_mb = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self) -> None:
        while not self.ended.wait(SAMPLE_SEC):
            driver = java_below(psutil.Process())
            self.driver_mb = max(self.driver_mb, resident_mb(driver))
            self.executor_mb = max(self.executor_mb, resident_mb(self.bed.executors()))

    def __enter__(self) -> "PeakMemory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
