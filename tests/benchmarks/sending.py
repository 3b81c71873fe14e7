"""The producer: as fast as it can beside a bare send() loop, and at a given rate."""

import os
from collections.abc import Callable
from itertools import pairwise
from statistics import quantiles

from kafka import KafkaProducer

import producer
from backlog import Topic, in_fresh_process
from results import Row
from testbed import Testbed

RATES = (10, 1_000, 10_000)
RECORD = (
    b'{"order_id":"5f0c2b34-9a3e-4c53-8f0e-1df2a1b7c001","user_id":481516,"product_id":"P0042",'
    b'"quantity":2,"price":9.95,"total_amount":19.90,"payment_type":"paypal",'
    b'"transaction_time":"2026-11-01T12:30:14.123+00:00"}'
)


def fastest(bed: Testbed) -> list[Row]:
    """RATE=0, records of all kinds, beside send() of one record that is encoded already."""
    bed.run_engines_only()
    count, processes = bed.sizes.sent_records, os.cpu_count() or 1
    bare, ours, several = list[float](), list[float](), list[float]()
    for _ in range(bed.sizes.runs):
        bare.append(speed(bed, lambda topic: in_fresh_process(send_bare, topic, count)))
        ours.append(speed(bed, lambda topic: produce(bed, topic, count, 1)))
        several.append(speed(bed, lambda topic: produce(bed, topic, count, processes)))
    return [
        Row("RATE=0, one process", ours, "records/s", bare, ">= 0.75"),
        Row(f"RATE=0, PROCESSES={processes}", several, "records/s", bare, "more than one"),
    ]


def speed(bed: Testbed, send: Callable[[Topic], object]) -> float:
    """Records a second by the broker's clock, whatever sends them."""
    topic = bed.new_topic()
    send(topic)
    per_second = topic.per_second()
    topic.delete()
    return per_second


def produce(bed: Testbed, topic: Topic, count: int, processes: int) -> None:
    bed.pipeline.produce(count, RAW_TOPIC=topic.name, PROCESSES=processes, SEED=1)


def send_bare(topic: Topic, count: int) -> None:
    """With the settings that were the fastest, and on one core, like the producer."""
    producer.stay_on_one_core()
    kafka = KafkaProducer(bootstrap_servers=topic.servers, linger_ms=20, batch_size=64 * 1024)
    for _ in range(count):
        kafka.send(topic.name, RECORD)
    kafka.flush()
    kafka.close()


def pace(bed: Testbed) -> list[Row]:
    """RATE=n, by the time at which each record was given to Kafka's client."""
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
