"""Records and rows that are skipped, and when there are too many of them."""

import pytest
from clickhouse_driver.errors import ServerException, TypeMismatchError

from builders import message, row
from fakes import P0, P1, P2, SERVER_ERRORS, TOPIC, VIOLATED_CONSTRAINT
from harness import Harness, lines
from message import MAX_CONSECUTIVE_INVALID, TooManyInvalid


def test_each_invalid_record_is_reported_and_its_neighbours_are_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.broker.send(message(0), b"x", message(1), to=P1)
    harness.broker.send(None, to=P2)
    harness.step(2)
    assert harness.clickhouse.blocks == [[row(0), row(1)]]
    assert harness.broker.committed == {P0: 0, P1: 3, P2: 1}
    assert lines(caplog) == [
        "skipped topic transactions_agg partition 1 offset 1:"
        " not JSON: Expecting value: line 1 column 1 (char 0)",
        "skipped topic transactions_agg partition 2 offset 0: no value (a tombstone)",
    ]


def test_too_many_invalid_records_in_a_row_stop_the_service_before_a_commit() -> None:
    harness = Harness()
    harness.broker.send(message(), *[b"x"] * MAX_CONSECUTIVE_INVALID)
    with pytest.raises(TooManyInvalid, match="refused 1000 records in a row: looks like a bug"):
        harness.step_for(10)
    assert (harness.clickhouse.attempts, harness.kafka.commits) == ([], [])


def test_a_valid_record_resets_the_count_of_invalid_ones() -> None:
    harness = Harness()
    almost = [b"x"] * (MAX_CONSECUTIVE_INVALID - 1)
    harness.broker.send(*almost, message(), *almost)
    harness.step_for(10)
    assert harness.clickhouse.blocks == [[row()]]
    assert harness.broker.committed[P0] == 2 * len(almost) + 1


@pytest.mark.parametrize(
    "refusal",
    [
        ServerException("DB::Exception: Constraint `c` is violated.", VIOLATED_CONSTRAINT),
        TypeMismatchError("Type mismatch in VALUES section."),
        AttributeError("'int' object has no attribute 'encode'"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("refused", [{0}, {6}, {2, 3}, {0, 3, 6}])
def test_a_refused_row_is_reported_and_its_neighbours_are_stored(
    caplog: pytest.LogCaptureFixture, refused: set[int], refusal: Exception
) -> None:
    harness = Harness()
    harness.clickhouse.refusal = refusal
    harness.clickhouse.refuses = lambda each: each in {row(minute) for minute in refused}
    harness.broker.send(*(message(minute) for minute in range(7)))
    harness.step(2)
    stored = [each for block in harness.clickhouse.blocks for each in block]
    assert stored == [row(minute) for minute in range(7) if minute not in refused]
    assert harness.broker.committed == {P0: 7, P1: 0, P2: 0}
    reason = " ".join(str(refusal).split())
    assert lines(caplog) == [
        f"skipped topic {TOPIC} partition 0 offset {offset}: refused by ClickHouse: {reason}"
        for offset in sorted(refused)
    ]


def test_a_refused_row_of_a_later_batch_is_reported_with_its_own_offset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness(max_batch_rows=3)
    harness.clickhouse.refuses = lambda each: each == row(4)
    harness.broker.send(*(message(minute) for minute in range(6)))
    harness.step(2)
    assert [line.split(":")[0] for line in lines(caplog)] == [
        "skipped topic transactions_agg partition 0 offset 4"
    ]


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=repr)
def test_a_server_error_during_the_search_for_a_refused_row_loses_no_row(
    error: Exception,
) -> None:
    harness = Harness()
    harness.clickhouse.refuses = lambda each: each == row(2)
    harness.clickhouse.errors = [None, None, error, None, error]
    harness.broker.send(*(message(minute) for minute in range(5)))
    harness.step_for(30)
    expected = [row(minute) for minute in range(5) if minute != 2]
    assert harness.clickhouse.table == {each.window_start: each for each in expected}
    assert harness.broker.committed == {P0: 5, P1: 0, P2: 0}


def test_too_many_refused_rows_in_a_row_stop_the_service_before_a_commit() -> None:
    harness = Harness(max_batch_rows=400)
    harness.clickhouse.refuses = lambda each: True
    harness.broker.send(*(message(minute) for minute in range(1200)))
    with pytest.raises(TooManyInvalid, match="refused 1000 records in a row: looks like a bug"):
        harness.step_for(10)
    assert harness.kafka.commits == []


def test_a_batch_refused_as_a_whole_is_retried_with_the_next_rows_until_one_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.clickhouse.refuses = lambda each: each != row(2)
    for value in (message(0), message(1), b"x"):
        harness.broker.send(value)
        harness.step_for(2)
    assert harness.kafka.commits == []
    assert lines(caplog)[:2] == [
        f"ClickHouse rejected all {rows} rows; retrying with the next batch:"
        " Code: 469. Constraint ..."
        for rows in (1, 2)
    ]
    harness.broker.send(message(2), message(3))
    harness.step(2)
    assert harness.kafka.commits == [{P0: 5, P1: 0, P2: 0}]
    skipped = [line for line in lines(caplog) if "refused by ClickHouse" in line]
    assert [line.split(":")[0] for line in skipped] == [
        f"skipped topic transactions_agg partition 0 offset {offset}" for offset in (0, 1, 4)
    ]


@pytest.mark.parametrize("max_batch_rows", [1, 100])
def test_a_table_that_refuses_everything_for_a_while_loses_no_row(max_batch_rows: int) -> None:
    harness = Harness(max_batch_rows=max_batch_rows)
    harness.clickhouse.refuses = lambda each: True
    for minute in range(3):
        harness.broker.send(message(minute))
        harness.step_for(2)
    attempts = len(harness.clickhouse.attempts)
    harness.step_for(20)
    assert len(harness.clickhouse.attempts) == attempts  # without new rows there is no retry
    harness.clickhouse.refuses = lambda each: False
    harness.broker.send(message(3))
    harness.step_for(2)
    assert set(harness.clickhouse.table.values()) == {row(minute) for minute in range(4)}
    assert harness.broker.committed == {P0: 4, P1: 0, P2: 0}


def test_a_stored_row_resets_the_count_of_refused_ones() -> None:
    harness = Harness()
    almost = MAX_CONSECUTIVE_INVALID - 1
    harness.clickhouse.refuses = lambda each: each != row(almost)
    harness.broker.send(*(message(minute) for minute in range(2 * almost + 1)))
    harness.step(2)
    assert harness.clickhouse.blocks == [[row(almost)]]
    assert harness.broker.committed[P0] == 2 * almost + 1
