"""What the job has read: what each micro-batch observes, and the log lines that it becomes.

To observe something else, add an entry to OBSERVED, and show it in `summary` or metrics.py.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import Histogram
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from group_offsets import GroupOffsets
from settings import Settings
from validity import LATE, REASONS

logger = logging.getLogger(__name__)

OBSERVATION = "judged"
NOT_VALID = (*REASONS, LATE)
MEDIAN_ACCURACY = 100  # within 1 % of the ranks
CLOCK_LIMIT_SEC = 60
ISO_MINUTE = "yyyy-MM-dd'T'HH:mm'Z'"
REPEATS = "numDroppedDuplicateRows"  # Spark's name for what DEDUPLICATE_ORDERS drops

Totals = Mapping[str, Any]


class Observed(NamedTuple):
    """One value that a batch observes of its judged records."""

    column: Callable[[], Column]  # not a Column: making one requires a session
    merge: Callable[[list[Any]], Any]  # the values of several batches, oldest first, become one


def number_valid() -> Column:
    return F.count_if(F.col("verdict").isNull())


def number_of(verdict: str) -> Column:
    return F.count_if(F.col("verdict") == verdict)


def place_of_one(verdict: str) -> Column:
    return F.max(F.when(F.col("verdict") == verdict, F.struct("partition", "offset")))


def last_valid_minute() -> Column:
    valid_time = F.when(F.col("verdict").isNull(), F.col("event_time"))
    return F.date_format(F.max(valid_time), ISO_MINUTE)


def median_arrival_delay() -> Column:
    """Seconds from `transaction_time` to arrival, of whatever records have a readable time."""
    delay_ms = F.unix_millis("timestamp") - F.unix_millis("event_time")
    return F.percentile_approx(delay_ms, 0.5, MEDIAN_ACCURACY) / 1000


def newest_arrival() -> Column:
    return F.unix_millis(F.max("timestamp"))


def maximum(values: list[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def newest(values: list[Any]) -> Any:
    return next((value for value in reversed(values) if value is not None), None)


OBSERVED = {
    "records": Observed(lambda: F.count("*"), sum),
    "valid": Observed(number_valid, sum),
    "last_window": Observed(last_valid_minute, maximum),
    "arrival_delay_sec": Observed(median_arrival_delay, newest),
    "newest_arrival_ms": Observed(newest_arrival, maximum),
    **{verdict: Observed(partial(number_of, verdict), sum) for verdict in NOT_VALID},
    **{f"{verdict}_at": Observed(partial(place_of_one, verdict), newest) for verdict in NOT_VALID},
}


def verdict_metrics() -> list[Column]:
    """What the query observes of its judged records, each column under its name in OBSERVED."""
    return [each.column().alias(name) for name, each in OBSERVED.items()]


def merged(observed: Sequence[Totals]) -> Totals:
    """What several batches have observed, oldest first -> the same values for all of them."""
    return {
        name: value.merge([batch[name] for batch in observed]) for name, value in OBSERVED.items()
    }


def rejected(totals: Totals) -> int:
    return sum(totals[reason] for reason in REASONS)


class Reporter:
    """Knows what the job has read since its start, over all its queries, and logs it."""

    def __init__(self, settings: Settings) -> None:
        self._raw_topic = settings.raw_topic
        self._offsets = GroupOffsets(settings)
        self._unlogged: list[StreamingQueryProgress] = []
        self.totals = merged([])
        self.batches = 0
        self.repeated = 0
        self.dropped = 0
        self.durations_sec = Histogram(
            "purchases_job_batch_duration_seconds",
            "Duration of the micro-batches that read records.",
            registry=None,
            buckets=(0.25, 0.5, 0.7, 1, 2, 5, 10, 30, 60, 300),
        )
        self.newest: StreamingQueryProgress | None = None
        self.newest_with_records: StreamingQueryProgress | None = None

    def look(self, query: StreamingQuery) -> list[StreamingQueryProgress]:
        """Take note of the batches that have ended since the last call; returns them."""
        ended = progress_since(query, self.newest)
        for batch in ended:
            self.newest = batch
            if batch.numInputRows > 0:
                self._add(batch)
        if self.newest:
            (source,) = self.newest.sources  # also of a batch that had only aborted transactions
            if source.endOffset not in (None, "null"):  # as before the first batch
                self._offsets.commit(source.endOffset)
        return ended

    def _add(self, batch: StreamingQueryProgress) -> None:
        if not self.newest_with_records:
            logger.info("reading starts at %s", first_offsets(batch, self._raw_topic))
        self.newest_with_records = batch
        self._unlogged.append(batch)
        self.totals = merged([self.totals, *observed_by([batch])])
        self.batches += 1
        self.repeated += repeated([batch]) or 0
        self.dropped += dropped([batch])
        self.durations_sec.observe(batch.batchDuration / 1000)

    def log(self) -> None:
        """Log one line on the batches since the last call, if they read anything."""
        if not self._unlogged:
            return
        logger.info(summary(self._unlogged, self._raw_topic))
        if warning := clock_warning(merged(observed_by(self._unlogged))):
            logger.warning(warning)
        self._unlogged = []

    def __str__(self) -> str:
        """What was read since the start. No `name=number` here: that is the form of a summary."""
        return (
            f"records {self.totals['records']}, valid {self.totals['valid']},"
            f" rejected {rejected(self.totals)}, late {self.totals[LATE]},"
            f" batches {self.batches}"
        )


def progress_since(
    query: StreamingQuery, last: StreamingQueryProgress | None
) -> list[StreamingQueryProgress]:
    """What Spark reports of `query`, oldest first, from after the report `last`.

    Like `query.recentProgress`, which takes a tenth of a second of processor time, because it reads
    all 200 reports that Spark keeps.
    """
    found = []
    for progress in reversed(query._jsq.recentProgress()):
        # Not whether it is older: the clock may have been set back.
        if last and (progress.batchId(), progress.timestamp()) == (last.batchId, last.timestamp):
            break
        found.append(StreamingQueryProgress.fromJson(json.loads(progress.json())))
    return found[::-1]


def summary(batches: Sequence[StreamingQueryProgress], raw_topic: str) -> str:
    """One line on micro-batches, oldest first, that have read records."""
    totals = merged(observed_by(batches))
    reasons = " ".join(f"{reason}={totals[reason]}" for reason in REASONS)
    return (
        f"batches={len(batches)} records={totals['records']} valid={totals['valid']}"
        f" rejected={rejected(totals)} ({reasons}) late={totals[LATE]}{if_deduplicating(batches)}"
        f" last_window={totals['last_window'] or 'none'} lag={lag(batches[-1])}"
        f"{last_seen(totals, raw_topic)}{not_counted(batches)}"
    )


def clock_warning(totals: Totals) -> str:
    """A line for when arrival times and transaction times do not fit together; else nothing.

    If the broker's clock is wrong by more than WATERMARK, every record is late. The recomputation
    agrees, so nothing else would tell.
    """
    delay_sec = totals["arrival_delay_sec"]
    if delay_sec is None or abs(delay_sec) <= CLOCK_LIMIT_SEC:
        return ""
    return (
        f"CLOCKS: half of the records arrive {abs(delay_sec):.0f} s or more"
        f" {'after' if delay_sec > 0 else 'BEFORE'} their transaction_time: the clock of Kafka or"
        " of a producer is wrong, or old data is sent (docs/troubleshooting.md)"
    )


def observed_by(batches: Sequence[StreamingQueryProgress]) -> list[Totals]:
    return [batch.observedMetrics[OBSERVATION].asDict() for batch in batches]


def if_deduplicating(batches: Sequence[StreamingQueryProgress]) -> str:
    repeats = repeated(batches)
    return "" if repeats is None else f" repeated={repeats}"


def repeated(batches: Iterable[StreamingQueryProgress]) -> int | None:
    """How many records DEDUPLICATE_ORDERS has dropped; None if it is off."""
    metrics = [operator.customMetrics for batch in batches for operator in batch.stateOperators]
    repeats = [metric[REPEATS] for metric in metrics if REPEATS in metric]
    return sum(repeats) if repeats else None


def first_offsets(batch: StreamingQueryProgress, raw_topic: str) -> str:
    """Where a batch begins."""
    (source,) = batch.sources
    if source.startOffset in (None, "null"):
        return f"the beginning of {raw_topic}"
    partitions = json.loads(source.startOffset)[raw_topic].items()
    return ", ".join(f"{raw_topic}-{partition} offset {first}" for partition, first in partitions)


def lag(batch: StreamingQueryProgress) -> int | str:
    lags = lag_by_partition(batch)
    return "unknown" if lags is None else sum(lags.values())


def lag_by_partition(batch: StreamingQueryProgress) -> dict[str, int] | None:
    """Records that were in the topic when the batch was planned and are left to later batches.

    Until all are read, aborted records and the markers of transactions count among them. Records of
    an open transaction do not. None if the batch is run again: it was planned by an earlier job.
    """
    (source,) = batch.sources
    if source.latestOffset in (None, "null"):
        return None
    latest, end = (json.loads(offsets) for offsets in (source.latestOffset, source.endOffset))
    return {
        partition: offset - end[topic][partition]
        for topic, partitions in latest.items()
        for partition, offset in partitions.items()
    }


def last_seen(totals: Totals, raw_topic: str) -> str:
    """Where one record of each verdict is that does not count, as partition and offset."""
    places = {verdict: totals[f"{verdict}_at"] for verdict in NOT_VALID}
    examples = [
        f"{verdict} at {raw_topic}-{place['partition']} offset {place['offset']}"
        for verdict, place in places.items()
        if place is not None
    ]
    return f"; last seen: {', '.join(examples)}" if examples else ""


def not_counted(batches: Sequence[StreamingQueryProgress]) -> str:
    """A warning if partitions were read further apart in time than STATE_SLACK allows."""
    if not (groups := dropped(batches)):
        return ""
    return f"; NOT COUNTED: {groups} groups of valid records dropped by Spark's watermark"


def dropped(batches: Iterable[StreamingQueryProgress]) -> int:
    """How many groups of valid records Spark's own watermark has dropped."""
    operators = (operator for batch in batches for operator in batch.stateOperators)
    return sum(operator.numRowsDroppedByWatermark for operator in operators)
