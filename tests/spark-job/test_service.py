"""The service as it runs: from a copy of its own folder alone, as a process with signals."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from waiting import eventually

pytestmark = pytest.mark.services  # starts of Spark, too slow for make test-unit

JOB = Path(__file__).parents[2] / "spark-job"


class Job:
    """A running job, and what it has logged."""

    def __init__(self, folder: Path, servers: str) -> None:
        self._log = folder / "log"
        kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, folder / "stream_job.py"],
                cwd=folder,
                env={
                    **kept,
                    "KAFKA_BOOTSTRAP_SERVERS": servers,
                    "CHECKPOINT_LOCATION": str(folder / "checkpoint"),
                    "SPARK_MASTER": "local[1]",
                    "SPARK_LOCAL_IP": "127.0.0.1",
                    "PYSPARK_SUBMIT_ARGS": "--conf spark.ui.enabled=false pyspark-shell",
                },
                stderr=log,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        """The log so far, without the times."""
        times = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", re.MULTILINE)
        return times.sub("", self._log.read_text()).splitlines()

    def wait_until_logged(self, text: str) -> None:
        def logged() -> bool:
            assert self.process.poll() is None, self.lines()
            return any(text in line for line in self.lines())

        eventually(logged, f"the job logs '{text}'")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """The job on a copy of its folder, with a Kafka that is down."""
    folder = tmp_path / "spark-job"
    folder.mkdir()
    for path in JOB.glob("*.py"):
        shutil.copy(path, folder)
    shutil.copytree(JOB / "conf", folder / "conf")
    with socket.socket() as port:  # bound, but nobody listens
        port.bind(("127.0.0.1", 0))
        running = Job(folder, f"127.0.0.1:{port.getsockname()[1]}")
        try:
            yield running
        finally:
            running.process.kill()
            running.process.wait()


def test_the_service_runs_from_its_own_folder_and_stops_cleanly(job: Job) -> None:
    job.wait_until_logged("waiting for Kafka at 127.0.0.1:")
    job.process.send_signal(signal.SIGTERM)
    assert job.process.wait(timeout=60) == 0, job.lines()
    first, *_, last = job.lines()
    assert first.startswith("INFO starting with kafka_bootstrap_servers='127.0.0.1:")
    assert last == "INFO stopped: records 0, valid 0, rejected 0, late 0, batches 0"


@pytest.mark.parametrize("moment", ["Using incubator modules", "waiting for Kafka at 127.0.0.1:"])
def test_a_signal_to_its_jvm_as_well_is_a_clean_stop(job: Job, moment: str) -> None:
    """Such as `kill -- -PGID`, while Spark starts or while the job waits for Kafka."""
    job.wait_until_logged(moment)
    os.killpg(job.process.pid, signal.SIGTERM)
    assert job.process.wait(timeout=60) == 0, job.lines()
    assert job.lines()[-1] == "INFO stopped: records 0, valid 0, rejected 0, late 0, batches 0"
    assert "Traceback" not in "".join(job.lines())


def test_a_second_signal_ends_the_service_and_its_jvm_at_once(job: Job) -> None:
    job.wait_until_logged("waiting for Kafka at 127.0.0.1:")
    java = psutil.Process(job.process.pid).children(recursive=True)
    assert java

    def ended() -> bool:
        job.process.send_signal(signal.SIGINT)  # two in the same instant may arrive as one
        return job.process.poll() is not None

    eventually(ended, "the job ends", interval_sec=0.01)
    assert job.process.returncode == -signal.SIGINT, job.lines()
    assert "stopped" not in job.lines()[-1]
    eventually(
        lambda: all(
            not each.is_running() or each.status() == psutil.STATUS_ZOMBIE for each in java
        ),
        "its JVM ends",
    )
