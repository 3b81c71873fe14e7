"""How far the job and the consumer are behind their topics."""

import json
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from pipeline import Pipeline
from polling import eventually_equal
from waiting import eventually


def group_lag(pipeline: Pipeline, group: str, topic: str) -> int:
    """Records of a topic whose offsets a consumer group has not committed, as Kafka's tools say."""
    with KafkaConsumer(
        bootstrap_servers=pipeline.bootstrap_servers,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
    ) as consumer:
        partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
        ends = consumer.end_offsets(partitions)
        return sum(ends[p] - (consumer.committed(p) or 0) for p in partitions)


def consumer_lag(pipeline: Pipeline) -> int:
    return group_lag(pipeline, "clickhouse-consumer", "transactions_agg")


def wait_for_consumer(pipeline: Pipeline) -> None:
    """Return when the consumer has committed every record of transactions_agg."""
    eventually_equal(lambda: consumer_lag(pipeline), 0, "lag of the consumer")


def job_lag(pipeline: Pipeline) -> int:
    """Records of transactions_raw that are in no batch which the job has committed."""
    log = checkpoint(pipeline)
    if (last := newest_batch(log / "commits")) < 0:
        return pipeline.topic_size()
    (ends,) = source_ends(log / "offsets" / str(last)).values()
    return pipeline.topic_size() - sum(ends.values())


def wait_for_job(pipeline: Pipeline) -> None:
    """Return when the job has committed every record of transactions_raw."""
    eventually_equal(lambda: job_lag(pipeline), 0, "lag of the job")


def checkpoint(pipeline: Pipeline) -> Path:
    """The folder in which the job keeps its offsets and its state."""
    return pipeline.stack.directory / "checkpoint"


def newest_batch(log: Path) -> int:
    """The highest number in `offsets` or `commits` of a checkpoint; -1 if there is none."""
    names = [path.name for path in log.iterdir()] if log.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def source_ends(batch: Path) -> dict[str, dict[str, int]]:
    """Where a batch ends, by topic and partition. `batch` is a file in `offsets`."""
    ends: dict[str, dict[str, int]] = json.loads(batch.read_text().splitlines()[-1])
    return ends


def stop_job_between_batches(pipeline: Pipeline) -> int:
    """Stop the job while no batch is unfinished; returns the number of the last batch."""
    log = checkpoint(pipeline)

    def is_between() -> bool:
        return newest_batch(log / "offsets") == newest_batch(log / "commits")

    def has_stopped_between() -> bool:
        if not is_between():
            return False
        pipeline.stack.stop("spark-job")
        if not is_between():
            pipeline.stack.start("spark-job")
        return is_between()

    eventually(has_stopped_between, "the job stops between two batches")
    return newest_batch(log / "commits")
