"""What a test does to a running pipeline, and asks of it."""

import json
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress

from clickhouse_driver import Client
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from paths import PROJECT, VENV
from polling import eventually_matches
from ports import HOST
from services import SERVICES
from stack import Stack
from waiting import eventually

PYTHON = VENV / "bin" / "python"
DEADLINE_SEC = 240


class Pipeline:
    """The pipeline on a running stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._log_starts = {service: len(self._whole_log(service)) for service in SERVICES}

    @property
    def bootstrap_servers(self) -> str:
        return self.stack.servers("kafka", self.stack.kafka_port)

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment for a program that uses this stack."""
        return {**os.environ, **self.stack.environment(), **changes}

    def producer(self, **settings: object) -> "subprocess.Popen[str]":
        """Start a producer; each setting is the environment variable of that name."""
        return subprocess.Popen(
            [PYTHON, PROJECT / "producer" / "producer.py"],
            env=self.environment(**{name: str(value) for name, value in settings.items()}),
            stderr=subprocess.PIPE,
            text=True,
        )

    def produce(self, count: int, **settings: object) -> str:
        """Send `count` records as fast as possible; returns the producer's log."""
        process = self.producer(**{"RATE": 0, "COUNT": count, **settings})
        _, log = process.communicate(timeout=DEADLINE_SEC)
        assert process.returncode == 0, log
        return log

    def send(self, topic: str, values: Iterable[bytes | None]) -> None:
        """Send these values as they are, all to one partition; return when they are stored."""
        with KafkaProducer(bootstrap_servers=self.bootstrap_servers, linger_ms=20) as producer:
            for future in [producer.send(topic, value, key=b"k") for value in values]:
                future.get(timeout=30)

    def verify(self) -> str:
        """Recompute all windows, which must equal the table; returns the verdict in one line."""
        result = self.run_verify(DEADLINE_SEC)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout.splitlines()[-1]

    def differences(self) -> str:
        """Recompute all windows, which must differ from the table; returns the differences."""
        result = self.run_verify(timeout_sec=15)
        assert result.returncode == 1, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    def run_verify(self, timeout_sec: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PYTHON, PROJECT / "verify" / "verify.py", "--timeout", str(timeout_sec)],
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    def rejected(self, **options: object) -> "subprocess.CompletedProcess[str]":
        """List the rejected records; each option is the environment variable of that name."""
        result = subprocess.run(
            [PYTHON, PROJECT / "verify" / "rejected.py"],
            env=self.environment(**{name: str(value) for name, value in options.items()}),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return result

    def client(self) -> Client:
        return Client(HOST, port=self.stack.clickhouse_port, user="consumer", password="MySecret")

    def query(self, sql: str) -> list[tuple[object, ...]]:
        client = self.client()
        try:
            return list(client.execute(sql))
        finally:
            client.disconnect()

    def stored_orders(self) -> int:
        ((orders,),) = self.query("SELECT sum(total_orders) FROM aggregated_analytics")
        return int(str(orders))

    def pid(self, service: str) -> int:
        """The process of a service that runs or is about to start."""
        # Never 0, which os.kill takes for a whole group of processes.
        return eventually(lambda: self.stack.pid(service), f"{service} runs")

    def log(self, service: str) -> str:
        """What a service has logged since this object was made."""
        log = self._whole_log(service)
        start = self._log_starts.get(service, 0)
        return log[start:] if start <= len(log) else log  # a long log starts again in a new file

    def _whole_log(self, service: str) -> str:
        file = self.stack.log_file(service)
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_for_log(self, service: str, text: str) -> None:
        """Wait until a service has logged this text since this object was made."""
        eventually_matches(
            lambda: self.log(service)[-2000:],
            lambda _: text in self.log(service),
            f"{service} logs {text!r}",
        )

    def create_topics(self, *names: str) -> None:
        with KafkaAdminClient(bootstrap_servers=self.bootstrap_servers) as admin:
            admin.create_topics(
                [
                    NewTopic(name, 3, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})
                    for name in names
                ]
            )

    def recreate_topic(self, name: str) -> None:
        """Delete a topic and create it again."""
        with KafkaAdminClient(bootstrap_servers=self.bootstrap_servers) as admin:
            admin.delete_topics([name])

        def is_created() -> bool:
            with suppress(TopicAlreadyExistsError):  # for a moment it is still being deleted
                self.create_topics(name)
                return True
            return False

        eventually(is_created, f"{name} is created again")

    def add_partitions(self, total: int, *names: str) -> None:
        with KafkaAdminClient(bootstrap_servers=self.bootstrap_servers) as admin:
            admin.create_partitions(dict.fromkeys(names, total))

    def topic_size(self, topic: str = "transactions_raw") -> int:
        """The number of records that a topic ever got, with the markers that end transactions."""
        return sum(self.partition_sizes(topic))

    def partition_sizes(self, topic: str) -> list[int]:
        with KafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, isolation_level="read_committed"
        ) as consumer:
            numbers = sorted(consumer.partitions_for_topic(topic))
            ends = consumer.end_offsets([TopicPartition(topic, n) for n in numbers])
            return [ends[TopicPartition(topic, n)] for n in numbers]

    def read(self, topic: str, messages: int) -> list[dict[str, object]]:
        """The first messages of a topic, parsed."""
        values: list[bytes] = []
        with KafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        ) as consumer:

            def poll() -> list[bytes]:
                for records in consumer.poll(timeout_ms=500).values():
                    values.extend(record.value for record in records)
                return values

            eventually_matches(
                poll, lambda values: len(values) >= messages, f"{messages} messages on {topic}"
            )
        return [json.loads(value) for value in values]
