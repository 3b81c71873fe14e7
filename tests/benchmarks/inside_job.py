"""Runs queries of the job, one after the other: until each has read a backlog, or for a while.

testbed.py runs this with only spark-job/ on the path and the job's environment, in which a driver
like the job's own runs on the stack's master and worker: inside_job.py drain or inside_job.py pace,
with the arguments of the function as a JSON object on stdin. Prints what it returns as JSON.

A query is an object: `settings` of the job (lower case) and, if given, `stage`, after which its
rows go into Spark's noop sink instead of on, and `session` and `source`, the options of Spark's
session and Kafka source that differ from the job's; `is_scraped`: with metrics; `seconds` of pace.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import psutil
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamReader

import stream_job
from lifecycle import set_up_logging
from progress import OBSERVATION, verdict_metrics
from settings import Settings
from totals import window_totals
from validity import judge, parse

Query = Mapping[str, Any]

SETTLE_SEC = 5  # of a query's first batches, which plan and load more than others


def drain(queries: Sequence[Query]) -> list[dict[str, float]]:
    """Run all queries in one session; how much time each took."""
    first, *_ = queries  # its settings decide what holds for the whole session
    spark = stream_job.session(Settings(**first["settings"]))
    found = []
    for query in queries:
        before = cpu_seconds(spark)
        running = start(spark, query)
        with watched(running, query):
            running.processAllAvailable()
        running.stop()
        found.append({**drained(running), "cpu_seconds": cpu_seconds(spark) - before})
    spark.stop()
    return found


def pace(queries: Sequence[Query], others: Mapping[str, Sequence[int]]) -> list[dict[str, float]]:
    """Run each query for its `seconds`, in one session, on records that somebody sends meanwhile.

    Returns for each the medians of its micro-batches in seconds, and processor time in % of a core:
    of driver, executors, and the processes in `others`.
    """
    first, *_ = queries
    spark = stream_job.session(Settings(**first["settings"]))
    of_others = {name: [psutil.Process(pid) for pid in pids] for name, pids in others.items()}
    found = []
    for query in queries:
        running = start(spark, query)
        time.sleep(SETTLE_SEC)
        begin, groups = datetime.now(UTC), spark_processes(spark) | of_others
        before = {name: spent(processes) for name, processes in groups.items()}
        time.sleep(query["seconds"])
        share = 100 / query["seconds"]
        percent = {name: share * (spent(groups[name]) - before[name]) for name in groups}
        found.append(medians(running, begin) | percent)
        running.stop()
    spark.stop()
    return found


def medians(running: StreamingQuery, begin: datetime) -> dict[str, float]:
    """Of each duration that Spark gives, in seconds, over the micro-batches since then."""
    durations = [
        batch.durationMs
        for batch in running.recentProgress
        if batch.numInputRows > 0 and datetime.fromisoformat(batch.timestamp) >= begin
    ]
    return {name: median(each[name] for each in durations) / 1000 for name in durations[0]}


@contextmanager
def watched(running: StreamingQuery, query: Query) -> Iterator[None]:
    """Look at the query and scrape its metrics every second, if that is wanted."""
    if not query.get("is_scraped"):
        yield
        return
    # Not at the top: earlier versions of the job, too, run here, and they have none.
    from metrics import JobMetrics
    from progress import Reporter

    sys.path.append(str(Path(__file__).parent))  # at its end: must not hide files of the service
    from scraper import scraped

    settings = Settings(**query["settings"])
    reporter = Reporter(settings)
    collector = JobMetrics(reporter, settings)
    with scraped(collector, settings, also=lambda: reporter.look(running)):
        yield


def cpu_seconds(spark: SparkSession) -> float:
    """The processor time so far of this process, of its driver and of the executors."""
    groups = spark_processes(spark).values()
    return spent([psutil.Process(), *(each for processes in groups for each in processes)])


def spark_processes(spark: SparkSession) -> dict[str, list[psutil.Process]]:
    application = spark.sparkContext.applicationId
    return {
        "driver": psutil.Process().children(recursive=True),
        "executor": [each for each in psutil.process_iter() if application in arguments(each)],
    }


def spent(processes: Iterable[psutil.Process]) -> float:
    return sum(each.cpu_times().user + each.cpu_times().system for each in processes)


def arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended, or is another user's
        return []


def start(spark: SparkSession, query: Query) -> StreamingQuery:
    settings = Settings(**query["settings"])
    if stage := query.get("stage"):
        raw = stream_job.read_raw(spark, settings)
        return start_noop(STAGES[stage](raw, settings), settings)
    with changed_session(spark, query.get("session", {})), changed_source(query.get("source", {})):
        return stream_job.start_query(spark, settings)  # which keeps what holds at its start


def start_noop(frame: DataFrame, settings: Settings) -> StreamingQuery:
    """Run into a sink that does nothing with the rows."""
    return (
        frame.writeStream.format("noop")
        .option("checkpointLocation", settings.checkpoint_location)
        .outputMode("update")
        .trigger(processingTime=settings.trigger_interval)
        .start()
    )


@contextmanager
def changed_session(spark: SparkSession, options: Mapping[str, str]) -> Iterator[None]:
    before = {name: str(spark.conf.get(name)) for name in options}
    for name, value in options.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


@contextmanager
def changed_source(options: Mapping[str, str]) -> Iterator[None]:
    load = DataStreamReader.load
    with patch.object(DataStreamReader, "load", lambda reader: load(reader.options(**options))):
        yield


def drained(query: StreamingQuery) -> dict[str, float]:
    """What Spark says of the batches, from the start of the first to the end of the last."""
    batches = [batch for batch in query.recentProgress if batch.numInputRows > 0]
    first, last = (datetime.fromisoformat(batches[n].timestamp) for n in (0, -1))
    end = last + timedelta(milliseconds=batches[-1].durationMs["triggerExecution"])
    return {
        "records": sum(batch.numInputRows for batch in batches),
        "seconds": (end - first).total_seconds(),
    }


def only_read(raw: DataFrame, _settings: Settings) -> DataFrame:
    return raw


def with_json(raw: DataFrame, _settings: Settings) -> DataFrame:
    return raw.transform(parse).drop("amount", "event_time")  # so Spark does not compute them


def parsed(raw: DataFrame, _settings: Settings) -> DataFrame:
    return raw.transform(parse)


def judged(raw: DataFrame, settings: Settings) -> DataFrame:
    return parsed(raw, settings).transform(judge, settings.watermark)


def counted(raw: DataFrame, settings: Settings) -> DataFrame:
    return judged(raw, settings).observe(OBSERVATION, *verdict_metrics())


def without_top_product(raw: DataFrame, settings: Settings) -> DataFrame:
    return totalled(raw, settings).drop("top_product")


def totalled(raw: DataFrame, settings: Settings) -> DataFrame:
    valid = counted(raw, settings).where(F.col("verdict").isNull())
    return valid.transform(window_totals, settings.watermark, settings.deduplicate_orders)


STAGES: dict[str, Callable[[DataFrame, Settings], DataFrame]] = {
    "Kafka": only_read,
    "+ JSON": with_json,
    "+ amount and time": parsed,
    "+ verdict": judged,
    "+ counts of verdicts": counted,
    "+ windows, sum and count": without_top_product,
    "+ top product": totalled,
}


if __name__ == "__main__":
    result = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Java's output belongs in the log
    set_up_logging()
    function = {"drain": drain, "pace": pace}[sys.argv[1]]
    json.dump(function(**json.load(sys.stdin)), result)
