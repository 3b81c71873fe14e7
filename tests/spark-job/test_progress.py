"""What the job logs about its micro-batches."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from frames import RAW_SCHEMA, judged, raw
from progress import OBSERVATION, REPEATS, Reporter, lag, summary, verdict_metrics
from records import transaction
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
        latestOffset='{"raw":{"0":50,"1":109}}', endOffset='{"raw":{"0":20,"1":109}}'
    )
    return SimpleNamespace(
        batchId=number,
        numInputRows=observed["records"],
        observedMetrics={OBSERVATION: observed},
        stateOperators=operators or [operator()],
        sources=[source],
    )


def empty_batch(number: int) -> SimpleNamespace:
    """The progress of a batch that Spark runs only to close windows."""
    return SimpleNamespace(
        batchId=number, numInputRows=0, observedMetrics={OBSERVATION: Row()}, stateOperators=[]
    )


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


def test_each_batch_is_logged_once_and_none_without_records(
    observed: Row, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reporter, query = Reporter("raw"), SimpleNamespace(recentProgress=[])
    seen: list[str] = []
    for batches in (
        [],
        [batch(observed, number=7), empty_batch(8)],
        [batch(observed, number=7), empty_batch(8)],
        [batch(observed, number=number) for number in (7, 9, 10)],
    ):
        query.recentProgress = batches
        reporter.log_new_batches(query)  # type: ignore[arg-type]
        seen.append(" ".join(record.getMessage()[:20] for record in caplog.records))
        caplog.clear()
    assert seen == ["", "batches=1 records=9 ", "", "batches=2 records=18"]
    assert reporter.totals() == "records 27, valid 6, rejected 18, late 3, batches 3"


def test_the_totals_begin_at_zero() -> None:
    assert Reporter("raw").totals() == "records 0, valid 0, rejected 0, late 0, batches 0"


def test_the_reporter_reads_what_spark_says_of_a_running_query(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
    reporter = Reporter("raw")
    try:
        query.processAllAvailable()
        reporter.log_new_batches(query)
    finally:
        query.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "batches=1 records=9 valid=2"
        " rejected=6 (malformed=1 identity=1 amount=1 payment_type=2 time=1) late=1"
        f" repeated=1 last_window=2026-11-01T12:30Z lag=unknown; {LAST_SEEN}"
    ]
    assert reporter.totals() == "records 9, valid 2, rejected 6, late 1, batches 1"
    (message,) = spark.table("messages").collect()
    assert (message.key, json.loads(message.value)["total_orders"]) == ("2026-11-01T12:30:00Z", 1)
