"""What it costs to write to the disk before a record or a row is acknowledged."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import psutil
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from local_http import urlopen
from pipeline import Pipeline
from ports import HOST

NEVER = str(2**63 - 1)  # Kafka's own default
TOPICS = {"flush.messages=1": "1", "default": NEVER}
TURNS = 3
RECORDS = 50_000  # in batches, as fast as the producer can
SINGLE_RECORDS = 200  # each sent when the one before it is acknowledged


def flush_costs(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """By setting, measured in turns, the median: how fast, and the broker's processor time."""
    broker = psutil.Process(pipeline.pid("kafka"))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in TOPICS}
    for turn in range(TURNS):
        for number, (name, flush_messages) in enumerate(TOPICS.items()):
            topic = f"flush-{turn}-{number}"
            create_topic(pipeline, topic, flush_messages)
            all_sec, all_cpu_sec = timed(
                broker, partial(pipeline.produce, RECORDS, RAW_TOPIC=topic)
            )
            one_sec, one_cpu_sec = timed(broker, partial(send_one_by_one, pipeline, topic))
            found[name].append(
                {
                    "records_per_sec": RECORDS / all_sec,
                    "cpu_us_per_record": 1e6 * all_cpu_sec / RECORDS,
                    "ms_per_single_record": 1e3 * one_sec / SINGLE_RECORDS,
                    "cpu_ms_per_single_record": 1e3 * one_cpu_sec / SINGLE_RECORDS,
                }
            )
    return {
        name: {each: round(median(turn[each] for turn in turns), 2) for each in turns[0]}
        for name, turns in found.items()
    }


def create_topic(pipeline: Pipeline, name: str, flush_messages: str) -> None:
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        configs = {"flush.messages": flush_messages}
        admin.create_topics([NewTopic(name, 3, 1, topic_configs=configs)])


def send_one_by_one(pipeline: Pipeline, topic: str) -> None:
    servers = pipeline.bootstrap_servers
    with KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0) as producer:
        for _ in range(SINGLE_RECORDS):
            producer.send(topic, b"record").get(timeout=30)


def timed(broker: psutil.Process, send: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall clock, and of the broker's processor time."""
    start, before = time.monotonic(), sum(broker.cpu_times()[:2])
    send()
    return time.monotonic() - start, sum(broker.cpu_times()[:2]) - before


def insert_ms(pipeline: Pipeline) -> float:
    """How long an insert into ClickHouse takes on average, since the consumer's latest start."""
    with urlopen(
        f"http://{HOST}:{pipeline.stack.consumer_metrics_port}/metrics", timeout=10
    ) as page:
        families = text_string_to_metric_families(page.read().decode())
        values = {each.name: each.value for family in families for each in family.samples}
    name = "purchases_consumer_insert_duration_seconds"
    return round(1e3 * values[f"{name}_sum"] / max(values[f"{name}_count"], 1), 1)
