"""A topic that is deleted and created again is another topic, whatever its name."""

import uuid
from contextlib import suppress

import pytest
from kafka.errors import NoError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

import consumer
import topic
from builders import message, row
from coordinator import TopicReplaced
from fakes import P0, P1, P2, TOPIC
from harness import Harness, lines
from lifecycle import Stop
from pairs import DEADLINE_SEC, RealPair, join, polled_records, step_until, update, window
from reporting import Monitor
from settings import Settings
from waiting import eventually

REPLACED = TopicReplaced("topic transactions_agg was deleted and created again")


def delete_and_create(pair: RealPair) -> None:
    pair.admin.delete_topics([pair.name])

    def is_created() -> bool:
        with suppress(TopicAlreadyExistsError):  # until the old one is deleted
            pair.create_topic()
            return True
        return False

    eventually(is_created, "the topic is created again", DEADLINE_SEC)


@pytest.mark.services
def test_after_a_topic_was_created_again_the_consumer_stops_and_the_next_one_reads_all_of_it(
    real_pair: RealPair,
) -> None:
    kafka = real_pair.new_consumer()
    loader = real_pair.loader(kafka, real_pair.new_client())
    real_pair.send(*[update(real_pair, 0)] * 5)
    step_until(loader, lambda: real_pair.committed() == [5, 0, 0], "all is committed")

    delete_and_create(real_pair)
    real_pair.send(*(update(real_pair, minute) for minute in range(1, 11)))  # 5 before its position
    monitor = Monitor(kafka, real_pair.settings())

    def is_stopped() -> bool:
        try:
            consumer.step(loader, monitor)
        except TopicReplaced as reason:
            assert str(reason).startswith(f"topic {real_pair.name} was deleted and created again, ")
            return True
        return False

    eventually(is_stopped, "the consumer stops", DEADLINE_SEC, 0)
    real_pair.kill(kafka)

    successor = real_pair.loader(real_pair.new_consumer(), real_pair.new_client())
    step_until(successor, lambda: successor.totals.stored == 10, "all is read and stored")
    assert real_pair.committed() == [10, 0, 0]
    assert real_pair.windows() == [window(real_pair, minute) for minute in range(11)]


@pytest.mark.services
def test_offsets_that_were_committed_for_another_topic_are_not_used(real_pair: RealPair) -> None:
    late = real_pair.new_consumer()
    join(late)
    real_pair.send(*(update(real_pair, minute) for minute in range(3)))
    assert polled_records(late, 2) == [(0, 0), (0, 1)]
    late._coordinator.topic_id = "of-a-topic-that-is-gone"  # and it has not noticed
    topic.commit(late)
    assert real_pair.committed() == [2, 0, 0]
    real_pair.kill(late)
    assert polled_records(real_pair.new_consumer(), 3) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.services
def test_an_offset_that_was_damaged_is_not_used(real_pair: RealPair) -> None:
    real_pair.send(*(update(real_pair, minute) for minute in range(3)))
    first = real_pair.new_consumer()
    assert polled_records(first, 3) == [(0, 0), (0, 1), (0, 2)]
    label = first._coordinator.label(2)
    real_pair.kill(first)  # so that others may set its offsets
    damaged = {real_pair.partitions[0]: OffsetAndMetadata(3, label)}
    answers = real_pair.admin.alter_group_offsets(real_pair.name, damaged)
    assert set(answers.values()) == {NoError}
    assert polled_records(real_pair.new_consumer(), 3) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.services
def test_offsets_that_an_operator_has_set_are_used(real_pair: RealPair) -> None:
    real_pair.send(*(update(real_pair, minute) for minute in range(3)))
    real_pair.admin.alter_group_offsets(
        real_pair.name, {real_pair.partitions[0]: OffsetAndMetadata(2)}
    )
    assert polled_records(real_pair.new_consumer(), 1) == [(0, 2)]


def test_only_another_id_is_another_topic() -> None:
    kafka = topic.connect_kafka(Settings(kafka_bootstrap_servers="localhost:1"))
    try:
        first, other = uuid.uuid4(), uuid.uuid4()
        topic.raise_if_replaced(kafka)  # it is not assigned yet
        kafka._coordinator.topic_id = str(first)
        for current in ({}, {TOPIC: None}, {TOPIC: first}):  # unknown, deleted, the same
            kafka._client.cluster._topic_ids = current
            topic.raise_if_replaced(kafka)
        kafka._client.cluster._topic_ids = {TOPIC: other}
        with pytest.raises(TopicReplaced, match=f"^topic {TOPIC} was deleted and created again, "):
            topic.raise_if_replaced(kafka)
    finally:
        topic.close(kafka)


def test_what_is_polled_is_stored_before_the_service_stops_with_one_error_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_replaced() -> None:
        raise REPLACED

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
