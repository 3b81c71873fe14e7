"""What the job does with its checkpoint, with repeated orders and when it cannot go on."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from kafka import KafkaAdminClient, TopicPartition

from lag import group_lag, wait_for_job
from pipeline import Pipeline
from polling import eventually_equal
from records import transaction
from second_job import SecondJob

pytestmark = pytest.mark.services

TO_THE_END = -1  # for Kafka, the offset after the last record


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_a_killed_job_continues_from_its_checkpoint_and_kafka_knows_its_lag(
    pipeline: Pipeline,
    job_counts: Callable[[], Counter[str]],
    final_job_counts: Callable[[], Counter[str]],
) -> None:
    pipeline.produce(500)
    eventually_equal(lambda: job_counts()["records"], 500, "records that the job has logged")
    wait_for_job(pipeline)

    def lag() -> int:
        return group_lag(pipeline, "spark-job", "transactions_raw")

    eventually_equal(lag, 0, "the lag of the group")
    os.kill(pipeline.pid("spark-job"), signal.SIGKILL)
    pipeline.produce(1000)
    assert lag() == 1000
    pipeline.verify()
    eventually_equal(lag, 0, "the lag of the group")
    assert final_job_counts()["records"] == 1500  # it has not read the first 500 again


def test_repeated_orders_count_once_and_a_checkpoint_of_that_query_is_not_used_for_another(
    pipeline: Pipeline,
) -> None:
    job = SecondJob(pipeline, "repeats")
    moment = now()
    pipeline.send(
        job.raw_topic,
        [transaction(order_id=f"o{n % 40}", transaction_time=moment) for n in range(100)],
    )
    job.run_first_batch(DEDUPLICATE_ORDERS="true")
    (window,) = pipeline.read(job.agg_topic, messages=1)
    assert (window["total_orders"], window["total_sales"]) == (40, 796.0)
    assert "records=100 valid=100 rejected=0" in job.log()
    assert " repeated=60 " in job.log()
    assert list(job.checkpoint.glob("state/0/*/*.changelog")), "the order ids are not in RocksDB"
    pipeline.send(job.raw_topic, [transaction(transaction_time=now())])
    assert "set CHECKPOINT_LOCATION to a new folder" in job.run_until_it_fails()
    assert "\tat " not in job.log()


def test_records_deleted_before_they_were_read_end_the_job_with_advice(
    pipeline: Pipeline,
) -> None:
    job = SecondJob(pipeline, "aged")
    pipeline.send(job.raw_topic, [transaction(transaction_time=now())])
    job.run_first_batch()
    pipeline.send(job.raw_topic, [transaction(transaction_time=now())] * 2)
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        admin.delete_records({TopicPartition(job.raw_topic, n): TO_THE_END for n in range(3)})
    last_line = job.run_until_it_fails()
    assert "deleted records of aged_raw that this job had not read" in last_line


@pytest.mark.parametrize(
    ("new_records", "found"), [(0, "now ends at offset 0"), (60, "has newer records from offset 0")]
)
def test_records_that_kafka_lost_after_they_were_counted_end_the_job_with_advice(
    pipeline: Pipeline, new_records: int, found: str
) -> None:
    job = SecondJob(pipeline, f"lost_{new_records}")
    pipeline.send(job.raw_topic, [transaction(transaction_time=now())] * 50)
    job.run_first_batch()
    pipeline.stack.stop("kafka")  # its disk has forgotten them: as after a power cut
    for segment in (pipeline.stack.directory / "kafka").glob(f"{job.raw_topic}-*/*.log"):
        segment.write_bytes(b"")
    pipeline.stack.start("kafka")
    pipeline.stack.wait_until_healthy()
    pipeline.send(job.raw_topic, [transaction(transaction_time=now())] * new_records)
    last_line = job.run_until_it_fails()
    assert re.search(rf"lost records .* counted: {job.raw_topic}-\d {found}", last_line)


def test_a_query_that_cannot_start_ends_with_the_reason(pipeline: Pipeline) -> None:
    job = SecondJob(pipeline, "impossible")
    last_line = job.run_until_it_fails(CHECKPOINT_LOCATION="/dev/null/checkpoint")
    assert re.search(r"the query failed: .*/dev/null", last_line)
