"""Reading the raw topic to its end, and from when on it is complete."""

from datetime import UTC, datetime, timedelta

import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaTimeoutError, LeaderNotAvailableError

import raw_topic
from fakes import EVER, MARKER, FakeKafka
from orders import NOON
from raw_topic import RawTopic, Record


def topic_with(
    monkeypatch: pytest.MonkeyPatch, *partitions: tuple[int, list[bytes]]
) -> tuple[RawTopic, FakeKafka]:
    kafka = FakeKafka(*partitions)
    monkeypatch.setattr(raw_topic, "KafkaConsumer", lambda **_: kafka)
    return RawTopic("localhost:9092", "raw"), kafka


def test_every_record_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, kafka = topic_with(monkeypatch, (0, [b"a", b"b"]), (0, []), (0, [b"c"]))
    assert sorted(raw.read_new()) == [
        Record(b"a", NOON, partition=0, offset=0),
        Record(b"b", NOON + timedelta(seconds=1), partition=0, offset=1),
        Record(b"c", NOON, partition=2, offset=0),
    ]
    assert list(raw.read_new()) == []
    kafka.partitions[1][1].append(b"d")
    assert list(raw.read_new()) == [Record(b"d", NOON, partition=1, offset=0)]
    assert raw.size() == 4
    assert raw.complete_since == EVER


def test_after_records_were_deleted_the_topic_is_complete_since_the_first_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, _ = topic_with(monkeypatch, (7, [b"a", b"b"]), (0, [b"c"]), (9, [b"d"]))
    list(raw.read_new())
    assert raw.complete_since == NOON + timedelta(seconds=9)
    assert raw.size() == 4


def test_after_a_marker_the_topic_is_complete_since_the_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, _ = topic_with(monkeypatch, (7, [MARKER, b"b"]))
    list(raw.read_new())
    assert raw.complete_since == NOON + timedelta(seconds=8)


def test_offsets_without_a_record_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, _ = topic_with(monkeypatch, (7, [b"a", MARKER, MARKER, b"b"]), (0, [b"c"]))
    assert len(list(raw.read_new())) == 3
    assert raw.gaps == 2


def test_an_offset_that_goes_back_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, kafka = topic_with(monkeypatch, (0, [b"a", b"b"]))
    list(raw.read_new())
    kafka.partitions[0][1].append(b"c")
    raw._next[TopicPartition("raw", 0)] = 3  # as after a batch whose offset was too high
    with pytest.raises(CorruptRecordError, match="goes back from offset 2 to 2"):
        list(raw.read_new())


def test_a_partition_without_its_records_makes_the_topic_complete_only_from_now_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = datetime.now(UTC)
    raw, kafka = topic_with(monkeypatch, (7, []), (9, [MARKER]), (0, [b"c"]))
    assert [record.value for record in raw.read_new()] == [b"c"]
    complete_since = raw.complete_since
    assert before <= complete_since <= datetime.now(UTC)
    kafka.partitions[0][1].append(b"d")
    assert [record.value for record in raw.read_new()] == [b"d"]
    assert raw.complete_since == complete_since


def test_a_kafka_that_goes_away_while_it_is_read_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, kafka = topic_with(monkeypatch, (0, [b"a"]))
    monkeypatch.setattr(kafka, "poll", lambda **_: {})
    monkeypatch.setattr(raw_topic, "SILENT_SEC", 0)
    with pytest.raises(KafkaTimeoutError, match="no record arrives for 0 s"):
        list(raw.read_new())


def test_no_kafka_and_no_topic_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SystemExit, match="^no topic raw at localhost:9092, or Kafka's ACLs hide it"
    ):
        topic_with(monkeypatch)

    def no_kafka(**_: object) -> None:
        raise KafkaTimeoutError

    monkeypatch.setattr(raw_topic, "KafkaConsumer", no_kafka)
    with pytest.raises(SystemExit, match="^no Kafka answers at localhost:9092$"):
        RawTopic("localhost:9092", "raw")


def test_a_topic_that_is_created_again_while_it_is_read_ends_it_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, kafka = topic_with(monkeypatch, (0, [b"a"]))
    kafka.topic_id = None  # as a broker says that has just started
    assert [record.value for record in raw.read_new()] == [b"a"]
    kafka.topic_id = "2"
    with pytest.raises(SystemExit, match="^topic raw was deleted and created again while it was"):
        list(raw.read_new())


def test_a_partition_without_a_leader_is_an_error_of_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, kafka = topic_with(monkeypatch, (0, [b"a"]), (0, [b"b"]))

    def end_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        raise KeyError(partitions[1])  # as kafka-python 3.0.12 does

    with monkeypatch.context() as patch:
        patch.setattr(kafka, "end_offsets", end_offsets)
        with pytest.raises(LeaderNotAvailableError):
            list(raw.read_new())
    assert sorted(record.value for record in raw.read_new()) == [b"a", b"b"]
