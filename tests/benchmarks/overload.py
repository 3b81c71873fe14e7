"""Twice the load that the job can take, for minutes; then the lag must go, with no wrong window."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from kafka_topic import Topic
from lag import checkpoint, newest_batch, source_ends
from pipeline import PYTHON
from polling import eventually_matches
from processes import PeakMemory
from results import Row
from stack import PROJECT
from testbed import Testbed
from waiting import eventually

# On one machine, whoever sends takes the job's cores. So settings limit what the job can take.
TRIGGER_SEC = 1
PROCESSES = 2
CHECK_SEC = 0.5
READY_SEC = 120


def overload(bed: Testbed) -> list[Row]:
    bed.run_whole_pipeline()
    load, seconds = bed.sizes.overload_rate, bed.sizes.overload_sec
    raw = bed.topic("transactions_raw")
    before = raw.size()
    with slow_job(bed, load // 2) as job, PeakMemory(job, bed.executors) as peak:
        with bed.producer(load, PROCESSES):
            time.sleep(seconds)
        sent = raw.size() - before
        highest, begun = lag(bed, raw), time.monotonic()
        deadline_sec = READY_SEC + 3 * seconds
        eventually_matches(
            lambda: lag(bed, raw), lambda left: left == 0, "no lag", deadline_sec, CHECK_SEC
        )
        drained_sec = time.monotonic() - begun
        print(bed.pipeline.verify(), flush=True)  # raises if a window is wrong
    return [
        Row("load, of what the job can take", [sent / seconds], "records/s", [load / 2], "2"),
        Row("lag at the end of the load", [highest], "records"),
        Row("from there to no lag", [drained_sec], "s", [seconds], "about 1"),
        Row("driver", [peak.driver_mb], "MB"),
        Row("executor", [peak.executor_mb], "MB"),
        Row("every window equal", [1.0], wanted="1"),
    ]


@contextmanager
def slow_job(bed: Testbed, per_second: int) -> Iterator[psutil.Process]:
    """Run the job, from its checkpoint on, with a limit of records per second."""
    bed.stack.stop("spark-job")
    bed.stack.health_file("spark-job").unlink()
    settings = {
        "MAX_OFFSETS_PER_TRIGGER": str(per_second * TRIGGER_SEC),
        "TRIGGER_INTERVAL": f"{TRIGGER_SEC} second",
    }
    with open(bed.stack.directory / "log" / "bench-spark-job.log", "ab") as log:
        job = subprocess.Popen(
            [PYTHON, PROJECT / "spark-job" / "stream_job.py"],
            env={**os.environ, **bed.environments["spark-job"], **settings},
            cwd=bed.stack.directory,
            stderr=log,
        )
    try:
        eventually(bed.stack.health_file("spark-job").exists, "the job runs", READY_SEC)
        yield psutil.Process(job.pid)
    finally:
        job.terminate()
        job.wait(timeout=60)


def lag(bed: Testbed, raw: Topic) -> int:
    """Records of the topic that no batch contains yet."""
    offsets = checkpoint(bed.pipeline) / "offsets"
    (ends,) = source_ends(offsets / str(newest_batch(offsets))).values()
    return raw.size() - sum(ends.values())
