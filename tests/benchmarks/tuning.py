"""Where the job's time goes, and what other settings would be worth: the same backlog each time."""

from collections.abc import Mapping
from functools import partial
from unittest.mock import patch

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader

import stream_job
from backlog import Topic
from draining import Frame, Plan, Start, drain, start_noop
from results import Row
from stream_job import Config
from testbed import Testbed
from totals import counts, judge, parse, window_totals

PARTITIONS = "spark.sql.shuffle.partitions"
STATE_STORE = "spark.sql.streaming.stateStore.providerClass"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
SMALL_TASKS = {"maxRecordsPerPartition": "100000"}
KAFKAS_FETCHES = {  # the defaults of its consumer
    "kafka.max.partition.fetch.bytes": str(2**20),
    "kafka.max.poll.records": "500",
}


def json_fields(spark: SparkSession, config: Config) -> DataFrame:
    return parsed(spark, config).drop("amount", "event_time")  # so Spark leaves them out


def parsed(spark: SparkSession, config: Config) -> DataFrame:
    return parse(stream_job.read_raw(spark, config))


def judged(spark: SparkSession, config: Config) -> DataFrame:
    return judge(parsed(spark, config), config.watermark)


def counted(spark: SparkSession, config: Config) -> DataFrame:
    return judged(spark, config).observe("judged", *counts())


def summed(spark: SparkSession, config: Config) -> DataFrame:
    return totalled(spark, config).drop("top_product")


def totalled(spark: SparkSession, config: Config) -> DataFrame:
    valid = counted(spark, config).where(F.col("verdict").isNull())
    return window_totals(valid, config.watermark, deduplicate=False)


FRAMES: dict[str, Frame] = {
    "Kafka": stream_job.read_raw,
    "+ JSON": json_fields,
    "+ amount and time": parsed,
    "+ verdict": judged,
    "+ counts of verdicts": counted,
    "+ windows, sum and count": summed,
    "+ top product": totalled,
}


def stages(bed: Testbed) -> list[Row]:
    """More and more of the query into Spark's noop sink, at last all of it into Kafka."""
    starts: dict[str, Start] = {name: partial(start_noop, FRAMES[name]) for name in FRAMES}
    whole = "+ messages to Kafka"
    starts[whole] = stream_job.start_query
    topic = backlog(bed)
    speeds = speeds_of(bed, {name: Plan(topic, start) for name, start in starts.items()})
    topic.delete()
    micros = {name: [1e6 / speed for speed in runs] for name, runs in speeds.items()}
    return [Row(name, runs, "us a record", micros[whole]) for name, runs in micros.items()]


def settings(bed: Testbed) -> list[Row]:
    """Each choice in turns with the job as it is."""
    topic = backlog(bed)
    as_it_is, limit = "as it is", "MAX_OFFSETS_PER_TRIGGER"
    speeds = speeds_of(
        bed,
        {
            as_it_is: Plan(topic),
            "1 shuffle partition": Plan(topic, start_with(session={PARTITIONS: "1"})),
            "4 shuffle partitions": Plan(topic, start_with(session={PARTITIONS: "4"})),
            "8 shuffle partitions": Plan(topic, start_with(session={PARTITIONS: "8"})),
            "RocksDB": Plan(topic, start_with(session={STATE_STORE: ROCKSDB})),
            "minPartitions=6": Plan(topic, start_with(source={"minPartitions": "6"})),
            "100,000 records a task": Plan(topic, start_with(source=SMALL_TASKS)),
            "1 MB a fetch, 500 a poll": Plan(topic, start_with(source=KAFKAS_FETCHES)),
            f"{limit}=100000": Plan(topic, settings={limit: "100000"}),
            f"{limit}=2000000": Plan(topic, settings={limit: "2000000"}),
        },
    )
    topic.delete()
    return [Row(name, runs, "records/s", speeds[as_it_is]) for name, runs in speeds.items()]


def start_with(
    session: Mapping[str, str] | None = None, source: Mapping[str, str] | None = None
) -> Start:
    return partial(start_changed, session or {}, source or {})


def start_changed(
    session: Mapping[str, str], source: Mapping[str, str], spark: SparkSession, config: Config
) -> StreamingQuery:
    """The job with other settings of the session and of the Kafka source."""
    load = DataStreamReader.load
    before = {name: str(spark.conf.get(name)) for name in session}
    for name, value in session.items():
        spark.conf.set(name, value)
    try:
        with patch.object(DataStreamReader, "load", lambda reader: load(reader.options(**source))):
            return stream_job.start_query(spark, config)  # which keeps the settings of its start
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def backlog(bed: Testbed) -> Topic:
    bed.run_engines_only()
    topic = bed.new_topic()
    topic.fill_up_to(bed.sizes.tuning_records)
    return topic


def speeds_of(bed: Testbed, plans: Mapping[str, Plan]) -> dict[str, list[float]]:
    """Records a second in each run of each plan, all in one session and in turns."""
    first, *_ = plans.values()
    found = drain(bed, [*plans.values()] * bed.sizes.runs, warm_up=first)
    runs = {name: found[number :: len(plans)] for number, name in enumerate(plans)}
    return {name: [run.per_second for run in each] for name, each in runs.items()}
