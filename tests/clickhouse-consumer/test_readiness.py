"""When the service says that it is ready, on the real servers."""

from pathlib import Path

import pytest

import consumer
import topic
from pairs import RealPair
from reporting import Monitor
from waiting import eventually

pytestmark = pytest.mark.services


def test_an_idle_consumer_is_ready_once_it_is_in_its_group_and_its_table_takes_rows(
    real_pair: RealPair, tmp_path: Path
) -> None:
    health_file = tmp_path / "health"
    kafka = real_pair.new_consumer()
    loader = real_pair.loader(kafka, real_pair.new_client())
    monitor = Monitor(kafka, real_pair.settings(health_file=health_file))

    def is_ready() -> bool:
        was_member = topic.is_member(kafka)
        consumer.step(loader, monitor)
        assert was_member or topic.is_member(kafka) or not health_file.exists()
        return health_file.exists()

    eventually(is_ready, "the consumer is ready", interval_sec=0)
    assert real_pair.windows() == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"clickhouse_table": "missing"}, "Code: 60"),
        ({"clickhouse_password": "wrong"}, "Code: 516"),
    ],
)
def test_a_consumer_that_cannot_insert_says_why_and_is_not_ready(
    real_pair: RealPair,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
    reason: str,
) -> None:
    health_file = tmp_path / "health"
    kafka = real_pair.new_consumer()
    clickhouse = consumer.connect_clickhouse(real_pair.settings(**settings))
    loader = real_pair.loader(kafka, clickhouse, **settings)
    monitor = Monitor(kafka, real_pair.settings(health_file=health_file))

    def is_member() -> bool:
        consumer.step(loader, monitor)
        return topic.is_member(kafka)

    eventually(is_member, "the consumer is in its group", interval_sec=0)
    consumer.step(loader, monitor)
    assert not health_file.exists()
    assert f"did not acknowledge 0 rows, next try in 0.5 s: ServerException {reason}" in caplog.text
