"""Services stop, start late or start again; every acknowledged record still counts once."""

import os
import re
import signal

import pytest

from lag import wait_for_job
from pipeline import Pipeline
from polling import eventually_matches
from stack_fixtures import QUICK_START, READY_SEC

pytestmark = pytest.mark.services


def test_the_consumer_keeps_its_rows_while_clickhouse_is_down(pipeline: Pipeline) -> None:
    pipeline.stack.stop("clickhouse-server")
    pipeline.produce(2000)
    eventually_matches(
        lambda: pipeline.log("clickhouse-consumer").count("next try in"),
        lambda attempts: attempts >= 3,
        "the consumer tries three times",
    )
    pipeline.stack.start("clickhouse-server")
    pipeline.verify()
    assert "Traceback" not in pipeline.log("clickhouse-consumer")


def test_a_killed_broker_loses_nothing_that_it_acknowledged(pipeline: Pipeline) -> None:
    before = pipeline.topic_size()
    producer = pipeline.producer(RATE=400, COUNT=8000)
    eventually_matches(pipeline.topic_size, lambda size: size > before, "the producer sends")
    os.kill(pipeline.pid("kafka"), signal.SIGKILL)
    _, log = producer.communicate(timeout=180)
    assert producer.returncode == 0, log
    totals = re.search(r"acknowledged (\d+), failed 0", log.splitlines()[-1])
    assert totals, log
    assert pipeline.topic_size() - before == int(totals[1])
    pipeline.verify()


def test_services_started_in_the_wrong_order_wait_for_each_other(pipeline: Pipeline) -> None:
    against_the_flow = ("clickhouse-consumer", "spark-job", "spark-worker", "spark-master",
                        "kafka", "zookeeper", "clickhouse-server")  # fmt: skip
    for service in against_the_flow:
        pipeline.stack.stop(service)
    pipeline.stack.start("clickhouse-consumer")
    pipeline.wait_for_log("clickhouse-consumer", "waiting for Kafka")
    for service in against_the_flow[1:]:
        pipeline.stack.start(service)
        pipeline.pid(service)  # the next service starts after this one's process has started
    pipeline.produce(1000)
    pipeline.verify()


def test_rows_and_offsets_survive_down_and_up(pipeline: Pipeline) -> None:
    pipeline.produce(500)
    pipeline.verify()
    orders = pipeline.stored_orders()
    wait_for_job(pipeline)
    pipeline.stack.down()
    restarted = Pipeline(pipeline.stack)
    pipeline.stack.up(QUICK_START, READY_SEC)
    assert pipeline.stored_orders() == orders
    pipeline.produce(500)
    pipeline.verify()
    pipeline.stack.stop("spark-job")
    assert "stopped: records 500," in restarted.log("spark-job")  # the job has not started over


def test_zookeeper_starts_with_an_empty_log_that_a_full_disk_has_left(pipeline: Pipeline) -> None:
    pipeline.stack.stop("zookeeper")
    (pipeline.stack.directory / "zookeeper" / "version-2" / "log.fffffff").touch()
    pipeline.stack.start("zookeeper")
    pipeline.stack.wait_until_healthy(READY_SEC)
    pipeline.produce(500)
    pipeline.verify()
