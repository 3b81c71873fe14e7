"""The loop of the consumer: poll records, parse them, add them to a batch, flush, commit."""

import logging
import time
from collections.abc import Callable
from enum import Enum

from clickhouse_driver import Client
from kafka import KafkaConsumer
from kafka.consumer.fetcher import ConsumerRecord

import topic
from message import InvalidMessage, Row, parse, raise_if_too_many
from metrics import InsertMetrics
from reporting import Totals
from settings import Settings
from table import Inserted, NotAcknowledged, Table

logger = logging.getLogger(__name__)

FIRST_RETRY_SEC = 0.5
LAST_RETRY_SEC = 10.0
COMMIT_RETRY_SEC = 5.0
IDLE_POLL_SEC = 1.0
CHECK_INTERVAL_SEC = 5.0


class State(Enum):
    """What the loader waits for before the next flush, which inserts the batch and commits."""

    IDLE = "Everything polled is committed. Wait for records; at `flush_at`, check ClickHouse."
    DUE = "Wait until `flush_at`, or until the batch is full."
    RETRYING = "ClickHouse did not acknowledge the batch. Wait until `flush_at`; take no records."
    REFUSED = "ClickHouse refused every row of the batch. Wait for more rows, then retry them all."


class Loader:
    """Moves records from Kafka to ClickHouse. Holds what is polled and not committed yet."""

    def __init__(
        self,
        kafka: KafkaConsumer,
        clickhouse: Client,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kafka, self.settings, self.clock = kafka, settings, clock
        self.table = Table(clickhouse, settings)
        self.rows: list[Row] = []  # the batch
        self.records: list[ConsumerRecord] = []  # where each row of the batch came from
        self.state = State.IDLE
        self.flush_at = clock()  # in all states but REFUSED; the first check is due at once
        self.retry_sec = 0.0  # the latest wait in the state RETRYING
        self.invalid_in_a_row = 0
        self.totals = Totals()
        self.insert_metrics = InsertMetrics()

    def step(self) -> None:
        """Poll once, then flush if that is due. Raises TooManyInvalid."""
        self.poll()
        if self.is_flush_due():
            self.flush()
        if self.state is State.RETRYING:
            # The consumer must poll to stay in its group, but paused partitions return no records.
            # Pause in every step, because partitions may have been assigned since the last one.
            topic.pause(self.kafka)

    def finish(self) -> None:
        """Flush for the last time, unless ClickHouse is away. Raises TooManyInvalid."""
        if self.state is State.DUE:
            self.flush()
        elif self.rows:
            logger.warning("%d rows are not stored; they will be read again", len(self.rows))

    def poll(self) -> None:
        """Take what Kafka has and the batch has room for; wait for it until a flush is due."""
        wait_sec = IDLE_POLL_SEC
        if self.state is not State.REFUSED:
            wait_sec = min(max(self.flush_at - self.clock(), 0), IDLE_POLL_SEC)
        room = max(self.settings.max_batch_rows - len(self.rows), 1)
        records = topic.poll(self.kafka, wait_sec, room)
        if records:
            self.flush_within(self.settings.flush_interval_sec)
        self.totals.polled += len(records)
        for record in records:
            self.add(record)

    def flush_within(self, seconds: float) -> None:
        """Make a flush due in `seconds`, unless one is due sooner."""
        flush_at = self.clock() + seconds
        if self.state in (State.IDLE, State.REFUSED):
            self.state, self.flush_at = State.DUE, flush_at
        self.flush_at = min(self.flush_at, flush_at)

    def add(self, record: ConsumerRecord) -> None:
        try:
            self.rows.append(parse(record.value))
            self.records.append(record)
            self.invalid_in_a_row = 0
        except InvalidMessage as reason:
            self.skip(record, reason.kind, str(reason))
            self.invalid_in_a_row += 1
            raise_if_too_many(self.invalid_in_a_row)

    def skip(self, record: ConsumerRecord, kind: str, reason: str) -> None:
        where = (record.topic, record.partition, record.offset)
        logger.warning("skipped topic %s partition %d offset %d: %s", *where, reason)
        self.totals.skipped[kind] += 1

    def is_flush_due(self) -> bool:
        if self.state is State.DUE and len(self.rows) >= self.settings.max_batch_rows:
            return True
        return self.state is not State.REFUSED and self.clock() >= self.flush_at

    def flush(self) -> None:
        """Insert the batch and commit, or keep the batch for another try.

        The batch of an idle consumer is empty. ClickHouse checks its insert all the same: whether
        the account, the table and its columns are as they should be.
        """
        began = self.clock()
        try:
            inserted = self.table.insert(self.rows)
        except NotAcknowledged as reason:
            self.retry(reason)
            return
        if self.state is State.RETRYING:
            logger.info("ClickHouse is back")
            topic.resume(self.kafka)
        if inserted.refused and not inserted.stored:
            # Perhaps the table is wrong, not the rows: the next rows will show which.
            message = "ClickHouse rejected all %d rows; retrying with the next batch: %s"
            logger.warning(message, len(self.rows), list(inserted.refused.values())[-1])
            self.state = State.REFUSED
            return
        self.settle(inserted, self.clock() - began)
        if self.state is State.IDLE:
            self.wait_for_records()
        else:
            self.commit()

    def retry(self, reason: NotAcknowledged) -> None:
        is_first = self.state is not State.RETRYING
        self.retry_sec = FIRST_RETRY_SEC if is_first else min(self.retry_sec * 2, LAST_RETRY_SEC)
        self.state, self.flush_at = State.RETRYING, self.clock() + self.retry_sec
        server = f"{self.settings.clickhouse_host}:{self.settings.clickhouse_port}"
        self.totals.retries += 1
        message = "ClickHouse at %s did not acknowledge %d rows, next try in %.1f s: %s"
        logger.warning(message, server, len(self.rows), self.retry_sec, reason)

    def settle(self, inserted: Inserted, duration_sec: float) -> None:
        """Empty the batch: each of its rows is stored or, from here on, reported."""
        for position, refusal in inserted.refused.items():
            self.skip(self.records[position], "refused", f"refused by ClickHouse: {refusal}")
        if inserted.stored:
            self.totals.stored += len(inserted.stored)
            self.totals.inserts += inserted.inserts
            self.totals.last_window = inserted.stored[-1].window_start
            self.totals.last_stored_at = time.time()
            self.insert_metrics.observe(inserted.stored, self.records[-1], duration_sec)
        self.rows, self.records = [], []

    def commit(self) -> None:
        """Commit everything polled: by now each record of it is stored or reported."""
        try:
            topic.commit(self.kafka)
            self.wait_for_records()
        except topic.NotCommitted as reason:
            logger.warning("offsets not committed, records may be read again: %s", reason)
            self.state, self.flush_at = State.DUE, self.clock() + COMMIT_RETRY_SEC

    def wait_for_records(self) -> None:
        self.state, self.flush_at = State.IDLE, self.clock() + CHECK_INTERVAL_SEC
