"""The job on a backlog, beside the same cluster reading the same topic and doing nothing else.

Queries run one after the other in a driver like the job's own, on the stack's master and worker.
The time is what Spark says of the batches: from the start of the first to the end of the last.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

import stream_job
from backlog import Topic, in_fresh_process
from results import Row
from testbed import PeakMemory, Testbed

MARGIN_MIN = 20  # between the oldest record and the watermark

Frame = Callable[[SparkSession, stream_job.Config], DataFrame]
Start = Callable[[SparkSession, stream_job.Config], StreamingQuery]


@dataclass(frozen=True)
class Plan:
    """One query to run on a topic until nothing is left; `settings` are the job's."""

    topic: Topic
    start: Start = stream_job.start_query
    settings: Mapping[str, str] = field(default_factory=dict)


class Drained(NamedTuple):
    records: int
    seconds: float
    state_rows: int
    state_mb: float

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


def backlog(bed: Testbed) -> list[Row]:
    """The job with and without de-duplication, each in turns with Kafka -> noop."""
    bed.run_engines_only()
    topic = bed.new_topic()
    topic.fill_up_to(bed.sizes.job_records)
    rows = []
    for what, settings, wanted in (
        ("job", {}, ">= 0.60"),
        ("job, DEDUPLICATE_ORDERS=true", {"DEDUPLICATE_ORDERS": "true"}, ">= 0.28"),
    ):
        job, bare = (
            Plan(topic, settings=settings),
            Plan(topic, partial(start_noop, stream_job.read_raw)),
        )
        found = drain(bed, [job, bare] * bed.sizes.runs, warm_up=job)
        speeds, bare_speeds = ([each.per_second for each in found[n::2]] for n in range(2))
        rows.append(Row(what, speeds, "records/s", bare_speeds, wanted))
    topic.delete()
    return rows


def growth(bed: Testbed) -> list[Row]:
    """More and more work in turns, each time with new processes, after a query not counted."""
    bed.run_engines_only()
    first, *topics = [bed.new_topic() for _ in (0, *bed.sizes.growth)]
    first.fill_up_to(2 * bed.sizes.growth[0])  # for the first million, Java compiles
    for topic, count in zip(topics, bed.sizes.growth, strict=True):
        topic.fill_up_to(count)
    runs: list[list[Drained]] = [[] for _ in topics]
    peaks: list[list[PeakMemory]] = [[] for _ in topics]
    for _ in range(bed.sizes.runs):
        for number, topic in enumerate(topics):
            with PeakMemory(bed) as peak:
                runs[number] += drain(bed, [Plan(topic)], warm_up=Plan(first))
            peaks[number].append(peak)
    rows = []
    smallest = [run.per_second for run in runs[0]]
    for count, found, most in zip(bed.sizes.growth, runs, peaks, strict=True):
        what, speeds = f"{count:,} records", [run.per_second for run in found]
        rows += [
            Row(what, speeds, "records/s", smallest, "0.9 to 1.1 of the first"),
            Row(f"{what}, driver", [each.driver_mb for each in most], "MB", wanted="flat"),
            Row(f"{what}, executor", [each.executor_mb for each in most], "MB", wanted="flat"),
            Row(f"{what}, state", [run.state_rows for run in found], "windows", wanted="bounded"),
        ]
    for topic in (first, *topics):
        topic.delete()
    return rows


def windows(bed: Testbed) -> list[Row]:
    """The same number of records in more and more windows, all open."""
    bed.run_engines_only()
    topics = [bed.new_topic() for _ in bed.sizes.windows]
    for topic, minutes in zip(topics, bed.sizes.windows, strict=True):
        topic.fill_up_to(bed.sizes.windows_records, minutes)
    plans = [
        Plan(topic, settings={"WATERMARK": f"{minutes + MARGIN_MIN} minutes"})
        for topic, minutes in zip(topics, bed.sizes.windows, strict=True)
    ]
    found = drain(bed, plans * bed.sizes.runs, warm_up=plans[0])
    rows = []
    fewest = [run.per_second for run in found[:: len(plans)]]
    for number, (topic, minutes) in enumerate(zip(topics, bed.sizes.windows, strict=True)):
        runs = found[number :: len(plans)]
        topic.delete()
        speeds = [run.per_second for run in runs]
        rows += [
            Row(f"{minutes} windows", speeds, "records/s", fewest, "ratio to the first"),
            Row(f"{minutes} windows, state", [run.state_rows for run in runs], "windows"),
            Row(f"{minutes} windows, state", [run.state_mb for run in runs], "MB"),
        ]
    return rows


def drain(bed: Testbed, plans: list[Plan], warm_up: Plan | None = None) -> list[Drained]:
    """One after the other in one session, whose first query pays for much: `warm_up` is that."""
    if warm_up:
        return drain(bed, [warm_up, *plans])[1:]
    results = bed.new_topic()
    environment = {**bed.job_environment, "AGG_TOPIC": results.name}
    checkpoints = [str(bed.new_checkpoint()) for _ in plans]
    log = str(bed.stack.directory / "log" / "bench-job.log")
    found: list[Drained] = in_fresh_process(run_plans, environment, plans, checkpoints, log)
    results.delete()
    return found


def run_plans(
    environment: Mapping[str, str], plans: Sequence[Plan], checkpoints: Sequence[str], log: str
) -> list[Drained]:
    """In a process of its own, made like that of the service spark-job."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    os.chdir(environment["STACK_DIR"])
    first, *_ = plans  # decides on what is set for the whole session
    spark = stream_job.session(stream_job.Config.from_env({**environment, **first.settings}))
    found = []
    for plan, checkpoint in zip(plans, checkpoints, strict=True):
        changed = {"RAW_TOPIC": plan.topic.name, "CHECKPOINT_LOCATION": checkpoint, **plan.settings}
        config = stream_job.Config.from_env({**environment, **changed})
        query = plan.start(spark, config)
        query.processAllAvailable()
        query.stop()
        found.append(drained(query))
    spark.stop()
    return found


def start_noop(frame: Frame, spark: SparkSession, config: stream_job.Config) -> StreamingQuery:
    """Into a sink that does nothing with the rows."""
    return (
        frame(spark, config)
        .writeStream.format("noop")
        .option("checkpointLocation", config.checkpoint_location)
        .outputMode("update")
        .trigger(processingTime=config.trigger_interval)
        .start()
    )


def drained(query: StreamingQuery) -> Drained:
    batches = [batch for batch in query.recentProgress if batch.numInputRows > 0]
    first, last = (datetime.fromisoformat(batches[n].timestamp) for n in (0, -1))
    end = last + timedelta(milliseconds=batches[-1].durationMs["triggerExecution"])
    # The last operator holds the windows; that of de-duplication, if any, comes before it.
    states = [batch.stateOperators[-1] for batch in batches if batch.stateOperators]
    return Drained(
        records=sum(batch.numInputRows for batch in batches),
        seconds=(end - first).total_seconds(),
        state_rows=max((state.numRowsTotal for state in states), default=0),
        state_mb=max((state.memoryUsedBytes for state in states), default=0) / 2**20,
    )
