"""Small data frames for the tests, as the query has them at each of its steps."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pyspark.sql import DataFrame, SparkSession

from records import ARRIVAL
from validity import judge, parse

RAW_SCHEMA = "topic string, partition int, offset long, timestamp timestamp, value binary"
VALID_SCHEMA = "order_id string, product_id string, amount decimal(15, 2), event_time timestamp"
NOON = datetime(2026, 11, 1, 12, 0)
WATERMARK = "10 minutes"


def raw(spark: SparkSession, values: Sequence[bytes | None]) -> DataFrame:
    """Kafka records of partition 1, from offset 100 on, that all arrived at ARRIVAL."""
    rows = [("raw", 1, 100 + number, ARRIVAL, value) for number, value in enumerate(values)]
    return spark.createDataFrame(rows, RAW_SCHEMA)


def judged(spark: SparkSession, values: Sequence[bytes | None]) -> DataFrame:
    """The same records with their fields and verdicts."""
    return judge(parse(raw(spark, values)), WATERMARK)


def valid(spark: SparkSession, *orders: tuple[str, str, int]) -> DataFrame:
    """Valid transactions of (product, amount, seconds after noon), each with its own order_id."""
    rows = [
        (f"order-{number}", product, Decimal(amount), NOON + timedelta(seconds=second))
        for number, (product, amount, second) in enumerate(orders)
    ]
    return spark.createDataFrame(rows, VALID_SCHEMA)
