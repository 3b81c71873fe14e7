"""Notice that Kafka has lost records which were already counted, as after a power failure.

Spark notices only if the topic ends before the offset that it wants to read next. Once new records
have taken the offsets of the lost ones, it goes on behind them and never reads them. Kafka's own
clients would notice by the leader epoch (KIP-320), but Spark's source does not pass it to them.

What tells is the time of arrival: all that stands before the next offset was read, so none of it
can have arrived later than the newest record that was read.
"""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, KafkaTimeoutError
from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import StreamingQueryProgress

from kafka_access import security_options
from known_topics import CheckpointFile
from progress import observed_by
from settings import Settings

FILE = "counted.json"
ENDS_EARLY = "{} now ends at offset {}, and the job had read up to {}"
TIMEOUT_MS = 3000
READ_SEC = 5


class RecordsLost(Exception):
    """Other records have taken the offsets of some that were counted; the text says which."""


class Counted(NamedTuple):
    """How far the topic was counted."""

    next_offsets: dict[str, int]  # by partition, which is a text in JSON
    newest_arrival_ms: int  # of all records before these offsets


class CountedRecords:
    """Compares the topic with what this checkpoint has counted of it."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings = settings
        self._file = CheckpointFile(spark, settings.checkpoint_location, FILE)
        content = self._file.read()
        self._counted = Counted(**content) if content else None
        self._pending: list[StreamingQueryProgress] = []
        self._admin: KafkaAdminClient | None = None

    def add(self, batches: Iterable[StreamingQueryProgress]) -> None:
        """Check the topic after these micro-batches, oldest first, and remember how far they count.

        The checkpoint remembers it, too: a new job must check before it reads on. If Kafka does not
        answer, these batches wait for the next call. Raises RecordsLost.
        """
        before = self._counted
        self._pending += [batch for batch in batches if batch.numInputRows > 0]
        try:
            while self._pending:
                self.check()  # if records were lost before this batch, it has skipped others
                self._counted = self._up_to(self._pending[0])
                del self._pending[0]
        except KafkaError:
            pass
        finally:
            if self._counted and self._counted != before:
                self._file.write(self._counted._asdict())

    def check(self) -> None:
        """Raises RecordsLost, or KafkaError if Kafka does not answer."""
        if not self._counted:
            return
        newest, ends = self._counted.newest_arrival_ms, self._ends(self._counted)
        for partition, newer in self._offsets(dict.fromkeys(ends, newest + 1)).items():
            if 0 <= newer.offset < ends[partition]:
                self._raise_if_read(partition, newer.offset, ends[partition], newest)

    def check_ends(self) -> None:
        """Raises RecordsLost if the topic ends before what was counted, or KafkaError.

        When Spark misses the records of a batch, it does not say whether others are gone, too.
        """
        if not self._counted:
            return
        ends = self._ends(self._counted)
        for partition, now in self._offsets(dict.fromkeys(ends, OffsetSpec.LATEST)).items():
            if now.offset < ends[partition]:
                name = f"{partition.topic}-{partition.partition}"
                raise RecordsLost(ENDS_EARLY.format(name, now.offset, ends[partition]))

    def _ends(self, counted: Counted) -> dict[TopicPartition, int]:
        topic = self._settings.raw_topic
        return {TopicPartition(topic, int(n)): end for n, end in counted.next_offsets.items()}

    def _up_to(self, batch: StreamingQueryProgress) -> Counted:
        (source,) = batch.sources
        topic = self._settings.raw_topic
        next_offsets = json.loads(source.endOffset)[topic]
        start = json.loads(source.startOffset) or {}  # null in the first batch
        first_offsets = start.get(topic, {})
        (observed,) = observed_by([batch])
        if self._counted and self._counted.next_offsets == first_offsets:
            earlier_ms = self._counted.newest_arrival_ms
        elif not any(first_offsets.values()):
            earlier_ms = 0  # there are no records before this batch
        else:  # in the batches between, there may be records of a time when Kafka's clock was ahead
            partitions = [TopicPartition(topic, int(n)) for n in next_offsets]
            newest = self._offsets(dict.fromkeys(partitions, OffsetSpec.MAX_TIMESTAMP))
            earlier_ms = max(each.timestamp for each in newest.values())
        return Counted(next_offsets, max(earlier_ms, observed["newest_arrival_ms"]))

    def _offsets(self, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """What Kafka finds in each partition: the first record at or after a time in milliseconds,
        or what an OffsetSpec says. Its offset and timestamp; -1 if there is none.

        After a KafkaError, the next call connects again.
        """
        try:
            self._admin = self._admin or KafkaAdminClient(**self._access())
            found: dict[TopicPartition, Any] = self._admin.list_partition_offsets(wanted)
        except KafkaError:
            self._close()
            raise
        return found

    def _raise_if_read(self, partition: TopicPartition, first: int, end: int, newest: int) -> None:
        """Raise RecordsLost if a record before `end` is newer than the newest that was read.

        Not if these are markers of transactions or records of aborted ones, which nobody reads.
        """
        with KafkaConsumer(
            **self._access(), isolation_level="read_committed", enable_auto_commit=False
        ) as consumer:
            consumer.assign([partition])
            consumer.seek(partition, first)
            deadline = time.monotonic() + READ_SEC
            while consumer.position(partition) < end:
                for record in consumer.poll(timeout_ms=TIMEOUT_MS).get(partition, []):
                    if record.offset < end and record.timestamp > newest:
                        raise RecordsLost(
                            f"{partition.topic}-{partition.partition} has newer records from offset"
                            f" {record.offset} on, and the job had read up to {end}"
                        )
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError

    def _access(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self._settings.kafka_bootstrap_servers,
            **security_options(self._settings),
            "bootstrap_timeout_ms": TIMEOUT_MS,
            "request_timeout_ms": TIMEOUT_MS,
        }

    def _close(self) -> None:
        if self._admin:
            self._admin.close()
            self._admin = None
