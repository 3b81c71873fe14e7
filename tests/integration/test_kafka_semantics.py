"""A topic of totals that is created again, and compressed topics."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from lag import wait_for_consumer
from pipeline import Pipeline
from records import transaction
from waiting import eventually

pytestmark = pytest.mark.services

AGG_TOPIC = "transactions_agg"


@pytest.fixture
def compressed_totals(pipeline: Pipeline) -> Iterator[None]:
    """Kafka compresses the totals, whatever the job sends."""
    set_compression(pipeline, "zstd")
    yield
    set_compression(pipeline, "producer")


def set_compression(pipeline: Pipeline, codec: str) -> None:
    topic = ConfigResource(ConfigResourceType.TOPIC, AGG_TOPIC, {"compression.type": codec})
    with KafkaAdminClient(bootstrap_servers=pipeline.bootstrap_servers) as admin:
        admin.alter_configs([topic], raise_on_unknown=False)


def test_after_its_topic_was_created_again_the_consumer_starts_over_and_stores_all_totals(
    pipeline: Pipeline,
) -> None:
    pipeline.produce(500)
    pipeline.verify()
    wait_for_consumer(pipeline)
    pipeline.recreate_topic(AGG_TOPIC)
    pipeline.produce(2000)
    pipeline.wait_for_log("clickhouse-consumer", f"topic {AGG_TOPIC} was deleted and created again")
    pipeline.verify()
    wait_for_consumer(pipeline)
    assert "Traceback" not in pipeline.log("clickhouse-consumer")


def test_compressed_orders_and_compressed_totals_are_stored(
    pipeline: Pipeline, compressed_totals: None
) -> None:
    pipeline.verify()
    stored = pipeline.stored_orders()
    order = transaction(transaction_time=datetime.now(UTC).isoformat())
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        with KafkaProducer(
            bootstrap_servers=pipeline.bootstrap_servers, compression_type=codec, linger_ms=20
        ) as producer:
            for _ in range(50):
                producer.send("transactions_raw", order)
    eventually(lambda: pipeline.stored_orders() == stored + 200, "all orders are stored")
    pipeline.verify()
