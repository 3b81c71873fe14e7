"""A topic of the benchmark, timed by the timestamps of its records."""

from dataclasses import dataclass

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

PARTITIONS = 3


@dataclass(frozen=True)
class Topic:
    servers: str
    name: str

    def create(self, sender_time: bool) -> "Topic":
        """Create it, stamped by the broker or, with `sender_time`, by whoever sends."""
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
        """The number of records sent to it."""
        with KafkaConsumer(bootstrap_servers=self.servers) as consumer:
            return sum(consumer.end_offsets(self.partitions()).values())

    def timestamps(self) -> list[float]:
        """Kafka's time of every record in seconds, sorted."""
        with KafkaConsumer(
            bootstrap_servers=self.servers, auto_offset_reset="earliest", max_poll_records=10_000
        ) as consumer:
            consumer.assign(self.partitions())
            size, found = self.size(), list[float]()
            while len(found) < size:
                for records in consumer.poll(timeout_ms=1000).values():
                    found += [record.timestamp / 1000 for record in records]
        return sorted(found)

    def per_second(self) -> float:
        """Records per second, from the first record to the last."""
        times = self.timestamps()
        return (len(times) - 1) / (times[-1] - times[0])
