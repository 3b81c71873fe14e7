"""Twice what the job can take, for minutes; then the lag must go, and every window be right."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from backlog import Topic
from pipeline import PYTHON
from results import Row
from running import sending
from stack import PROJECT
from testbed import PeakMemory, Testbed
from waiting import eventually

# On one machine whoever sends takes the job's cores: what the job can take is a setting here.
TRIGGER_SEC = 1
PROCESSES = 2
CHECK_SEC = 0.5
READY_SEC = 120


def overload(bed: Testbed) -> list[Row]:
    bed.run_all()
    load, seconds = bed.sizes.overload_rate, bed.sizes.overload_sec
    raw = Topic(bed.servers, "transactions_raw")
    before = raw.size()
    with slow_job(bed, load // 2), PeakMemory(bed) as peak:
        with sending(bed, load, PROCESSES):
            time.sleep(seconds)
        sent = raw.size() - before
        highest, begun = lag(bed, raw), time.monotonic()
        wait_until_drained(bed, raw, begun + READY_SEC + 3 * seconds)
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
def slow_job(bed: Testbed, per_second: int) -> Iterator[None]:
    """The job goes on from its checkpoint, with so many records a second at most."""
    bed.stack.stop("spark-job")
    bed.stack.health_file("spark-job").unlink()
    settings = {
        "MAX_OFFSETS_PER_TRIGGER": str(per_second * TRIGGER_SEC),
        "TRIGGER_INTERVAL": f"{TRIGGER_SEC} second",
    }
    with open(bed.stack.directory / "log" / "bench-job.log", "ab") as log:
        job = subprocess.Popen(
            [PYTHON, PROJECT / "spark-job" / "stream_job.py"],
            env={**os.environ, **bed.job_environment, **settings},
            cwd=bed.stack.directory,
            stderr=log,
        )
    try:
        eventually(bed.stack.health_file("spark-job").exists, "the job runs", READY_SEC)
        yield
    finally:
        job.terminate()
        job.wait(timeout=60)


def lag(bed: Testbed, raw: Topic) -> int:
    """Records of the topic that no batch has taken on yet."""
    offsets = bed.stack.directory / "checkpoint" / "offsets"
    last = max(int(path.name) for path in offsets.iterdir() if path.name.isdecimal())
    ends: dict[str, dict[str, int]] = json.loads((offsets / str(last)).read_text().splitlines()[-1])
    return raw.size() - sum(ends[raw.name].values())


def wait_until_drained(bed: Testbed, raw: Topic, deadline: float) -> None:
    while lag(bed, raw):
        if time.monotonic() > deadline:
            raise RuntimeError(f"a lag of {lag(bed, raw)} records remains")
        time.sleep(CHECK_SEC)
