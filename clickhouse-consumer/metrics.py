"""The metrics of the consumer: what its loader has done, and what its monitor has seen."""

import time
from collections.abc import Iterator, Sequence

from kafka.consumer.fetcher import ConsumerRecord
from prometheus_client import Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from message import Row
from reporting import Monitor, Totals

PREFIX = "purchases_consumer"
SKIPPED = ("malformed", "invalid", "refused")


class InsertMetrics(Collector):
    """Histograms of the inserts that ClickHouse has acknowledged."""

    def __init__(self) -> None:
        self._duration_sec = Histogram(
            f"{PREFIX}_insert_duration_seconds",
            "Time until ClickHouse acknowledged the rows of a batch.",
            registry=None,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self._rows = Histogram(
            f"{PREFIX}_batch_rows",
            "Rows stored per batch.",
            registry=None,
            buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000),
        )
        self._delay_sec = Histogram(
            f"{PREFIX}_delay_seconds",
            "Age of the newest minute of a batch when it was stored: from its end, or from when the"
            " job wrote it, if that was earlier.",
            registry=None,
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
        )

    def observe(self, rows: Sequence[Row], newest: ConsumerRecord, duration_sec: float) -> None:
        """Count a batch of stored rows, at least one; `newest` is its last record."""
        self._duration_sec.observe(duration_sec)
        self._rows.observe(len(rows))
        end = max(row.window_end for row in rows)
        self._delay_sec.observe(time.time() - min(end.timestamp(), newest.timestamp / 1000))

    def collect(self) -> Iterator[Metric]:
        for histogram in (self._duration_sec, self._rows, self._delay_sec):
            yield from histogram.collect()


class ConsumerMetrics(Collector):
    """Reads the totals at each scrape."""

    def __init__(self, totals: Totals, inserts: InsertMetrics, monitor: Monitor) -> None:
        self._totals, self._inserts, self._monitor = totals, inserts, monitor

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        for name, help_text, value in (
            ("records_polled", "Records read from Kafka.", totals.polled),
            ("rows_stored", "Rows that ClickHouse has acknowledged.", totals.stored),
            ("inserts", "Inserts that ClickHouse has acknowledged.", totals.inserts),
            ("insert_retries", "Inserts that ClickHouse did not acknowledge.", totals.retries),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", help_text, value)
        skipped = CounterMetricFamily(
            f"{PREFIX}_records_skipped",
            "Records that are no window totals, or whose row ClickHouse refused.",
            labels=["reason"],
        )
        for reason in SKIPPED:
            skipped.add_metric([reason], totals.skipped[reason])
        yield skipped
        if self._monitor.lag is not None:
            yield GaugeMetricFamily(
                f"{PREFIX}_lag_records", "Records not polled yet.", self._monitor.lag
            )
        if totals.last_stored_at:
            yield GaugeMetricFamily(
                f"{PREFIX}_last_stored_timestamp_seconds",
                "When a row was stored last.",
                totals.last_stored_at,
            )
        yield from self._inserts.collect()
