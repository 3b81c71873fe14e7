"""How the service starts and stops."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import consumer
import reporting
import topic
from builders import message, row
from fakes import P0, P1, P2
from harness import Harness, lines
from lifecycle import Stop
from message import MAX_CONSECUTIVE_INVALID
from settings import Settings
from waiting import eventually

SERVICE = Path(consumer.__file__).parent
NOBODY_LISTENS = "1"  # a port


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Harness:
    """The fakes that main() and run() connect to."""
    harness = Harness()
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(topic, "connect_kafka", lambda settings: harness.kafka)
    monkeypatch.setattr(consumer, "connect_clickhouse", lambda settings: harness.clickhouse)
    return harness


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    """Puts back the signal handlers that a test replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stop_at_poll(harness: Harness, number: int, stop: Stop) -> None:
    """Request the stop when the consumer polls for the nth time."""
    poll = harness.kafka.poll

    def poll_and_stop(**arguments: Any) -> Any:
        if len(harness.kafka.polls) + 1 == number:
            stop.request()
        return poll(**arguments)

    harness.kafka.poll = poll_and_stop  # type: ignore


def test_a_stop_flushes_commits_closes_and_logs_the_totals(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.broker.send(message(0), b"x", message(1), to=P1)
    stop = Stop()
    stop_at_poll(harness, 1, stop)
    assert consumer.run(Settings(), stop) == 0
    assert harness.clickhouse.blocks == [[row(0), row(1)]]
    assert harness.kafka.commits == [{P0: 0, P1: 3, P2: 0}]
    assert (harness.kafka.is_closed, harness.clickhouse.is_closed) == (True, True)
    assert lines(caplog, logging.INFO)[-1] == (
        "stopped: stored 2 rows in 1 inserts, skipped 1 records"
    )


def test_the_totals_at_the_end_are_those_since_the_start(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporting, "WAIT_INTERVAL_SEC", 0)
    monkeypatch.setattr(reporting, "REPORT_INTERVAL_SEC", 0)
    harness.broker.send(*(message(minute) for minute in range(3)))
    stop = Stop()
    stop_at_poll(harness, 4, stop)
    assert consumer.run(Settings(max_batch_rows=1), stop) == 0
    reports = [line.partition(",")[0] for line in lines(caplog, logging.INFO)]
    assert reports == [
        *["stored 1 rows in 1 inserts"] * 3,
        "stopped: stored 3 rows in 3 inserts",
    ]


def test_the_settings_are_logged_once_without_the_password(
    harness: Harness,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    signal_handlers: None,
) -> None:
    monkeypatch.setattr(consumer, "set_up_logging", lambda: None)
    monkeypatch.setattr(Stop, "on_signals", Stop.request)
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "hush")
    monkeypatch.setenv("CLICKHOUSE_HOST", "server-7")
    assert consumer.main() == 0
    assert lines(caplog, logging.INFO)[0].startswith("starting with ")
    assert caplog.text.count("server-7") == 1
    assert "hush" not in caplog.text


def test_too_many_invalid_records_end_the_service_with_one_error_line_and_exit_code_1(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.broker.send(*[b"x"] * MAX_CONSECUTIVE_INVALID)
    assert consumer.run(Settings(), Stop()) == 1
    assert harness.kafka.is_closed
    assert harness.kafka.commits == []
    assert lines(caplog, logging.INFO)[-2:] == [
        "refused 1000 records in a row: looks like a bug or a foreign producer, not bad data",
        "stopped: stored 0 rows in 0 inserts, skipped 1000 records",
    ]
    assert lines(caplog, logging.ERROR) == lines(caplog, logging.INFO)[-2:-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_requests_a_stop_and_the_second_ends_the_process(
    number: int, signal_handlers: None
) -> None:
    stop = Stop()
    stop.on_signals()
    assert not stop.requested
    signal.raise_signal(number)
    assert stop.requested
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == signal.SIG_DFL


def test_the_service_starts_from_a_copy_of_its_own_folder_waits_and_stops(tmp_path: Path) -> None:
    for file in SERVICE.glob("*.py"):
        shutil.copy(file, tmp_path)
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{NOBODY_LISTENS}",
        "CLICKHOUSE_PORT": NOBODY_LISTENS,
    }
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "consumer.py"], cwd=tmp_path, env=environment, stderr=stderr
        )
    try:
        eventually(
            lambda: "waiting for Kafka" in log.read_text() or process.poll() is not None,
            "the service logs that it waits for Kafka, or ends",
            deadline_sec=60,
        )
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
    first, *others, last = [line.split(" ", 2)[2] for line in log.read_text().splitlines()]
    assert first.startswith("starting with kafka_bootstrap_servers='localhost:1'")
    assert "waiting for Kafka at localhost:1 to assign partitions of transactions_agg" in others
    assert all("waiting for" in line or "did not acknowledge" in line for line in others)
    assert "ClickHouse at 127.0.0.1:1 did not acknowledge 0 rows, next try in 0.5 s:" in others[0]
    assert last == "stopped: stored 0 rows in 0 inserts, skipped 0 records"
