"""Reports, the health file and the watchdog."""

import logging
from pathlib import Path

import pytest
from clickhouse_driver.errors import ServerException

from builders import message, row
from fakes import P0, P1, UNKNOWN_TABLE, away
from harness import Harness, lines
from reporting import Stuck


def test_every_10_seconds_one_line_sums_up_what_is_done_since_the_last_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    harness = Harness(max_batch_rows=2)
    harness.broker.send(message(0), message(1), message(2), b"x", to=P0)
    harness.step_for(30)
    harness.broker.send(message(3, orders=2), to=P1)
    harness.step_for(10)
    assert [line for line in lines(caplog, logging.INFO) if "skipped topic" not in line] == [
        f"stored 3 rows in 2 inserts, skipped 1 records, lag 0, last window {row(2).window_start}",
        f"stored 1 rows in 1 inserts, skipped 0 records, lag 0, last window {row(3).window_start}",
    ]


def test_the_lag_is_the_number_of_records_not_polled_yet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    harness = Harness(max_batch_rows=2)
    harness.broker.send(*(message(minute) for minute in range(10)), to=P0)
    harness.broker.send(message(10), to=P1)
    harness.clock.now = 60
    harness.step()
    assert lines(caplog, logging.INFO) == [
        f"stored 2 rows in 1 inserts, skipped 0 records, lag 9, last window {row(1).window_start}"
    ]


def test_the_watchdog_ends_a_consumer_that_polls_nothing_although_there_are_records() -> None:
    harness = Harness()
    harness.broker.send(message(0))
    harness.step_for(30)
    harness.kafka.paused_partitions.add(P0)  # like a fetcher that lost its partition
    harness.broker.send(message(1))
    with pytest.raises(Stuck, match="^lag 1, but no record polled in 3 reports: exiting"):
        harness.step_for(60)
    assert 50 <= harness.clock.now < 70


def test_the_watchdog_accepts_slow_progress_and_outages() -> None:
    harness = Harness(max_batch_rows=1)
    harness.broker.send(*(message(minute) for minute in range(12)))
    for _ in range(4):
        harness.step()
        harness.clock.now += 10  # as if each insert took that long
    harness.clickhouse.error = away()
    harness.step_for(120)
    harness.clickhouse.error = None
    harness.step_for(1)
    harness.kafka.is_away = True
    harness.step_for(120)
    harness.kafka.is_away = False
    for _ in range(4):  # from time to time polls find nothing although there are records
        harness.kafka.paused_partitions.add(P0)
        harness.step_for(20)
        harness.kafka.paused_partitions.clear()
        harness.step()
        harness.clock.now += 10
    harness.step_for(60)
    assert len(harness.clickhouse.table) == 12


def test_the_health_file_is_touched_at_most_once_a_second(tmp_path: Path) -> None:
    health_file = tmp_path / "health"
    harness = Harness(health_file=health_file)
    harness.step()
    health_file.unlink()
    harness.clock.now += 0.9
    harness.broker.send(message())
    harness.step()
    assert not health_file.exists()
    harness.step()
    assert health_file.exists()


@pytest.mark.parametrize("values", [[], [message()]], ids=["idle", "with records"])
def test_the_health_file_is_not_touched_while_clickhouse_is_away(
    tmp_path: Path, values: list[bytes]
) -> None:
    health_file = tmp_path / "health"
    harness = Harness(health_file=health_file)
    harness.step_for(3)
    harness.broker.send(*values)
    harness.clickhouse.error = away()
    harness.step_for(10)
    health_file.unlink()
    harness.step_for(60)
    assert not health_file.exists()
    harness.clickhouse.error = None
    harness.step_for(11)
    assert health_file.exists()


def test_a_consumer_whose_table_takes_no_rows_says_so_at_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness(health_file=tmp_path / "health")
    harness.clickhouse.error = ServerException("Unknown table", UNKNOWN_TABLE)
    harness.step()
    (line,) = lines(caplog)
    assert "ServerException Code: 60. Unknown table" in line
    assert not (tmp_path / "health").exists()


@pytest.mark.parametrize("member", [{"stable": lambda: False}, {"coordinator_id": None}])
def test_a_consumer_outside_its_group_is_not_healthy(
    tmp_path: Path, member: dict[str, object]
) -> None:
    harness = Harness(health_file=tmp_path / "health")
    vars(harness.kafka._coordinator).update(member)
    harness.step_for(60)
    assert not (tmp_path / "health").exists()


def test_a_consumer_without_partitions_is_healthy(tmp_path: Path) -> None:
    harness = Harness(health_file=tmp_path / "health")
    harness.kafka.assign([])
    harness.step()
    assert (tmp_path / "health").exists()


def test_an_idle_consumer_asks_clickhouse_every_5_seconds() -> None:
    harness = Harness()
    harness.step_for(57)
    assert harness.clickhouse.check_times == pytest.approx(range(0, 60, 5))
