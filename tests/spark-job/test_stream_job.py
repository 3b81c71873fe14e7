"""How the job runs its query: start, failure, stop. Spark and Kafka are fakes here."""

import os
import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkRuntimeError, StreamingQueryException

import stream_job
from advice import NO_EXECUTOR
from counted import RecordsLost
from known_topics import TopicReplaced
from lifecycle import Stop
from settings import Settings

TOPIC_REPLACED = (
    "topic transactions_raw was deleted and created again; its totals so far stay in the table. To"
    " count the new topic, delete /tmp/checkpoints, or set CHECKPOINT_LOCATION to a new folder; the"
    " job then starts over from the earliest offset (docs/troubleshooting.md)"
)
NOTHING_READ = "stopped: records 0, valid 0, rejected 0, late 0, batches 0"
KAFKA_IS_DOWN = StreamingQueryException("[STREAM_FAILED] x\norg.apache.kafka.common.errors.Timeout")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class FakeSpark:
    """A session that may end by itself, and says whether it was stopped."""

    has_ended = is_stopped = False

    def __enter__(self) -> "FakeSpark":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_stopped = True


class FakeTopics:
    """Topics that are those of the checkpoint until they are replaced."""

    checks = 0
    replaced = False

    def check(self) -> None:
        self.checks += 1
        if self.replaced:
            raise TopicReplaced


class FakeCounted:
    """Records that Kafka still has, until some are lost."""

    lost = ends_early = False

    def __init__(self) -> None:
        self.added: list[object] = []

    def check_ends(self) -> None:
        if self.ends_early:
            raise RecordsLost("raw-0 now ends at offset 2")

    def add(self, batches: list[object]) -> None:
        self.added += batches
        self.check()

    def check(self) -> None:
        if self.lost:
            raise RecordsLost("raw-0 has newer records")


class FakeHealth:
    """Counts the checks of a query that has executors."""

    checks = 0

    def check(self) -> None:
        self.checks += 1


class Harness:
    """The job with a fake Spark and Kafka; `on_start` is what happens when the query starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop = Stop()
        self.on_start: Callable[[], Any] = lambda: FakeQuery(self.stop)
        self.waits_for_topics = 0
        self.spark, self.topics, self.counted = FakeSpark(), FakeTopics(), FakeCounted()
        monkeypatch.setattr(stream_job, "session", lambda *_: self.spark)
        monkeypatch.setattr(stream_job, "KnownTopics", lambda *_: self.topics)
        monkeypatch.setattr(stream_job, "CountedRecords", lambda *_: self.counted)
        monkeypatch.setattr(stream_job, "Health", lambda *_: FakeHealth())
        monkeypatch.setattr(stream_job, "has_ended", lambda spark: spark.has_ended)
        monkeypatch.setattr(stream_job, "RESTART_DELAY_SEC", 0)
        monkeypatch.setattr(stream_job, "wait_for_topics", self.wait_for_topics)
        monkeypatch.setattr(stream_job, "start_query", lambda *_: self.on_start())

    def wait_for_topics(self, _settings: Settings, _stop: Stop) -> None:
        self.waits_for_topics += 1

    def run(self) -> int:
        return stream_job.run(Settings(), self.stop)


class FakeQuery:
    """A query that runs until it fails, or until it has requested the stop of the job."""

    _jsq = SimpleNamespace(recentProgress=list)  # no progress

    def __init__(self, stop: Stop, failure: Exception | None = None) -> None:
        self._stop, self._failure = stop, failure
        self.stopped = False

    def awaitTermination(self, _seconds: int) -> bool:
        if self._failure:
            raise self._failure
        self._stop.request()
        return False

    def stop(self) -> None:
        self.stopped = True


class FakeReporter:
    """Counts its calls."""

    looks = logs = 0

    def look(self, _query: object) -> list[int]:
        """Each look finds one batch."""
        self.looks += 1
        return [self.looks]

    def log(self) -> None:
        self.logs += 1


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("INFO")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_clean_stop_stops_spark_and_ends_with_the_totals(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    assert harness.run() == 0
    assert harness.spark.is_stopped
    assert log() == [NOTHING_READ]


def test_a_signal_stops_the_job_although_spark_installs_its_own_handler(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    def handler_of_spark(*_: object) -> None:
        raise AssertionError("still in place")

    def session(_: Settings) -> FakeSpark:
        signal.signal(signal.SIGINT, handler_of_spark)
        return harness.spark

    monkeypatch.setattr(stream_job, "session", session)
    monkeypatch.setattr(
        stream_job, "wait_for_topics", lambda *_: os.kill(os.getpid(), signal.SIGINT)
    )
    assert harness.run() == 0
    assert harness.stop.requested
    assert log() == [NOTHING_READ]


def test_a_failure_of_kafka_starts_the_query_again_once_the_topics_are_there(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    queries = iter([FakeQuery(harness.stop, KAFKA_IS_DOWN), FakeQuery(harness.stop)])
    harness.on_start = lambda: next(queries)
    assert harness.run() == 0
    assert harness.waits_for_topics == 2
    assert log() == [
        "continuing from the checkpoint: the query failed: [STREAM_FAILED] x",
        NOTHING_READ,
    ]


def test_any_other_failure_of_the_query_ends_the_job_with_one_line(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    failure = StreamingQueryException("[STREAM_FAILED] task failed\n\tat java")
    harness.on_start = lambda: FakeQuery(harness.stop, failure)
    assert harness.run() == 1
    assert log() == ["the query failed: [STREAM_FAILED] task failed"]


@pytest.mark.parametrize("error", [Py4JError("empty answer"), ConnectionRefusedError()])
def test_the_end_of_the_drivers_jvm_ends_the_job_with_one_line(
    error: Exception, harness: Harness, log: Callable[[], list[str]]
) -> None:
    def start() -> None:
        raise error

    harness.on_start = start
    assert harness.run() == 1
    assert log() == ["the Spark driver's JVM has exited; restart the job"]


@pytest.mark.parametrize("error", [Py4JError("empty answer"), ConnectionRefusedError()])
def test_a_jvm_that_ends_because_of_the_stop_is_no_failure(
    error: Exception, harness: Harness, log: Callable[[], list[str]]
) -> None:
    """A signal to the whole process group, such as Ctrl-C, ends the JVM as well."""

    def start() -> None:
        harness.stop.request()
        raise error

    harness.on_start = start
    assert harness.run() == 0
    assert log() == [NOTHING_READ]


def test_a_topic_that_was_replaced_ends_the_job_before_the_query_starts(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    harness.topics.replaced = True
    harness.on_start = lambda: pytest.fail("the query has started")
    assert harness.run() == 1
    assert log() == [TOPIC_REPLACED]


def test_a_query_that_fails_because_its_topic_was_replaced_ends_the_job_with_that_reason(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    """To Spark, a new topic is one that has lost records, or has no such offsets."""

    def start() -> FakeQuery:
        harness.topics.replaced = True
        return FakeQuery(harness.stop, StreamingQueryException("some data may have been lost"))

    harness.on_start = start
    assert harness.run() == 1
    assert log() == [TOPIC_REPLACED]


def test_records_that_were_lost_with_counted_ones_are_not_called_deleted(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    failure = "Some data may have been lost because they are not available in Kafka any more"
    harness.on_start = lambda: FakeQuery(harness.stop, StreamingQueryException(failure))
    assert harness.run() == 1
    harness.counted.ends_early = True
    assert harness.run() == 1
    deleted, lost = log()
    assert deleted.startswith("Kafka has deleted records of transactions_raw that this job had not")
    assert lost.startswith("Kafka has lost records that this job had already counted: raw-0 now")


def test_a_job_whose_records_kafka_has_lost_reads_nothing_more(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    harness.counted.lost = True
    harness.on_start = lambda: pytest.fail("the query has started")
    assert harness.run() == 1
    assert log() == [
        "Kafka has lost records that this job had already counted: raw-0 has newer records."
        " To count all that Kafka still has, delete /tmp/checkpoints, or set CHECKPOINT_LOCATION to"
        " a new folder; the job then starts over from the earliest offset; windows that had counted"
        " the lost records keep them (docs/production.md)"
    ]


def test_a_replaced_topic_is_not_mistaken_for_lost_records(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    """It has other records at the same offsets, too."""

    def start() -> FakeQuery:
        harness.topics.replaced = harness.counted.lost = True
        return FakeQuery(harness.stop, KAFKA_IS_DOWN)

    harness.on_start = start
    assert harness.run() == 1
    assert log() == [TOPIC_REPLACED]


def test_a_query_that_fails_because_the_master_gave_up_its_executors_says_so(
    harness: Harness, log: Callable[[], list[str]]
) -> None:
    harness.spark.has_ended = True
    harness.on_start = lambda: FakeQuery(harness.stop, StreamingQueryException("assertion failed"))
    assert harness.run() == 1
    assert log() == [f"the query failed: {NO_EXECUTOR}"]


def test_a_job_that_fails_stops_spark_and_waits_before_it_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it again then does not start it in a tight loop."""
    waits = []

    def wait(seconds: float) -> bool:
        waits.append((seconds, harness.spark.is_stopped))
        return False

    monkeypatch.setattr(stream_job, "RESTART_DELAY_SEC", 5)
    monkeypatch.setattr(harness.stop, "wait", wait)
    harness.topics.replaced = True
    assert harness.run() == 1
    assert waits == [(5, True)]


def test_a_session_that_cannot_start_ends_the_job_with_one_line(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    def session(_: Settings) -> None:
        raise PySparkRuntimeError("no Java\nand more")

    monkeypatch.setattr(stream_job, "session", session)
    assert harness.run() == 1
    assert log() == ["cannot start a Spark session on local[*]: no Java"]


def watch(query: Any, stop: Stop, reporter: Any) -> tuple[FakeHealth, FakeTopics, FakeCounted]:
    """Watch a query; returns what has looked after it."""
    health: Any = FakeHealth()
    topics: Any = FakeTopics()
    counted: Any = FakeCounted()
    stream_job.watch(query, health, topics, counted, stop, reporter)
    return health, topics, counted


def test_the_last_batches_are_reported_and_the_query_stopped_when_the_job_stops() -> None:
    stop, reporter = Stop(), FakeReporter()
    query: Any = FakeQuery(stop)
    _, _, counted = watch(query, stop, reporter)
    assert (reporter.logs, query.stopped) == (1, True)
    assert counted.added == [1, 2]  # with the last one, the next job knows where it begins


def test_the_last_batches_are_reported_when_the_query_fails() -> None:
    stop, reporter = Stop(), FakeReporter()
    query: Any = FakeQuery(stop, failure=KAFKA_IS_DOWN)
    with pytest.raises(StreamingQueryException):
        watch(query, stop, reporter)
    assert (reporter.looks, reporter.logs) == (1, 1)


def test_health_and_progress_are_looked_at_every_second_and_topics_every_ten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, reporter = Stop(), FakeReporter()
    now, calls = 0, []

    def wait(seconds: int) -> bool:
        nonlocal now
        now += seconds
        calls.append(reporter.logs)
        if now == 25:
            stop.request()
        return False

    query: Any = SimpleNamespace(awaitTermination=wait, stop=lambda: None)
    monkeypatch.setattr(stream_job, "time", SimpleNamespace(monotonic=lambda: now))
    health, topics, _ = watch(query, stop, reporter)
    assert calls == [0] * 10 + [1] * 10 + [2] * 5
    assert (health.checks, reporter.logs, topics.checks) == (25, 3, 2)
    assert reporter.looks == 25 + 1


def test_a_wrong_setting_ends_the_job_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("DEDUPLICATE_ORDERS", "maybe")
    monkeypatch.setattr(stream_job, "set_up_logging", lambda: None)  # it would remove pytest's
    assert stream_job.main() == 2
    assert log() == ["DEDUPLICATE_ORDERS must be true or false, not 'maybe'"]
