"""Divides the work of one producer among several processes, since one process uses one core."""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import RawArray
from threading import Thread
from typing import Any

from lifecycle import Stop, guarded, set_up_logging
from metrics import DeliveryMetrics
from metrics_server import serve
from sending import Counts, Delivery
from settings import Settings

logger = logging.getLogger("producer")

PUBLISH_INTERVAL_SEC = 1.0

Run = Callable[[Settings, Stop, Delivery, int], int]
"""What each process runs: takes its settings, its stop, what to count in, and its number; returns
its exit code."""


def split_by_process(settings: Settings) -> list[Settings]:
    """The settings of each process, with its part of RATE and COUNT.

    There are never more processes than records: a part of 0 records would be endless.
    """
    processes = min(settings.processes, settings.count or settings.processes)
    each, remainder = divmod(settings.count, processes)
    counts = [each + (number < remainder) for number in range(processes)]
    same = {"processes": 1, "rate": settings.rate / processes, "metrics_port": None}
    return [settings.model_copy(update={**same, "count": count}) for count in counts]


def run_processes(settings: Settings, stop: Stop, run: Run) -> int:
    """Run in several processes; if one fails or a stop is requested, all of them stop.

    Returns the exit code: 0 if that of every process is 0, else 1.
    """
    fork = multiprocessing.get_context("fork")  # a child can handle signals from its start
    parts = split_by_process(settings)
    # Of each process, in memory that all of them share: counting there would be slow.
    shared = [RawArray("q", len(Counts._fields)) for _ in parts]
    children = [
        fork.Process(target=run_process, args=(part, stop, run, counts, number, len(parts)))
        for number, (part, counts) in enumerate(zip(parts, shared, strict=True), start=1)
    ]
    for child in children:
        child.start()
    serve(DeliveryMetrics(lambda: added_up(shared)), settings)  # its threads are not forked
    while any(child.is_alive() for child in children) and not stop.wait(0.1):
        if any(child.exitcode for child in children):
            stop.request()
    for child in children:
        child.terminate()  # SIGTERM; no-op for a child that has exited
    for child in children:
        child.join()
    exit_codes = [child.exitcode for child in children]
    logger.info(
        "stopped: %d processes, exit codes %s", len(children), ", ".join(map(str, exit_codes))
    )
    return 1 if any(exit_codes) else 0


def added_up(shared: Sequence[Sequence[int]]) -> Counts:
    return Counts(*map(sum, zip(*shared, strict=True)))


def run_process(
    part: Settings, stop: Stop, run: Run, shared: Any, number: int, processes: int
) -> None:
    """Run in a child process, which then exits with the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent passes it on
    set_up_logging(f"{number}/{processes}: ")
    Thread(target=stop_with_parent, args=(stop,), daemon=True).start()
    delivery = Delivery()
    Thread(target=publish, args=(delivery, shared), daemon=True).start()
    logger.info("starting with %s", part)
    sys.exit(guarded(lambda: run(part, stop, delivery, number), stop))


def publish(delivery: Delivery, shared: Any) -> None:
    """Copy the counts to the memory that the parent reads, once a second."""
    while True:
        shared[:] = delivery.counts()
        time.sleep(PUBLISH_INTERVAL_SEC)


def stop_with_parent(stop: Stop) -> None:
    """Stop when the parent dies: a killed parent cannot signal us."""
    if parent := multiprocessing.parent_process():
        parent.join()
        stop.request()


def stay_on_one_core(number: int) -> None:
    """Keep this thread, and threads it starts from now on, on one core, chosen by `number`.

    Python runs one thread at a time, and passing control from core to core is slow: on one core,
    this thread and kafka-python's send 1.4 times as many records.
    """
    if hasattr(os, "sched_setaffinity"):  # not on macOS
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
