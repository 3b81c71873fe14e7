"""What the benchmark takes for the processes of a job."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from processes import PeakMemory, java_below, resident_mb
from waiting import eventually


@pytest.fixture
def java(tmp_path: Path) -> Iterator[str]:
    """A program of that name that waits. What the test has started ends with it."""
    program = tmp_path / "java"
    shutil.copy(shutil.which("sleep") or "", program)
    before = set(psutil.Process().children(recursive=True))
    yield str(program)
    started = set(psutil.Process().children(recursive=True)) - before
    for process in started:
        process.kill()
    psutil.wait_procs(started, timeout=10)


def test_memory_of_a_driver_is_not_that_of_all_java_below_the_benchmark(java: str) -> None:
    engine = psutil.Popen([java, "60"])
    job = psutil.Popen(["sh", "-c", '"$0" 60 & wait', java])
    eventually(lambda: java_below(job), "the job has started its driver", 30)
    with PeakMemory(job, executors=list) as peak:
        eventually(lambda: peak.driver_mb, "memory is sampled", 30)
    assert peak.driver_mb < 1.5 * resident_mb([engine])
