"""How fresh the table is: from each record's Kafka timestamp to the first answer that counts it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from statistics import quantiles

from freshness import Freshness
from raw_topic import RawTopic
from results import Row
from testbed import Testbed
from verify import fetch_rows
from windows import Expected
from windows import Row as Window

WATERMARK = timedelta(minutes=10)
WARM_UP_SEC, WARM_UP_RATE = 10, 100
POLL_SEC = 0.05
LOOK_SEC, LOOKS = 5.0, 12  # how long, and how often, to look for the last records

Answer = tuple[datetime, list[Window]]


def freshness(bed: Testbed) -> list[Row]:
    """At each rate in turns, after a warm-up that is not counted."""
    bed.run_whole_pipeline()
    begins, answers = list[datetime](), list[Answer]()
    poll_while_sending(bed, WARM_UP_RATE, min(WARM_UP_SEC, bed.sizes.fresh_sec), answers)
    rates = bed.sizes.fresh_rates * bed.sizes.runs
    for rate in rates:
        begins.append(datetime.now(UTC))
        poll_while_sending(bed, rate, bed.sizes.fresh_sec, answers)
    begins.append(datetime.now(UTC))
    delays = delays_sec(bed, answers, partial(poll, bed, LOOK_SEC, answers))
    cuts: dict[int, list[list[float]]] = {rate: [] for rate in bed.sizes.fresh_rates}
    for rate, (begin, end) in zip(rates, pairwise(begins), strict=True):
        of_run = [delay for arrival, delay in delays if begin <= arrival < end]
        cuts[rate].append(quantiles(of_run, n=100, method="inclusive"))
    return [
        Row(f"{rate}/s, p{percent}", [run[percent - 1] for run in runs], "s", wanted=wanted)
        for rate, runs in cuts.items()
        for percent, wanted in ((50, "<= 0.9"), (99, "<= 2"))
    ]


def poll_while_sending(bed: Testbed, rate: float, seconds: float, answers: list[Answer]) -> None:
    with bed.producer(rate):
        poll(bed, seconds, answers)


def poll(bed: Testbed, seconds: float, answers: list[Answer]) -> None:
    """Query the table again and again; add what it answers each time that has changed."""
    client, end = bed.pipeline.client(), time.monotonic() + seconds
    while time.monotonic() < end:
        rows = sorted(fetch_rows(client, "aggregated_analytics"))
        if not answers or rows != answers[-1][1]:
            answers.append((datetime.now(UTC), rows))
        time.sleep(POLL_SEC)
    client.disconnect()


def delays_sec(
    bed: Testbed, answers: list[Answer], look: Callable[[], None]
) -> list[tuple[datetime, float]]:
    """Arrival and delay of every record. Computed afterwards, to leave the cores to the pipeline.

    The table tells how many records of a window it counts, not which: taken to be the first ones.
    `look` adds answers. It is called once, and again while some record is not counted. Raises
    RuntimeError if some never is.
    """
    look()
    freshness = Freshness(Expected(WATERMARK))
    raw = RawTopic(bed.pipeline.bootstrap_servers, "transactions_raw")
    for record in sorted(raw.read_new(), key=lambda record: record.arrival):
        freshness.arrived(record.value, record.arrival)
    raw.close()
    found, seen = list[tuple[datetime, float]](), 0
    for _ in range(LOOKS):
        for moment, rows in answers[seen:]:
            counted = freshness.counted(rows)
            found += [(arrival, (moment - arrival).total_seconds()) for arrival in counted]
        seen = len(answers)
        if not any(freshness.waiting.values()):
            return found
        look()
    raise RuntimeError(f"not counted: {sum(map(len, freshness.waiting.values()))} records")
