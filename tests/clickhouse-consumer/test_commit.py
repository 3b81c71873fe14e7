"""Which offsets are committed, and when."""

import pytest
from kafka.errors import CommitFailedError

from builders import NOON, message, row
from fakes import P0, P1, P2, away
from harness import Harness, lines


def test_the_offset_after_the_last_record_of_each_partition_is_committed() -> None:
    harness = Harness()
    harness.broker.send(message(0), message(1), to=P0)
    harness.broker.send(message(2), to=P2)
    harness.step(2)
    assert harness.kafka.commits == [{P0: 2, P1: 0, P2: 1}]


def test_nothing_is_committed_before_the_rows_are_stored() -> None:
    harness = Harness()
    harness.broker.send(message())
    harness.step()
    assert (harness.clickhouse.attempts, harness.kafka.commits) == ([], [])
    harness.clickhouse.error = away()
    harness.step_for(120)
    assert harness.clickhouse.attempts != []
    assert harness.kafka.commits == []


def test_a_batch_of_invalid_records_only_is_committed() -> None:
    harness = Harness()
    harness.broker.send(b"x", None)
    harness.step(2)
    assert harness.clickhouse.attempts == []
    assert harness.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_a_rejected_commit_is_one_warning_and_is_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness()
    harness.kafka.errors = [CommitFailedError("rebalanced")]
    harness.broker.send(message(0))
    harness.step_for(4)
    assert lines(caplog) == [
        "offsets not committed, records may be read again: CommitFailedError: rebalanced"
    ]
    assert harness.broker.committed == {}
    harness.step_for(2)
    assert harness.broker.committed == {P0: 1, P1: 0, P2: 0}
    assert harness.clickhouse.blocks == [[row(0)]]


def test_a_rejected_commit_does_not_hold_up_the_next_rows() -> None:
    harness = Harness()
    harness.kafka.errors = [CommitFailedError()]
    harness.broker.send(message(0))
    harness.step(2)
    harness.broker.send(message(1))
    harness.step(2)
    assert harness.clock.now == 2 * harness.settings.flush_interval_sec
    assert harness.clickhouse.blocks == [[row(0)], [row(1)]]
    assert harness.broker.committed == {P0: 2, P1: 0, P2: 0}


def test_a_partition_that_moved_away_is_stored_but_no_longer_committed() -> None:
    harness = Harness()
    harness.broker.send(message(0), to=P0)
    harness.broker.send(message(1), to=P1)
    harness.step()
    harness.kafka.assign({P1})
    harness.step()
    assert harness.clickhouse.table == {NOON: row(0), row(1).window_start: row(1)}
    assert harness.broker.committed == {P1: 1}
