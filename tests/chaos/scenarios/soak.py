"""A long run: does anything grow without limit?

The faults of the plain run, one every two minutes, while Kafka deletes old records and the job
removes old windows from its state. Memory, open files, disk and delays are sampled, and reported by
sixths of the run. From an hour on, growth is an error. `make soak` runs it for three hours.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from chaos_run import ChaosRun, say
from faults import Fault
from looper import Looper
from paths import LOCAL
from pipeline import Pipeline
from scenarios.soak_samples import (
    PARTS,
    Delays,
    Sample,
    by_parts,
    growth,
    quantile,
    split,
    take,
)
from stack import Stack

FAULT_EVERY_SEC = 120
SAMPLE_EVERY_SEC = 10
# Kafka looks every 5 minutes, so that the oldest record is never older than 20: a third of the
# shortest run in which growth counts. The state reaches back as far.
TOPIC_SETTINGS = {"segment.ms": str(5 * 60_000), "retention.ms": str(10 * 60_000)}
GROWTH_COUNTS_AFTER_MINUTES = 55
VERIFY_SEC = 600
VERDICT = re.compile(r"^(verified|NOT equal|nothing to verify): .*", re.MULTILINE)
ALL_SAMPLES = LOCAL / "chaos" / "soak-samples.json"


class SoakRun(ChaosRun):
    """A long run on one stack, which has to be up."""

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        keep_briefly(self.pipeline)
        (self.reader,) = self.readers
        self.delays = self.reader.freshness = Delays(self.expected)
        self.samples: list[Sample] = []
        self.delayed: list[tuple[float, Counter[float]]] = []  # minute; seconds -> orders
        self.answered: list[tuple[float, list[float]]] = []  # minute; seconds of each answer
        self.next_fault_at = self.start
        self.verified = ""

    def inflict_faults(self, is_enough: Callable[[int], bool]) -> None:
        """As ChaosRun does. Raises NotRecovered."""
        with Looper(self.sample, SAMPLE_EVERY_SEC):
            super().inflict_faults(is_enough)

    def inflict_and_wait(self, fault: Fault) -> None:
        """As ChaosRun does, at the next full interval. Raises NotRecovered."""
        self.next_fault_at += FAULT_EVERY_SEC
        time.sleep(max(0, self.next_fault_at - time.monotonic()))
        super().inflict_and_wait(fault)

    def sample(self) -> None:
        """Take note of what the stack and this test need at the moment."""
        minute = (time.monotonic() - self.start) / 60
        self.samples += take(minute, self.stack, self.producer)
        if delays := self.delays.take():
            self.delayed.append((minute, delays))
            median_sec = quantile(delays, 0.5) or 0
            self.samples.append(Sample(minute, "delay_sec", "orders", median_sec))
        seen = sum(len(answers) for _, answers in self.answered)
        self.answered.append((minute, self.reader.answers_sec[seen:]))

    def settle(self) -> list[str]:
        """As ChaosRun does; also verify what Kafka still has, and look for growth."""
        minutes = (time.monotonic() - self.start) / 60
        self.save_samples()
        wrong = super().settle()
        result = self.pipeline.run_verify(VERIFY_SEC)
        self.verified = verdict_of(result.stdout + result.stderr)
        if result.returncode:
            wrong.append(f"make verify: {self.verified}")
        if minutes > GROWTH_COUNTS_AFTER_MINUTES:
            wrong += growth(self.samples)
            if not deleted_records(self.pipeline):
                wrong.append("Kafka has deleted nothing")
        return wrong

    def save_samples(self) -> None:
        """Keep the samples for whoever looks for the cause of growth."""
        ALL_SAMPLES.parent.mkdir(parents=True, exist_ok=True)
        ALL_SAMPLES.write_text(json.dumps(self.samples))

    def findings(self) -> dict[str, Any]:
        end = self.samples[-1].minute
        delays = [sum(part, Counter[float]()) for part in split(self.delayed, end, PARTS)]
        answers = [Counter(sum(part, [])) for part in split(self.answered, end, PARTS)]
        found = {
            "verify": self.verified,
            "deleted_records": deleted_records(self.pipeline),
            "part_minutes": round(end / PARTS, 1),
            "parts": {
                **by_parts(self.samples),
                "p99_delay_sec": {"orders": [quantile(part, 0.99) for part in delays]},
                "p99_answer_sec": {"reader": [quantile(part, 0.99) for part in answers]},
            },
        }
        say(json.dumps(found, indent=1))
        return found


def verdict_of(output: str) -> str:
    """The line of `make verify` that has its verdict, or all that it says if there is none."""
    found = VERDICT.search(output)
    return found[0] if found else output.strip() or "nothing"


def keep_briefly(pipeline: Pipeline) -> None:
    """Make Kafka delete old records within minutes."""
    names = ("transactions_raw", "transactions_agg")
    topics = [ConfigResource(ConfigResourceType.TOPIC, name, TOPIC_SETTINGS) for name in names]
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        admin.alter_configs(topics)


def deleted_records(pipeline: Pipeline) -> int:
    """How many records of transactions_raw Kafka has deleted."""
    with KafkaConsumer(bootstrap_servers=pipeline.bootstrap_servers) as consumer:
        numbers = consumer.partitions_for_topic("transactions_raw")
        partitions = [TopicPartition("transactions_raw", number) for number in numbers]
        return sum(consumer.beginning_offsets(partitions).values())
