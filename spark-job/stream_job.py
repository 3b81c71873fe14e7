"""Turn purchase transactions into one-minute totals.

Reads JSON records from the Kafka topic `transactions_raw`, judges each one (valid, rejected for a
reason, or late), and writes one JSON message per window and update to `transactions_agg`.

Delivery: offsets and window state are in the checkpoint; the Kafka sink is at-least-once. A replay
repeats updates of a window and never changes them, because the verdict on a record depends on that
record alone. So the update with the most orders is the true one, whatever was repeated.
"""

import logging
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pyspark
from kafka.errors import KafkaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from advice import FAILURES, advice, is_failure_of_kafka, misses_records
from counted import CountedRecords, RecordsLost
from health import Health, NoExecutor, has_ended
from kafka_access import SettingsError
from kafka_options import kafka_options
from kafka_topics import wait_for_topics
from known_topics import KnownTopics
from lifecycle import RESTART_DELAY_SEC, Stop, guarded, set_up_logging
from metrics import JobMetrics
from metrics_server import serve
from progress import OBSERVATION, Reporter, verdict_metrics
from settings import Settings, load
from totals import to_messages, window_totals
from validity import judge, parse

logger = logging.getLogger(__name__)

CLASSES = Path(pyspark.__file__).parent / "classes.jsa"  # see load_classes.py
STATE_PARTITIONS = 2  # fixed by the checkpoint; each is a task and a few files per batch
# For a backlog: 8 and 10 times the defaults of Kafka's consumer make the job a tenth faster.
FETCH_BYTES, POLL_RECORDS = 8 * 2**20, 5_000
LOOK_INTERVAL_SEC = 10
FILE_MANAGER = "spark.sql.streaming.checkpointFileManagerClass"
LOCAL_FILE_MANAGER = (
    "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
)


def builder() -> SparkSession.Builder:
    """A session with the memory, Java options and logs of conf/, and the archive of classes."""
    # Unless whoever starts the job brings their own.
    os.environ.setdefault("SPARK_CONF_DIR", str(Path(__file__).parent / "conf"))
    new = SparkSession.builder.appName("purchase-totals")
    if CLASSES.exists():
        for process in ("driver", "executor"):
            # Java uses the archive only if the class path begins as it did when it was made.
            new = new.config(f"spark.{process}.defaultExtraClassPath", f"{CLASSES.parent}/jars/*")
            option = f"-XX:SharedArchiveFile={shlex.quote(str(CLASSES))}"
            new = new.config(f"spark.{process}.defaultJavaOptions", option)
    return new


def session(settings: Settings) -> SparkSession:
    """The driver's session on `spark_master`; raises whatever Spark raises if there is none."""
    # A few windows fit into the heap, where their state is written fastest. The order_ids of 20
    # minutes do not: a million of them take 420 MB of heap, or 94 MB outside of it in RocksDB.
    store = "RocksDB" if settings.deduplicate_orders else "HDFSBacked"
    new = builder()
    if urlsplit(settings.checkpoint_location).scheme in ("", "file"):
        # Uses the fast local file system of conf/; Spark's own choice does not. Wrong on HDFS,
        # where its rename replaces no file: what should be overwritten would stay.
        new = new.config(FILE_MANAGER, LOCAL_FILE_MANAGER)
    return (
        new.master(settings.spark_master)
        # CHECKPOINT_LOCATION without a scheme is a local folder, whatever HADOOP_CONF_DIR says.
        .config("spark.hadoop.fs.defaultFS", "file:///")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", STATE_PARTITIONS)
        .config(
            "spark.sql.streaming.stateStore.providerClass",
            f"org.apache.spark.sql.execution.streaming.state.{store}StateStoreProvider",
        )
        .config("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "true")
        # A summary must find every batch since the last one.
        .config("spark.sql.streaming.numRecentProgressUpdates", 200)
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )


def read_raw(spark: SparkSession, settings: Settings) -> DataFrame:
    """The records of the raw topic, as a stream."""
    return (
        spark.readStream.format("kafka")
        .options(**kafka_options(settings))
        .option("subscribe", settings.raw_topic)
        .option("startingOffsets", "earliest")  # of a new checkpoint; an old one has its own
        .option("failOnDataLoss", "true")
        .option("kafka.isolation.level", "read_committed")  # no records of aborted transactions
        .option("maxOffsetsPerTrigger", settings.max_offsets_per_trigger)
        .option("kafka.max.partition.fetch.bytes", FETCH_BYTES)
        .option("kafka.max.poll.records", POLL_RECORDS)
        .load()
    )


def purchase_totals(raw: DataFrame, settings: Settings) -> DataFrame:
    """The query: records of transactions_raw -> messages of transactions_agg."""
    return (
        raw.transform(parse)
        .transform(judge, settings.watermark)
        .observe(OBSERVATION, *verdict_metrics())
        .where(F.col("verdict").isNull())
        .transform(window_totals, settings.watermark, settings.deduplicate_orders)
        .transform(to_messages)
    )


def start_query(spark: SparkSession, settings: Settings) -> StreamingQuery:
    """Start the query from its checkpoint, or from the earliest offset if there is none."""
    return (
        purchase_totals(read_raw(spark, settings), settings)
        .writeStream.format("kafka")
        .options(**kafka_options(settings))
        .option("topic", settings.agg_topic)
        .option("checkpointLocation", settings.checkpoint_location)
        .outputMode("update")  # each window that has changed, at once, not only when it is closed
        .trigger(processingTime=settings.trigger_interval)
        .start()
    )


def watch(
    query: StreamingQuery,
    health: Health,
    topics: KnownTopics,
    counted: CountedRecords,
    stop: Stop,
    reporter: Reporter,
) -> None:
    """Log progress until a stop is requested.

    Raises StreamingQueryException if the query fails, NoExecutor, ClockSetBack, TopicReplaced or
    RecordsLost.
    """
    next_look = time.monotonic() + LOOK_INTERVAL_SEC
    try:
        while not stop.requested and not query.awaitTermination(1):
            health.check()
            counted.add(reporter.look(query))
            if time.monotonic() >= next_look:
                next_look += LOOK_INTERVAL_SEC
                reporter.log()
                topics.check()
    finally:
        query.stop()  # or it logs stack traces when its session ends
        last = reporter.look(query)
        reporter.log()
        counted.add(last)


def keep_running(spark: SparkSession, settings: Settings, stop: Stop, reporter: Reporter) -> None:
    """Run the query until a stop is requested, and start it again after a failure of Kafka.

    Raises the error of any other failure, and DamagedCheckpoint.
    """
    topics, counted = KnownTopics(spark, settings), CountedRecords(spark, settings)
    wait_for_topics(settings, stop)
    while not stop.requested:
        try:
            topics.check()
            counted.check()
            query = start_query(spark, settings)
            watch(query, Health(spark, settings), topics, counted, stop, reporter)
        except KafkaError as error:
            logger.warning("Kafka does not say what it still has: %s", type(error).__name__)
            stop.wait(RESTART_DELAY_SEC)
            wait_for_topics(settings, stop)
        except RecordsLost:
            topics.check()  # a new topic has other records, too
            raise
        except PySparkException as error:
            topics.check()  # to Spark, a new topic may be one that has lost records
            if has_ended(spark):
                raise NoExecutor from error
            if misses_records(error):
                with suppress(KafkaError):
                    counted.check_ends()
                    counted.check()
            if not is_failure_of_kafka(error):
                raise
            logger.warning("continuing from the checkpoint: %s", advice(error, settings))
            wait_for_topics(settings, stop)


def run(settings: Settings, stop: Stop) -> int:
    """Keep the query running until a stop is requested; the exit code."""
    reporter = Reporter(settings)
    serve(JobMetrics(reporter, settings), settings)
    failure = f"cannot start a Spark session on {settings.spark_master}"
    try:
        with session(settings) as spark:
            failure = "the query failed"
            stop.on_signals()  # again: with its session, Spark has installed a handler of its own
            keep_running(spark, settings, stop, reporter)
    except FAILURES as error:
        # A signal to the whole process group, such as Ctrl-C, also ends the JVM: no failure.
        if not stop.requested:
            logger.error("%s", advice(error, settings, failure))
            stop.wait(RESTART_DELAY_SEC)
            return 1
    logger.info("stopped: %s", reporter)
    return 0


def main() -> int:
    set_up_logging()
    # py4j logs a traceback to the root logger when the JVM has exited.
    logging.getLogger().addFilter(lambda record: False)
    try:
        settings = load()
    except SettingsError as error:
        logger.error("%s", error)
        return 2
    logger.info("starting with %s", settings)
    stop = Stop()
    stop.on_signals()
    return guarded(lambda: run(settings, stop), stop)


if __name__ == "__main__":
    sys.exit(main())
