"""Whatever ends verify is one line, never a traceback."""

import io
import sys
from decimal import Decimal

import pytest
from kafka.errors import CorruptRecordError, KafkaConnectionError, KafkaTimeoutError

import verify
from fakes import FakeRaw, FakeTable
from orders import MINUTE, NOON, order
from windows import Row


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RuntimeError("\nthe first line\nanother one"),
            "unexpected error: RuntimeError: the first line",
        ),
        (KafkaConnectionError("no"), "unexpected error: KafkaConnectionError: no"),
        (ValueError(), "unexpected error: ValueError"),
        (
            KafkaTimeoutError("no record arrives for 60 s"),
            "Kafka does not answer: no record arrives for 60 s",
        ),
        (
            CorruptRecordError("Record batch at offset 7 failed crc check"),
            "Kafka has a damaged batch of records, which nobody can read: cut it out"
            " (docs/troubleshooting.md): Record batch at offset 7 failed crc check",
        ),
    ],
)
def test_any_error_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    line: str,
) -> None:
    def raise_error(*_: object) -> None:
        raise error

    monkeypatch.setattr(verify, "RawTopic", raise_error)
    assert verify.main([]) == 1
    assert capsys.readouterr() == ("", f"{line}\n")


def test_a_terminal_that_is_not_utf_8_shows_the_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = Row(NOON, NOON + MINUTE, Decimal("5.00"), 1, Decimal("5.00"), "P-ä")
    monkeypatch.setattr(verify, "RawTopic", lambda *_: FakeRaw([order("a", "P-密", "5", 0)]))
    monkeypatch.setattr(verify, "connect_clickhouse", lambda _: FakeTable([row]))
    terminal = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(terminal, "ascii", write_through=True))

    assert verify.main(["--timeout", "0"]) == 1
    first, last = terminal.getvalue().decode().splitlines()
    assert r"P-\u5bc6" in first
    assert r"P-\xe4" in first
    assert last.startswith("NOT equal: 1 differences in ")
