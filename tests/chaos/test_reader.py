"""What the reader of a chaos run takes for a contradiction."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from freshness import Freshness
from reader import Reader, answer_times
from stack import Stack
from windows import Expected, Row

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def row(minute: int, orders: int) -> Row:
    start = NOON + timedelta(minutes=minute)
    return Row(start, start + timedelta(minutes=1), Decimal(orders), orders, Decimal(1), "P0001")


@pytest.fixture
def reader() -> Reader:
    return Reader(Stack(), Freshness(Expected(timedelta(minutes=10))))


def test_growing_windows_do_not_contradict_earlier_answers(reader: Reader) -> None:
    reader.check([row(0, 1)])
    reader.check([row(0, 2), row(1, 1)])
    reader.check([row(0, 2), row(1, 5)])
    assert reader.contradictions == []


def test_a_count_that_falls_is_a_contradiction(reader: Reader) -> None:
    reader.check([row(0, 3)])
    reader.check([row(0, 2)])
    assert reader.contradictions == ["2026-11-01T12:00Z fell from 3 to 2"]


def test_a_window_that_appears_twice_is_a_contradiction(reader: Reader) -> None:
    reader.check([row(0, 2), row(0, 2)])
    assert reader.contradictions == ["2026-11-01T12:00Z appears 2 times"]


def test_a_window_that_vanishes_is_a_contradiction(reader: Reader) -> None:
    reader.check([row(0, 1), row(1, 1)])
    reader.check([row(1, 1)])
    assert reader.contradictions == ["2026-11-01T12:00Z vanished"]


def test_answers_are_noted_and_those_that_count_more_orders(reader: Reader) -> None:
    answers = [[row(0, 1)], [row(0, 1)], [row(0, 2)]]
    reader.client = SimpleNamespace(execute=lambda _: answers.pop(0))
    while answers:
        reader.poll()
    assert (len(reader.answered_at), len(reader.stored_at)) == (3, 2)


def test_slow_answers_are_counted() -> None:
    assert answer_times([0.1, 0.2, 1.5]) == {
        "answers": 3,
        "p99_sec": 2.748,
        "worst_sec": 1.5,
        "slower_than_1_sec": 1,
    }
