"""Which transactions count, and what they add up to: pure functions of Spark's data frames.

The judgement of a record depends on the record and its Kafka timestamp alone, never on the batch
that it is read in, so a replay gives the same totals. docs/validity.md lists the corners.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

# The contract of transactions_raw. Every field is read as text first, so that a wrong type costs a
# record only that field, and one that is no JSON object can be told from one that lacks fields.
FIELDS = ("order_id", "product_id", "total_amount", "payment_type", "transaction_time")
MALFORMED = "malformed_text"
TRANSACTION_SCHEMA = T.StructType(
    [T.StructField(name, T.StringType()) for name in (*FIELDS, MALFORMED)]
)
STRICT_JSON = {
    "columnNameOfCorruptRecord": MALFORMED,
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
}
# A product becomes part of a message to transactions_agg, which must not outgrow Kafka's limit.
MAX_ID_LENGTH = 200
PAYMENT_TYPES = ("credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery")
# A JSON number, bare or in quotes, of a sane length: 1e-999999999 would take minutes to round.
AMOUNT_PATTERN = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\z"
# 15 digits: as many as survive in a double, through which Spark's JSON reader passes a number.
AMOUNT_TYPE = T.DecimalType(15, 2)
TIME_PATTERN = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?\z"
)
AHEAD_LIMIT = "5 minutes"
# Spark's own watermark trails the rule for late records by this much. It drops what it calls late
# uncounted and depending on batch boundaries, so it may only ever meet windows that are closed.
# AHEAD_LIMIT takes half of it: partitions may be read 5 minutes apart in arrival time.
STATE_SLACK = "10 minutes"

REASONS = ("malformed", "identity", "amount", "payment_type", "time")
LATE = "late"
WINDOW = "1 minute"
ISO_MINUTE = "yyyy-MM-dd'T'HH:mm'Z'"
ISO_FORMAT = "yyyy-MM-dd'T'HH:mm:ss'Z'"


def parse(raw: DataFrame) -> DataFrame:
    """Kafka records -> fields as text, plus `amount` and `event_time`, null where not such."""
    text = F.col("value").cast("string")
    # Spark reads an empty value and bytes that are not UTF-8 as "no fields"; they are not JSON.
    json_text = F.when(F.is_valid_utf8(text) & text.contains("{"), text).otherwise("not an object")
    # inline: as a generator the JSON is read once, as a plain column once for every use of a field.
    record = F.inline(F.array(F.from_json(json_text, TRANSACTION_SCHEMA, STRICT_JSON)))
    amount, time = F.col("total_amount"), F.col("transaction_time")
    return raw.select("partition", "offset", "timestamp", record).withColumns(
        {
            "amount": F.when(amount.rlike(AMOUNT_PATTERN), amount.try_cast(AMOUNT_TYPE)),
            "event_time": F.when(time.rlike(TIME_PATTERN), time.try_cast("timestamp")),
        }
    )


def judge(transactions: DataFrame, watermark: str) -> DataFrame:
    """Add `verdict`: null for a valid record, else the first of REASONS or LATE that applies.

    It depends on the record and its Kafka timestamp alone, never on the batch that it is read in.
    The corners of each rule are listed in docs/validity.md.
    """
    arrival, event_time = F.col("timestamp"), F.col("event_time")
    broken = {
        "malformed": F.col(MALFORMED).isNotNull(),
        "identity": ~(is_id("order_id") & is_id("product_id")),
        "amount": ~holds(F.col("amount") >= 0),
        "payment_type": ~holds(F.col("payment_type").isin(*PAYMENT_TYPES)),
        "time": ~holds(event_time <= arrival + interval(AHEAD_LIMIT)),
        LATE: event_time < arrival - interval(watermark),
    }
    verdict = F.coalesce(*[F.when(condition, reason) for reason, condition in broken.items()])
    return transactions.withColumn("verdict", verdict)


def is_id(name: str) -> Column:
    """Any scalar but "": the text of an object, an array or an infinite number starts so."""
    is_scalar = F.col(name).rlike(r'^[^{\["]')
    return holds(is_scalar & (F.length(name) <= MAX_ID_LENGTH))


def holds(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))


def interval(duration: str) -> Column:
    return F.expr(f"INTERVAL {duration}")


def counts() -> list[Column]:
    """What a batch reports of its judged records: how many of each verdict, and where one lies."""
    verdict, place = F.col("verdict"), F.struct("partition", "offset")
    bad = (*REASONS, LATE)
    return [
        F.count("*").alias("records"),
        F.count_if(verdict.isNull()).alias("valid"),
        F.date_format(F.max(F.when(verdict.isNull(), F.col("event_time"))), ISO_MINUTE).alias(
            "last_window"
        ),
        *[F.count_if(verdict == reason).alias(reason) for reason in bad],
        *[F.max(F.when(verdict == reason, place)).alias(f"{reason}_at") for reason in bad],
    ]


def window_totals(valid: DataFrame, watermark: str, deduplicate: bool) -> DataFrame:
    """Valid transactions -> one row per 1-minute window of event time."""
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
    # The quotient has 12 decimals or more: below 10^10 orders rounding it again is rounding once.
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
