"""Waiting for Kafka's topics."""

import pytest
from kafka.errors import KafkaTimeoutError

import kafka_topics
from kafka_topics import missing_topics, topic_ids, wait_for_topics
from lifecycle import Stop
from settings import Settings

SETTINGS = Settings(kafka_bootstrap_servers="kafka:29092", raw_topic="raw", agg_topic="agg")


class FakeClock(Stop):
    """A stop that is never requested by itself, and whose waits only move the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.requested


class FakeAdmin:
    """Kafka's administration of a cluster that has the given topics, or does not answer."""

    existing: set[str] | None = set()
    has_ids = True

    def __init__(self, **options: object) -> None:
        assert options["bootstrap_servers"] == "kafka:29092"
        if self.existing is None:
            raise KafkaTimeoutError()

    def __enter__(self) -> "FakeAdmin":
        return self

    def __exit__(self, *_: object) -> None: ...

    def describe_topics(self, names: list[str]) -> list[dict[str, object]]:
        assert self.existing is not None
        return [
            {"name": name, "error_code": 0, "topic_id": f"id-{name}" if self.has_ids else None}
            if name in self.existing
            else {"name": name, "error_code": 3, "topic_id": None}
            for name in names
        ]


@pytest.mark.parametrize(
    ("existing", "missing"),
    [
        (None, {"raw", "agg"}),
        (set(), {"raw", "agg"}),
        ({"raw", "other"}, {"agg"}),
        ({"raw", "agg"}, set()),
    ],
)
def test_a_topic_is_missing_until_kafka_says_that_it_exists(
    existing: set[str] | None, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "KafkaAdminClient", FakeAdmin)
    monkeypatch.setattr(FakeAdmin, "existing", existing)
    assert missing_topics(SETTINGS) == missing


@pytest.mark.parametrize(
    ("has_ids", "ids"), [(True, {"agg": "id-agg"}), (False, {"agg": ""})], ids=["new", "old"]
)
def test_each_topic_has_its_id_unless_kafka_is_too_old_for_ids(
    has_ids: bool, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "KafkaAdminClient", FakeAdmin)
    monkeypatch.setattr(FakeAdmin, "existing", {"agg", "other"})
    monkeypatch.setattr(FakeAdmin, "has_ids", has_ids)
    assert topic_ids(SETTINGS) == ids


def test_a_line_every_five_seconds_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()

    def missing(_: Settings) -> set[str]:
        seconds = clock.now - 100
        return {"raw", "agg"} if seconds < 7 else {"agg"} if seconds < 12 else set()

    monkeypatch.setattr(kafka_topics, "missing_topics", missing)
    monkeypatch.setattr(kafka_topics, "time", clock)
    caplog.set_level("INFO")
    wait_for_topics(SETTINGS, clock)
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for Kafka at kafka:29092 to have agg and raw",
        "waiting for Kafka at kafka:29092 to have agg and raw",
        "waiting for Kafka at kafka:29092 to have agg",
    ]


def test_a_request_to_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()

    def missing(_: Settings) -> set[str]:
        assert not stop.requested, "still looking for topics"
        stop.request()
        return {"raw"}

    monkeypatch.setattr(kafka_topics, "missing_topics", missing)
    wait_for_topics(SETTINGS, stop)
