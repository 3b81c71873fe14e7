"""Store window totals.

Reads the topic `transactions_agg`, writes one row per window to the ClickHouse table
`aggregated_analytics`.

Delivery: at least once, and the table makes it exactly once. Offsets are committed only after
ClickHouse has acknowledged the rows, so a crash at any point, a rebalance or an insert of unknown
outcome makes records come again, never get lost. The table keeps the fullest row of each window
(ReplacingMergeTree by total_orders): what comes again changes nothing. A record that is no valid
window and a row that ClickHouse refuses are reported with topic, partition and offset, and skipped.
"""

import json
import logging
import math
import os
import re
import reprlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, NoReturn, Self

from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException, TypeMismatchError
from dateutil.parser import isoparse
from kafka import KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, RetriableError

logger = logging.getLogger("clickhouse-consumer")

MAX_CONSECUTIVE_INVALID = 1000
FIRST_RETRY_SEC = 0.5
LAST_RETRY_SEC = 10.0
REPORT_INTERVAL_SEC = 10.0
WAIT_INTERVAL_SEC = 5.0
IDLE_POLL_SEC = 1.0
KAFKA_TIMEOUT_MS = 3000
LAG_TIMEOUT_MS = 1000

# TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, TOO_LARGE_STRING_SIZE,
# VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, DECIMAL_OVERFLOW and
# VIOLATED_CONSTRAINT. Any other answer is about the server, not about a row, and is waited out.
REFUSED_ROW_CODES = {53, 69, 70, 131, 321, 349, 407, 469}
# What the driver raises when a value does not fit the type of its column.
REFUSED_ROW_ERRORS = (TypeMismatchError, TypeError, AttributeError, UnicodeEncodeError)

CENT = Decimal("0.01")
EPOCH_TEXT = re.compile(r"[0-9]{10}|[0-9]{13}")
ISO_TEXT = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}.{0,30}")


class Row(NamedTuple):
    """One window. The fields are the columns of the INSERT, in its order."""

    window_start: datetime
    window_end: datetime
    total_sales: Decimal
    total_orders: int
    average_order_value: Decimal
    top_product: str


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the text names the variable and what is."""


class InvalidMessage(ValueError):
    """A record is no valid window; the text says why."""


class TooManyInvalid(Exception):
    """So many records in a row were skipped that the code must be wrong, not the data."""


class RowRefused(Exception):
    """ClickHouse stored nothing of a block because of at least one of its rows."""


class NotAcknowledged(Exception):
    """An insert failed for another reason; whether the rows are stored is unknown."""


def matching(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


NAME = (matching(r"[A-Za-z_]\w*"), "a name of letters, digits and _")
ALLOWED: dict[str, tuple[Callable[[Any], object], str]] = {
    "kafka_bootstrap_servers": (matching(r"[^\s,]+:\d+(,[^\s,]+:\d+)*"), "host:port[,host:port]"),
    "agg_topic": (matching(r"[\w.-]{1,249}"), "a name of letters, digits and ._-"),
    "max_batch_rows": (lambda rows: 1 <= rows <= 1_000_000, "a whole number from 1 to 1000000"),
    "flush_interval_sec": (lambda sec: 0 <= sec <= 60, "a number of seconds from 0 to 60"),
    "clickhouse_port": (lambda port: 1 <= port <= 65535, "a port from 1 to 65535"),
    "clickhouse_database": NAME,
    "clickhouse_table": NAME,
    "health_file": (lambda path: Path(path).parent.is_dir(), "a file in a folder that exists"),
}


@dataclass(frozen=True)
class Config:
    """Settings, each from the environment variable of the same name in capitals."""

    kafka_bootstrap_servers: str = "localhost:9092"
    agg_topic: str = "transactions_agg"
    consumer_group: str = "clickhouse-consumer"
    max_batch_rows: int = 10_000
    flush_interval_sec: float = 0.5
    clickhouse_host: str = "localhost"
    clickhouse_port: int = 9000
    clickhouse_user: str = "consumer"
    clickhouse_password: str = field(default="MySecret", repr=False)
    clickhouse_database: str = "default"
    clickhouse_table: str = "aggregated_analytics"
    health_file: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check all settings; an empty variable counts as not set. Raises ConfigError."""
        given = {
            name: checked(name, env[name.upper()], default)
            for name, default in vars(cls()).items()
            if env.get(name.upper())
        }
        return cls(**given)


def checked(name: str, text: str, default: Any) -> Any:
    is_allowed, allowed = ALLOWED.get(name, (bool, "any text"))
    with suppress(ValueError):
        value = type(default)(text)
        if is_allowed(value):
            return value
    raise ConfigError(f"{name.upper()} must be {allowed}, not {reprlib.repr(text)}")


def to_datetime(value: Any) -> datetime:
    """ISO 8601 (no offset means UTC) or epoch, cut to the whole seconds that a DateTime holds."""
    if type(value) is str:
        return datetime_from_text(value)
    if type(value) in (int, Decimal):
        return datetime_from_epoch(value)
    raise ValueError


@lru_cache(maxsize=4096)  # isoparse is slow, and every window comes many times
def datetime_from_text(text: str) -> datetime:
    if EPOCH_TEXT.fullmatch(text):
        return datetime_from_epoch(int(text))
    if not ISO_TEXT.fullmatch(text):  # isoparse takes a date without a time, too
        raise ValueError
    moment = isoparse(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime_from_seconds(moment.timestamp())


def datetime_from_epoch(value: int | Decimal) -> datetime:
    """Seconds up to the year 5138, milliseconds from 1973 on."""
    return datetime_from_seconds(value if value < 10**11 else value // 1000)


def datetime_from_seconds(seconds: float | Decimal) -> datetime:
    if not 0 <= seconds < 2**32:  # the range of ClickHouse's DateTime
        raise ValueError
    return datetime.fromtimestamp(int(seconds), UTC)


def to_cents(value: Any, context: Context) -> Decimal:
    if type(value) not in (int, Decimal):
        raise ValueError
    return Decimal(value).quantize(CENT, ROUND_HALF_UP, context)


def to_uint64(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError
    return value


def to_string(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    value.encode()  # half of a surrogate pair is legal in JSON and cannot be stored
    return value


READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "window_start": (to_datetime, "time from 1970 to 2106"),
    "window_end": (to_datetime, "time from 1970 to 2106"),
    "total_sales": (partial(to_cents, context=Context(38)), "amount of at most 38 digits"),
    "total_orders": (to_uint64, "whole number from 0 to 2^64 - 1"),
    "average_order_value": (partial(to_cents, context=Context(18)), "amount of at most 18 digits"),
    "top_product": (to_string, "text"),
}


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


# One for all: json.loads with these arguments would build one for each record.
JSON = json.JSONDecoder(parse_float=Decimal, parse_constant=refuse_constant)


def parse(value: bytes | None) -> Row:
    """Read one record. Raises InvalidMessage, and nothing else, if the table cannot hold it."""
    if value is None:
        raise InvalidMessage("no value (a tombstone)")
    try:
        message = JSON.decode(value.decode())
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidMessage(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise InvalidMessage("not a JSON object")
    row = Row(*(read(message, column) for column in Row._fields))
    if row.window_end <= row.window_start:
        raise InvalidMessage("window_end is not after window_start")
    return row


def read(message: dict[str, Any], column: str) -> Any:
    if column not in message:
        raise InvalidMessage(f"{column} is missing")
    convert, expected = READERS[column]
    try:
        return convert(message[column])
    except (ValueError, ArithmeticError):
        found = reprlib.repr(message[column])[:100]
        raise InvalidMessage(f"{column} is no {expected}: {found}") from None


def is_about_a_row(error: Exception) -> bool:
    if isinstance(error, ServerException):
        return error.code in REFUSED_ROW_CODES
    return isinstance(error, REFUSED_ROW_ERRORS)


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
        self.insert_sql = (
            f"INSERT INTO `{config.clickhouse_database}`.`{config.clickhouse_table}`"
            f" ({', '.join(Row._fields)}) VALUES"
        )
        self.rows: list[Row] = []
        self.records: list[ConsumerRecord] = []  # where each of the rows came from
        self.flush_at = math.inf  # while there is nothing to store or to commit
        self.retry_sec = 0.0  # more than 0 while ClickHouse does not acknowledge the batch
        self.invalid_in_a_row = self.refused_in_a_row = 0
        self.stored = self.inserts = self.skipped = 0  # since the last report
        self.last_window: datetime | None = None
        self.report_at = clock() + WAIT_INTERVAL_SEC
        self.healthy_at = -math.inf

    def run(self, stop: Event) -> None:
        """Work until `stop` is set, then flush once. Raises TooManyInvalid."""
        while not stop.is_set():
            self.step()
        if self.retry_sec:
            logger.warning("%d rows are not stored and will come again", len(self.rows))
        elif self.flush_at < math.inf:
            self.flush()

    def step(self) -> None:
        self.poll()
        is_full = len(self.rows) >= self.config.max_batch_rows
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
        if polled and not self.rows:
            self.flush_at = min(self.flush_at, self.clock() + self.config.flush_interval_sec)
        for record in chain.from_iterable(polled.values()):
            self.add(record)

    def add(self, record: ConsumerRecord) -> None:
        try:
            self.rows.append(parse(record.value))
            self.records.append(record)
            self.invalid_in_a_row = 0
        except InvalidMessage as reason:
            self.invalid_in_a_row += 1
            self.skip(record, str(reason), self.invalid_in_a_row)

    def skip(self, record: ConsumerRecord, reason: str, in_a_row: int) -> None:
        where = (record.topic, record.partition, record.offset)
        logger.warning("skipped topic %s partition %d offset %d: %s", *where, reason)
        self.skipped += 1
        if in_a_row >= MAX_CONSECUTIVE_INVALID:
            raise TooManyInvalid(f"skipped {in_a_row} records in a row: wrong code, not bad data")

    def flush(self) -> None:
        """Store the batch and commit, or keep it for the next try."""
        inserts_before = self.inserts
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
        self.rows, self.records = [], []
        if self.refused_in_a_row and self.inserts == inserts_before:
            # All refused: perhaps the table is wrong. Give them up only once another row is stored.
            self.flush_at = math.inf
        else:
            self.commit()

    def insert(self, rows: list[Row], records: list[ConsumerRecord]) -> None:
        """Insert rows as one block. If one is refused, halve the block until that one is alone."""
        try:
            self.execute(rows)
        except RowRefused as reason:
            if half := len(rows) // 2:
                self.insert(rows[:half], records[:half])
                self.insert(rows[half:], records[half:])
            else:
                self.refused_in_a_row += 1
                self.skip(records[0], f"refused by ClickHouse: {reason}", self.refused_in_a_row)

    def execute(self, rows: list[Row]) -> None:
        """Raises RowRefused or NotAcknowledged."""
        try:
            acknowledged = self.clickhouse.execute(self.insert_sql, rows)
        except Exception as error:  # whatever it is, the rows are kept or reported
            reason = " ".join(str(error).partition("Stack trace")[0].split())[:300]
            if is_about_a_row(error):
                raise RowRefused(reason) from error
            raise NotAcknowledged(f"{type(error).__name__} {reason}") from error
        if acknowledged != len(rows):
            raise NotAcknowledged(f"{acknowledged} rows acknowledged")
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
        """Every now and then one line: what was done, or what is waited for."""
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
        self.stored = self.inserts = self.skipped = 0
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


def connect_kafka(config: Config) -> KafkaConsumer:
    """Wait for nothing: a broker or topic that does not exist yet just has no records."""
    # kafka-python 3.0.12 does not hand on its setting of this name. A topic that the consumer had
    # created by asking for it would have one partition only.
    ClusterMetadata.DEFAULT_CONFIG["allow_auto_create_topics"] = False
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


def connect_clickhouse(config: Config) -> Client:
    """Wait for nothing: the client connects, and connects again, when it inserts."""
    return Client(
        config.clickhouse_host,
        port=config.clickhouse_port,
        user=config.clickhouse_user,
        password=config.clickhouse_password,
        database=config.clickhouse_database,
        settings={"async_insert": 0},  # acknowledged must mean stored
        connect_timeout=3,
        sync_request_timeout=3,
        send_receive_timeout=10,
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
    except TooManyInvalid as error:
        logger.error("%s", error)
        return 1
    finally:
        kafka.close(timeout_ms=KAFKA_TIMEOUT_MS)
        clickhouse.disconnect()
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
