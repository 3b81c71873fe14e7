"""Turn purchase transactions into one-minute totals.

Reads JSON records from the Kafka topic `transactions_raw`, judges each one (valid, rejected for a
reason, or late), and writes one JSON message per window and update to `transactions_agg`.

Delivery: offsets and window state live in the checkpoint, the Kafka sink is at-least-once. A replay
repeats updates of a window, never changes them: the judgement of a record depends on the record
alone, so the fullest update of a window (most orders) is the true one, whatever was repeated.
"""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from threading import Event
from typing import Self

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from pyspark.errors import StreamingQueryException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

logger = logging.getLogger("spark-job")

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
STATE_SLACK = "10 minutes"

REASONS = ("malformed", "identity", "amount", "payment_type", "time")
LATE = "late"
WINDOW = "1 minute"
ISO_MINUTE = "yyyy-MM-dd'T'HH:mm'Z'"
ISO_FORMAT = "yyyy-MM-dd'T'HH:mm:ss'Z'"
STATE_PARTITIONS = 2  # pinned by the checkpoint; each is a task and a few files per batch
LOG_INTERVAL_SEC = 10
WAIT_INTERVAL_SEC = 5


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the text names the variable and what is."""


DURATION = (r"[0-9]+ (millisecond|second|minute|hour|day)s?", "a duration such as '10 minutes'")
CHECKED = {
    "watermark": DURATION,
    "trigger_interval": DURATION,
    "max_offsets_per_trigger": (r"[1-9][0-9]*", "a whole number above 0"),
    "deduplicate_orders": (r"true|false", "true or false"),
}


@dataclass(frozen=True)
class Config:
    """Settings, each from the environment variable of the same name in capitals."""

    kafka_bootstrap_servers: str = "localhost:9092"
    raw_topic: str = "transactions_raw"
    agg_topic: str = "transactions_agg"
    checkpoint_location: str = "/tmp/checkpoints"
    watermark: str = "10 minutes"
    trigger_interval: str = "0 seconds"
    max_offsets_per_trigger: str = "500000"
    deduplicate_orders: str = "false"
    spark_master: str = "local[*]"
    health_file: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check all settings; an empty variable counts as not set. Raises ConfigError."""
        names = [setting.name for setting in fields(cls)]
        given = {name: env[name.upper()] for name in names if env.get(name.upper())}
        for name, (pattern, allowed) in CHECKED.items():
            if name in given and not re.fullmatch(pattern, given[name]):
                raise ConfigError(f"{name.upper()} must be {allowed}, not {given[name]!r}")
        return cls(**given)


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
    return holds(F.col(name).rlike(r'^[^{\["]'))


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


def summary(batches: Iterable[StreamingQueryProgress], raw_topic: str) -> str | None:
    """One line on the given micro-batches; None if they read nothing."""
    batches = [batch for batch in batches if batch.numInputRows > 0]
    if not batches:
        return None
    observed = [batch.observedMetrics["judged"] for batch in batches]
    operators = [operator for batch in batches for operator in batch.stateOperators]
    dropped = sum(operator.numRowsDroppedByWatermark for operator in operators)
    total = {
        name: sum(row[name] for row in observed) for name in ("records", "valid", *REASONS, LATE)
    }
    rejected = " ".join(f"{reason}={total[reason]}" for reason in REASONS)
    last_window = max((row["last_window"] or "" for row in observed), default="") or "none"
    examples = [
        f"{reason} at {raw_topic}-{place['partition']} offset {place['offset']}"
        for reason in (*REASONS, LATE)
        if (place := next((row[f"{reason}_at"] for row in reversed(observed) if row[reason]), None))
    ]
    return (
        f"batches={len(observed)} records={total['records']} valid={total['valid']}"
        f" rejected={sum(total[reason] for reason in REASONS)} ({rejected}) late={total[LATE]}"
        f" last_window={last_window}"
        + (f"; last seen: {', '.join(examples)}" if examples else "")
        # Only if partitions are read further apart in time than STATE_SLACK.
        + (f"; NOT COUNTED: {dropped} groups of valid records behind the state" if dropped else "")
    )


def session(config: Config) -> SparkSession:
    # Memory, Java options and quiet logs, unless whoever starts the job brings their own.
    os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "conf"))
    return (
        SparkSession.builder.appName("purchase-totals")
        .master(config.spark_master)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", STATE_PARTITIONS)
        # A summary line must find every batch since the last one.
        .config("spark.sql.streaming.numRecentProgressUpdates", 200)
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def read_raw(spark: SparkSession, config: Config) -> DataFrame:
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", config.kafka_bootstrap_servers)
        .option("subscribe", config.raw_topic)
        .option("startingOffsets", "earliest")  # of a new checkpoint; else it goes on where it was
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", config.max_offsets_per_trigger)
        .load()
    )


def start_query(spark: SparkSession, config: Config) -> StreamingQuery:
    judged = judge(parse(read_raw(spark, config)), config.watermark).observe("judged", *counts())
    valid = judged.where(F.col("verdict").isNull())
    totals = window_totals(valid, config.watermark, config.deduplicate_orders == "true")
    return (
        to_messages(totals)
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", config.kafka_bootstrap_servers)
        .option("topic", config.agg_topic)
        .option("checkpointLocation", config.checkpoint_location)
        .outputMode("update")  # every window that changed, at once, not only when it is closed
        .trigger(processingTime=config.trigger_interval)
        .start()
    )


def wait_for_topics(config: Config, stop: Event) -> None:
    """Return when both topics are there or `stop` is set; until then a line every few seconds."""
    next_line = time.monotonic()
    while not stop.is_set() and (missing := missing_topics(config)):
        if time.monotonic() >= next_line:
            names = " and ".join(sorted(missing))
            logger.info("waiting for Kafka at %s to have %s", config.kafka_bootstrap_servers, names)
            next_line += WAIT_INTERVAL_SEC
        time.sleep(0.5)  # not stop.wait(): a handler that sets an Event inside its wait() can hang


def missing_topics(config: Config) -> set[str]:
    wanted = {config.raw_topic, config.agg_topic}
    try:
        with KafkaConsumer(
            bootstrap_servers=config.kafka_bootstrap_servers, bootstrap_timeout_ms=1000
        ) as consumer:
            wanted -= consumer.topics()
    except KafkaError:
        pass  # none of them is in reach
    return wanted


def watch(query: StreamingQuery, config: Config, stop: Event) -> None:
    """Log summaries until `stop` is set. Raises StreamingQueryException when the query fails."""
    next_batch, next_summary = 0, time.monotonic() + LOG_INTERVAL_SEC
    while not (query.awaitTermination(1) or stop.is_set()):
        if config.health_file:
            Path(config.health_file).touch()
        if time.monotonic() < next_summary:
            continue
        next_summary += LOG_INTERVAL_SEC
        batches = [batch for batch in query.recentProgress if batch.batchId >= next_batch]
        if line := summary(batches, config.raw_topic):
            logger.info(line)
            next_batch = batches[-1].batchId + 1
    query.stop()


def explain(error: StreamingQueryException, config: Config) -> str:
    """One line on why the query ended, and what to do where a person has to act."""
    text = str(error)
    if re.search(r"\[(STATE_STORE_\w*SCHEMA|STREAMING_STATEFUL_OPERATOR)\w*", text):
        return (
            f"the checkpoint {config.checkpoint_location} was written by another version of this"
            " query: set CHECKPOINT_LOCATION to a new folder (the job then starts over from the"
            " earliest offset, and the table stays right)"
        )
    return "the query failed: " + text.splitlines()[0]


def run(config: Config, stop: Event) -> int:
    """Keep the query running until `stop` is set; the exit code."""
    try:
        spark = session(config)
    except Exception as error:  # Java's own, and none of them says more than its first line
        logger.error("no Spark at %s: %s", config.spark_master, str(error).partition("\n")[0])
        return 1
    stop_on_signals(stop)  # again: Spark has just put its own handlers in place
    wait_for_topics(config, stop)
    while not stop.is_set():
        try:
            watch(start_query(spark, config), config, stop)
        except StreamingQueryException as error:
            reason = explain(error, config)
            if "org.apache.kafka.common." not in str(error):
                logger.error(reason)
                return 1
            logger.warning("going on from the checkpoint: %s", reason)
            wait_for_topics(config, stop)
    spark.stop()
    return 0


def stop_on_signals(stop: Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def main() -> int:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    logging.Formatter.converter = time.gmtime
    for noisy in ("kafka", "py4j"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        config = Config.from_env(os.environ)
    except ConfigError as error:
        logger.error("%s", error)
        return 2
    logger.info("starting with %s", config)
    stop = Event()
    stop_on_signals(stop)
    return run(config, stop)


if __name__ == "__main__":
    sys.exit(main())
