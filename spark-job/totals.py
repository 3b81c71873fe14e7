"""What valid transactions add up to: one row per minute, and its message to transactions_agg."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# Spark's own watermark trails the rule for late records by this much. What Spark considers late, it
# drops uncounted and depending on batch boundaries, so it may only ever meet windows that no valid
# record can reach any more. The limit for times ahead (validity.AHEAD_LIMIT) takes half of the
# slack: partitions may be read 5 minutes apart in arrival time.
STATE_SLACK = "10 minutes"
WINDOW = "1 minute"
ISO_FORMAT = "yyyy-MM-dd'T'HH:mm:ss'Z'"


def window_totals(valid: DataFrame, watermark: str, deduplicate: bool) -> DataFrame:
    """Valid transactions -> one row per 1-minute window of event time.

    `watermark` is a duration such as '10 minutes'; `deduplicate` counts each order_id once.
    """
    timed = valid.withWatermark("event_time", f"{watermark} {STATE_SLACK}")
    if deduplicate:
        timed = timed.dropDuplicatesWithinWatermark(["order_id"])
    return timed.groupBy(F.window("event_time", WINDOW)).agg(
        F.sum("amount").alias("total_sales"),
        F.count("*").alias("total_orders"),
        F.mode("product_id", deterministic=True).alias("top_product"),  # the smallest among equals
    )


def to_messages(totals: DataFrame) -> DataFrame:
    """Window totals -> key and value of transactions_agg."""
    window_start = F.date_format("window.start", ISO_FORMAT)
    # The quotient has at least 12 decimals, so rounding it again is exact below 10^10 orders.
    average = F.round(F.col("total_sales") / F.col("total_orders"), 2)
    message = F.struct(
        window_start.alias("window_start"),
        F.date_format("window.end", ISO_FORMAT).alias("window_end"),
        "total_sales",
        "total_orders",
        average.alias("average_order_value"),
        "top_product",
    )
    return totals.select(window_start.alias("key"), F.to_json(message).alias("value"))
