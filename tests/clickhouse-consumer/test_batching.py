"""When a batch is stored, and what a stop does with it."""

import pytest

from builders import message, row
from fakes import P0, P1, P2, away
from harness import Harness, lines


def test_a_batch_is_stored_when_its_first_row_has_waited_long_enough() -> None:
    harness = Harness(flush_interval_sec=2)
    harness.clock.now = 100
    harness.broker.send(message(0))
    harness.step()
    harness.clock.now = 101.5
    harness.broker.send(message(1))
    harness.step()
    assert harness.clickhouse.blocks == []
    harness.step()  # there are no more records: poll waits for the rest of the two seconds
    assert harness.clock.now == 102
    assert harness.clickhouse.blocks == [[row(0), row(1)]]


def test_a_batch_is_stored_at_once_when_it_is_full() -> None:
    harness = Harness(max_batch_rows=3)
    harness.broker.send(*(message(minute) for minute in range(7)))
    harness.step(3)
    assert harness.clickhouse.blocks == [[row(0), row(1), row(2)], [row(3), row(4), row(5)]]
    assert harness.clock.now == 0


def test_a_full_batch_may_come_from_several_polls() -> None:
    harness = Harness(max_batch_rows=3)
    for minute in range(3):
        harness.broker.send(message(minute))
        harness.step()
    assert harness.clickhouse.blocks == [[row(0), row(1), row(2)]]
    assert [poll["max_records"] for poll in harness.kafka.polls] == [3, 2, 1]


def test_one_batch_is_one_insert_of_named_columns_in_the_order_of_the_row() -> None:
    harness = Harness(clickhouse_database="db", clickhouse_table="t")
    harness.broker.send(message(0), message(1))
    harness.step(2)
    assert harness.clickhouse.blocks == [[row(0), row(1)]]
    assert harness.clickhouse.statements == {
        "INSERT INTO `db`.`t` (window_start, window_end, total_sales, total_orders,"
        " average_order_value, top_product) VALUES"
    }


def test_without_records_nothing_is_inserted_or_committed() -> None:
    harness = Harness()
    harness.step_for(60)
    assert (harness.clickhouse.attempts, harness.kafka.commits) == ([], [])
    assert len(harness.kafka.polls) <= 62  # no busy loop


def test_a_stop_flushes_the_batch_then_commits() -> None:
    harness = Harness()
    harness.broker.send(message(), b"x")
    harness.step()
    harness.loader.finish()
    assert harness.clickhouse.blocks == [[row()]]
    assert harness.kafka.commits == [{P0: 2, P1: 0, P2: 0}]


def test_a_stop_with_an_empty_batch_does_nothing() -> None:
    harness = Harness()
    harness.loader.finish()
    assert (harness.clickhouse.attempts, harness.kafka.commits) == ([], [])


def test_a_stop_while_clickhouse_is_away_ends_at_once_and_commits_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.broker.send(message())
    harness.clickhouse.error = away()
    harness.step(2)
    attempts = len(harness.clickhouse.attempts)
    harness.loader.finish()
    assert len(harness.clickhouse.attempts) == attempts
    assert harness.kafka.commits == []
    assert lines(caplog)[-1] == "1 rows are not stored; they will be read again"


def test_a_stop_after_clickhouse_refused_every_row_commits_nothing_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.clickhouse.refuses = lambda row: True
    harness.broker.send(message())
    harness.step_for(2)
    harness.loader.finish()
    assert harness.kafka.commits == []
    assert lines(caplog)[-1] == "1 rows are not stored; they will be read again"


def test_a_stop_that_finds_clickhouse_away_tries_once_and_commits_nothing() -> None:
    harness = Harness()
    harness.broker.send(message())
    harness.step()
    harness.clickhouse.error = away()
    harness.loader.finish()
    assert harness.clickhouse.attempts == [[row()]]
    assert harness.kafka.commits == []
