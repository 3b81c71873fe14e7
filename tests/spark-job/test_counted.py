"""What the job remembers of the records that it has counted. Kafka is a fake here; the checkpoint
is real. tests/integration/test_job.py loses records of a real Kafka."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaConnectionError
from kafka.structs import OffsetAndTimestamp
from pyspark.sql import SparkSession

from counted import CountedRecords, RecordsLost
from progress import OBSERVATION
from settings import Settings


class FakeKafka:
    """One partition, as the times of its records' arrival."""

    def __init__(self) -> None:
        self.arrivals_ms: list[int] = []
        self.answers = True

    def list_partition_offsets(
        self, wanted: dict[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp]:
        if not self.answers:
            raise KafkaConnectionError
        ((partition, since),) = wanted.items()
        if since is OffsetSpec.LATEST:
            return {partition: OffsetAndTimestamp(len(self.arrivals_ms), -1, None)}
        if since is OffsetSpec.MAX_TIMESTAMP:
            since = max(self.arrivals_ms)
        found = next((n for n, ms in enumerate(self.arrivals_ms) if ms >= since), -1)
        arrival_ms = -1 if found < 0 else self.arrivals_ms[found]
        return {partition: OffsetAndTimestamp(found, arrival_ms, None)}

    def batch(self, first: int, end: int) -> Any:
        """A micro-batch that has read these offsets."""
        newest = {"newest_arrival_ms": max(self.arrivals_ms[first:end], default=None)}
        source = SimpleNamespace(
            startOffset=json.dumps({"raw": {"0": first}} if first else None),
            endOffset=json.dumps({"raw": {"0": end}}),
        )
        metrics = {OBSERVATION: SimpleNamespace(asDict=lambda: newest)}
        return SimpleNamespace(numInputRows=end - first, sources=[source], observedMetrics=metrics)


class Job:
    """Opens the same checkpoint again and again."""

    def __init__(self, spark: SparkSession, folder: Path, kafka: FakeKafka) -> None:
        self._spark, self._folder, self._kafka = spark, folder, kafka

    def counted(self) -> CountedRecords:
        settings = Settings(raw_topic="raw", checkpoint_location=str(self._folder))
        counted: Any = CountedRecords(self._spark, settings)
        counted._admin = self._kafka
        counted._close = lambda: None

        def raise_at_once(_partition: TopicPartition, first: int, *_: int) -> None:
            raise RecordsLost(first)

        counted._raise_if_read = raise_at_once
        return counted  # type: ignore[no-any-return]

    def file(self) -> object:
        return json.loads((self._folder / "counted.json").read_text())


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
def job(spark: SparkSession, tmp_path: Path, kafka: FakeKafka) -> Job:
    return Job(spark, tmp_path / "checkpoint", kafka)


def test_a_topic_that_only_grows_has_lost_nothing(job: Job, kafka: FakeKafka) -> None:
    counted = job.counted()
    counted.check()  # nothing was counted so far
    kafka.arrivals_ms = [10, 20, 20]
    counted.add([kafka.batch(0, 2), kafka.batch(2, 3)])
    kafka.arrivals_ms += [20, 30]
    counted.add([kafka.batch(3, 3), kafka.batch(3, 5)])
    assert job.file() == {"next_offsets": {"0": 5}, "newest_arrival_ms": 30}
    job.counted().check()


def test_new_records_in_the_place_of_counted_ones_are_found_by_this_job_and_the_next(
    job: Job, kafka: FakeKafka
) -> None:
    counted = job.counted()
    kafka.arrivals_ms = [10, 20, 30]
    counted.add([kafka.batch(0, 3)])
    kafka.arrivals_ms = [10, 40, 50, 60]  # only the first one is left; then Spark skips two
    for again in (counted, job.counted(), job.counted()):
        with pytest.raises(RecordsLost, match="1"):
            again.add([kafka.batch(3, 4)])
    with pytest.raises(RecordsLost):
        job.counted().check()


def test_records_lost_between_two_batches_of_one_look_are_found_by_the_next_job_too(
    job: Job, kafka: FakeKafka
) -> None:
    counted = job.counted()
    kafka.arrivals_ms = [10, 20, 30]
    counted.add([kafka.batch(0, 1)])
    last_one = kafka.batch(1, 3)
    kafka.arrivals_ms = [10, 20, 40, 50]
    with pytest.raises(RecordsLost):
        counted.add([last_one, kafka.batch(3, 4)])
    with pytest.raises(RecordsLost):
        job.counted().check()


def test_without_an_answer_of_kafka_the_earlier_state_stays(job: Job, kafka: FakeKafka) -> None:
    counted = job.counted()
    kafka.arrivals_ms = [10, 20]
    counted.add([kafka.batch(0, 2)])
    kafka.answers = False
    kafka.arrivals_ms += [30]
    counted.add([kafka.batch(2, 2), kafka.batch(2, 3)])
    assert job.file() == {"next_offsets": {"0": 2}, "newest_arrival_ms": 20}
    with pytest.raises(KafkaConnectionError):
        job.counted().check()
    kafka.answers = True
    counted.add([])
    assert job.file() == {"next_offsets": {"0": 3}, "newest_arrival_ms": 30}


@pytest.mark.parametrize("noted", [0, 1])
def test_records_lost_while_kafka_did_not_answer_are_found(
    job: Job, kafka: FakeKafka, noted: int
) -> None:
    """Also those of the first batch, for which nothing was noted before."""
    counted = job.counted()
    kafka.arrivals_ms = [10, 20, 30]
    counted.add([kafka.batch(0, noted)])
    kafka.answers = False
    counted.add([kafka.batch(noted, 3)])
    kafka.answers = True
    kafka.arrivals_ms = [10, 40, 50, 60]
    with pytest.raises(RecordsLost):
        counted.add([kafka.batch(3, 4)])


def test_a_batch_that_nobody_noted_may_have_had_newer_records(job: Job, kafka: FakeKafka) -> None:
    """The job was killed before it noted the second one, and the clock of Kafka was set back."""
    kafka.arrivals_ms = [10, 900, 20, 30]
    job.counted().add([kafka.batch(0, 1)])
    counted = job.counted()
    counted.add([kafka.batch(2, 3), kafka.batch(3, 4)])
    counted.check()
    assert job.file() == {"next_offsets": {"0": 4}, "newest_arrival_ms": 900}


def test_a_topic_that_ends_before_what_was_counted_has_lost_records(
    job: Job, kafka: FakeKafka
) -> None:
    counted = job.counted()
    counted.check_ends()  # nothing was counted so far
    kafka.arrivals_ms = [10, 20, 30]
    counted.add([kafka.batch(0, 3)])
    counted.check_ends()
    kafka.arrivals_ms = [10, 20]
    counted.check()
    with pytest.raises(RecordsLost, match="^raw-0 now ends at offset 2, .* up to 3$"):
        counted.check_ends()


def test_an_old_checkpoint_may_have_counted_while_the_clock_of_kafka_was_ahead(
    job: Job, kafka: FakeKafka
) -> None:
    kafka.arrivals_ms = [10, 900, 20, 30]
    counted = job.counted()
    counted.add([kafka.batch(2, 4)])
    counted.check()
    assert job.file() == {"next_offsets": {"0": 4}, "newest_arrival_ms": 900}
