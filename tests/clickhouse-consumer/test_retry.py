"""What the consumer does while ClickHouse or Kafka is away."""

import logging

import pytest
from clickhouse_driver.errors import ServerException

from builders import message, row
from fakes import P0, P1, P2, SERVER_ERRORS, UNKNOWN_TABLE, away
from harness import Harness, lines


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=repr)
def test_the_same_rows_are_inserted_again_until_they_are_stored(error: Exception) -> None:
    harness = Harness()
    harness.broker.send(message(0), message(1))
    harness.clickhouse.errors = [error] * 5
    harness.step_for(60)
    assert harness.clickhouse.attempts == [[row(0), row(1)]] * 6
    assert harness.clickhouse.blocks == [[row(0), row(1)]]
    assert harness.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_an_insert_that_acknowledges_fewer_rows_is_repeated() -> None:
    harness = Harness()
    harness.broker.send(message())
    answers = iter([None, 0, 1])
    harness.clickhouse.execute = lambda statement, rows: next(answers)  # type: ignore
    harness.step_for(60)
    assert next(answers, "all used") == "all used"
    assert harness.broker.committed == {P0: 1, P1: 0, P2: 0}


@pytest.mark.parametrize(("max_batch_rows", "first_attempt"), [(10, 0.1), (1, 0.0)])
def test_the_wait_between_attempts_doubles_up_to_10_seconds_and_each_attempt_is_one_line(
    caplog: pytest.LogCaptureFixture, max_batch_rows: int, first_attempt: float
) -> None:
    harness = Harness(max_batch_rows=max_batch_rows)
    harness.broker.send(message())
    harness.clickhouse.error = ServerException(
        "DB::Exception: Table default.t does not exist. Stack trace:\n\n0. main", UNKNOWN_TABLE
    )
    harness.step_for(50)
    waits = [0, 0.5, 1.5, 3.5, 7.5, 15.5, 25.5, 35.5, 45.5]
    assert harness.clickhouse.attempt_times == pytest.approx(
        [first_attempt + wait for wait in waits]
    )
    assert len(lines(caplog)) == len(waits)
    assert lines(caplog)[-1] == (
        "ClickHouse at 127.0.0.1:9000 did not acknowledge 1 rows, next try in 10.0 s:"
        " ServerException Code: 60. DB::Exception: Table default.t does not exist."
    )
    assert not any(record.exc_info for record in caplog.records)


def test_the_wait_is_short_again_after_a_success() -> None:
    harness = Harness()
    harness.clickhouse.errors = [away()] * 6
    harness.broker.send(message(0))
    harness.step_for(60)
    harness.clickhouse.errors = [away()]
    harness.broker.send(message(1))
    begin = harness.clock.now
    harness.step_for(1.5)
    assert harness.clickhouse.table == {row(m).window_start: row(m) for m in range(2)}
    assert harness.clock.now - begin < 2.5


def test_the_batch_survives_an_outage_of_an_hour() -> None:
    harness = Harness()
    harness.broker.send(message())
    harness.clickhouse.error = away()
    harness.step_for(3600)
    harness.clickhouse.error = None
    harness.step_for(10)
    assert harness.clickhouse.blocks == [[row()]]


def test_during_an_outage_partitions_are_paused_and_polling_goes_on() -> None:
    harness = Harness()
    harness.broker.send(message(0))
    harness.clickhouse.error = away()
    harness.step(2)
    harness.broker.send(message(1))
    polls_before = len(harness.kafka.polls)
    harness.step_for(300)
    assert harness.kafka.paused_partitions == {P0, P1, P2}
    assert len(harness.kafka.polls) - polls_before >= 300
    assert harness.clickhouse.attempts[-1] == [row(0)]


def test_a_partition_assigned_during_an_outage_is_paused_and_its_first_records_are_kept() -> None:
    harness = Harness(max_batch_rows=1)
    harness.kafka.assign({P0})
    harness.broker.send(message(0), to=P0)
    harness.clickhouse.error = away()
    harness.step(2)
    harness.broker.send(message(1), message(2), to=P1)
    harness.kafka.assign({P0, P1})
    harness.step_for(30)
    assert harness.kafka.paused_partitions == {P0, P1}
    harness.clickhouse.error = None
    harness.step_for(30)
    assert harness.clickhouse.blocks == [[row(0), row(1)], [row(2)]]
    assert harness.broker.committed == {P0: 1, P1: 2}


def test_partitions_are_resumed_when_clickhouse_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = Harness()
    harness.broker.send(message(0))
    harness.clickhouse.errors = [away()]
    harness.step(2)
    harness.broker.send(message(1), to=P1)
    harness.step_for(2)
    assert harness.kafka.paused_partitions == set()
    assert harness.clickhouse.blocks == [[row(0)], [row(1)]]
    assert "ClickHouse is back" in lines(caplog, logging.INFO)


def test_the_consumer_waits_while_kafka_is_away(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.kafka.is_away = True
    harness.step_for(21)
    assert (
        lines(caplog)
        == ["waiting for Kafka at localhost:9092 to assign partitions of transactions_agg"] * 4
    )
    harness.kafka.is_away = False
    harness.broker.send(message())
    harness.step(2)
    assert harness.clickhouse.blocks == [[row()]]


def test_a_consumer_without_partitions_logs_what_it_waits_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.kafka.assign(set())
    harness.step_for(6)
    assert lines(caplog) == [
        "waiting for Kafka at localhost:9092 to assign partitions of transactions_agg"
    ]
