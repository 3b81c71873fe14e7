"""An error that nobody expected: one line in the log per process, a wait, exit code 1."""

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


def test_it_is_one_line_of_each_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "unexpected error, stopping: RuntimeError: no idea (at producer.py:N)"
    log = log_of(monkeypatch, capfd, "--processes", "2")
    assert {f"ERROR 1/2: {line}", f"ERROR 2/2: {line}"} & set(log)
    assert all(each.endswith(line) for each in log[:-1])
    assert log[-1].startswith("INFO stopped: 2 processes, exit codes ")
