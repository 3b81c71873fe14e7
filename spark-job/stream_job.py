"""Turn purchase transactions into one-minute totals.

Reads JSON records from the Kafka topic `transactions_raw`, judges each one (valid, rejected for a
reason, or late), and writes one JSON message per window and update to `transactions_agg`.

Delivery: offsets and window state live in the checkpoint, the Kafka sink is at-least-once. A replay
repeats updates of a window, never changes them: the judgement of a record depends on the record
alone, so the fullest update of a window (most orders) is the true one, whatever was repeated.
"""

import json
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
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from totals import LATE, REASONS, counts, judge, parse, to_messages, window_totals

logger = logging.getLogger("spark-job")

STATE_PARTITIONS = 2  # pinned by the checkpoint; each is a task and a few files per batch
# For a backlog: eight and ten times the defaults of Kafka's consumer make it a tenth faster.
FETCH_BYTES, POLL_RECORDS = 8 * 2**20, 5_000
REPEATS = "numDroppedDuplicateRows"  # Spark's name for what DEDUPLICATE_ORDERS drops
LOG_INTERVAL_SEC = 10
WAIT_INTERVAL_SEC = 5


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the text names the variable and what is."""


TOPIC = (r"[A-Za-z0-9._-]{1,249}", "a name of letters, digits and ._-")
DURATION = (r"[0-9]{1,6} (millisecond|second|minute|hour|day)s?", "a duration such as '10 minutes'")
CHECKED = {
    "kafka_bootstrap_servers": (r"[^\s,]+:[0-9]+(,[^\s,]+:[0-9]+)*", "host:port[,host:port]"),
    "raw_topic": TOPIC,
    "agg_topic": TOPIC,
    "spark_master": (
        r"local(\[(\*|[1-9][0-9]*)\])?|yarn|(spark|k8s)://.+",
        "spark://host:port or local[*]",
    ),
    "watermark": DURATION,
    "trigger_interval": DURATION,
    "max_offsets_per_trigger": (r"[1-9][0-9]{0,17}", "a whole number above 0"),
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
    trigger_interval: str = "700 milliseconds"
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
        config = cls(**given)
        if not Path(config.health_file).parent.is_dir():
            raise ConfigError(
                f"HEALTH_FILE must be a file in a folder that exists, not {config.health_file!r}"
            )
        return config


def summary(batches: Iterable[StreamingQueryProgress], raw_topic: str) -> str | None:
    """One line on the given micro-batches; None if they read nothing."""
    batches = [batch for batch in batches if batch.numInputRows > 0]
    if not batches:
        return None
    observed = [batch.observedMetrics["judged"] for batch in batches]
    operators = [operator for batch in batches for operator in batch.stateOperators]
    dropped = sum(operator.numRowsDroppedByWatermark for operator in operators)
    repeats = [
        operator.customMetrics[REPEATS]
        for operator in operators
        if REPEATS in operator.customMetrics
    ]
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
        + (f" repeated={sum(repeats)}" if repeats else "")
        + f" last_window={last_window} lag={lag(batches[-1])}"
        + (f"; last seen: {', '.join(examples)}" if examples else "")
        # Only if partitions are read further apart in time than STATE_SLACK allows.
        + (f"; NOT COUNTED: {dropped} groups of valid records behind the state" if dropped else "")
    )


def lag(batch: StreamingQueryProgress) -> int | str:
    """Records that were in the topic when the batch was planned, and are left to later ones."""
    (source,) = batch.sources
    if source.latestOffset in (None, "null"):
        return "unknown"  # a batch that is run again was planned before this start of the job
    latest, end = (
        sum(sum(partitions.values()) for partitions in json.loads(offsets).values())
        for offsets in (source.latestOffset, source.endOffset)
    )
    return int(latest - end)


def session(config: Config) -> SparkSession:
    # Memory, Java options and quiet logs, unless whoever starts the job brings their own.
    os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "conf"))
    # A few windows fit the heap, and there their state is written fastest. The order_ids of 20
    # minutes do not: a million of them take 420 MB of it, in RocksDB 94 MB beside it.
    store = "RocksDB" if config.deduplicate_orders == "true" else "HDFSBacked"
    return (
        SparkSession.builder.appName("purchase-totals")
        .master(config.spark_master)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", STATE_PARTITIONS)
        .config(
            "spark.sql.streaming.stateStore.providerClass",
            f"org.apache.spark.sql.execution.streaming.state.{store}StateStoreProvider",
        )
        .config("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "true")
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
        .option("kafka.max.partition.fetch.bytes", FETCH_BYTES)
        .option("kafka.max.poll.records", POLL_RECORDS)
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
    last_batch, next_summary = -1, time.monotonic() + LOG_INTERVAL_SEC
    try:
        while not stop.is_set():
            if config.health_file:
                Path(config.health_file).touch()
            if query.awaitTermination(1):
                break
            if time.monotonic() >= next_summary:
                next_summary += LOG_INTERVAL_SEC
                last_batch = report(query, config, last_batch)
        query.stop()
    finally:  # no record goes uncounted because the job stops
        report(query, config, last_batch)


def report(query: StreamingQuery, config: Config, last_batch: int) -> int:
    """Log one line on the batches after `last_batch`, if they read anything; the new last one."""
    batches = [batch for batch in query.recentProgress if batch.batchId > last_batch]
    line = summary(batches, config.raw_topic)
    if line is None:
        return last_batch
    logger.info(line)
    return int(batches[-1].batchId)


def explain(error: StreamingQueryException, config: Config) -> str:
    """One line on why the query ended, and what to do where a person has to act."""
    text = str(error)
    start_over = (
        f"delete {config.checkpoint_location}, or set CHECKPOINT_LOCATION to a new folder; the job"
        " then starts over from the earliest offset"
    )
    if "data may have been lost because they are not available in Kafka" in text:
        return (
            f"Kafka has deleted records of {config.raw_topic} that this job had not read;"
            f" to go on without them, {start_over}"
        )
    if re.search(r"\[(STATE_STORE_\w*SCHEMA|STREAMING_STATEFUL_OPERATOR)\w*", text):
        return (
            f"the checkpoint {config.checkpoint_location} was written by another version of this"
            f" query: {start_over}. If fewer records count now, compute the table anew, too"
            " (docs/production.md)"
        )
    if "[CANNOT_LOAD_STATE_STORE" in text:
        return (
            f"the state in the checkpoint {config.checkpoint_location} cannot be read;"
            f" if it is damaged, {start_over}"
        )
    return "the query failed: " + text.splitlines()[0]


def cause(error: Exception) -> str:
    """What a failed call of Spark says in one line; the first one of Java's errors names none."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[1 if isinstance(error, Py4JJavaError) and len(lines) > 1 else 0].lstrip(": ")


def run(config: Config, stop: Event) -> int:
    """Keep the query running until `stop` is set; the exit code."""
    try:
        spark = session(config)
    except Exception as error:
        logger.error("no Spark at %s: %s", config.spark_master, cause(error))
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
        except (Py4JJavaError, PySparkException) as error:
            logger.error("the query failed: %s", cause(error))
            return 1
        except (Py4JError, ConnectionError):
            logger.error("the driver's Java process has ended; whoever started this job may again")
            return 1
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
