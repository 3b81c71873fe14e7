"""What the job does not count, and when it stops rather than go on with something else."""

import itertools
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from kafka import KafkaProducer

from crashing import start_patched
from lag import group_lag, wait_for_consumer, wait_for_job
from pipeline import Pipeline
from polling import eventually_equal, eventually_matches
from records import transaction
from second_job import SecondJob
from waiting import eventually

pytestmark = pytest.mark.services

REPLACED = "was deleted and created again; its totals so far stay in the table"
NO_EXECUTOR = "this job has no Spark executor"
MORE_THAN_THE_MASTER_ALLOWS = 12  # spark.deploy.maxExecutorRetries is 10


def orders_of_all_windows() -> list[bytes]:
    """Ten orders, one in each minute that still counts."""
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=age) for age in range(10)]
    return [transaction(transaction_time=each.isoformat()) for each in times]


def orders(count: int) -> list[bytes]:
    return [transaction(transaction_time=datetime.now(UTC).isoformat())] * count


@contextmanager
def transactional(pipeline: Pipeline) -> Iterator[KafkaProducer]:
    """A producer that has joined no transaction yet."""
    with KafkaProducer(
        bootstrap_servers=pipeline.bootstrap_servers,
        transactional_id="shop",
        transaction_timeout_ms=600_000,
    ) as producer:
        producer.init_transactions()
        yield producer


def send(producer: KafkaProducer, count: int) -> None:
    """Send orders to one partition, in the open transaction; return when they are stored."""
    for order in orders(count):
        producer.send("transactions_raw", order, key=b"k")
    producer.flush(timeout=30)


def executors(pipeline: Pipeline) -> list[psutil.Process]:
    return psutil.Process(pipeline.pid("spark-worker")).children()


def test_the_archive_of_classes_fits_driver_and_executors(pipeline: Pipeline) -> None:
    """Java would start without one that does not, only later."""

    def java_processes() -> list[psutil.Process]:
        job = psutil.Process(pipeline.pid("spark-job"))
        return [each for each in job.children() + executors(pipeline) if each.name() == "java"]

    found = eventually_matches(
        java_processes, lambda found: len(found) == 2, "driver and executor run"
    )
    for process in found:
        command = process.cmdline()
        options = itertools.takewhile(lambda each: not each.startswith("org.apache"), command)
        with_archive = [*options, "-Xshare:on", "-version"]
        assert any("pyspark/classes.jsa" in option for option in with_archive)
        result = subprocess.run(with_archive, cwd=process.cwd(), capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_orders_of_aborted_transactions_do_not_count(
    pipeline: Pipeline, final_job_counts: Callable[[], Counter[str]]
) -> None:
    stored = pipeline.stored_orders()
    with transactional(pipeline) as producer:
        for end in (
            producer.commit_transaction,
            producer.abort_transaction,
            producer.abort_transaction,
        ):
            producer.begin_transaction()
            send(producer, 10)
            end()
            wait_for_job(pipeline)  # so that a batch has nothing but an aborted transaction
    eventually_equal(
        lambda: group_lag(pipeline, "spark-job", "transactions_raw"), 0, "the lag of the group", 60
    )
    pipeline.verify()
    assert pipeline.stored_orders() == stored + 10
    counts = final_job_counts()
    assert (counts["records"], counts["valid"]) == (10, 10)
    assert " lag=0" in pipeline.log("spark-job").splitlines()[-1]
    assert "lost" not in pipeline.log("spark-job")


def test_orders_of_an_open_transaction_count_once_it_is_committed(
    pipeline: Pipeline, job_counts: Callable[[], Counter[str]]
) -> None:
    with transactional(pipeline) as producer:
        producer.begin_transaction()
        send(producer, 10)
        pipeline.produce(30)  # to all partitions, of which one is held up
        eventually(lambda: job_counts()["records"] > 0, "the job reads the other partitions")
        wait_for_job(pipeline)
        assert job_counts()["records"] < 30
        producer.commit_transaction()
    eventually_equal(lambda: job_counts()["records"], 40, "records that the job has logged")
    pipeline.verify()


def test_a_topic_that_is_replaced_while_the_job_runs_ends_it_with_advice_that_works(
    pipeline: Pipeline,
) -> None:
    job = SecondJob(pipeline, "replaced")
    pipeline.send(job.raw_topic, orders(100))
    with job.running() as process:
        eventually((job.checkpoint / "commits" / "0").exists, "the batch is committed")
        pipeline.recreate_topic(job.raw_topic)
        pipeline.send(job.raw_topic, orders(500))
        assert process.wait(120) == 1, job.log()
    assert REPLACED in job.log().splitlines()[-1]
    with job.running(CHECKPOINT_LOCATION=f"{job.checkpoint}-new"):
        eventually(lambda: "records=500 valid=500" in job.log(), "the new topic is counted")


def test_a_longer_topic_in_place_of_the_old_one_is_not_continued_at_the_old_offsets(
    pipeline: Pipeline,
) -> None:
    job = SecondJob(pipeline, "longer")
    pipeline.send(job.raw_topic, orders(10))
    job.run_first_batch()
    pipeline.recreate_topic(job.raw_topic)
    pipeline.send(job.raw_topic, orders(50))
    assert REPLACED in job.run_until_it_fails()
    assert "records=" not in job.log()


def test_executors_are_replaced_however_often_they_are_killed(pipeline: Pipeline) -> None:
    killed: set[psutil.Process] = set()

    def kill_new_ones() -> bool:
        for executor in set(executors(pipeline)) - killed:
            os.kill(executor.pid, signal.SIGKILL)
            killed.add(executor)
        return len(killed) > MORE_THAN_THE_MASTER_ALLOWS

    job = pipeline.pid("spark-job")
    eventually(kill_new_ones, "executors are killed", interval_sec=0.02)
    pipeline.produce(100)
    pipeline.verify()
    assert pipeline.pid("spark-job") == job


def test_an_executor_that_cannot_start_shows_and_is_not_tried_all_the_time(
    pipeline: Pipeline,
) -> None:
    folder = pipeline.stack.directory / "spark-worker"
    moved = folder.rename(folder.with_name("moved"))
    folder.touch()  # a file, in which no folder can be created
    try:
        for executor in executors(pipeline):
            os.kill(executor.pid, signal.SIGKILL)
        pipeline.wait_for_log("spark-job", NO_EXECUTOR)
        eventually_matches(
            lambda: pipeline.stack.status(["spark-job"])[0].problem,
            lambda problem: "heartbeat" in problem,
            "the job is not healthy",
        )
        launches = pipeline.log("spark-worker").count("Failed to launch executor")
        assert launches <= 10 * pipeline.log("spark-job").count("starting with") + 10
    finally:
        folder.unlink()
        moved.rename(folder)
    pipeline.produce(100)
    pipeline.verify()
    pipeline.stack.wait_until_healthy()


def test_a_job_that_gets_no_executor_is_not_healthy_and_ends(pipeline: Pipeline) -> None:
    """Because the worker has given its memory to another job; one that exits at once is the same.

    The deadline is shorter here.
    """
    pipeline.stack.wait_until_healthy()  # the job that has the memory
    job = SecondJob(pipeline, "waiting")
    health_file = pipeline.stack.directory / "health" / "waiting"
    process = start_patched(
        pipeline,
        "spark-job",
        "stream_job",
        "patch('health.EXECUTOR_DEADLINE_SEC', 2).start()",
        SPARK_MASTER=f"spark://localhost:{pipeline.stack.spark_master_port}",
        SPARK_LOCAL_IP="127.0.0.1",
        RAW_TOPIC=job.raw_topic,
        AGG_TOPIC=job.agg_topic,
        CHECKPOINT_LOCATION=str(job.checkpoint),
        HEALTH_FILE=str(health_file),
    )
    try:
        _, log = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 1, log
    assert NO_EXECUTOR in log.splitlines()[-1], log
    assert not health_file.exists()


def test_partitions_that_are_added_while_sales_arrive_are_read(pipeline: Pipeline) -> None:
    sender = pipeline.producer(RATE=100)
    try:
        pipeline.add_partitions(6, "transactions_raw", "transactions_agg")
        pipeline.produce(600)  # a new producer sends to all of them at once, the other one later
        # So does a new executor. All updates of a window used to be in one partition.
        for executor in executors(pipeline):
            executor.kill()

        def new_partitions_have_updates() -> bool:
            pipeline.send("transactions_raw", orders_of_all_windows())
            return sum(pipeline.partition_sizes("transactions_agg")[3:]) > 0

        eventually(new_partitions_have_updates, "totals are in the new partitions", interval_sec=2)
    finally:
        sender.terminate()
        _, log = sender.communicate(timeout=60)
    assert sender.returncode == 0, log
    assert all(pipeline.partition_sizes("transactions_raw"))
    pipeline.verify()
    wait_for_consumer(pipeline)
