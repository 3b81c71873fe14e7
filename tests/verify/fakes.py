"""A topic, a table and a Kafka consumer in memory."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from kafka import TopicPartition

from orders import NOON
from raw_topic import Record
from windows import Row

EVER = datetime.min.replace(tzinfo=UTC)
MARKER = b"the end of a transaction"


class FakeRaw:
    """A RawTopic whose records arrive in portions, one each time it is read."""

    def __init__(
        self,
        *portions: Sequence[bytes | None],
        arrival: datetime = NOON + timedelta(seconds=90),
        complete_since: datetime = EVER,
    ) -> None:
        self._portions, self._arrival = list(portions), arrival
        self.complete_since = complete_since

    gaps = 0

    def skip_before(self, moment: datetime) -> None:
        self.complete_since = moment

    def read_new(self) -> Iterable[Record]:
        for offset, value in enumerate(self._portions.pop(0) if self._portions else ()):
            yield Record(value, self._arrival, 0, offset)


class FakeTable:
    """A ClickHouse client that gives these answers, the last one for ever; an error is raised."""

    def __init__(self, *answers: list[Row] | Exception) -> None:
        self._answers = list(answers)

    def execute(self, _query: str) -> list[Row]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeKafka:
    """A KafkaConsumer of one topic. A partition is its first offset, and what is there."""

    def __init__(self, *partitions: tuple[int, list[bytes]]) -> None:
        self.partitions = list(partitions)
        self.positions: dict[TopicPartition, int] = {}
        self.topic_id: str | None = "1"
        cluster = SimpleNamespace(topic_id=lambda _: self.topic_id)
        self._client = SimpleNamespace(cluster=cluster)

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return set(range(len(self.partitions)))

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(partitions, -1)

    def seek_to_beginning(self) -> None:
        self.positions = self.beginning_offsets(self.positions)

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {p: self.partitions[p.partition][0] for p in partitions}

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        begins = self.beginning_offsets(partitions)
        return {p: begin + len(self.partitions[p.partition][1]) for p, begin in begins.items()}

    def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[SimpleNamespace]]:
        """One record of each partition; its timestamp is the offset, in seconds from NOON."""
        polled = {}
        for p, position in self.positions.items():
            begin, values = self.partitions[p.partition]
            for value in values[position - begin :][:1]:
                timestamp = int((NOON + timedelta(seconds=position)).timestamp() * 1000)
                self.positions[p] += 1
                if value is not MARKER:
                    record = SimpleNamespace(timestamp=timestamp, value=value, offset=position)
                    polled[p] = [record]
        return polled
