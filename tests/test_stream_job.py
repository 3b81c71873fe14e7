"""The transformations of the job, on small batches; its judgement is in test_judgement.py."""

import json
from contextlib import nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

import stream_job
import totals
from records import ARRIVAL, transaction
from stream_job import Config, ConfigError

VALID_SCHEMA = "order_id string, product_id string, amount decimal(15, 2), event_time timestamp"
NOON = datetime(2026, 11, 1, 12, 0)
WATERMARK = "10 minutes"


def valid(spark: SparkSession, *orders: tuple[str, str, int]) -> DataFrame:
    """Valid transactions of (product, amount, seconds after noon)."""
    rows = [
        (f"order-{number}", product, Decimal(amount), NOON + timedelta(seconds=second))
        for number, (product, amount, second) in enumerate(orders)
    ]
    return spark.createDataFrame(rows, VALID_SCHEMA)


def messages(transactions: DataFrame) -> dict[str, dict[str, object]]:
    """The messages on transactions_agg by their key."""
    windows = totals.window_totals(transactions, WATERMARK, deduplicate=False)
    rows = totals.to_messages(windows).collect()
    found = {row.key: json.loads(row.value, parse_float=Decimal) for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_message_holds_the_whole_contract(spark: SparkSession) -> None:
    found = messages(valid(spark, ("P2", "10.10", 0), ("P2", "0.05", 30), ("P1", "3.00", 59)))
    assert found == {
        "2026-11-01T12:00:00Z": {
            "window_start": "2026-11-01T12:00:00Z",
            "window_end": "2026-11-01T12:01:00Z",
            "total_sales": Decimal("13.15"),
            "total_orders": 3,
            "average_order_value": Decimal("4.38"),
            "top_product": "P2",
        }
    }


def test_the_state_outlives_every_record_that_counts(spark: SparkSession, tmp_path: Path) -> None:
    """Batches are one file each. Spark's watermark moves after each of them."""
    schema, source = valid(spark).schema, str(tmp_path / "source")
    Path(source).mkdir()
    stream = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(source)
    query = (
        totals.window_totals(stream, WATERMARK, deduplicate=False)
        .writeStream.format("memory")
        .queryName("state")
        .outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )

    def counted(second: int) -> int:
        """The orders of the window of a transaction at that time, after it has come."""
        valid(spark, ("P", "1", second)).coalesce(1).write.mode("append").parquet(source)
        query.processAllAvailable()
        start = (NOON + timedelta(seconds=second)).replace(second=0)
        updates = spark.table("state").where(F.col("window.start") == start)
        return max((row.total_orders for row in updates.collect()), default=0)

    try:
        assert counted(300) == 1  # as far ahead of its arrival at noon as a record may be
        assert counted(-600) == 1  # as late as one may be that arrives at the same moment
        assert counted(-600) == 2
        assert counted(3600) == 1
        assert counted(300) == 1  # the window is gone, and cannot be begun again
        dropped = [
            sum(operator.numRowsDroppedByWatermark for operator in batch.stateOperators)
            for batch in query.recentProgress
            if batch.numInputRows
        ]
    finally:
        query.stop()
    assert dropped == [0, 0, 0, 0, 1]


def test_windows_begin_at_the_full_minute_and_exclude_their_end(spark: SparkSession) -> None:
    found = messages(valid(spark, ("P", "1", -1), ("P", "2", 0), ("P", "4", 59), ("P", "8", 60)))
    assert {key: message["total_sales"] for key, message in found.items()} == {
        "2026-11-01T11:59:00Z": Decimal("1.00"),
        "2026-11-01T12:00:00Z": Decimal("6.00"),
        "2026-11-01T12:01:00Z": Decimal("8.00"),
    }


@pytest.mark.parametrize(
    ("amounts", "average"),
    [
        (["0.01", "0.02"], "0.02"),  # 0.015 up, where half even and binary floats go down or vary
        (["0.02", "0.03"], "0.03"),
        (["1.00", "1.00", "1.01"], "1.00"),
        (["0.00"], "0.00"),
        (["9999999999999.99", "9999999999999.98"], "9999999999999.99"),
    ],
)
def test_the_average_is_rounded_half_up(
    spark: SparkSession, amounts: list[str], average: str
) -> None:
    (message,) = messages(valid(spark, *[("P", amount, 0) for amount in amounts])).values()
    assert message["average_order_value"] == Decimal(average)


def test_the_largest_amounts_add_up_exactly(spark: SparkSession) -> None:
    found = messages(valid(spark, *[("P", "9999999999999.99", 0)] * 1000))
    assert found["2026-11-01T12:00:00Z"]["total_sales"] == Decimal("9999999999999990.00")


def test_among_equals_the_smallest_product_is_on_top(spark: SparkSession) -> None:
    orders = [(product, "1", 0) for product in ("P3", "P1", "P2", "P2", "P1", "P3")]
    assert messages(valid(spark, *orders))["2026-11-01T12:00:00Z"]["top_product"] == "P1"


def test_the_summary_counts_each_reason_and_tells_where_to_look(spark: SparkSession) -> None:
    values = [
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
    rows = [("raw", 1, 100 + number, ARRIVAL, value) for number, value in enumerate(values)]
    schema = "topic string, partition int, offset long, timestamp timestamp, value binary"
    judged = totals.judge(totals.parse(spark.createDataFrame(rows, schema)), WATERMARK)
    observed = judged.agg(*totals.counts()).first()
    kept, dropped = (SimpleNamespace(numRowsDroppedByWatermark=n, customMetrics={}) for n in (0, 2))
    repeats = SimpleNamespace(numRowsDroppedByWatermark=0, customMetrics={stream_job.REPEATS: 3})
    source = SimpleNamespace(
        latestOffset='{"raw":{"0":50,"1":109}}', endOffset='{"raw":{"0":20,"1":109}}'
    )
    batch = SimpleNamespace(
        numInputRows=9,
        observedMetrics={"judged": observed},
        stateOperators=[kept],
        sources=[source],
    )
    behind = SimpleNamespace(**{**vars(batch), "stateOperators": [kept, dropped]})
    unique = SimpleNamespace(**{**vars(batch), "stateOperators": [repeats, kept]})
    idle = SimpleNamespace(numInputRows=0, observedMetrics={"judged": Row()}, stateOperators=[])
    assert stream_job.summary([batch, batch, idle], "raw") == (
        "batches=2 records=18 valid=4"
        " rejected=12 (malformed=2 identity=2 amount=2 payment_type=4 time=2) late=2"
        " last_window=2026-11-01T12:30Z lag=30; last seen:"
        " malformed at raw-1 offset 102, identity at raw-1 offset 103, amount at raw-1 offset 104,"
        " payment_type at raw-1 offset 106, time at raw-1 offset 107, late at raw-1 offset 108"
    )
    assert str(stream_job.summary([behind], "raw")).endswith(
        "; NOT COUNTED: 2 groups of valid records behind the state"
    )
    assert " late=2 repeated=6 last_window=" in str(stream_job.summary([unique, unique], "raw"))


def test_without_records_there_is_no_summary() -> None:
    assert stream_job.summary([], "raw") is None


@pytest.mark.parametrize(
    "text",
    [
        "[STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA] Streaming stateful operator...",
        "[STREAM_FAILED] Query terminated: [CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] An error...",
        "[STREAM_FAILED] Query terminated with exception: Some data may have been lost because"
        " they are not available in Kafka any more;\neither the data was aged out by Kafka...",
    ],
    ids=["foreign", "damaged", "behind"],
)
def test_a_useless_checkpoint_is_explained_with_the_way_out(text: str) -> None:
    error = StreamingQueryException(text)
    line = stream_job.explain(error, Config(checkpoint_location="/data/checkpoints"))
    assert "/data/checkpoints" in line
    assert "set CHECKPOINT_LOCATION to a new folder" in line
    assert "\n" not in line


@pytest.mark.parametrize("error", [Py4JError("empty answer"), ConnectionRefusedError()])
def test_a_driver_whose_java_process_is_gone_ends_with_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start_query(*_: object) -> None:
        raise error

    for name in ("session", "stop_on_signals", "wait_for_topics"):
        monkeypatch.setattr(stream_job, name, lambda *_: None)
    monkeypatch.setattr(stream_job, "start_query", start_query)
    assert stream_job.run(Config(), Event()) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the driver's Java process has ended; whoever started this job may again"
    ]


@pytest.mark.parametrize("failure", [None, StreamingQueryException("away")])
def test_what_was_counted_is_told_when_the_job_stops(
    failure: Exception | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wait(_seconds: int) -> bool:
        if failure:
            raise failure
        return True

    query = SimpleNamespace(
        awaitTermination=wait, stop=lambda: None, recentProgress=[SimpleNamespace(batchId=7)]
    )
    monkeypatch.setattr(
        stream_job, "summary", lambda batches, _: " ".join(f"batch {b.batchId}" for b in batches)
    )
    caplog.set_level("INFO")
    with pytest.raises(StreamingQueryException) if failure else nullcontext():
        stream_job.watch(query, Config(), Event())
    assert [record.getMessage() for record in caplog.records] == ["batch 7"]


@pytest.mark.parametrize("latest", [None, "null"])
def test_the_lag_of_a_batch_that_is_run_again_is_unknown(latest: str | None) -> None:
    source = SimpleNamespace(latestOffset=latest, endOffset='{"raw":{"0":20}}')
    assert stream_job.lag(SimpleNamespace(sources=[source])) == "unknown"


def test_settings_come_from_the_environment() -> None:
    assert Config.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "kafka:29092",
            "WATERMARK": "1 hour",
            "MAX_OFFSETS_PER_TRIGGER": "1000",
            "DEDUPLICATE_ORDERS": "true",
            "TRIGGER_INTERVAL": "",
            "UNRELATED": "x",
        }
    ) == Config(
        kafka_bootstrap_servers="kafka:29092",
        watermark="1 hour",
        max_offsets_per_trigger="1000",
        deduplicate_orders="true",
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WATERMARK", "ten minutes"),
        ("WATERMARK", "-1 minutes"),
        ("TRIGGER_INTERVAL", "5"),
        ("MAX_OFFSETS_PER_TRIGGER", "0"),
        ("MAX_OFFSETS_PER_TRIGGER", "many"),
        ("DEDUPLICATE_ORDERS", "maybe"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("RAW_TOPIC", "raw topic"),
        ("AGG_TOPIC", "a" * 250),
        ("SPARK_MASTER", "localhost:7077"),
        ("HEALTH_FILE", "/no/such/folder/healthy"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable} must be .*{value!r}"):
        Config.from_env({variable: value})


def test_a_wrong_setting_ends_the_job_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEDUPLICATE_ORDERS", "maybe")
    assert stream_job.main() == 2
    assert [record.message for record in caplog.records] == [
        "DEDUPLICATE_ORDERS must be true or false, not 'maybe'"
    ]
