"""How kafka-python and clickhouse-driver are set up."""

from typing import Any

import pytest

import table
import topic
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
    assert used["clickhouse"]["settings"] == {"async_insert": 0}
    assert used["clickhouse"]["password"] == "MySecret"
    assert used["clickhouse"]["send_receive_timeout"] < 60  # far below max.poll.interval.ms
