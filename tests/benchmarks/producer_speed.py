"""The producer: at full speed beside a bare send() loop, and at a given rate."""

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import quantiles

from kafka_topic import Topic
from results import Row
from testbed import Testbed

RATES = (10, 1_000, 10_000)


def fastest(bed: Testbed) -> list[Row]:
    """RATE=0, records of all kinds, beside send() of one record that is already encoded."""
    bed.run_engines_only()
    count, processes = bed.sizes.sent_records, os.cpu_count() or 1
    bare, ours, several = list[float](), list[float](), list[float]()
    for _ in range(bed.sizes.runs):
        bare.append(speed(bed, partial(send_bare, bed, count)))
        ours.append(speed(bed, partial(produce, bed, count, 1)))
        several.append(speed(bed, partial(produce, bed, count, processes)))
    return [
        Row("RATE=0, one process", ours, "records/s", bare, ">= 0.75"),
        Row(f"RATE=0, PROCESSES={processes}", several, "records/s", bare, "more than one"),
    ]


def speed(bed: Testbed, send: Callable[[Topic], None]) -> float:
    """Records per second by the broker's clock."""
    topic = bed.new_topic()
    send(topic)
    per_second = topic.per_second()
    topic.delete()
    return per_second


def send_bare(bed: Testbed, count: int, topic: Topic) -> None:
    bed.run_inside("producer", "send_bare", topic=topic.name, count=count)


def produce(bed: Testbed, count: int, processes: int, topic: Topic) -> None:
    bed.pipeline.produce(count, RAW_TOPIC=topic.name, PROCESSES=processes, SEED=1)


def pace(bed: Testbed) -> list[Row]:
    """RATE=n, by the time at which the producer handed each record to Kafka's client."""
    bed.run_engines_only()
    rows = []
    for rate in RATES:
        runs = [timestamps(bed, rate) for _ in range(bed.sizes.runs)]
        rates = [(len(times) - 1) / (times[-1] - times[0]) for times in runs]
        wanted = [float(rate)] * len(runs)
        rows.append(Row(f"RATE={rate}", rates, "records/s", wanted, "0.99 to 1.01"))
        gaps = [[1000 * (b - a) for a, b in pairwise(times)] for times in runs]
        p99 = [quantiles(each, n=100, method="inclusive")[98] for each in gaps]
        rows.append(Row(f"RATE={rate}, pause p99", p99, "ms", wanted=f"about {1000 / rate:g}"))
        rows.append(Row(f"RATE={rate}, longest pause", [max(each) for each in gaps], "ms"))
    return rows


def timestamps(bed: Testbed, rate: int) -> list[float]:
    topic = bed.new_topic(sender_time=True)
    bed.pipeline.produce(rate * bed.sizes.pace_sec, RAW_TOPIC=topic.name, RATE=rate)
    times = topic.timestamps()
    topic.delete()
    return times
