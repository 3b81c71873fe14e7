"""Read every committed record of the raw topic, as often as there are new ones."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
)

from refusals import no_topic, why

SILENT_SEC = 60  # a broker that restarts is away for less
EPOCH = datetime.fromtimestamp(0, UTC)


class Record(NamedTuple):
    """A record as Kafka has it."""

    value: bytes | None
    arrival: datetime  # Kafka's timestamp
    partition: int
    offset: int


class RawTopic:
    """The records of a topic, each once, in offset order per partition.

    All records that arrived at `complete_since` or later are there; Kafka may have deleted older
    ones. Records of aborted transactions do not exist, those of an open one do not exist yet.
    Raises SystemExit if there is no Kafka or no such topic, or if the topic is replaced meanwhile.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, security: Mapping[str, Any] | None = None
    ) -> None:
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                **(security or {}),
                bootstrap_timeout_ms=3000,  # not longer, because it tries a wrong password again
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_poll_records=10_000,
                metadata_max_age_ms=1000,
                reconnect_backoff_max_ms=1000,
            )
        except KafkaError:
            raise SystemExit(f"no Kafka answers at {bootstrap_servers}{why()}") from None
        partitions = self._consumer.partitions_for_topic(topic)
        if not partitions:
            raise SystemExit(no_topic(topic, bootstrap_servers))
        self._topic = topic
        self._topic_id = self._current_id()
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning()
        self._begins = self._consumer.beginning_offsets(self._partitions)
        # Partitions whose oldest records Kafka has deleted, until the first one that is left.
        self._cut = {partition for partition, begin in self._begins.items() if begin > 0}
        self.complete_since = datetime.min.replace(tzinfo=UTC)
        self._next = dict(self._begins)  # the offset behind the last record
        self.gaps = 0  # offsets without a record

    def skip_before(self, moment: datetime) -> None:
        """Go to the first record of each partition that arrived at this moment or later."""
        ends = self._ends()
        millis = (moment - EPOCH) // timedelta(milliseconds=1)
        found = self._consumer.offsets_for_times(dict.fromkeys(self._partitions, millis))
        for partition, first in found.items():
            self._next[partition] = first.offset if first else ends[partition]
            self._consumer.seek(partition, self._next[partition])
        self.complete_since = moment

    def read_new(self) -> Iterable[Record]:
        """Every record between the last call and now.

        Raises CorruptRecordError, and KafkaTimeoutError if none arrives for SILENT_SEC.
        """
        self._exit_if_replaced()
        now = datetime.now(UTC)
        ends = self._ends()
        silent_since = time.monotonic()
        while any(self._consumer.position(p) < end for p, end in ends.items()):
            polled = self._consumer.poll(timeout_ms=1000)
            if polled:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > SILENT_SEC:
                raise KafkaTimeoutError(f"no record arrives for {SILENT_SEC} s")
            self._exit_if_replaced()
            for partition, records in polled.items():
                for record in records:
                    self._note_offset(partition, record.offset)
                    arrival = EPOCH + timedelta(milliseconds=record.timestamp)
                    self._note_first(partition, arrival)
                    yield Record(record.value, arrival, partition.partition, record.offset)
        for partition in list(self._cut):
            self._note_first(partition, now)  # it has no record

    def _ends(self) -> Mapping[TopicPartition, int]:
        try:
            ends: Mapping[TopicPartition, int] = self._consumer.end_offsets(self._partitions)
        except KeyError:  # kafka-python 3.0.12, while only some of the partitions have a leader
            raise LeaderNotAvailableError from None
        return ends

    def _note_offset(self, partition: TopicPartition, offset: int) -> None:
        """The offset of a batch is not part of its checksum."""
        if offset < self._next[partition]:
            last = self._next[partition] - 1
            raise CorruptRecordError(f"{partition} goes back from offset {last} to {offset}")
        self.gaps += offset - self._next[partition]
        self._next[partition] = offset + 1

    def _note_first(self, partition: TopicPartition, arrival: datetime) -> None:
        if partition in self._cut:
            self._cut.remove(partition)
            self.complete_since = max(self.complete_since, arrival)

    def _current_id(self) -> object:
        """The id of the topic with the name, a second ago or so; None if it is unknown."""
        return self._consumer._client.cluster.topic_id(self._topic)

    def _exit_if_replaced(self) -> None:
        if self._current_id() not in (None, self._topic_id):
            raise SystemExit(
                f"topic {self._topic} was deleted and created again while it was read:"
                " run this again"
            )

    def size(self) -> int:
        """The number of records in the topic; the marker that ends a transaction counts, too."""
        ends = self._ends()
        return sum(ends[p] - begin for p, begin in self._begins.items())

    def close(self) -> None:
        self._consumer.close()
