"""Store window totals.

Reads the topic `transactions_agg`, writes one row per window to the ClickHouse table
`aggregated_analytics`.

Delivery: at least once, and the table makes it exactly once. Offsets are committed only after
ClickHouse has acknowledged the rows, so a crash at any point, a rebalance or an insert of unknown
outcome makes records come again, never get lost. The table keeps the fullest row of each window
(ReplacingMergeTree by total_orders): what comes again changes nothing. A record that is no valid
window and a row that ClickHouse refuses are reported with topic, partition and offset, and skipped.
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from itertools import chain
from pathlib import Path
from threading import Event

from clickhouse_driver import Client
from kafka import KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.consumer import group
from kafka.consumer.fetcher import ConsumerRecord
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import KafkaError, RetriableError

from message import InvalidMessage, Row, parse
from settings import Config, ConfigError
from table import NotAcknowledged, RowRefused, connect_clickhouse, insert_statement, store

logger = logging.getLogger("clickhouse-consumer")

MAX_CONSECUTIVE_INVALID = 1000
FIRST_RETRY_SEC = 0.5
LAST_RETRY_SEC = 10.0
REPORT_INTERVAL_SEC = 10.0
STUCK_REPORTS = 3
WAIT_INTERVAL_SEC = 5.0
IDLE_POLL_SEC = 1.0
KAFKA_TIMEOUT_MS = 3000
LAG_TIMEOUT_MS = 1000


class TooManyInvalid(Exception):
    """So many records in a row were refused that the code must be wrong, not the data."""


class Stuck(Exception):
    """There are records, and Kafka's client does not bring them; a new one will."""


class Loader:
    """Moves records from Kafka to ClickHouse. Its state is what is polled and not yet committed."""

    def __init__(
        self,
        kafka: KafkaConsumer,
        clickhouse: Client,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kafka, self.clickhouse, self.config, self.clock = kafka, clickhouse, config, clock
        self.statement = insert_statement(config)
        self.rows: list[Row] = []
        self.records: list[ConsumerRecord] = []  # where each of the rows came from
        self.refused: list[tuple[ConsumerRecord, str]] = []  # of those rows, and why
        self.flush_at = math.inf  # while there is nothing to store or to commit
        self.retry_sec = 0.0  # more than 0 while ClickHouse does not acknowledge the batch
        self.invalid_in_a_row = self.refused_in_a_row = 0
        self.polled = self.stored = self.inserts = self.skipped = 0  # since the last report
        self.idle_reports = 0
        self.last_window: datetime | None = None
        self.report_at = clock() + WAIT_INTERVAL_SEC
        self.healthy_at = -math.inf

    def run(self, stop: Event) -> None:
        """Work until `stop` is set, then flush once. Raises TooManyInvalid or Stuck."""
        while not stop.is_set():
            self.step()
        if self.retry_sec:
            logger.warning("%d rows are not stored and will come again", len(self.rows))
        elif self.flush_at < math.inf:
            self.flush()

    def step(self) -> None:
        self.poll()
        is_full = len(self.rows) >= self.config.max_batch_rows and self.flush_at < math.inf
        if self.clock() >= self.flush_at or (is_full and not self.retry_sec):
            self.flush()
        if self.retry_sec:
            # Polling goes on, to stay in the group, but brings nothing. In every step, because
            # partitions may have been assigned since the last one.
            self.kafka.pause(*self.kafka.assignment())
        else:
            self.touch_health_file()
            self.report()

    def poll(self) -> None:
        """Take what Kafka has and the batch can hold; wait for it until the batch is due."""
        wait_sec = min(max(self.flush_at - self.clock(), 0), IDLE_POLL_SEC)
        room = max(self.config.max_batch_rows - len(self.rows), 1)
        try:
            polled = self.kafka.poll(timeout_ms=wait_sec * 1000, max_records=room)
        except RetriableError:  # Kafka is away, as the report will say; no record was taken
            return
        if polled:
            self.flush_at = min(self.flush_at, self.clock() + self.config.flush_interval_sec)
        for record in chain.from_iterable(polled.values()):
            self.polled += 1
            self.add(record)

    def add(self, record: ConsumerRecord) -> None:
        try:
            self.rows.append(parse(record.value))
            self.records.append(record)
            self.invalid_in_a_row = 0
        except InvalidMessage as reason:
            self.skip(record, str(reason))
            self.invalid_in_a_row += 1
            stop_if_wrong(self.invalid_in_a_row)

    def skip(self, record: ConsumerRecord, reason: str) -> None:
        where = (record.topic, record.partition, record.offset)
        logger.warning("skipped topic %s partition %d offset %d: %s", *where, reason)
        self.skipped += 1

    def flush(self) -> None:
        """Store the batch and commit, or keep it for the next try."""
        self.refused = []
        try:
            if self.rows:
                self.insert(self.rows, self.records)
        except NotAcknowledged as reason:
            self.retry_sec = min(self.retry_sec * 2, LAST_RETRY_SEC) or FIRST_RETRY_SEC
            self.flush_at = self.clock() + self.retry_sec
            server = f"{self.config.clickhouse_host}:{self.config.clickhouse_port}"
            message = "ClickHouse at %s did not store %d rows, next try in %.1f s: %s"
            logger.warning(message, server, len(self.rows), self.retry_sec, reason)
            return
        if self.retry_sec:
            logger.info("ClickHouse is back")
            self.retry_sec = 0.0
            self.kafka.resume(*self.kafka.paused())
        if self.refused and len(self.refused) == len(self.rows):
            # Perhaps the table is wrong, not the rows: beside the next ones it will show.
            message = "all %d rows refused, next try together with the next rows: %s"
            logger.warning(message, len(self.rows), self.refused[-1][1])
            self.flush_at = math.inf
            return
        for record, refusal in self.refused:
            self.skip(record, f"refused by ClickHouse: {refusal}")
        self.rows, self.records = [], []
        self.commit()

    def insert(self, rows: list[Row], records: list[ConsumerRecord]) -> None:
        """Insert rows as one block. If one is refused, halve the block until that one is alone."""
        try:
            store(self.clickhouse, self.statement, rows)
        except RowRefused as reason:
            if half := len(rows) // 2:
                self.insert(rows[:half], records[:half])
                self.insert(rows[half:], records[half:])
            else:
                self.refused.append((records[0], str(reason)))
                self.refused_in_a_row += 1
                stop_if_wrong(self.refused_in_a_row)
            return
        self.refused_in_a_row = 0
        self.stored += len(rows)
        self.inserts += 1
        self.last_window = rows[-1].window_start

    def commit(self) -> None:
        """Commit all that was polled: by now every record of it is stored or reported."""
        try:
            # The consumer's positions rather than the offsets of this batch: the same where all is
            # well, and still right for partitions that went to another consumer and came back.
            self.kafka.commit(timeout_ms=KAFKA_TIMEOUT_MS)
            self.flush_at = math.inf
        except KafkaError as reason:
            logger.warning("offsets not committed, records may come again: %s", reason)
            self.flush_at = self.clock() + WAIT_INTERVAL_SEC

    def touch_health_file(self) -> None:
        if self.config.health_file and self.clock() >= self.healthy_at + 1:
            Path(self.config.health_file).touch()
            self.healthy_at = self.clock()

    def report(self) -> None:
        """Every now and then one line: what was done, or what is waited for. Raises Stuck."""
        if self.clock() < self.report_at:
            return
        lag = self.lag()
        if lag is None:
            message = "waiting for Kafka at %s to assign partitions of %s"
            logger.warning(message, self.config.kafka_bootstrap_servers, self.config.agg_topic)
            self.report_at = self.clock() + WAIT_INTERVAL_SEC
            return
        if self.stored or self.skipped or lag:
            message = "stored %d rows in %d inserts, skipped %d records, lag %d, last window %s"
            logger.info(message, self.stored, self.inserts, self.skipped, lag, self.last_window)
        self.idle_reports = self.idle_reports + 1 if lag and not self.polled else 0
        if self.idle_reports >= STUCK_REPORTS:
            raise Stuck(
                f"lag {lag}, but nothing polled in {self.idle_reports} reports: starting over"
            )
        self.polled = self.stored = self.inserts = self.skipped = 0
        self.report_at = self.clock() + REPORT_INTERVAL_SEC

    def lag(self) -> int | None:
        """The number of records not polled yet, None if Kafka does not tell."""
        partitions = self.kafka.assignment()
        try:
            ends = self.kafka.end_offsets(partitions, timeout_ms=LAG_TIMEOUT_MS)
            polled = [self.kafka.position(p, timeout_ms=LAG_TIMEOUT_MS) or 0 for p in partitions]
        except KafkaError:
            return None
        return sum(ends.values()) - sum(polled) if partitions else None


def stop_if_wrong(in_a_row: int) -> None:
    """Raises TooManyInvalid."""
    if in_a_row >= MAX_CONSECUTIVE_INVALID:
        raise TooManyInvalid(f"refused {in_a_row} records in a row: wrong code, not bad data")


class Coordinator(ConsumerCoordinator):  # type: ignore[misc]
    """The group membership of kafka-python 3.0.12, with one mend."""

    def need_rejoin(self) -> bool:
        """Whether to join the group again: until it is done, not only until it is begun.

        Otherwise a consumer that joins again because its topic has just appeared, and whose poll()
        returns meanwhile, forgets it and waits without partitions for ever. Java's consumer had
        the same fault: KAFKA-9815.
        """
        is_needed: bool = super().need_rejoin()
        if is_needed:
            self.request_rejoin()
        return is_needed


def connect_kafka(config: Config) -> KafkaConsumer:
    """Wait for nothing: a broker or topic that does not exist yet just has no records."""
    # kafka-python 3.0.12 does not hand on its setting of this name. A topic that the consumer had
    # created by asking for it would have one partition only.
    ClusterMetadata.DEFAULT_CONFIG["allow_auto_create_topics"] = False
    group.ConsumerCoordinator = Coordinator
    return KafkaConsumer(
        config.agg_topic,
        bootstrap_servers=config.kafka_bootstrap_servers.split(","),
        group_id=config.consumer_group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        api_version=(3, 9),  # an upper limit; without it the constructor insists on a broker
        # A killed consumer keeps its partitions from others, its successor too, for one session.
        session_timeout_ms=6000,
        heartbeat_interval_ms=2000,
        metadata_max_age_ms=5000,
        reconnect_backoff_max_ms=1000,
        max_partition_fetch_bytes=8 * 2**20,  # so that a backlog comes in full batches
    )


def set_up_logging() -> None:
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%SZ",
    )
    for chatty in ("kafka", "clickhouse_driver"):  # several lines or a traceback a reconnect
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def stop_on_signals() -> Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process."""
    stop = Event()

    def request_stop(_signal: int, _frame: object) -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, request_stop)
    return stop


def main() -> int:
    set_up_logging()
    try:
        config = Config.from_env(os.environ)
    except ConfigError as error:
        logger.error("%s", error)
        return 2
    logger.info("starting with %s", config)
    stop = stop_on_signals()
    kafka, clickhouse = connect_kafka(config), connect_clickhouse(config)
    try:
        Loader(kafka, clickhouse, config).run(stop)
    except (TooManyInvalid, Stuck) as error:
        logger.error("%s", error)
        return 1
    finally:
        kafka.close(timeout_ms=KAFKA_TIMEOUT_MS)
        clickhouse.disconnect()
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
