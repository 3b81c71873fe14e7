"""Queries of the job on a backlog, run one after the other in a driver like the job's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kafka_topic import Topic
from stack import PROJECT
from testbed import Testbed

KAFKA = "Kafka"  # the first stage


@dataclass(frozen=True)
class Query:
    """One query to run on a topic until nothing is left to read; inside_job.py has the details."""

    topic: Topic
    settings: Mapping[str, object] = field(default_factory=dict)
    stage: str = ""  # after which the rows go into Spark's noop sink; empty: the whole job
    session: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    is_scraped: bool = False  # its metrics, every second


class Drained(NamedTuple):
    """What a query did. `cpu_seconds` is that of driver and executors, start and stop included."""

    records: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Processor time per record."""
        return 1e6 * self.cpu_seconds / self.records


def drain(
    bed: Testbed, queries: Sequence[Query], warm_up: Query, project: Path = PROJECT
) -> list[Drained]:
    """Run them all in one session, after a first one that is not counted: it pays for much.

    The job is that of `project`, which may be another copy of the project.
    """
    results = bed.new_topic()
    plans = [
        {
            "settings": {
                "raw_topic": query.topic.name,
                "agg_topic": results.name,
                "checkpoint_location": bed.new_checkpoint(),
                **query.settings,
            },
            "stage": query.stage,
            "session": query.session,
            "source": query.source,
            "is_scraped": query.is_scraped,
        }
        for query in (warm_up, *queries)
    ]
    found = bed.run_inside("spark-job", "drain", project, queries=plans)
    results.delete()
    return [Drained(**each) for each in found[1:]]


def speeds(bed: Testbed, queries: Mapping[str, Query]) -> dict[str, list[float]]:
    """Records per second of each query in each run, in one session and in turns."""
    first, *_ = queries.values()
    found = drain(bed, [*queries.values()] * bed.sizes.runs, warm_up=first)
    runs = {name: found[number :: len(queries)] for number, name in enumerate(queries)}
    return {name: [run.per_second for run in each] for name, each in runs.items()}
