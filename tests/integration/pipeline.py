"""What a test does to a running stack, and asks of it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from clickhouse_driver import Client
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from stack import PROJECT, VENV, Stack
from waiting import eventually

PYTHON = VENV / "bin" / "python"
DEADLINE_SEC = 120
GROUP = "clickhouse-consumer"
DIE = "os.kill(os.getpid(), signal.SIGKILL)"  # a patch of start_patched


def now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True)
class Pipeline:
    """The pipeline on the given stack."""

    stack: Stack

    def environment(self, **changes: str) -> dict[str, str]:
        return {**os.environ, **self.stack.environment(), **changes}

    def producer(self, **settings: object) -> "subprocess.Popen[str]":
        """A running producer; each setting is the environment variable of that name."""
        return subprocess.Popen(
            [PYTHON, PROJECT / "producer" / "producer.py"],
            env=self.environment(**{name: str(value) for name, value in settings.items()}),
            stderr=subprocess.PIPE,
            text=True,
        )

    def produce(self, count: int, **settings: object) -> str:
        """Send records as fast as it goes; what the producer logged."""
        process = self.producer(**{"RATE": 0, "COUNT": count, **settings})
        _, log = process.communicate(timeout=DEADLINE_SEC)
        assert process.returncode == 0, log
        return log

    def send(self, topic: str, values: Iterable[bytes | None]) -> None:
        with KafkaProducer(bootstrap_servers=self.bootstrap_servers, linger_ms=20) as producer:
            for future in [producer.send(topic, value, key=b"k") for value in values]:
                future.get(timeout=30)

    def verify(self) -> str:
        """The verdict of the oracle, which must be that all is equal."""
        result = self.oracle(DEADLINE_SEC)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout.splitlines()[-1]

    def differences(self) -> str:
        """What the oracle finds wrong, which must be something that does not go away."""
        result = self.oracle(timeout_sec=15)
        assert result.returncode == 1, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    def oracle(self, timeout_sec: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PYTHON, PROJECT / "tests" / "oracle.py", "--timeout", str(timeout_sec)],
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    @property
    def bootstrap_servers(self) -> str:
        return f"localhost:{self.stack.kafka_port}"

    def stop_job_between_batches(self) -> int:
        """The number of the last batch, which is complete."""
        checkpoint = self.stack.directory / "checkpoint"

        def is_between() -> bool:
            return newest_batch(checkpoint / "offsets") == newest_batch(checkpoint / "commits")

        def has_stopped_between() -> bool:
            if not is_between():
                return False
            self.stack.stop("spark-job")
            if not is_between():
                self.stack.start("spark-job")
            return is_between()

        eventually(has_stopped_between, "the job stops between two batches")
        return newest_batch(checkpoint / "commits")

    def client(self) -> Client:
        return Client(
            "localhost", port=self.stack.clickhouse_port, user="consumer", password="MySecret"
        )

    def pid(self, service: str) -> int:
        """Of a service that runs or is about to; never 0, which is more than one process."""
        eventually(lambda: self.stack.pid(service), f"{service} runs")
        return self.stack.pid(service)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        client = self.client()
        try:
            return list(client.execute(sql))
        finally:
            client.disconnect()

    def stored_orders(self) -> int:
        ((orders,),) = self.query("SELECT sum(total_orders) FROM aggregated_analytics")
        return int(str(orders))

    def log(self, service: str) -> str:
        return self.stack.log_tail(service, 100_000)

    def raw_records(self, topic: str = "transactions_raw") -> int:
        with KafkaConsumer(bootstrap_servers=self.bootstrap_servers) as consumer:
            partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic)]
            return sum(consumer.end_offsets(partitions).values())

    def create_topics(self, *names: str) -> None:
        with KafkaAdminClient(bootstrap_servers=self.bootstrap_servers) as admin:
            admin.create_topics(
                [
                    NewTopic(name, 3, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})
                    for name in names
                ]
            )

    def read(self, topic: str, messages: int) -> list[dict[str, object]]:
        """The first messages of a topic, parsed."""
        values: list[bytes] = []
        with KafkaConsumer(
            topic, bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest"
        ) as consumer:

            def poll() -> bool:
                for records in consumer.poll(timeout_ms=500).values():
                    values.extend(record.value for record in records)
                return len(values) >= messages

            eventually(poll, f"{messages} messages on {topic}")
        return [json.loads(value) for value in values]


def committed_lag(pipeline: Pipeline) -> int:
    """Records on transactions_agg whose offsets the consumer group has not committed."""
    with KafkaConsumer(
        bootstrap_servers=pipeline.bootstrap_servers, group_id=GROUP, enable_auto_commit=False
    ) as consumer:
        partitions = [TopicPartition("transactions_agg", number) for number in range(3)]
        ends = consumer.end_offsets(partitions)
        return sum(ends[p] - (consumer.committed(p) or 0) for p in partitions)


def job_lag(pipeline: Pipeline) -> int:
    """Raw records that are in no batch which the job has committed."""
    checkpoint = pipeline.stack.directory / "checkpoint"
    if (last := newest_batch(checkpoint / "commits")) < 0:
        return pipeline.raw_records()
    (ends,) = source_ends(checkpoint / "offsets" / str(last)).values()
    return pipeline.raw_records() - sum(ends.values())


def source_ends(batch: Path) -> dict[str, dict[str, int]]:
    """Where a batch of the offset log ends: topic -> partition -> offset."""
    ends: dict[str, dict[str, int]] = json.loads(batch.read_text().splitlines()[-1])
    return ends


def newest_batch(log: Path) -> int:
    return max((int(path.name) for path in log.iterdir() if path.name.isdecimal()), default=-1)


def start_patched(
    pipeline: Pipeline, service: str, patch: str, **settings: str
) -> "subprocess.Popen[str]":
    """Run a service file after some of its code was replaced."""
    folder, module = service.split("/")
    code = f"import os, signal, sys\nimport {module}\n{patch}\nsys.exit({module}.main())"
    return subprocess.Popen(
        [PYTHON, "-c", code],
        env=pipeline.environment(PYTHONPATH=str(PROJECT / folder), **settings),
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_kills_itself(process: "subprocess.Popen[str]") -> None:
    _, log = process.communicate(timeout=DEADLINE_SEC)
    assert process.returncode == -signal.SIGKILL, log


def consumer_dies(pipeline: Pipeline, patch: str, **settings: str) -> None:
    """With 2,000 more transactions on their way, run a consumer that kills itself."""
    eventually(lambda: committed_lag(pipeline) == 0, "the consumer has committed everything")
    pipeline.stack.stop(GROUP)
    pipeline.produce(2000)
    eventually(lambda: job_lag(pipeline) == 0, "the job has written all new totals")
    assert committed_lag(pipeline) > 0
    assert_kills_itself(start_patched(pipeline, "clickhouse-consumer/consumer", patch, **settings))
