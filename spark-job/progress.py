"""What the job reports: the metrics that each micro-batch observes, and the lines they become.

To add a metric, add an entry to METRICS and show it in `summary`.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from validity import LATE, REASONS

logger = logging.getLogger(__name__)

OBSERVATION = "judged"
NOT_VALID = (*REASONS, LATE)
ISO_MINUTE = "yyyy-MM-dd'T'HH:mm'Z'"
REPEATS = "numDroppedDuplicateRows"  # Spark's name for what DEDUPLICATE_ORDERS drops

Totals = Mapping[str, Any]


class Metric(NamedTuple):
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


def maximum(values: list[Any]) -> Any:
    return max((value for value in values if value is not None), default=None)


def newest(values: list[Any]) -> Any:
    return next((value for value in reversed(values) if value is not None), None)


METRICS = {
    "records": Metric(lambda: F.count("*"), sum),
    "valid": Metric(number_valid, sum),
    "last_window": Metric(last_valid_minute, maximum),
    **{verdict: Metric(partial(number_of, verdict), sum) for verdict in NOT_VALID},
    **{f"{verdict}_at": Metric(partial(place_of_one, verdict), newest) for verdict in NOT_VALID},
}


def verdict_metrics() -> list[Column]:
    """What the query observes of its judged records, each column under its name in METRICS."""
    return [metric.column().alias(name) for name, metric in METRICS.items()]


def merged(observed: Sequence[Totals]) -> Totals:
    """Metrics of several batches, oldest first -> the same metrics of all of them."""
    return {
        name: metric.merge([each[name] for each in observed]) for name, metric in METRICS.items()
    }


def rejected(totals: Totals) -> int:
    return sum(totals[reason] for reason in REASONS)


class Reporter:
    """Logs what the job has read, and keeps the totals since its start, over all its queries."""

    def __init__(self, raw_topic: str) -> None:
        self._raw_topic = raw_topic
        self._last_batch = -1  # a query that starts again continues the numbers of its checkpoint
        self._batches = 0
        self._totals = merged([])

    def log_new_batches(self, query: StreamingQuery) -> None:
        """Log one line on the batches since the last call, if they read anything."""
        batches = [
            batch
            for batch in query.recentProgress
            if batch.batchId > self._last_batch and batch.numInputRows > 0
        ]
        if not batches:
            return
        logger.info(summary(batches, self._raw_topic))
        self._last_batch = batches[-1].batchId
        self._batches += len(batches)
        self._totals = merged([self._totals, *observed_by(batches)])

    def totals(self) -> str:
        """What was read since the start. No `name=number` here: that is the form of a summary."""
        return (
            f"records {self._totals['records']}, valid {self._totals['valid']},"
            f" rejected {rejected(self._totals)}, late {self._totals[LATE]},"
            f" batches {self._batches}"
        )


def summary(batches: Sequence[StreamingQueryProgress], raw_topic: str) -> str:
    """One line on micro-batches, oldest first, that have read records."""
    totals = merged(observed_by(batches))
    reasons = " ".join(f"{reason}={totals[reason]}" for reason in REASONS)
    return (
        f"batches={len(batches)} records={totals['records']} valid={totals['valid']}"
        f" rejected={rejected(totals)} ({reasons}) late={totals[LATE]}{repeated(batches)}"
        f" last_window={totals['last_window'] or 'none'} lag={lag(batches[-1])}"
        f"{last_seen(totals, raw_topic)}{not_counted(batches)}"
    )


def observed_by(batches: Sequence[StreamingQueryProgress]) -> list[Totals]:
    return [batch.observedMetrics[OBSERVATION].asDict() for batch in batches]


def repeated(batches: Sequence[StreamingQueryProgress]) -> str:
    """How many records DEDUPLICATE_ORDERS has dropped; nothing if it is off."""
    metrics = [operator.customMetrics for batch in batches for operator in batch.stateOperators]
    repeats = [metric[REPEATS] for metric in metrics if REPEATS in metric]
    return f" repeated={sum(repeats)}" if repeats else ""


def lag(batch: StreamingQueryProgress) -> int | str:
    """Records that were in the topic when the batch was planned and are left to later batches.

    Until all are read, aborted records and the markers of transactions count among them. Records of
    an open transaction do not.
    """
    (source,) = batch.sources
    if source.latestOffset in (None, "null"):
        return "unknown"  # a batch that is run again was planned before the job started
    latest, end = (
        sum(sum(partitions.values()) for partitions in json.loads(offsets).values())
        for offsets in (source.latestOffset, source.endOffset)
    )
    return int(latest - end)


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
    operators = [operator for batch in batches for operator in batch.stateOperators]
    dropped = sum(operator.numRowsDroppedByWatermark for operator in operators)
    if not dropped:
        return ""
    return f"; NOT COUNTED: {dropped} groups of valid records dropped by Spark's watermark"
