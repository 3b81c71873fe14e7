"""What the job logs about its micro-batches."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

import progress
from frames import RAW_SCHEMA, judged, raw
from progress import (
    OBSERVATION,
    REPEATS,
    Reporter,
    clock_warning,
    first_offsets,
    lag,
    progress_since,
    summary,
    verdict_metrics,
)
from records import ARRIVAL, transaction
from settings import Settings
from stream_job import purchase_totals

VALUES = [
    transaction(),
    transaction(),
    b"not json",
    transaction(order_id=""),
    transaction(total_amount=-1),
    transaction(payment_type="bitcoin"),
    transaction(payment_type=None),
    transaction(transaction_time="2099-01-01T00:00:00Z"),
    transaction(transaction_time="2026-11-01T12:00:00Z"),
]
EMPTY_PROGRESS = """{
    "id": "6e6a0b0c-0000-0000-0000-000000000000", "runId": "6e6a0b0c-0000-0000-0000-000000000001",
    "name": null, "timestamp": "TIMESTAMP", "batchId": 1, "batchDuration": 1, "numInputRows": 0,
    "durationMs": {}, "stateOperators": [], "sources": [],
    "sink": {"description": "", "numOutputRows": 0}
}"""
LAST_SEEN = (
    "last seen:"
    " malformed at raw-1 offset 102, identity at raw-1 offset 103, amount at raw-1 offset 104,"
    " payment_type at raw-1 offset 106, time at raw-1 offset 107, late at raw-1 offset 108"
)


@pytest.fixture(scope="module")
def observed(spark: SparkSession) -> Row:
    """What a batch of VALUES observes."""
    row = judged(spark, VALUES).agg(*verdict_metrics()).first()
    assert row
    return row


def operator(dropped: int = 0, **metrics: int) -> SimpleNamespace:
    return SimpleNamespace(numRowsDroppedByWatermark=dropped, customMetrics=metrics)


def batch(observed: Row, *operators: SimpleNamespace, number: int = 0) -> Any:
    """The progress of a batch of records, as Spark reports it."""
    source = SimpleNamespace(
        startOffset='{"raw":{"0":10,"1":100}}',
        latestOffset='{"raw":{"0":50,"1":109}}',
        endOffset='{"raw":{"0":20,"1":109}}',
    )
    return SimpleNamespace(
        timestamp=f"2026-11-01T12:30:{number:02}.000Z",
        batchDuration=400,
        numInputRows=observed["records"],
        observedMetrics={OBSERVATION: observed},
        stateOperators=operators or [operator()],
        sources=[source],
    )


def empty_batch(number: int) -> Any:
    """The progress of a batch that Spark runs only to close windows."""
    return SimpleNamespace(
        timestamp=f"2026-11-01T12:30:{number:02}.000Z",
        numInputRows=0,
        sources=[SimpleNamespace(endOffset='{"raw":{"0":22,"1":109}}')],
    )


class FakeOffsets:
    """Remembers what is committed."""

    def __init__(self, _settings: Settings) -> None:
        self.committed: list[str] = []

    def commit(self, end_offset: str) -> None:
        self.committed.append(end_offset)


@pytest.fixture
def reporter(monkeypatch: pytest.MonkeyPatch) -> Reporter:
    """A reporter of queries whose progress is in `queries`, and that commits nowhere."""
    monkeypatch.setattr(progress, "GroupOffsets", FakeOffsets)
    return Reporter(Settings(raw_topic="raw"))


def test_the_summary_counts_each_reason_and_tells_where_to_look(observed: Row) -> None:
    assert summary([batch(observed), batch(observed)], "raw") == (
        "batches=2 records=18 valid=4"
        " rejected=12 (malformed=2 identity=2 amount=2 payment_type=4 time=2) late=2"
        f" last_window=2026-11-01T12:30Z lag=30; {LAST_SEEN}"
    )


def test_a_summary_of_valid_records_has_no_examples(observed: Row) -> None:
    nothing = {
        name: 0 if isinstance(value, int) else None for name, value in observed.asDict().items()
    }
    row = Row(**{**nothing, "records": 1, "valid": 1, "last_window": "2026-11-01T12:30Z"})
    assert summary([batch(row)], "raw") == (
        "batches=1 records=1 valid=1"
        " rejected=0 (malformed=0 identity=0 amount=0 payment_type=0 time=0) late=0"
        " last_window=2026-11-01T12:30Z lag=30"
    )


def test_a_summary_shows_the_newest_places_and_the_last_window(observed: Row) -> None:
    nothing_valid = Row(
        **{
            **observed.asDict(),
            "last_window": None,
            "late": 0,
            "late_at": None,
            "time_at": Row(partition=2, offset=7),
        }
    )
    line = summary([batch(observed), batch(nothing_valid)], "raw")
    assert " last_window=2026-11-01T12:30Z " in line
    assert line.endswith(", time at raw-2 offset 7, late at raw-1 offset 108")
    assert " last_window=none " in summary([batch(nothing_valid)], "raw")


def test_groups_that_spark_dropped_uncounted_are_in_the_summary(observed: Row) -> None:
    assert summary([batch(observed, operator(), operator(dropped=2))], "raw").endswith(
        f"{LAST_SEEN}; NOT COUNTED: 2 groups of valid records dropped by Spark's watermark"
    )


def test_repeated_orders_that_were_dropped_are_in_the_summary(observed: Row) -> None:
    unique = batch(observed, operator(**{REPEATS: 3}), operator())
    assert " late=2 repeated=6 last_window=" in summary([unique, unique], "raw")


@pytest.mark.parametrize("latest", [None, "null"])
def test_the_lag_of_a_batch_that_is_run_again_is_unknown(latest: str | None) -> None:
    source = SimpleNamespace(latestOffset=latest, endOffset='{"raw":{"0":20}}')
    replayed: Any = SimpleNamespace(sources=[source])
    assert lag(replayed) == "unknown"


class JavaProgress:
    """What py4j shows of a report of Spark."""

    def __init__(self, number: int, is_known: bool = False, second: int | None = None) -> None:
        self._number, self._is_known = number, is_known
        self._timestamp = f"2026-11-01T12:30:{number if second is None else second:02}.000Z"

    def batchId(self) -> int:  # noqa: N802
        return self._number

    def timestamp(self) -> str:
        return self._timestamp

    def json(self) -> str:
        assert not self._is_known
        report = json.loads(EMPTY_PROGRESS.replace("TIMESTAMP", self._timestamp))
        return json.dumps({**report, "batchId": self._number})


def numbers_since(reports: list[JavaProgress], last: Any) -> list[int]:
    """The batches that are new to a job that has seen `last`."""
    query: Any = SimpleNamespace(_jsq=SimpleNamespace(recentProgress=lambda: reports))
    return [each.batchId for each in progress_since(query, last)]


def test_only_reports_that_are_new_are_read_oldest_first() -> None:
    known = [JavaProgress(number, is_known=True) for number in (0, 1)]
    reports = [*known, *map(JavaProgress, (2, 3, 4))]
    last = SimpleNamespace(batchId=1, timestamp=known[1].timestamp())
    assert numbers_since(reports, last) == [2, 3, 4]
    assert numbers_since(known, last) == []
    assert numbers_since(reports[2:], None) == [2, 3, 4]


def test_reports_are_new_although_the_clock_was_set_back() -> None:
    reports = [JavaProgress(7, is_known=True, second=50), JavaProgress(8, second=20)]
    last = SimpleNamespace(batchId=7, timestamp=reports[0].timestamp())
    assert numbers_since(reports, last) == [8]


def test_all_reports_of_a_query_that_was_started_again_are_new() -> None:
    last = SimpleNamespace(batchId=7, timestamp=JavaProgress(50).timestamp())
    assert numbers_since([JavaProgress(7, second=51), JavaProgress(8, second=52)], last) == [7, 8]


def test_each_batch_is_logged_once_and_none_without_records(
    observed: Row,
    reporter: Reporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    seen: list[str] = []
    for batches in ([], [batch(observed, number=7), empty_batch(8)], [], [batch(observed)] * 2):
        monkeypatch.setattr(progress, "progress_since", lambda *_: batches)  # noqa: B023
        reporter.look(None)  # type: ignore[arg-type]
        reporter.log()
        seen.append(" ".join(record.getMessage()[:20] for record in caplog.records))
        caplog.clear()
    assert seen == ["", "reading starts at ra batches=1 records=9 ", "", "batches=2 records=18"]
    assert str(reporter) == "records 27, valid 6, rejected 18, late 3, batches 3"


def test_batches_that_are_not_logged_yet_are_known(
    observed: Row, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_since: list[Any] = []

    def progress_since(_query: object, last: Any) -> list[Any]:
        asked_since.append(last and last.timestamp)
        return [batch(observed, operator(dropped=2, **{REPEATS: 3}), number=7), empty_batch(8)]

    monkeypatch.setattr(progress, "progress_since", progress_since)
    for _ in range(2):
        reporter.look(None)  # type: ignore[arg-type]
    assert asked_since == [None, "2026-11-01T12:30:08.000Z"]
    assert (reporter.totals["records"], reporter.batches) == (18, 2)
    assert (reporter.dropped, reporter.repeated) == (4, 6)
    # Of the batch without records, too: it may have read aborted transactions.
    assert reporter._offsets.committed == ['{"raw":{"0":22,"1":109}}'] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ('{"raw":{"0":10,"1":100}}', "raw-0 offset 10, raw-1 offset 100"),
        (None, "the beginning of raw"),
    ],
)
def test_the_place_where_reading_starts(start: str | None, text: str) -> None:
    first: Any = SimpleNamespace(sources=[SimpleNamespace(startOffset=start)])
    assert first_offsets(first, "raw") == text


def test_the_totals_begin_at_zero(reporter: Reporter) -> None:
    assert str(reporter) == "records 0, valid 0, rejected 0, late 0, batches 0"


@pytest.mark.parametrize(
    ("shift_sec", "begin"),
    [
        (None, ""),
        (-60, ""),
        (60, ""),
        (900, "CLOCKS: half of the records arrive 900 s or more after their transaction_time: "),
        (-900, "CLOCKS: half of the records arrive 900 s or more BEFORE their transaction_time: "),
    ],
)
def test_a_wrong_clock_is_named(shift_sec: float | None, begin: str) -> None:
    warning = clock_warning({"arrival_delay_sec": shift_sec})
    assert warning.startswith(begin) and bool(warning) == bool(begin)


@pytest.mark.parametrize("shift_sec", [900, -900])
def test_the_clock_of_the_broker_shows_in_the_median_delay_whatever_else_is_sent(
    shift_sec: int, spark: SparkSession
) -> None:
    values = [
        transaction(transaction_time=(ARRIVAL - timedelta(seconds=shift_sec + n % 7)).isoformat())
        for n in range(50)
    ]
    values += [b"not json"] * 40
    values += [transaction(transaction_time="2099-01-01T00:00:00Z")] * 10
    values += [transaction(transaction_time="2020-01-01T00:00:00Z")] * 10
    row = judged(spark, values).agg(*verdict_metrics()).first()
    assert row and shift_sec <= row["arrival_delay_sec"] <= shift_sec + 6


def test_the_reporter_reads_what_spark_says_of_a_running_query(
    spark: SparkSession, reporter: Reporter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole query, with de-duplication, and with files for Kafka: these have no lag."""
    caplog.set_level("INFO")
    raw(spark, VALUES).coalesce(1).write.parquet(str(tmp_path / "source"))
    stream = spark.readStream.schema(RAW_SCHEMA).parquet(str(tmp_path / "source"))
    query = (
        purchase_totals(stream, Settings(deduplicate_orders=True))
        .writeStream.format("memory")
        .queryName("messages")
        .outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )
    try:
        query.processAllAvailable()
        reporter.look(query)
        reporter.log()
    finally:
        query.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "reading starts at the beginning of raw",
        "batches=1 records=9 valid=2"
        " rejected=6 (malformed=1 identity=1 amount=1 payment_type=2 time=1) late=1"
        f" repeated=1 last_window=2026-11-01T12:30Z lag=unknown; {LAST_SEEN}",
    ]
    assert str(reporter) == "records 9, valid 2, rejected 6, late 1, batches 1"
    (message,) = spark.table("messages").collect()
    assert (message.key, json.loads(message.value)["total_orders"]) == ("2026-11-01T12:30:00Z", 1)
