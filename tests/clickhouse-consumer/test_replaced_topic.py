"""A topic that is deleted and created again is another topic, whatever its name."""

from collections.abc import Iterator
from typing import Any

import pytest

import consumer
import topic
from builders import message, row
from coordinator import TopicReplaced
from fakes import P0, P1, P2
from harness import Harness, lines
from lifecycle import Stop
from pairs import DEADLINE_SEC, RealPair, join, polled_records, step_until, update, window
from reporting import Monitor
from servers import Servers
from settings import Settings
from waiting import eventually

REPLACED = TopicReplaced("topic transactions_agg was deleted and created again")


@pytest.fixture
def real(real_servers: Servers) -> Iterator[RealPair]:
    with RealPair(real_servers) as pair:
        yield pair


def delete_and_create(pair: RealPair) -> None:
    pair.admin.delete_topics([pair.name])

    def is_deleted() -> bool:
        return bool(pair.admin.describe_topics([pair.name])[0]["error_code"])

    eventually(is_deleted, "the topic is gone", DEADLINE_SEC)
    pair.admin.create_topics({pair.name: {"num_partitions": 3, "replication_factor": 1}})


def raise_replaced() -> None:
    raise REPLACED


@pytest.mark.services
def test_after_a_topic_was_created_again_the_consumer_stops_and_the_next_one_reads_all_of_it(
    real: RealPair,
) -> None:
    kafka = real.new_consumer()
    loader = real.loader(kafka, real.new_client())
    real.send(*[update(real, 0)] * 5)
    step_until(loader, lambda: real.committed() == [5, 0, 0], "all is committed")

    delete_and_create(real)
    real.send(*(update(real, minute) for minute in range(1, 11)))  # 5 before its position
    monitor = Monitor(kafka, real.settings())

    def is_stopped() -> bool:
        try:
            consumer.step(loader, monitor)
        except TopicReplaced as reason:
            assert str(reason).startswith(f"topic {real.name} was deleted and created again, ")
            return True
        return False

    eventually(is_stopped, "the consumer stops", DEADLINE_SEC, 0)
    real.kill(kafka)

    successor = real.loader(real.new_consumer(), real.new_client())
    step_until(successor, lambda: real.committed() == [10, 0, 0], "all is committed")
    assert real.windows() == [window(real, minute) for minute in range(11)]


@pytest.mark.services
def test_offsets_that_were_committed_for_another_topic_are_not_used(real: RealPair) -> None:
    late = real.new_consumer()
    join(late)
    real.send(*(update(real, minute) for minute in range(3)))
    assert polled_records(late, 2) == [(0, 0), (0, 1)]
    late._coordinator.topic_id = "of-a-topic-that-is-gone"  # and it has not noticed
    topic.commit(late)
    assert real.committed() == [2, 0, 0]
    real.kill(late)
    assert polled_records(real.new_consumer(), 3) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.services
def test_offsets_that_an_operator_has_set_are_used(real: RealPair) -> None:
    real.send(*(update(real, minute) for minute in range(3)))
    real.admin.alter_group_offsets(real.name, {real.partitions[0]: offset_without_id(2)})
    assert polled_records(real.new_consumer(), 1) == [(0, 2)]


def offset_without_id(offset: int) -> Any:
    from kafka.structs import OffsetAndMetadata

    return OffsetAndMetadata(offset, "")


def test_what_is_polled_is_stored_before_the_service_stops_with_one_error_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness()
    harness.kafka._coordinator.raise_if_replaced = raise_replaced
    harness.broker.send(message(0), to=P1)
    monkeypatch.setattr(topic, "connect_kafka", lambda _: harness.kafka)
    monkeypatch.setattr(consumer, "connect_clickhouse", lambda _: harness.clickhouse)
    assert consumer.run(Settings(), Stop()) == 1
    assert harness.clickhouse.blocks == [[row(0)]]
    assert harness.kafka.commits == [{P0: 0, P1: 1, P2: 0}]
    assert harness.kafka.is_closed
    assert lines(caplog) == [str(REPLACED)]
