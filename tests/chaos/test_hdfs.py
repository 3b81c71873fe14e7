"""The checkpoint on a real HDFS, which outlives any machine of the pipeline."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from hdfs import DATA_NODES, NAME_NODE, Hdfs, running_hdfs
from lag import group_lag
from metrics_check import job_counts
from paths import PROJECT
from pipeline import Pipeline
from polling import eventually_equal, eventually_matches
from setup.steps import SetupError
from stack import Stack
from stack_fixtures import QUICK_START, READY_SEC

pytestmark = pytest.mark.services

WRITE_TWICE = """
import sys
from known_topics import CheckpointFile
from settings import Settings
from stream_job import session

with session(Settings(spark_master="local[1]", checkpoint_location=sys.argv[1])) as spark:
    for text in ("old", "new"):
        CheckpointFile(spark, sys.argv[1], "file").write(text)
    print(CheckpointFile(spark, sys.argv[1], "file").read())
"""


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    try:
        with running_hdfs(tmp_path_factory.mktemp("hdfs")) as hdfs:
            yield hdfs
    except SetupError as error:
        pytest.fail(f"HDFS cannot be fetched: {error}", pytrace=False)


@pytest.fixture(scope="module")
def running_stack(hdfs: Hdfs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose job has its checkpoint on HDFS."""
    stack = Stack.on_free_ports(tmp_path_factory.mktemp("stack"))
    on_hdfs = {"CHECKPOINT_LOCATION": f"{hdfs.url}/totals", "HADOOP_CONF_DIR": str(hdfs.conf)}
    stack.up({**QUICK_START, **on_hdfs}, READY_SEC)
    yield stack
    stack.down()


def test_a_file_of_the_checkpoint_is_replaced_on_hdfs(hdfs: Hdfs) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WRITE_TWICE, f"{hdfs.url}/files"],
        env={**os.environ, "PYTHONPATH": str(PROJECT / "spark-job"), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (result.returncode, result.stdout) == (0, "new\n"), result.stderr[-3000:]


def test_the_job_survives_its_machines_and_those_of_hdfs(pipeline: Pipeline, hdfs: Hdfs) -> None:
    producer = pipeline.producer(RATE=100)
    wait_for_orders(pipeline, 500)

    hdfs.kill(DATA_NODES[0])
    wait_for_orders(pipeline, 1000)
    hdfs.start(DATA_NODES[0])

    hdfs.kill(NAME_NODE)
    pipeline.wait_for_log("spark-job", "Connection refused")
    hdfs.start(NAME_NODE)
    wait_for_orders(pipeline, 1000)

    producer.terminate()
    producer.communicate(timeout=60)
    pipeline.verify()
    wait_until_committed(pipeline)

    move_to_a_new_machine(pipeline.stack)
    pipeline.produce(500)
    pipeline.verify()
    wait_until_committed(pipeline)
    assert job_counts(pipeline.stack).total() == 500  # it has not read the others again
    assert not (pipeline.stack.directory / "checkpoint").exists()


def wait_for_orders(pipeline: Pipeline, count: int) -> None:
    """Return when the table counts so many orders more."""
    wanted = pipeline.stored_orders() + count
    eventually_matches(pipeline.stored_orders, lambda orders: orders >= wanted, f"{wanted} orders")


def wait_until_committed(pipeline: Pipeline) -> None:
    """Return when the job has committed its last batch: only then it tells Kafka."""
    eventually_equal(
        lambda: group_lag(pipeline, "spark-job", "transactions_raw"), 0, "the lag of the job"
    )


def move_to_a_new_machine(stack: Stack) -> None:
    """Kill driver and executor, and start both where nothing of them is left."""
    services = [psutil.Process(stack.pid(name)) for name in ("spark-job", "spark-worker")]
    killed = [each for service in services for each in (service, *service.children(recursive=True))]
    for process in killed:
        process.kill()
    stack.stop("spark-job")
    stack.stop("spark-worker")
    psutil.wait_procs(killed)
    for folder in ("spark-worker", "tmp", "health"):
        shutil.rmtree(stack.directory / folder)
        (stack.directory / folder).mkdir()
    for service in ("spark-worker", "spark-job"):
        stack.start(service)
