"""An error that nobody expected: one line in the log, a wait, exit code 1."""

import json
import re
import time
from threading import Timer
from typing import Any

import pytest
from kafka.errors import CorruptRecordError, KafkaTimeoutError, UnsupportedCodecError

import consumer
import lifecycle
import topic
from harness import Harness, lines
from lifecycle import Stop, guarded
from settings import Settings

NEVER = 600


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    """The fakes that main() connects to."""
    harness = Harness()
    monkeypatch.setattr(consumer, "set_up_logging", lambda: None)
    monkeypatch.setattr(consumer, "load", Settings)
    monkeypatch.setattr(topic, "connect_kafka", lambda _: harness.kafka)
    monkeypatch.setattr(consumer, "connect_clickhouse", lambda _: harness.clickhouse)
    monkeypatch.setattr(Stop, "on_signals", lambda _: None)
    monkeypatch.setattr(lifecycle, "RESTART_DELAY_SEC", 0)
    return harness


def raising(error: Exception) -> Any:
    def raise_error(*_: object, **__: object) -> None:
        raise error

    return raise_error


def test_what_kafka_raises_is_one_line_with_the_place_in_the_service(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    error = UnsupportedCodecError("Libraries for zstd compression codec not found")
    harness.kafka.poll = raising(error)  # type: ignore[method-assign]
    assert consumer.main() == 1
    (line,) = lines(caplog)
    assert re.fullmatch(
        r"unexpected error, stopping: UnsupportedCodecError: Libraries for zstd compression codec"
        r" not found \(at topic\.py:\d+\)",
        line,
    )
    assert harness.kafka.is_closed


def test_a_damaged_batch_of_records_is_one_line_with_the_remedy(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consumer, "RESTART_DELAY_SEC", 0)
    error = CorruptRecordError("Record batch at offset 7 failed crc check")
    harness.kafka.poll = raising(error)  # type: ignore[method-assign]
    assert consumer.main() == 1
    assert lines(caplog) == [
        "Kafka has a damaged batch of records, which nobody can read: cut it out"
        " (docs/troubleshooting.md): Record batch at offset 7 failed crc check"
    ]
    assert harness.kafka.is_closed


def test_an_error_before_anything_has_started_is_one_line_too(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topic, "connect_kafka", raising(OSError(24, "Too many open files")))
    assert consumer.main() == 1
    (line,) = lines(caplog)
    assert line.startswith("unexpected error, stopping: OSError: [Errno 24] Too many open files (")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("\n first line\nsecond line"), "RuntimeError: first line"),
        (KafkaTimeoutError("no answer"), "KafkaTimeoutError: no answer"),
        (ValueError(), "ValueError"),
    ],
)
def test_of_an_error_the_type_and_the_first_line_are_shown(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    text: str,
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_DELAY_SEC", 0)
    assert guarded(raising(error), Stop()) == 1
    (line,) = lines(caplog)
    assert line.partition(" (at ")[0] == f"unexpected error, stopping: {text}"


def test_the_exit_waits_so_that_restarts_do_not_follow_each_other_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_DELAY_SEC", 0.5)
    start = time.monotonic()
    guarded(raising(RuntimeError()), Stop())
    assert time.monotonic() - start >= 0.5


def test_a_stop_ends_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "RESTART_DELAY_SEC", NEVER)
    stop = Stop()
    timer = Timer(0.2, stop.request)
    timer.start()
    start = time.monotonic()
    assert guarded(lambda: json.loads("not JSON"), stop) == 1
    assert time.monotonic() - start < NEVER / 10
    timer.join()


def test_without_an_error_the_exit_code_is_that_of_the_service() -> None:
    assert guarded(lambda: 7, Stop()) == 7
