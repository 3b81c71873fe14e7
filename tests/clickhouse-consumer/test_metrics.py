"""What the consumer tells Prometheus."""

import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from builders import NOON, message, row
from fakes import P0, P1, away
from harness import Harness
from metrics import ConsumerMetrics

Value = Callable[..., float | None]


def metrics_of(harness: Harness) -> Value:
    """Returns what gives the value of a metric at a scrape: its name, then its labels."""
    registry = CollectorRegistry()
    loader = harness.loader
    registry.register(ConsumerMetrics(loader.totals, loader.insert_metrics, harness.monitor))
    return lambda name, **labels: registry.get_sample_value(f"purchases_consumer_{name}", labels)


def test_rows_inserts_and_batches_are_counted_when_they_are_stored() -> None:
    harness = Harness(max_batch_rows=2)
    value = metrics_of(harness)
    assert (value("rows_stored_total"), value("last_stored_timestamp_seconds")) == (0, None)
    before = time.time()
    harness.broker.send(message(0), message(1), message(2))
    harness.step_for(20)
    assert value("records_polled_total") == value("rows_stored_total") == 3
    assert value("inserts_total") == value("batch_rows_count") == 2
    assert (value("batch_rows_sum"), value("batch_rows_bucket", le="1.0")) == (3, 1)
    assert value("insert_duration_seconds_count") == value("delay_seconds_count") == 2
    stored_at = value("last_stored_timestamp_seconds")
    assert stored_at and before <= stored_at <= time.time()


def test_skipped_records_are_counted_by_reason() -> None:
    harness = Harness()
    harness.clickhouse.refuses = lambda refused: refused == row(2)
    harness.broker.send(message(0), b"x", None, message(1, total_orders=-1), message(2), to=P0)
    harness.step_for(20)
    value = metrics_of(harness)
    found = {
        reason: value("records_skipped_total", reason=reason)
        for reason in ("malformed", "invalid", "refused")
    }
    assert found == {"malformed": 2, "invalid": 1, "refused": 1}


def test_an_outage_of_clickhouse_shows_as_retries_and_no_row_is_counted() -> None:
    harness = Harness()
    harness.clickhouse.error = away()
    harness.broker.send(message(0))
    harness.step_for(20)
    value = metrics_of(harness)
    retries = value("insert_retries_total")
    assert retries and retries >= 3
    assert value("rows_stored_total") == value("insert_duration_seconds_count") == 0


def test_the_lag_is_that_of_the_latest_report_and_unknown_without_kafka() -> None:
    harness = Harness(max_batch_rows=2)
    value = metrics_of(harness)
    assert value("lag_records") is None
    harness.broker.send(*(message(minute) for minute in range(10)), to=P0)
    harness.broker.send(message(10), to=P1)
    harness.clock.now = 60
    harness.step()
    assert value("lag_records") == 9
    harness.kafka.is_away = True
    harness.step_for(20)
    assert value("lag_records") is None


@pytest.mark.parametrize(
    ("written_after_noon_sec", "delay_sec"),
    [(150, 180), (100, 200)],  # after the end of the newest minute, or before it
)
def test_the_delay_begins_with_the_newest_minute_or_when_it_was_written(
    written_after_noon_sec: int, delay_sec: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Harness()
    harness.broker.timestamp = int((NOON.timestamp() + written_after_noon_sec) * 1000)
    monkeypatch.setattr("metrics.time.time", lambda: NOON.timestamp() + 300)
    harness.broker.send(message(1), message(0))  # the end of the newest minute is 120 s after noon
    harness.step_for(20)
    assert metrics_of(harness)("delay_seconds_sum") == delay_sec
