"""RawTopic on a real Kafka: transactions, compression, and a topic that is created again."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAlreadyExistsError

from raw_topic import EPOCH, RawTopic
from servers import Servers
from waiting import eventually

pytestmark = pytest.mark.services

CODECS = ["gzip", "snappy", "lz4", "zstd"]
LEVELS = ["read_committed", "read_uncommitted"]


class Topic:
    """A topic of one partition with a name of its own."""

    def __init__(self, servers: str) -> None:
        self.servers, self.name = servers, f"test-{uuid.uuid4()}"
        self.closing = ExitStack()

    def __enter__(self) -> Self:
        self.admin = self.closing.enter_context(KafkaAdminClient(bootstrap_servers=self.servers))
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()

    def create(self, **configs: str) -> None:
        topic = {"num_partitions": 1, "replication_factor": 1, "configs": configs}

        def is_created() -> bool:
            with suppress(TopicAlreadyExistsError):  # until an old one is deleted
                self.admin.create_topics({self.name: topic}, wait_for_metadata=True)
                return True
            return False

        eventually(is_created, "the topic is created")

    def delete(self) -> None:
        self.admin.delete_topics([self.name])

    def delete_before(self, offset: int) -> None:
        self.admin.delete_records({TopicPartition(self.name, 0): offset})

    def producer(self, **configs: Any) -> KafkaProducer:
        new = KafkaProducer(bootstrap_servers=self.servers, linger_ms=20, **configs)
        return self.closing.enter_context(new)

    def transactional_producer(self) -> KafkaProducer:
        producer = self.producer(transactional_id=self.name)
        producer.init_transactions()
        return producer

    def send(self, producer: KafkaProducer, *values: bytes) -> None:
        """Send to the topic, and return when Kafka has acknowledged all values."""
        for future in [producer.send(self.name, value) for value in values]:
            future.get(timeout=60)

    def transaction(self, producer: KafkaProducer, *values: bytes, abort: bool = False) -> None:
        producer.begin_transaction()
        self.send(producer, *values)
        self.end(producer, abort)

    def end(self, producer: KafkaProducer, abort: bool = False) -> None:
        """Commit or abort, and wait for the marker, which Kafka writes after its answer."""
        (producer.abort_transaction if abort else producer.commit_transaction)()
        partition = TopicPartition(self.name, 0)
        with (
            KafkaConsumer(bootstrap_servers=self.servers, isolation_level=LEVELS[0]) as one,
            KafkaConsumer(bootstrap_servers=self.servers, isolation_level=LEVELS[1]) as other,
        ):
            eventually(
                lambda: one.end_offsets([partition]) == other.end_offsets([partition]),
                "no transaction is open",
            )

    def read(self) -> RawTopic:
        raw = RawTopic(self.servers, self.name)
        self.closing.callback(raw.close)
        return raw


@pytest.fixture
def topic(real_servers: Servers) -> Iterator[Topic]:
    with Topic(real_servers.kafka) as topic:
        topic.create()
        yield topic


def new_values(raw: RawTopic) -> list[bytes | None]:
    return [record.value for record in raw.read_new()]


def test_records_of_aborted_transactions_are_not_read(topic: Topic) -> None:
    raw, producer = topic.read(), topic.transactional_producer()
    committed, aborted = ([b"%s %d" % (kind, n) for n in range(10)] for kind in (b"c", b"a"))
    topic.transaction(producer, *committed)
    topic.transaction(producer, *aborted, abort=True)
    assert new_values(raw) == committed
    assert new_values(raw) == []


def test_an_open_transaction_ends_what_can_be_read(topic: Topic) -> None:
    raw, producer = topic.read(), topic.transactional_producer()
    topic.send(topic.producer(), b"before")
    producer.begin_transaction()
    topic.send(producer, b"open")
    topic.send(topic.producer(), b"behind")
    assert new_values(raw) == [b"before"]
    topic.end(producer)
    assert new_values(raw) == [b"open", b"behind"]


def test_a_marker_may_be_the_oldest_that_is_left(topic: Topic) -> None:
    producer = topic.transactional_producer()
    topic.transaction(producer, b"old")
    topic.transaction(producer, b"left")
    topic.delete_before(1)  # the first marker is at 1
    raw = topic.read()
    (record,) = raw.read_new()
    assert (record.value, raw.complete_since) == (b"left", record.arrival)


def test_without_a_record_left_the_topic_is_complete_from_now_on(topic: Topic) -> None:
    topic.transaction(topic.transactional_producer(), b"old")
    topic.delete_before(1)  # only the marker is left
    raw = topic.read()
    assert new_values(raw) == []
    assert datetime.now(UTC) - raw.complete_since < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("producer_codec", "topic_codec"),
    [*((codec, "producer") for codec in CODECS), *((None, codec) for codec in CODECS)],
)
def test_compressed_records_are_read(
    real_servers: Servers, producer_codec: str | None, topic_codec: str
) -> None:
    values = [b"record %d " % number * 10 for number in range(2000)]
    with Topic(real_servers.kafka) as topic:
        topic.create(**{"compression.type": topic_codec})
        topic.send(topic.producer(compression_type=producer_codec), *values)
        assert new_values(topic.read()) == values


def test_reading_starts_at_a_moment(topic: Topic) -> None:
    producer = topic.producer()
    for second, value in enumerate([b"a", b"b", b"c"]):
        producer.send(topic.name, value, timestamp_ms=1000 * second).get(timeout=60)
    raw = topic.read()
    raw.skip_before(EPOCH + timedelta(seconds=1))
    assert [(record.offset, record.value) for record in raw.read_new()] == [(1, b"b"), (2, b"c")]
    assert raw.complete_since == EPOCH + timedelta(seconds=1)
    raw.skip_before(datetime.now(UTC))
    assert new_values(raw) == []
    topic.send(producer, b"d")
    assert new_values(raw) == [b"d"]


def test_a_topic_that_is_created_again_ends_it_with_one_line(topic: Topic) -> None:
    raw, producer = topic.read(), topic.producer()
    topic.send(producer, b"a")
    assert new_values(raw) == [b"a"]
    topic.delete()
    topic.create()
    topic.send(producer, b"b", b"c")

    def exit_line() -> str:
        try:
            new_values(raw)
        except SystemExit as reason:
            return str(reason)
        return ""

    assert eventually(exit_line, "it ends") == (
        f"topic {topic.name} was deleted and created again while it was read: run this again"
    )
