"""Which transactions count: the contract of transactions_raw, and a verdict on each record.

A verdict depends on the record and its Kafka timestamp alone, never on the batch that the record is
read in, so a replay gives the same totals. docs/validity.md lists the edge cases of each rule.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

# Every field is read as text first: a wrong type then costs a record only that field, and a value
# that is not a JSON object can be told from an object without these fields.
FIELDS = ("order_id", "product_id", "total_amount", "payment_type", "transaction_time")
MALFORMED_TEXT = "malformed_text"
TRANSACTION_SCHEMA = T.StructType(
    [T.StructField(name, T.StringType()) for name in (*FIELDS, MALFORMED_TEXT)]
)
STRICT_JSON = {
    "columnNameOfCorruptRecord": MALFORMED_TEXT,
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
}
# Any scalar but "". The text of an object, an array or an infinite number begins with a bracket or
# a quote. A number in scientific notation is no id: its digits depend on the version of Java.
ID_PATTERN = r'^(?!-?[0-9]\.[0-9]+E-?[0-9]+\z)[^{\["]'
# A product becomes part of a message to transactions_agg, which must stay below Kafka's size limit.
MAX_ID_LENGTH = 200
PAYMENT_TYPES = ("credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery")
# A JSON number, bare or in quotes, of a sane length: rounding 1e-999999999 would take minutes.
AMOUNT_PATTERN = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\z"
# 15 digits: as many as survive in a double, through which Spark's JSON reader passes a number.
AMOUNT_TYPE = T.DecimalType(15, 2)
TIME_PATTERN = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?\z"
)
AHEAD_LIMIT = "5 minutes"

REASONS = ("malformed", "identity", "amount", "payment_type", "time")
LATE = "late"


def parse(raw: DataFrame) -> DataFrame:
    """Kafka records -> the fields as text, `amount` and `event_time` (null if not readable)."""
    text = F.col("value").cast("string")
    # Spark reads an empty value, and bytes that are not UTF-8, as an object without fields.
    json_text = F.when(F.is_valid_utf8(text) & text.contains("{"), text).otherwise("not an object")
    # A column of its own, so that Spark reads the JSON once and not for each field.
    record = F.from_json(json_text, TRANSACTION_SCHEMA, STRICT_JSON).alias("record")
    kafka = ("partition", "offset", "timestamp")
    amount, time = F.col("total_amount"), F.col("transaction_time")
    return (
        raw.select(*kafka, record)
        .select(*kafka, "record.*")
        .withColumns(
            {
                "amount": F.when(amount.rlike(AMOUNT_PATTERN), amount.try_cast(AMOUNT_TYPE)),
                "event_time": F.when(time.rlike(TIME_PATTERN), time.try_cast("timestamp")),
            }
        )
    )


def judge(transactions: DataFrame, watermark: str) -> DataFrame:
    """Add `verdict`: null for a valid record, else the first of REASONS or LATE that applies.

    `transactions` is what `parse` returns; `watermark` is a duration such as '10 minutes'.
    """
    arrival, event_time = F.col("timestamp"), F.col("event_time")
    broken_rules = {
        "malformed": F.col(MALFORMED_TEXT).isNotNull(),
        "identity": ~(is_id("order_id") & is_id("product_id")),
        "amount": ~null_is_false(F.col("amount") >= 0),
        "payment_type": ~null_is_false(F.col("payment_type").isin(*PAYMENT_TYPES)),
        "time": ~null_is_false(event_time <= arrival + interval(AHEAD_LIMIT)),
        LATE: event_time < arrival - interval(watermark),
    }
    verdict = F.coalesce(*[F.when(broken, reason) for reason, broken in broken_rules.items()])
    return transactions.withColumn("verdict", verdict)


def is_id(name: str) -> Column:
    return null_is_false(F.col(name).rlike(ID_PATTERN) & (F.length(name) <= MAX_ID_LENGTH))


def null_is_false(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))


def interval(duration: str) -> Column:
    return F.expr(f"INTERVAL {duration}")
