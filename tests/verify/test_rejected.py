"""What is shown of the records that do not count."""

import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rejected
from entry_point import exit_code
from fakes import FakeRaw
from kafka_access import load
from orders import NOON, WATERMARK, order
from raw_topic import EPOCH, Record
from records import CORPUS
from rejected import SHOWN_CHARACTERS, newest_rejected, one_line, parse_moment, summary
from rules import REASONS

VERIFY = Path(rejected.__file__).parent
MALFORMED = b"{"
AMOUNT = order("o", "P1", "-1", 0)
LATE = order("o", "P1", "1", -3600)
VALID = order("o", "P1", "1", 0)


def record(value: bytes | None, second: int, partition: int = 0, offset: int = 0) -> Record:
    return Record(value, NOON + timedelta(seconds=second), partition, offset)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (VALID, VALID.decode()),
        (b'{"a": "\\n\\\\"}', r'{"a": "\n\\"}'),  # can be copied and sent again
        ('{"a": "ä 密 😀"}'.encode(), '{"a": "ä 密 😀"}'),
        (b'{\r\n\t"a": 1}\n', r'{\r\n\t"a": 1}\n'),
        (b"\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b1m\x85\u2028\u202e\u200b\ufeff".encode(), r"\x9b1m\x85\u2028\u202e\u200b\ufeff"),
        (b"\xff\x00\xe2\x82", r"\xff\x00\xe2\x82"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (None, "(tombstone)"),
        (b"", ""),
        (b"x" * SHOWN_CHARACTERS, "x" * SHOWN_CHARACTERS),
        ("密".encode() * 350_000, "密" * SHOWN_CHARACTERS + "... (1050000 bytes)"),
        (b"\n" * 1_000_000, r"\n" * SHOWN_CHARACTERS + "... (1000000 bytes)"),
    ],
)
def test_a_text_is_one_line_that_is_safe_for_a_terminal(value: bytes | None, text: str) -> None:
    assert one_line(value) == text


def test_each_text_of_the_corpus_is_one_safe_line() -> None:
    unsafe = [value for value in CORPUS if not one_line(value).isprintable()]
    assert unsafe == []


def test_the_newest_are_shown_oldest_first_and_all_are_counted() -> None:
    records = [
        record(MALFORMED, second=3, partition=0, offset=7),
        record(VALID, second=9, partition=0, offset=8),
        record(AMOUNT, second=1, partition=1, offset=4),
        record(LATE, second=2, partition=1, offset=5),
        record(AMOUNT, second=3, partition=2, offset=6),
    ]
    verdicts = Counter(malformed=1, valid=1, amount=2, late=1)

    def shown(reason: str | None, most: int) -> list[tuple[str, int, int]]:
        lines, counted = newest_rejected(records, WATERMARK, reason, most)
        assert counted == verdicts
        return [(line.reason, line.partition, line.offset) for line in lines]

    every = [("amount", 1, 4), ("late", 1, 5), ("malformed", 0, 7), ("amount", 2, 6)]
    assert shown(None, 10) == every
    assert shown(None, 2) == every[2:]
    assert shown(None, 0) == []
    assert shown("amount", 10) == [every[0], every[3]]
    assert shown("amount", 1) == [every[3]]
    assert shown("late", 10) == [every[1]]
    assert shown("time", 10) == []


def test_the_watermark_decides_what_is_late() -> None:
    lines, verdicts = newest_rejected([record(LATE, 0)], timedelta(hours=1), None, 10)
    assert (lines, verdicts) == ([], Counter(valid=1))


def test_the_summary_names_the_reasons_that_there_are() -> None:
    verdicts = Counter(time=1, amount=2, late=3, valid=4)
    assert (
        summary(verdicts, 6)
        == "10 records: 4 valid, 3 rejected (amount 2, time 1), 3 late; 6 shown"
    )
    assert summary(Counter(), 0) == "0 records: 0 valid, 0 rejected, 0 late; 0 shown"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10 minutes", NOON - timedelta(minutes=10)),
        ("0 seconds", NOON),
        ("999999 days", EPOCH),
        ("2026-11-01T12:30:00Z", NOON + timedelta(minutes=30)),
        ("2026-11-01T12:30:00.250+02:00", NOON - timedelta(minutes=90) + timedelta(seconds=0.25)),
        ("2026-11-01 12:30", NOON + timedelta(minutes=30)),
        ("2026-11-01", NOON - timedelta(hours=12)),
        ("0001-01-01T00:00:00+18:00", EPOCH),
        ("9999-12-31T23:59:59-18:00", datetime.fromisoformat("9999-12-31T23:59:59-18:00")),
    ],
)
def test_since_is_a_time_or_a_duration(text: str, moment: datetime) -> None:
    assert parse_moment(text, now=NOON) == moment


def test_lines_go_to_stdout_and_the_summary_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = FakeRaw([MALFORMED, VALID, b"\n", None])
    monkeypatch.setattr(rejected, "RawTopic", lambda *_: raw)
    monkeypatch.setenv("MAX", "2")
    monkeypatch.setenv("SINCE", "2026-11-01T11:00:00Z")
    monkeypatch.setenv("REASON", "")  # empty variables count as not set
    assert exit_code(rejected.run) == 0
    assert capsys.readouterr() == (
        "malformed    partition 0 offset 2 2026-11-01T12:01:30.000Z \\n\n"
        "malformed    partition 0 offset 3 2026-11-01T12:01:30.000Z (tombstone)\n",
        "4 records: 1 valid, 3 rejected (malformed 3), 0 late; 2 shown\n",
    )
    assert raw.complete_since == datetime(2026, 11, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize("reason", [*REASONS, "late"])
def test_each_reason_can_be_chosen(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setenv("REASON", reason)
    assert load(rejected.Options).reason == reason


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("REASON", "amounts", "malformed, identity, amount, payment_type, time or late"),
        ("REASON", "late\n", "malformed, identity, amount, payment_type, time or late"),
        ("MAX", "-1", "a number from 0 on"),
        ("MAX", "1 2", "a number from 0 on"),
        (
            "SINCE",
            "yesterday",
            "a duration such as '10 minutes' or a time such as '2026-11-01T12:30:00Z'",
        ),
    ],
)
def test_a_wrong_choice_is_one_line_that_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    allowed: str,
) -> None:
    monkeypatch.setenv(name, text)
    assert exit_code(rejected.run) == 2
    assert capsys.readouterr() == ("", f"{name} must be {allowed}, not {text!r}\n")


def test_it_ends_quietly_when_its_reader_has_seen_enough() -> None:
    more_than_a_pipe_takes = "import rejected; rejected.print_lines(['x' * 100] * 10_000)"
    process = subprocess.Popen(
        [sys.executable, "-c", more_than_a_pipe_takes],
        env={**os.environ, "PYTHONPATH": str(VERIFY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
