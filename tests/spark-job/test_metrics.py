"""What the job tells Prometheus."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pyspark.sql import Row

from metrics import JobMetrics, seconds
from progress import OBSERVATION, REPEATS, Reporter, merged
from settings import Settings

NOON = 1793534400  # 2026-11-01T12:00:00Z


def batch(**observed: Any) -> Any:
    """The progress of a batch at noon, as Spark reports it."""
    operator = SimpleNamespace(
        numRowsDroppedByWatermark=1, numRowsTotal=7, customMetrics={REPEATS: 2}
    )
    return SimpleNamespace(
        timestamp="2026-11-01T12:00:00.500Z",
        batchDuration=400,
        numInputRows=1,
        processedRowsPerSecond=12.5,
        eventTime={"watermark": "2026-11-01T11:40:00.000Z"},
        observedMetrics={OBSERVATION: Row(**{**merged([]), **observed})},
        stateOperators=[operator],
        sources=[
            SimpleNamespace(
                startOffset=None,
                latestOffset='{"raw":{"0":50,"1":109}}',
                endOffset='{"raw":{"0":20,"1":109}}',
            )
        ],
    )


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Settings())


@pytest.fixture
def value(reporter: Reporter, tmp_path: Path) -> Callable[..., float | None]:
    """The value of a metric at a scrape: its name without the prefix, then its labels."""
    registry = CollectorRegistry()
    settings = Settings(checkpoint_location=str(tmp_path / "checkpoint"))
    registry.register(JobMetrics(reporter, settings))
    return lambda name, **labels: registry.get_sample_value(f"purchases_job_{name}", labels)


def test_before_the_first_batch_the_counts_are_0_and_the_rest_is_unknown(
    value: Callable[..., float | None],
) -> None:
    assert value("records_total", verdict="valid") == value("records_total", verdict="late") == 0
    assert value("batch_duration_seconds_count") == value("state_dropped_groups_total") == 0
    assert value("trigger_interval_seconds") == 0.7
    for name in ("last_progress_timestamp_seconds", "last_window_timestamp_seconds", "state_rows"):
        assert value(name) is None


def test_batches_add_up(reporter: Reporter, value: Callable[..., float | None]) -> None:
    for last_window in ("2026-11-01T12:01Z", None):
        reporter.newest = each = batch(valid=5, late=2, amount=1, last_window=last_window)
        reporter._add(each)
    records = {
        verdict: value("records_total", verdict=verdict)
        for verdict in ("valid", "late", "amount", "time")
    }
    assert records == {"valid": 10, "late": 4, "amount": 2, "time": 0}
    assert (value("records_repeated_total"), value("state_dropped_groups_total")) == (4, 2)
    assert value("batch_duration_seconds_count") == 2
    assert value("batch_duration_seconds_sum") == pytest.approx(0.8)
    assert value("last_window_timestamp_seconds") == NOON + 60


def test_the_newest_batch(reporter: Reporter, value: Callable[..., float | None]) -> None:
    reporter.newest = newest = batch(arrival_delay_sec=-3.5)
    reporter._add(newest)
    assert value("last_progress_timestamp_seconds") == NOON + 0.5
    assert value("watermark_timestamp_seconds") == NOON - 20 * 60
    assert value("processed_records_per_second") == 12.5
    assert value("state_rows") == 7
    assert value("arrival_delay_seconds") == -3.5
    assert [value("lag_records", partition=n) for n in "01"] == [30, 0]


def test_the_lag_of_a_batch_that_is_run_again_is_unknown(
    reporter: Reporter, value: Callable[..., float | None]
) -> None:
    replayed = batch()
    replayed.sources[0].latestOffset = None
    reporter._add(replayed)
    assert value("lag_records", partition="0") is None


def test_the_disk_is_that_of_the_checkpoint_once_there_is_one(
    value: Callable[..., float | None], tmp_path: Path
) -> None:
    assert value("checkpoint_disk_bytes") is None
    (tmp_path / "checkpoint").mkdir()
    size, free = value("checkpoint_disk_bytes"), value("checkpoint_disk_free_bytes")
    assert size and free and 0 < free < size


def test_durations_become_seconds() -> None:
    found = [seconds(text) for text in ("700 milliseconds", "1 second", "2 minutes", "1 day")]
    assert found == [0.7, 1, 120, 86400]
