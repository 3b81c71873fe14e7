"""What metrics cost: job and consumer with a scrape every second, in turns with no metrics."""

from collections.abc import Sequence
from itertools import chain

from consumer_speed import Stored, fill
from job_queries import Drained, Query, drain
from results import Row
from testbed import Testbed


def metrics_cost(bed: Testbed) -> list[Row]:
    bed.run_engines_only()
    return [*of_job(bed), *of_consumer(bed)]


def of_job(bed: Testbed) -> list[Row]:
    topic = bed.backlog(bed.sizes.tuning_records)
    with_metrics, without = Query(topic, is_scraped=True), Query(topic)
    # All in one session, and turned around each time: a later query runs on warmer code.
    turns = [
        (with_metrics, without) if run % 2 else (without, with_metrics)
        for run in range(2 * bed.sizes.runs)
    ]
    queries = list(chain.from_iterable(turns))
    found = list(zip(queries, drain(bed, queries, warm_up=without), strict=True))
    ours = [drained for query, drained in found if query.is_scraped]
    bare = [drained for query, drained in found if not query.is_scraped]
    topic.delete()
    return rows("job", "record", ours, bare)


def of_consumer(bed: Testbed) -> list[Row]:
    topic = bed.new_topic()
    fill(topic, bed.sizes.stored_rows)
    found: dict[bool, list[Stored]] = {True: [], False: []}
    for run in range(2 * bed.sizes.runs):
        for is_scraped in (True, False) if run % 2 else (False, True):
            group = f"{topic.name}-{is_scraped}-{run}"
            settings = {"agg_topic": topic.name, "consumer_group": group, "health_file": None}
            stored = bed.run_inside(
                "clickhouse-consumer",
                "store",
                settings=settings,
                rows=bed.sizes.stored_rows,
                is_scraped=is_scraped,
            )
            found[is_scraped].append(Stored(**stored))
    topic.delete()
    ours, bare = found[True], found[False]
    return rows("consumer", "row", ours, bare)


def rows(
    name: str, unit: str, ours: Sequence[Stored | Drained], bare: Sequence[Stored | Drained]
) -> list[Row]:
    """Speed and processor time, with metrics and without."""
    return [
        Row(
            name,
            [each.per_second for each in ours],
            f"{unit}s/s",
            [each.per_second for each in bare],
        ),
        Row(
            f"{name}, processor",
            [each.cpu_micros for each in ours],
            f"us a {unit}",
            [each.cpu_micros for each in bare],
        ),
    ]
