"""The job on a backlog: beside a query that only reads, with more records, with more windows.

And beside the job of another commit.
"""

from pathlib import Path

from job_queries import KAFKA, Drained, Query, drain, speeds
from kafka_topic import Topic
from memory import PeakMemory
from results import Row
from stack import PROJECT
from testbed import Testbed

MARGIN_MIN = 20  # between the oldest record and the watermark


def backlog(bed: Testbed) -> list[Row]:
    """The job with and without de-duplication, each in turns with Kafka -> noop."""
    bed.run_engines_only()
    topic = bed.backlog(bed.sizes.job_records)
    rows = []
    for what, deduplicate, wanted in (
        ("job", False, ">= 0.60"),
        ("job, DEDUPLICATE_ORDERS=true", True, ">= 0.28"),
    ):
        job = Query(topic, {"deduplicate_orders": deduplicate})
        found = speeds(bed, {"job": job, "bare": Query(topic, stage=KAFKA)})
        rows.append(Row(what, found["job"], "records/s", found["bare"], wanted))
    topic.delete()
    return rows


def beside(bed: Testbed, base: Path) -> list[Row]:
    """The job in turns with that of `base`, another copy of the project, each in new processes."""
    bed.run_engines_only()
    first, topic = bed.backlog(bed.sizes.tuning_records), bed.backlog(bed.sizes.job_records)
    rows = []
    for what, deduplicate in (("job", False), ("job, DEDUPLICATE_ORDERS=true", True)):
        warm_up, query = (
            Query(each, {"deduplicate_orders": deduplicate}) for each in (first, topic)
        )
        pairs = [
            [drain(bed, [query], warm_up, project)[0] for project in (PROJECT, base)]
            for _ in range(bed.sizes.runs)
        ]
        ours, theirs = zip(*pairs, strict=True)
        speeds_of = [[run.per_second for run in runs] for runs in (ours, theirs)]
        micros_of = [[run.cpu_micros for run in runs] for runs in (ours, theirs)]
        rows += [
            Row(what, speeds_of[0], "records/s", speeds_of[1]),
            Row(f"{what}, processor", micros_of[0], "us a record", micros_of[1]),
        ]
    for each in (first, topic):
        each.delete()
    return rows


def growth(bed: Testbed) -> list[Row]:
    """More and more records in turns, each in new processes, after a query that is not counted."""
    bed.run_engines_only()
    first = bed.backlog(2 * bed.sizes.growth[0])  # during the first million, Java compiles
    topics = [bed.backlog(count) for count in bed.sizes.growth]
    runs: list[list[Drained]] = [[] for _ in topics]
    peaks: list[list[PeakMemory]] = [[] for _ in topics]
    for _ in range(bed.sizes.runs):
        for number, topic in enumerate(topics):
            with PeakMemory(bed.executors) as peak:
                runs[number] += drain(bed, [Query(topic)], warm_up=Query(first))
            peaks[number].append(peak)
    rows = []
    smallest = [run.per_second for run in runs[0]]
    for count, found, most in zip(bed.sizes.growth, runs, peaks, strict=True):
        what, per_second = f"{count:,} records", [run.per_second for run in found]
        rows += [
            Row(what, per_second, "records/s", smallest, "0.9 to 1.1 of the first"),
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
    sizes = bed.sizes.windows
    topics = [bed.backlog(bed.sizes.windows_records, minutes) for minutes in sizes]
    queries = [query_on(*each) for each in zip(topics, sizes, strict=True)]
    found = drain(bed, queries * bed.sizes.runs, warm_up=queries[0])
    rows = []
    fewest = [run.per_second for run in found[:: len(queries)]]
    for number, (topic, minutes) in enumerate(zip(topics, sizes, strict=True)):
        runs = found[number :: len(queries)]
        topic.delete()
        per_second = [run.per_second for run in runs]
        rows += [
            Row(f"{minutes} windows", per_second, "records/s", fewest, "ratio to the first"),
            Row(f"{minutes} windows, state", [run.state_rows for run in runs], "windows"),
            Row(f"{minutes} windows, state", [run.state_mb for run in runs], "MB"),
        ]
    return rows


def query_on(topic: Topic, minutes: int) -> Query:
    """The job with a watermark that keeps all windows of the topic open."""
    return Query(topic, {"watermark": f"{minutes + MARGIN_MIN} minutes"})
