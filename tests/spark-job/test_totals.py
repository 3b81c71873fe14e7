"""Valid transactions add up to windows, and windows become messages."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from jsonschema import Draft202012Validator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from frames import NOON, WATERMARK, valid
from totals import to_messages, window_totals

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "contract" / "transactions_agg.schema.json").read_text()
)


def messages(transactions: DataFrame) -> dict[str, dict[str, object]]:
    """The messages on transactions_agg by their key."""
    rows = to_messages(window_totals(transactions, WATERMARK, deduplicate=False)).collect()
    found = {row.key: json.loads(row.value, parse_float=Decimal) for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_message_has_exactly_the_fields_of_the_contract(spark: SparkSession) -> None:
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


def test_messages_match_the_schema_with_their_fields_in_its_order(spark: SparkSession) -> None:
    smallest = [("P0042", "0.00", 0)]
    largest = [("P0042", "9999999999999.99", 60)] * 3
    text = [('caf\u00e9-\u2615 "quoted" \n', "0.01", 43_199)]
    midnight = [("x" * 200, "0.02", 43_200)]
    found = messages(valid(spark, *smallest, *largest, *text, *midnight))
    assert len(found) == 4
    for key, message in found.items():
        Draft202012Validator(SCHEMA).validate(message)
        assert list(message) == list(SCHEMA["properties"])
        assert key == message["window_start"]


def test_windows_begin_at_the_full_minute_and_exclude_their_end(spark: SparkSession) -> None:
    found = messages(valid(spark, ("P", "1", -1), ("P", "2", 0), ("P", "4", 59), ("P", "8", 60)))
    assert {key: message["total_sales"] for key, message in found.items()} == {
        "2026-11-01T11:59:00Z": Decimal("1.00"),
        "2026-11-01T12:00:00Z": Decimal("6.00"),
        "2026-11-01T12:01:00Z": Decimal("8.00"),
    }


def test_averages_are_rounded_half_up(spark: SparkSession) -> None:
    averages = [
        (["0.01", "0.02"], "0.02"),  # 0.015: half to even, and binary floats, may round it down
        (["0.02", "0.03"], "0.03"),
        (["1.00", "1.00", "1.01"], "1.00"),
        (["0.00"], "0.00"),
        (["9999999999999.99", "9999999999999.98"], "9999999999999.99"),
    ]
    orders = [
        ("P", amount, 60 * minute)
        for minute, (amounts, _) in enumerate(averages)
        for amount in amounts
    ]
    found = [message for _, message in sorted(messages(valid(spark, *orders)).items())]
    assert [message["average_order_value"] for message in found] == [
        Decimal(average) for _, average in averages
    ]


def test_the_largest_amounts_add_up_exactly(spark: SparkSession) -> None:
    found = messages(valid(spark, *[("P", "9999999999999.99", 0)] * 1000))
    assert found["2026-11-01T12:00:00Z"]["total_sales"] == Decimal("9999999999999990.00")


def test_among_equals_the_smallest_product_is_on_top(spark: SparkSession) -> None:
    orders = [(product, "1", 0) for product in ("P3", "P1", "P2", "P2", "P1", "P3")]
    assert messages(valid(spark, *orders))["2026-11-01T12:00:00Z"]["top_product"] == "P1"


def test_the_state_outlives_every_record_that_counts(spark: SparkSession, tmp_path: Path) -> None:
    """Each batch is one file. Spark's watermark moves after each of them."""
    schema, source = valid(spark).schema, str(tmp_path / "source")
    Path(source).mkdir()
    stream = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(source)
    query = (
        window_totals(stream, WATERMARK, deduplicate=False)
        .writeStream.format("memory")
        .queryName("state")
        .outputMode("update")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )

    def orders_after_one_more(second: int) -> int:
        """Add a transaction of that time, and return the orders of its window."""
        valid(spark, ("P", "1", second)).coalesce(1).write.mode("append").parquet(source)
        query.processAllAvailable()
        start = (NOON + timedelta(seconds=second)).replace(second=0)
        updates = spark.table("state").where(F.col("window.start") == start)
        return max((row.total_orders for row in updates.collect()), default=0)

    try:
        assert orders_after_one_more(300) == 1  # as far ahead of its arrival at noon as may be
        assert orders_after_one_more(-600) == 1  # as late as may be that arrives at the same time
        assert orders_after_one_more(-600) == 2
        assert orders_after_one_more(3600) == 1
        assert orders_after_one_more(300) == 1  # the window is closed and cannot start again
        dropped = [
            sum(operator.numRowsDroppedByWatermark for operator in batch.stateOperators)
            for batch in query.recentProgress
            if batch.numInputRows
        ]
    finally:
        query.stop()
    assert dropped == [0, 0, 0, 0, 1]
