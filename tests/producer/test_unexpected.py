"""An error that nobody expected: one line in the log, a wait, exit code 1."""

import re
import sys
from typing import Any

import pytest

import lifecycle
import producer
from fakes import FakeKafka


@pytest.fixture(autouse=True)
def failing(kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_error(*_: Any) -> None:
        raise RuntimeError("no idea\nwhat to do")

    monkeypatch.setattr(producer, "produce", raise_error)
    monkeypatch.setattr(lifecycle, "RESTART_DELAY_SEC", 0)


def log_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *flags: str
) -> list[str]:
    """What the producer logs, its first line and the times left out."""
    monkeypatch.setattr(sys, "argv", ["producer.py", *flags])
    assert producer.main() == 1
    lines = [line.split(" ", maxsplit=1)[1] for line in capfd.readouterr().err.splitlines()]
    return [re.sub(r":\d+\)$", ":N)", line) for line in lines if " starting with " not in line]


def test_it_is_one_line_with_the_place(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert log_of(monkeypatch, capfd) == [
        "ERROR unexpected error, stopping: RuntimeError: no idea (at producer.py:N)"
    ]


def test_it_is_one_line_of_the_process_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "unexpected error, stopping: RuntimeError: no idea (at producer.py:N)"
    *log, last = log_of(monkeypatch, capfd, "--processes", "2")
    errors = {each for each in log if not each.startswith("INFO ")}
    assert errors  # of both, unless the first one stops the second before it has one
    assert errors <= {f"ERROR 1/2: {line}", f"ERROR 2/2: {line}"}
    assert last.startswith("INFO stopped: 2 processes, exit codes ")
