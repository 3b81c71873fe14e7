"""How kafka-python and clickhouse-driver are set up."""

from typing import Any

import pytest
from kafka import TopicPartition

import table
import topic
from fakes import Broker, FakeClock, FakeKafka
from settings import Settings


def test_the_settings_of_the_clients_that_the_delivery_promise_rests_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(topic, "KafkaConsumer", lambda *_, **kwargs: used.update(kafka=kwargs))
    monkeypatch.setattr(table, "Client", lambda *_, **kwargs: used.update(clickhouse=kwargs))
    topic.connect_kafka(Settings())
    table.connect_clickhouse(Settings())
    assert used["kafka"]["enable_auto_commit"] is False
    assert used["kafka"]["auto_offset_reset"] == "earliest"
    assert used["kafka"]["group_id"] == "clickhouse-consumer"
    assert used["kafka"]["session_timeout_ms"] < 10_000  # how long a killed consumer blocks others
    assert used["kafka"]["request_timeout_ms"] == 10_000
    assert used["clickhouse"]["settings"] == {"async_insert": 0}
    assert used["clickhouse"]["password"] == "MySecret"
    assert used["clickhouse"]["send_receive_timeout"] < 60  # far below max.poll.interval.ms


def test_the_lag_is_unknown_while_a_partition_has_no_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = FakeKafka(Broker(), FakeClock())

    def end_offsets(partitions: set[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        raise KeyError(TopicPartition("agg", 1))  # as kafka-python 3.0.12 does

    monkeypatch.setattr(kafka, "end_offsets", end_offsets)
    assert topic.lag(kafka) is None
