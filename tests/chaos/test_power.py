"""Power cuts: which ones there are, what they leave, and a short run with some of them."""

import signal
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

import chaos
from clickhouse_server import ClickHouse
from faults import Fault
from polling import eventually_equal
from scenarios.power import DISKS_OF, PowerRun, schedule
from stack import Stack

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PARTS = 120  # more than the 100 after which ClickHouse by itself refuses to start


def test_the_same_seed_gives_the_same_cuts() -> None:
    first, again, other = (list(islice(schedule(seed), 10)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_five_cuts_hit_each_disk_alone_and_all_at_once() -> None:
    cuts = list(islice(schedule(7), len(DISKS_OF)))
    assert {component for cut in cuts for component in cut.components} == set(DISKS_OF)


@pytest.mark.services
@pytest.mark.skipif(bool(PowerRun.missing()), reason=PowerRun.missing())
def test_a_run_with_power_cuts_is_equal(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    settings = chaos.Settings(scenario="power", seed=0, faults=2)
    assert chaos.run(stack, settings) == 0


@pytest.mark.services
@pytest.mark.skipif(bool(PowerRun.missing()), reason=PowerRun.missing())
def test_rows_that_clickhouse_has_lost_come_from_transactions_agg_again(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    with PowerRun.surroundings(stack, seed=0) as environment:
        stack.up(environment, deadline_sec=chaos.READY_SEC)
        try:
            run = PowerRun(stack, seed=0, rate=0, deduplicate=False)
            run.pipeline.produce(2000, INVALID_SHARE=0, LATE_SHARE=0)
            eventually_equal(run.pipeline.stored_orders, 2000, "stored orders")
            run.injector.inflict(Fault("cut", ("clickhouse",)))
            stack.wait_until_healthy(say=lambda _: None, services=["clickhouse-server"])
            assert "missing" in run.pipeline.differences()
            run.let_consumer_read_again()
            run.pipeline.verify()
        finally:
            stack.down()


@pytest.mark.services
def test_clickhouse_starts_with_many_parts_that_a_power_cut_emptied(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path / "stack")
    stack.directory.mkdir()
    clickhouse = ClickHouse(stack)
    clickhouse.start()
    try:
        for minute in range(PARTS):
            clickhouse.insert(window(minute))
        clickhouse.stop(signal.SIGKILL)
        for file in stack.directory.glob("clickhouse/store/*/*/all_*/*"):
            file.write_bytes(b"")
        clickhouse.start()
        clickhouse.insert(window(0))
        assert clickhouse.query("SELECT count() FROM aggregated_analytics") == [(1,)]
    finally:
        clickhouse.stop()


def window(minute: int) -> dict[str, object]:
    start = NOON + timedelta(minutes=minute)
    return {
        "window_start": start,
        "window_end": start + timedelta(minutes=1),
        "total_sales": 5,
        "total_orders": 1,
        "average_order_value": 5,
        "top_product": "P1",
    }
