"""Divides the work of one producer among several processes, since one process uses one core."""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from threading import Thread

from lifecycle import Stop, guarded, set_up_logging
from settings import Settings

logger = logging.getLogger("producer")

Run = Callable[[Settings, Stop, int], int]
"""What each process runs: takes its settings, its stop and its number, returns its exit code."""


def split_by_process(settings: Settings) -> list[Settings]:
    """The settings of each process, with its part of RATE and COUNT.

    There are never more processes than records: a part of 0 records would be endless.
    """
    processes = min(settings.processes, settings.count or settings.processes)
    each, remainder = divmod(settings.count, processes)
    counts = [each + (number < remainder) for number in range(processes)]
    same = {"processes": 1, "rate": settings.rate / processes}
    return [settings.model_copy(update={**same, "count": count}) for count in counts]


def run_processes(settings: Settings, stop: Stop, run: Run) -> int:
    """Run in several processes; if one fails or a stop is requested, all of them stop.

    Returns the exit code: 0 if that of every process is 0, else 1.
    """
    fork = multiprocessing.get_context("fork")  # a child can handle signals from its start
    parts = split_by_process(settings)
    children = [
        fork.Process(target=run_process, args=(part, stop, run, number, len(parts)))
        for number, part in enumerate(parts, start=1)
    ]
    for child in children:
        child.start()
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


def run_process(part: Settings, stop: Stop, run: Run, number: int, processes: int) -> None:
    """Run in a child process, which then exits with the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent passes it on
    set_up_logging(f"{number}/{processes}: ")
    Thread(target=stop_with_parent, args=(stop,), daemon=True).start()
    logger.info("starting with %s", part)
    sys.exit(guarded(lambda: run(part, stop, number), stop))


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
