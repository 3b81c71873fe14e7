"""The metrics of the job, from what its reporter knows."""

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pyspark.sql.streaming.listener import StreamingQueryProgress

from progress import NOT_VALID, Reporter, lag_by_partition
from settings import Settings

PREFIX = "purchases_job"
VERDICTS = ("valid", *NOT_VALID)
DURATION = re.compile(r"([0-9]+) (millisecond|second|minute|hour|day)s?")


class JobMetrics(Collector):
    """Asks the reporter at each scrape, never Spark or Kafka."""

    def __init__(self, reporter: Reporter, settings: Settings) -> None:
        self._reporter = reporter
        self._checkpoint = settings.checkpoint_location
        self._trigger_interval_sec = seconds(settings.trigger_interval)

    def collect(self) -> Iterator[Metric]:
        yield from self._records()
        yield from self._reporter.durations_sec.collect()
        yield gauge(
            "trigger_interval_seconds",
            "TRIGGER_INTERVAL: a micro-batch that takes longer delays the next one.",
            self._trigger_interval_sec,
        )
        if self._reporter.newest:
            yield gauge(
                "last_progress_timestamp_seconds",
                "When Spark last began to look for records.",
                timestamp(self._reporter.newest.timestamp),
            )
        if self._reporter.newest_with_records:
            yield from self._newest_batch(self._reporter.newest_with_records)
        yield from self._disk()

    def _records(self) -> Iterator[Metric]:
        """What the job has read since its start."""
        totals = self._reporter.totals
        records = CounterMetricFamily(
            f"{PREFIX}_records", "Records read, by what became of them.", labels=["verdict"]
        )
        for verdict in VERDICTS:
            records.add_metric([verdict], totals[verdict])
        yield records
        yield CounterMetricFamily(
            f"{PREFIX}_records_repeated",
            "Valid records that DEDUPLICATE_ORDERS has dropped.",
            self._reporter.repeated,
        )
        yield CounterMetricFamily(
            f"{PREFIX}_state_dropped_groups",
            "Groups of valid records that Spark's watermark has dropped: they are not counted.",
            self._reporter.dropped,
        )
        if totals["last_window"]:
            yield gauge(
                "last_window_timestamp_seconds",
                "Start of the newest window that has a valid record.",
                timestamp(totals["last_window"]),
            )
        if totals["arrival_delay_sec"] is not None:
            yield gauge(
                "arrival_delay_seconds",
                "Median of arrival time minus transaction_time, in the newest micro-batch."
                " Far from 0: a clock is wrong, or old data is sent.",
                totals["arrival_delay_sec"],
            )

    def _newest_batch(self, batch: StreamingQueryProgress) -> Iterator[Metric]:
        yield gauge(
            "processed_records_per_second",
            "Speed of the newest micro-batch that read records.",
            batch.processedRowsPerSecond,
        )
        yield gauge(
            "state_rows", "Rows of state.", sum(each.numRowsTotal for each in batch.stateOperators)
        )
        yield gauge(
            "watermark_timestamp_seconds",
            "Spark's watermark: state from before it is removed.",
            timestamp(batch.eventTime["watermark"]),
        )
        if lags := lag_by_partition(batch):
            lag = GaugeMetricFamily(
                f"{PREFIX}_lag_records",
                "Records left to later micro-batches when the newest one was planned.",
                labels=["partition"],
            )
            for partition, records in lags.items():
                lag.add_metric([partition], records)
            yield lag

    def _disk(self) -> Iterator[Metric]:
        """Of a checkpoint in a local folder."""
        try:
            usage = shutil.disk_usage(self._checkpoint)
        except OSError:  # not created yet, or on another file system
            return
        yield gauge("checkpoint_disk_bytes", "Size of the checkpoint's disk.", usage.total)
        yield gauge("checkpoint_disk_free_bytes", "Free space on that disk.", usage.free)


def gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", help_text, value)


def timestamp(iso: str) -> float:
    """Seconds since the epoch of a time in UTC."""
    return datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp()


def seconds(duration: str) -> float:
    """Seconds of a duration such as '700 milliseconds'."""
    match = DURATION.fullmatch(duration)
    assert match  # settings.py has checked it
    return timedelta(**{f"{match[2]}s": int(match[1])}).total_seconds()
