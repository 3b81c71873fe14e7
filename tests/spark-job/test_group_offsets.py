"""The offsets that the job commits for Kafka's tools."""

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaTimeoutError,
    NoError,
    UnknownTopicOrPartitionError,
)

import group_offsets
from group_offsets import RETRY_INTERVAL_SEC, GroupOffsets
from settings import Settings

END = '{"raw":{"0":20,"1":109}}'
DENIED = "Kafka's ACLs give this user too few rights to group spark-job (docs/security.md)"
LATER = '{"raw":{"0":21,"1":109}}'


class FakeKafka:
    """Takes offsets of groups, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.commits: list[tuple[str, dict[Any, Any]]] = []
        self.failure: Exception | None = None
        self.answer: Any = NoError
        self.clients = self.closed = 0
        monkeypatch.setattr(group_offsets, "KafkaAdminClient", self.connect)
        monkeypatch.setattr(group_offsets, "time", SimpleNamespace(monotonic=lambda: self.now))

    def connect(self, **options: Any) -> "FakeKafka":
        assert options["bootstrap_servers"] == "kafka:29092"
        self.clients += 1
        return self

    def alter_group_offsets(self, group: str, offsets: dict[Any, Any]) -> dict[Any, Any]:
        self.commits.append((group, {p.partition: each.offset for p, each in offsets.items()}))
        if self.failure:
            raise self.failure
        return {TopicPartition("raw", 0): NoError, TopicPartition("raw", 1): self.answer}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    return FakeKafka(monkeypatch)


@pytest.fixture
def offsets(kafka: FakeKafka) -> GroupOffsets:
    return GroupOffsets(Settings(kafka_bootstrap_servers="kafka:29092"))


def test_each_new_end_is_committed_once_with_one_client(
    kafka: FakeKafka, offsets: GroupOffsets
) -> None:
    for end in (END, END, LATER):
        offsets.commit(end)
    assert kafka.commits == [("spark-job", {0: 20, 1: 109}), ("spark-job", {0: 21, 1: 109})]
    assert (kafka.clients, kafka.closed) == (1, 0)


@pytest.mark.parametrize(
    ("failure", "answer", "reason"),
    [
        (KafkaTimeoutError(), NoError, "KafkaTimeoutError"),
        (RuntimeError("not seen before"), NoError, "RuntimeError"),
        (None, UnknownTopicOrPartitionError, "UnknownTopicOrPartitionError"),
        (None, GroupAuthorizationFailedError, DENIED),
        (GroupAuthorizationFailedError(), NoError, DENIED),
    ],
)
def test_a_failure_is_logged_once_and_tried_again_later_with_a_new_client(
    kafka: FakeKafka,
    offsets: GroupOffsets,
    caplog: pytest.LogCaptureFixture,
    failure: Exception | None,
    answer: Any,
    reason: str,
) -> None:
    kafka.failure, kafka.answer = failure, answer
    for _ in range(RETRY_INTERVAL_SEC + 1):
        offsets.commit(END)
        kafka.now += 1
    assert [record.getMessage() for record in caplog.records] == [
        f"Kafka's tools cannot show the lag of this job: {reason}"
    ]
    assert (len(kafka.commits), kafka.clients, kafka.closed) == (2, 2, 2)
    kafka.now += RETRY_INTERVAL_SEC
    kafka.failure, kafka.answer = None, NoError
    offsets.commit(END)
    offsets.commit(END)
    assert (len(kafka.commits), len(caplog.records)) == (3, 1)
