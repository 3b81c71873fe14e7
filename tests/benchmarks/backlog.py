"""Topics of the benchmark: made, filled by several processes, and timed by their own records."""

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

import producer

PARTITIONS = 3
MINUTE_SEC = 60


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What it returns, in a Python that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@dataclass(frozen=True)
class Topic:
    """A topic of its own, stamped by the broker or, with `sender_time`, by whoever sends."""

    servers: str
    name: str

    def create(self, sender_time: bool = False) -> "Topic":
        stamp = "CreateTime" if sender_time else "LogAppendTime"
        configs = {"message.timestamp.type": stamp}
        options = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": configs}
        with KafkaAdminClient(bootstrap_servers=self.servers) as admin:
            admin.create_topics({self.name: options})
        return self

    def delete(self) -> None:
        with KafkaAdminClient(bootstrap_servers=self.servers) as admin:
            admin.delete_topics([self.name])

    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, number) for number in range(PARTITIONS)]

    def size(self) -> int:
        with KafkaConsumer(bootstrap_servers=self.servers) as consumer:
            return sum(consumer.end_offsets(self.partitions()).values())

    def timestamps(self) -> list[float]:
        """Kafka's time of every record in seconds, in order."""
        with KafkaConsumer(
            bootstrap_servers=self.servers, auto_offset_reset="earliest", max_poll_records=10_000
        ) as consumer:
            consumer.assign(self.partitions())
            left, found = self.size(), list[float]()
            while len(found) < left:
                for records in consumer.poll(timeout_ms=1000).values():
                    found += [record.timestamp / 1000 for record in records]
        return sorted(found)

    def per_second(self) -> float:
        """How fast its records came, from the first to the last."""
        times = self.timestamps()
        return (len(times) - 1) / (times[-1] - times[0])

    def fill_up_to(self, count: int, minutes: int = 0, seed: int = 1) -> None:
        """Add valid, bad and late records as the producer makes them, as fast as it goes.

        With `minutes`, their times are spread evenly over so many windows, none of them is late.
        """
        start, processes = self.size(), os.cpu_count() or 1
        missing = count - start
        shares = [missing // processes + (n < missing % processes) for n in range(processes)]
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            jobs = [
                pool.submit(send_share, self, share, minutes, f"{seed}/{start}/{number}")
                for number, share in enumerate(shares)
            ]
            for job in jobs:
                job.result()


def send_share(topic: Topic, count: int, minutes: int, seed: str) -> None:
    if not count:
        return
    flags = ["--raw-topic", topic.name, "--rate", "0", "--count", str(count)]
    flags += ["--late-share", "0"] if minutes else []
    config = producer.Config.from_env({"KAFKA_BOOTSTRAP_SERVERS": topic.servers}, flags)
    rng, kafka, stop = random.Random(seed), producer.new_producer(config), producer.Stop()

    def some_minute() -> float:
        return time.time() - MINUTE_SEC * rng.randrange(minutes)

    now = some_minute if minutes else time.time
    records = producer.make_records(config, rng, producer.make_pools(1), now)
    producer.wait_for_topic(kafka, config, stop)
    delivery = producer.Delivery()
    producer.produce(kafka, records, config, delivery, stop)
    if producer.finish(kafka, delivery) != 0:
        raise RuntimeError(f"{topic.name}: {delivery}")
