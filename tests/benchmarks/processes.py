"""The processes of a stack: their memory, their processor time, and the most that Spark took."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

from stack import SERVICES, Stack

SAMPLE_SEC = 0.2


def java_below(process: psutil.Process) -> list[psutil.Process]:
    """The Java processes that a process has started, directly or not."""
    found = []
    for each in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if each.name() == "java":
                found.append(each)
    return found


def processes(stack: Stack) -> dict[str, list[psutil.Process]]:
    """The processes of each service that runs; Java's apart from those of Python that start it."""
    found = {}
    for service in SERVICES:
        if pid := stack.pid(service):
            found[service] = [process := psutil.Process(pid)]
            if java := java_below(process):
                found["executor" if service == "spark-worker" else f"{service}'s driver"] = java
    return found


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """The processor time so far of processes that are still there."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.cpu_times().user + process.cpu_times().system
    return total


def resident_mb(processes: Iterable[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


class PeakMemory:
    """The most that a driver and its executors took, sampled. `job` has started the driver."""

    def __init__(self, job: psutil.Process, executors: Callable[[], list[psutil.Process]]) -> None:
        self.job, self.executors = job, executors
        self.driver_mb = self.executor_mb = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self) -> None:
        while not self.ended.wait(SAMPLE_SEC):
            self.driver_mb = max(self.driver_mb, resident_mb(java_below(self.job)))
            self.executor_mb = max(self.executor_mb, resident_mb(self.executors()))

    def __enter__(self) -> "PeakMemory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
