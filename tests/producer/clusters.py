"""One interface to the fake Kafka and to a real one, for tests that run on both."""

import signal
import uuid
from typing import Any, Protocol

import psutil
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

import sending
from fakes import PARTITIONS, FakeKafka, Record
from settings import Settings


class Cluster(Protocol):
    address: str

    def new_producer(self, settings: Settings) -> Any: ...

    def close_producers(self) -> None: ...

    def new_topic_name(self) -> str: ...

    def create_topic(self, name: str, max_message_bytes: int = 1_000_000) -> None: ...

    def records(self, topic: str) -> list[Record]:
        """All records that the topic holds, in the order of each partition."""

    def freeze(self) -> None:
        """Keep connections, but answer nothing."""

    def resume(self) -> None: ...


class FakeCluster:
    address = "localhost:9092"

    def __init__(self) -> None:
        self.kafka = FakeKafka()
        self.kafka.timeout_sec = 0.01

    def new_producer(self, _settings: Settings) -> FakeKafka:
        return self.kafka

    def close_producers(self) -> None:
        pass

    def new_topic_name(self) -> str:
        name = f"test-{uuid.uuid4()}"
        self.kafka.missing_topics.add(name)
        return name

    def create_topic(self, name: str, max_message_bytes: int = 1_000_000) -> None:
        self.kafka.max_value_bytes = max_message_bytes
        self.kafka.missing_topics.remove(name)

    def records(self, topic: str) -> list[Record]:
        return [record for record in self.kafka.stored if record.topic == topic]

    def freeze(self) -> None:
        self.kafka.is_frozen = True

    def resume(self) -> None:
        self.kafka.resume()


class RealCluster:
    def __init__(self, address: str) -> None:
        self.address = address
        self._admin = KafkaAdminClient(bootstrap_servers=address)
        self._broker = listening_on(int(address.rpartition(":")[2]))
        self._producers: list[Any] = []

    def new_producer(self, settings: Settings) -> Any:
        producer = sending.new_producer(settings)
        self._producers.append(producer)
        return producer

    def close_producers(self) -> None:
        """Also those that finish() gave up, whose thread would try to send on."""
        for producer in self._producers:
            producer._closed = False
            producer.close(timeout=20)
        self._producers.clear()

    def new_topic_name(self) -> str:
        return f"test-{uuid.uuid4()}"

    def create_topic(self, name: str, max_message_bytes: int = 1_000_000) -> None:
        settings = {"max.message.bytes": str(max_message_bytes)}
        topic = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": settings}
        self._admin.create_topics({name: topic})

    def records(self, topic: str) -> list[Record]:
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer = KafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
        try:
            consumer.assign(partitions)
            end = consumer.end_offsets(partitions)
            found: list[Record] = []
            while any(consumer.position(partition) < end[partition] for partition in partitions):
                for records in consumer.poll(timeout_ms=100).values():
                    found += [Record(r.topic, r.partition, r.key, r.value) for r in records]
            return found
        finally:
            consumer.close()

    def freeze(self) -> None:
        self._broker.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._broker.send_signal(signal.SIGCONT)


def listening_on(port: int) -> psutil.Process:
    """The process that listens on the port; one that the tests have started."""
    [pid] = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    return psutil.Process(pid)
