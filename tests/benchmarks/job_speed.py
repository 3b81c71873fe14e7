"""The job on a backlog: beside a query that only reads, or the job of another commit."""

from pathlib import Path

from job_queries import KAFKA, Query, drain, speeds
from results import Row
from stack import PROJECT
from testbed import Testbed

KINDS = {"job": False, "job, DEDUPLICATE_ORDERS=true": True}


def backlog(bed: Testbed) -> list[Row]:
    """The job with and without de-duplication, each in turns with Kafka -> noop."""
    bed.run_engines_only()
    topic = bed.backlog(bed.sizes.job_records)
    rows = []
    for what, deduplicate in KINDS.items():
        job = Query(topic, {"deduplicate_orders": deduplicate})
        found = speeds(bed, {"job": job, "bare": Query(topic, stage=KAFKA)})
        rows.append(Row(what, found["job"], "records/s", found["bare"]))
    topic.delete()
    return rows


def beside(bed: Testbed, base: Path) -> list[Row]:
    """The job in turns with that of `base`, another copy of the project, each in new processes."""
    bed.run_engines_only()
    first, topic = bed.backlog(bed.sizes.tuning_records), bed.backlog(bed.sizes.job_records)
    rows = []
    for what, deduplicate in KINDS.items():
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
