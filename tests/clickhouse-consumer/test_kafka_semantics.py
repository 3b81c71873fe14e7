"""What only a real Kafka has: transactions and compression."""

import itertools
from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

import consumer
import topic
from loader import Loader
from pairs import RealPair, join, step_until, update, window
from reporting import STUCK_REPORTS, Monitor
from servers import Servers

pytestmark = pytest.mark.services

CODECS = ["gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def transactional(real_pair: RealPair) -> Iterator[KafkaProducer]:
    with KafkaProducer(
        bootstrap_servers=real_pair.servers.kafka, transactional_id=real_pair.name
    ) as producer:
        producer.init_transactions()
        yield producer


def send(producer: KafkaProducer, pair: RealPair, *values: bytes) -> None:
    for value in values:
        producer.send(pair.name, value, partition=0)
    producer.flush()


def look_often(loader: Loader) -> None:
    """Let so many reports pass that the watchdog would stop a consumer that is stuck."""
    clock = itertools.count(step=1000)
    monitor = Monitor(loader.kafka, loader.settings, lambda: next(clock))
    for _ in range(2 * STUCK_REPORTS):
        consumer.step(loader, monitor)


def test_aborted_records_are_not_stored_and_markers_are_no_lag(
    real_pair: RealPair, transactional: KafkaProducer
) -> None:
    kafka = real_pair.new_consumer()
    join(kafka)
    loader = real_pair.loader(kafka, real_pair.new_client())
    transactional.begin_transaction()
    send(transactional, real_pair, update(real_pair, 0), update(real_pair, 1))
    transactional.commit_transaction()
    step_until(loader, lambda: loader.totals.stored == 2, "the committed records are stored")
    transactional.begin_transaction()
    send(transactional, real_pair, update(real_pair, 2), b"x")
    transactional.abort_transaction()
    real_pair.send(update(real_pair, 3))
    step_until(loader, lambda: loader.totals.stored == 3, "the last record is stored")
    transactional.begin_transaction()
    send(transactional, real_pair, update(real_pair, 4))
    transactional.abort_transaction()
    step_until(loader, lambda: kafka.position(real_pair.partitions[0]) == 9, "all is passed")
    assert topic.lag(kafka) == 0
    look_often(loader)
    assert (loader.totals.polled, loader.totals.skipped.total()) == (3, 0)
    assert real_pair.windows() == [window(real_pair, minute) for minute in (0, 1, 3)]


def test_an_open_transaction_is_no_lag_and_is_stored_when_it_is_committed(
    real_pair: RealPair, transactional: KafkaProducer
) -> None:
    kafka = real_pair.new_consumer()
    join(kafka)
    loader = real_pair.loader(kafka, real_pair.new_client())
    transactional.begin_transaction()
    send(transactional, real_pair, update(real_pair, 0))
    real_pair.send(update(real_pair, 1))  # it has to wait, too
    look_often(loader)
    assert (loader.totals.polled, topic.lag(kafka)) == (0, 0)
    transactional.commit_transaction()
    step_until(loader, lambda: loader.totals.stored == 2, "both records are stored")
    assert real_pair.windows() == [window(real_pair, 0), window(real_pair, 1)]


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_a_producer_has_compressed_are_stored(real_pair: RealPair, codec: str) -> None:
    values = [update(real_pair, minute) for minute in range(200)]
    with KafkaProducer(
        bootstrap_servers=real_pair.servers.kafka, compression_type=codec, linger_ms=20
    ) as producer:
        send(producer, real_pair, *values)
    loader = real_pair.loader(real_pair.new_consumer(), real_pair.new_client())
    step_until(loader, lambda: loader.totals.stored == 200, "all records are stored")
    assert real_pair.windows() == [window(real_pair, minute) for minute in range(200)]


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_kafka_has_compressed_are_stored(real_servers: Servers, codec: str) -> None:
    with RealPair(real_servers, **{"compression.type": codec}) as pair:
        pair.send(*(update(pair, minute) for minute in range(50)))
        loader = pair.loader(pair.new_consumer(), pair.new_client())
        step_until(loader, lambda: loader.totals.stored == 50, "all records are stored")
        assert pair.windows() == [window(pair, minute) for minute in range(50)]
