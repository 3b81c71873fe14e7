"""Where the job's time goes: more and more of its query, on the same backlog each time."""

from job_queries import KAFKA, Query, speeds
from results import Row
from testbed import Testbed

STAGES = (  # of inside_job.py, in the order of the query
    KAFKA,
    "+ JSON",
    "+ amount and time",
    "+ verdict",
    "+ counts of verdicts",
    "+ windows, sum and count",
    "+ top product",
)
WHOLE = "+ messages to Kafka"


def stages(bed: Testbed) -> list[Row]:
    """Each stage into Spark's noop sink, and last the whole query into Kafka."""
    bed.run_engines_only()
    topic = bed.backlog(bed.sizes.tuning_records)
    queries = {stage: Query(topic, stage=stage) for stage in STAGES}
    per_second = speeds(bed, {**queries, WHOLE: Query(topic)})
    topic.delete()
    micros = {name: [1e6 / speed for speed in runs] for name, runs in per_second.items()}
    return [Row(name, runs, "us a record", micros[WHOLE]) for name, runs in micros.items()]
