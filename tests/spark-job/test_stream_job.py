"""How the job runs its query: start, failure, stop. Spark and Kafka are fakes here."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import StreamingQueryException

import stream_job
from lifecycle import Stop
from settings import Settings

NOTHING_READ = "stopped: records 0, valid 0, rejected 0, late 0, batches 0"
KAFKA_IS_DOWN = StreamingQueryException("[STREAM_FAILED] x\norg.apache.kafka.common.errors.Timeout")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Harness:
    """The job with a fake Spark and Kafka; `on_start` is what happens when the query starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop = Stop()
        self.on_start: Callable[[], Any] = lambda: FakeQuery(self.stop)
        self.waits_for_topics = 0
        self.spark_stopped = False
        spark = SimpleNamespace(stop=self.stop_spark)
        monkeypatch.setattr(stream_job, "session", lambda *_: spark)
        monkeypatch.setattr(stream_job, "wait_for_topics", self.wait_for_topics)
        monkeypatch.setattr(stream_job, "start_query", lambda *_: self.on_start())

    def wait_for_topics(self, _settings: Settings, _stop: Stop) -> None:
        self.waits_for_topics += 1

    def stop_spark(self) -> None:
        self.spark_stopped = True

    def run(self) -> int:
        return stream_job.run(Settings(), self.stop)


class FakeQuery:
    """A query that runs until it fails, or until it has requested the stop of the job."""

    recentProgress: tuple[()] = ()

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

    calls = 0

    def log_new_batches(self, _query: object) -> None:
        self.calls += 1


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
    assert harness.spark_stopped
    assert log() == [NOTHING_READ]


def test_a_signal_stops_the_job_although_spark_installs_its_own_handler(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    def handler_of_spark(*_: object) -> None:
        raise AssertionError("still in place")

    def session(_: Settings) -> SimpleNamespace:
        signal.signal(signal.SIGINT, handler_of_spark)
        return SimpleNamespace(stop=lambda: None)

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


def test_a_session_that_cannot_start_ends_the_job_with_one_line(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    def session(_: Settings) -> None:
        raise RuntimeError("no Java\nand more")

    monkeypatch.setattr(stream_job, "session", session)
    assert harness.run() == 1
    assert log() == ["cannot start a Spark session on local[*]: no Java"]


def test_the_last_batches_are_reported_and_the_query_stopped_when_the_job_stops() -> None:
    stop, reporter = Stop(), FakeReporter()
    query: Any = FakeQuery(stop)
    stream_job.watch(query, Settings(), stop, reporter)  # type: ignore[arg-type]
    assert (reporter.calls, query.stopped) == (1, True)


def test_the_last_batches_are_reported_when_the_query_fails() -> None:
    stop, reporter = Stop(), FakeReporter()
    query: Any = FakeQuery(stop, failure=KAFKA_IS_DOWN)
    with pytest.raises(StreamingQueryException):
        stream_job.watch(query, Settings(), stop, reporter)  # type: ignore[arg-type]
    assert reporter.calls == 1


def test_new_batches_are_reported_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, reporter = Stop(), FakeReporter()
    now, calls = 0, []

    def wait(seconds: int) -> bool:
        nonlocal now
        now += seconds
        calls.append(reporter.calls)
        if now == 25:
            stop.request()
        return False

    query: Any = SimpleNamespace(awaitTermination=wait, stop=lambda: None)
    monkeypatch.setattr(stream_job, "time", SimpleNamespace(monotonic=lambda: now))
    stream_job.watch(query, Settings(), stop, reporter)  # type: ignore[arg-type]
    assert calls == [0] * 10 + [1] * 10 + [2] * 5
    assert reporter.calls == 3


def test_the_health_file_is_touched_while_the_query_runs(tmp_path: Path) -> None:
    stop, health_file = Stop(), tmp_path / "healthy"
    query: Any = FakeQuery(stop)
    settings = Settings(health_file=health_file)
    stream_job.watch(query, settings, stop, FakeReporter())  # type: ignore[arg-type]
    assert health_file.exists()


def test_a_wrong_setting_ends_the_job_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[str]]
) -> None:
    monkeypatch.setenv("DEDUPLICATE_ORDERS", "maybe")
    monkeypatch.setattr(stream_job, "set_up_logging", lambda: None)  # it would remove pytest's
    assert stream_job.main() == 2
    assert log() == ["DEDUPLICATE_ORDERS must be true or false, not 'maybe'"]
