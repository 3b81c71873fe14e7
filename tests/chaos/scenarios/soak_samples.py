"""What a stack needs over time: memory, open files, disk, and how long an order is under way."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import psutil

from faults import COMPONENTS
from freshness import Freshness
from injection import running
from metrics_check import samples
from stack import Stack
from traffic import Producer
from windows import Expected, Row

PARTS = 6
MB = 1024**2
WARM_SEC = 300  # what has just started again needs less than what has run for long
FOLDERS = ("kafka", "zookeeper", "clickhouse", "checkpoint", "spark-worker", "tmp", "log")
# By which share, and at least by how much, the last third may be above the middle one.
GROWTH = {
    "memory_mb": (0.25, 64),
    "open_files": (0.25, 30),
    "disk_mb": (0.25, 64),
    "files_on_disk": (0.25, 200),
    "state_rows": (0.25, 20),
    "delay_sec": (0.5, 1),
}

Item = TypeVar("Item")


class Sample(NamedTuple):
    minute: float
    kind: str  # of GROWTH
    name: str
    value: float
    is_warm: bool = True


class Delays(Freshness):
    """Also takes note of how long each order was under way, in tenths of a second."""

    def __init__(self, expected: Expected) -> None:
        super().__init__(expected)
        self.seconds = Counter[float]()

    def counted(self, rows: Iterable[Row]) -> list[datetime]:
        arrivals = super().counted(rows)
        now = datetime.now(UTC)
        with self.lock:
            self.seconds.update(round((now - arrival).total_seconds(), 1) for arrival in arrivals)
        return arrivals

    def take(self) -> Counter[float]:
        """Seconds -> number of orders, since the last call."""
        with self.lock:
            seconds, self.seconds = self.seconds, Counter()
        return seconds


def take(minute: float, stack: Stack, producer: Producer) -> Iterator[Sample]:
    """What each component needs now, and each folder of the stack, and this process."""
    processes = {name: running(stack, name) for name in COMPONENTS if name != "producer"}
    for name, found in {**processes, "producer": producer.processes()}.items():
        with suppress(psutil.NoSuchProcess):  # it has just been killed
            if found:
                yield from needs_of(minute, name, found)
    yield from needs_of(minute, "this test", [psutil.Process()])
    for folder in FOLDERS:
        sizes = list(sizes_below(stack.directory / folder))
        yield Sample(minute, "disk_mb", folder, sum(sizes) / MB)
        yield Sample(minute, "files_on_disk", folder, len(sizes))
    with suppress(OSError):  # the job is just starting
        rows = samples(stack.job_metrics_port, "purchases_job_state_rows").total()
        yield Sample(minute, "state_rows", "job", rows)


def needs_of(minute: float, name: str, processes: Sequence[psutil.Process]) -> list[Sample]:
    is_warm = time.time() - max(each.create_time() for each in processes) > WARM_SEC
    memory = sum(each.memory_info().rss for each in processes) / MB
    files = sum(each.num_fds() for each in processes)
    return [
        Sample(minute, "memory_mb", name, memory, is_warm),
        Sample(minute, "open_files", name, files, is_warm),
    ]


def sizes_below(folder: Path) -> Iterator[int]:
    """What each file in a folder occupies, in bytes; files come and go meanwhile."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.stat(os.path.join(parent, name)).st_blocks * 512


def growth(found: Sequence[Sample]) -> list[str]:
    """Which kinds of what need more in the last third of the run than in the middle one."""
    wrong = []
    warm = [sample for sample in found if sample.is_warm]
    for (kind, name), points in series(warm).items():
        _, middle, last = (typical(part) for part in split(points, end_of(found), 3))
        if middle is None or last is None:
            continue
        share, least = GROWTH[kind]
        if last - middle > max(share * middle, least):
            wrong.append(f"{kind} of {name} grew from {middle} to {last}")
    return wrong


def by_parts(found: Sequence[Sample]) -> dict[str, Any]:
    """The median of each sixth of the run, by kind and name; of memory and disk also the most."""
    parts: defaultdict[str, dict[str, list[float | None]]] = defaultdict(dict)
    for (kind, name), points in sorted(series(found).items()):
        sixths = split(points, end_of(found), PARTS)
        parts[kind][name] = [typical(part) for part in sixths]
        if kind in ("memory_mb", "disk_mb"):
            parts[f"most_{kind}"][name] = [round(max(part), 1) if part else None for part in sixths]
    return dict(parts)


def series(found: Iterable[Sample]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Minute and value of all samples, by kind and name."""
    points: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in found:
        points[sample.kind, sample.name].append((sample.minute, sample.value))
    return dict(points)


def split(points: Iterable[tuple[float, Item]], end: float, parts: int) -> list[list[Item]]:
    """The items of each part of the time from 0 to `end`, both included."""
    found: list[list[Item]] = [[] for _ in range(parts)]
    for minute, item in points:
        found[min(parts - 1, int(minute * parts / end))].append(item)
    return found


def end_of(found: Sequence[Sample]) -> float:
    return found[-1].minute


def typical(values: Sequence[float]) -> float | None:
    return round(median(values), 1) if values else None


def quantile(seconds: Counter[float], share: float) -> float | None:
    """What this share of all orders was not slower than."""
    ordered = sorted(seconds)
    reached = accumulate(seconds[each] for each in ordered)
    enough = share * seconds.total()
    return next(
        (sec for sec, orders in zip(ordered, reached, strict=True) if orders >= enough), None
    )
