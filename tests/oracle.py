"""Recompute every window from transactions_raw in plain Python and compare with the table.

Reads the topic from the first offset to the last and the table as the user `consumer`; shares no
code with the pipeline. `docs/validity.md` has the rules. Exits 0 and says `verified` when every
window is equal, 1 with the differences when the deadline passed and some window is not.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, Self

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

PAYMENT_TYPES = {"credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery"}
REASONS = ("malformed", "identity", "amount", "payment_type", "time")
COLUMNS = (
    "window_start",
    "window_end",
    "total_sales",
    "total_orders",
    "average_order_value",
    "top_product",
)
AHEAD_LIMIT = timedelta(minutes=5)
MAX_ID_LENGTH = 200
CENT = Decimal("0.01")
MAX_AMOUNT = Decimal("9999999999999.99")
MAX_DEPTH, MAX_DIGITS, MAX_KEY_LENGTH = 1000, 1000, 50_000  # Jackson's limits
NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
TIMESTAMP = re.compile(
    r"([1-9]\d{3})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:Z|([+-])(\d\d):(\d\d))?",
    re.ASCII,
)
STILL_FILLING_SEC = 5  # a window that got a record this lately may lag behind
PATIENCE_SEC = 10  # for windows that are still filling, as they always are while a producer runs
POLL_INTERVAL_SEC = 0.5

# Nesting up to Jackson's limit; the parser refuses what would be deeper.
sys.setrecursionlimit(10 * MAX_DEPTH)


class Rejected(ValueError):
    """The record does not count; the text is the reason."""


class Transaction(NamedTuple):
    order_id: str
    product_id: str
    amount: Decimal
    event_time: datetime


class Row(NamedTuple):
    """One window as the table shows it, in the order of COLUMNS."""

    window_start: datetime
    window_end: datetime
    total_sales: Decimal
    total_orders: int
    average_order_value: Decimal
    top_product: str


class Difference(NamedTuple):
    kind: str  # missing, extra, wrong or duplicate
    window_start: datetime
    detail: str


def judge(value: bytes | None, arrival: datetime, watermark: timedelta) -> Transaction:
    """The valid transaction in a record that Kafka stamped `arrival`. Raises Rejected."""
    fields = read_object(value)
    order_id, product_id = (read_id(fields.get(name)) for name in ("order_id", "product_id"))
    amount = read_amount(as_text(fields.get("total_amount")))
    if as_text(fields.get("payment_type")) not in PAYMENT_TYPES:
        raise Rejected("payment_type")
    event_time = read_time(as_text(fields.get("transaction_time")))
    if event_time > arrival + AHEAD_LIMIT:
        raise Rejected("time")
    if event_time < arrival - watermark:
        raise Rejected("late")
    return Transaction(order_id, product_id, amount, event_time)


def read_object(value: bytes | None) -> dict[str, object]:
    """The JSON object that the record starts with. Raises Rejected."""
    try:
        text = (value or b"").decode().lstrip(" \t\r\n")
        if too_deep(text):
            raise Rejected("malformed")
        fields, _ = DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        raise Rejected("malformed") from None
    if not isinstance(fields, dict):
        raise Rejected("malformed")
    return fields


def too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:\\.|[^"\\])*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth == 0:  # what follows the record is not looked at
            return False
        if depth > MAX_DEPTH:
            return True
    return False


def read_int(token: str) -> str:
    if len(token.lstrip("-")) > MAX_DIGITS:
        raise Rejected("malformed")
    return "0" if token == "-0" else token


def read_float(token: str) -> str:
    """The text that a double has in Java, as that is what Spark makes of such a number."""
    if sum(character.isdigit() for character in token) > MAX_DIGITS:
        raise Rejected("malformed")
    number = float(token)
    if abs(number) == float("inf"):
        return '"Infinity"'
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return format(Decimal(repr(number)), "f")
    sign, digits, _ = Decimal(repr(number)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    exponent = Decimal(repr(number)).adjusted()
    return f"{'-' * sign}{text[0]}.{text[1:] or '0'}E{exponent}"


def read_constant(token: str) -> str:
    raise Rejected("malformed")  # NaN and Infinity are not JSON


def read_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if any(len(key.encode("utf-16-le", "surrogatepass")) // 2 > MAX_KEY_LENGTH for key, _ in pairs):
        raise Rejected("malformed")
    return dict(pairs)


DECODER = json.JSONDecoder(
    parse_int=read_int,
    parse_float=read_float,
    parse_constant=read_constant,
    object_pairs_hook=read_pairs,
)


def as_text(value: object) -> str | None:
    """A JSON value as text; of objects and arrays only that they are none of the others."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair becomes "?"
    return "{" if isinstance(value, dict) else "["


def read_id(value: object) -> str:
    """Raises Rejected."""
    text = as_text(value)
    if not text or text[0] in '{["' or len(text) > MAX_ID_LENGTH:
        raise Rejected("identity")
    return text


def read_amount(text: str | None) -> Decimal:
    """Rounded half up to the cent. Raises Rejected."""
    if text is None or not NUMBER.fullmatch(text):
        raise Rejected("amount")
    number = Decimal(text)
    if number.adjusted() > MAX_AMOUNT.adjusted():
        raise Rejected("amount")
    amount = number.quantize(CENT, ROUND_HALF_UP)
    if not 0 <= amount <= MAX_AMOUNT:
        raise Rejected("amount")
    return amount


def read_time(text: str | None) -> datetime:
    """An ISO 8601 time; UTC where it has no offset. Raises Rejected."""
    match = TIMESTAMP.fullmatch(text or "")
    if not match:
        raise Rejected("time")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if int(minutes or 0) > 59 or offset > timedelta(hours=18):
        raise Rejected("time")
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), micros, UTC
        )
        return local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError):
        raise Rejected("time") from None


@dataclass
class Window:
    """Running totals of one window."""

    sales: Decimal = Decimal(0)
    products: Counter[str] = field(default_factory=Counter)
    last_arrival: datetime = datetime.min.replace(tzinfo=UTC)

    @property
    def orders(self) -> int:
        return self.products.total()

    def row(self, start: datetime) -> Row:
        most = max(self.products.values())
        # Spark compares strings by their UTF-8 bytes.
        top = min((p for p, n in self.products.items() if n == most), key=str.encode)
        average = (self.sales / self.orders).quantize(CENT, ROUND_HALF_UP)
        return Row(start, start + timedelta(minutes=1), self.sales, self.orders, average, top)


@dataclass
class Expected:
    """What the table must hold after the records added so far."""

    watermark: timedelta
    deduplicate: bool = False
    windows: dict[datetime, Window] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    order_ids: set[str] = field(default_factory=set)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """By the job's settings WATERMARK and DEDUPLICATE_ORDERS."""
        unit, count = (env.get("WATERMARK") or "10 minutes").rstrip("s").split()[::-1]
        return cls(
            watermark=timedelta(**{f"{unit}s": int(count)}),
            deduplicate=env.get("DEDUPLICATE_ORDERS") == "true",
        )

    def add(self, value: bytes | None, arrival: datetime) -> datetime | None:
        """Judge and count one record; the start of the window it counts in, if it does."""
        try:
            transaction = judge(value, arrival, self.watermark)
        except Rejected as rejected:
            self.verdicts[str(rejected)] += 1
            return None
        if self.deduplicate and transaction.order_id in self.order_ids:
            self.verdicts["repeated"] += 1
            return None
        if self.deduplicate:
            self.order_ids.add(transaction.order_id)
        self.verdicts["valid"] += 1
        start = transaction.event_time.replace(second=0, microsecond=0)
        window = self.windows.setdefault(start, Window())
        window.sales += transaction.amount
        window.products[transaction.product_id] += 1
        window.last_arrival = max(window.last_arrival, arrival)
        return start

    @property
    def rejected(self) -> int:
        return sum(self.verdicts[reason] for reason in REASONS)


def compare(expected: Mapping[datetime, Row], actual: Iterable[Row]) -> list[Difference]:
    """Every way in which the rows of the table are not the expected ones."""
    differences, seen = [], set()
    for row in actual:
        want = expected.get(row.window_start)
        if row.window_start in seen:
            differences.append(Difference("duplicate", row.window_start, f"again as {row[1:]}"))
        elif want is None:
            differences.append(Difference("extra", row.window_start, f"{row[1:]}"))
        elif row != want:
            wrong = [
                f"{name} is {got}, not {right}"
                for name, got, right in zip(COLUMNS, row, want, strict=True)
                if got != right
            ]
            differences.append(Difference("wrong", row.window_start, ", ".join(wrong)))
        seen.add(row.window_start)
    missing = [
        Difference("missing", start, f"{row[1:]}")
        for start, row in expected.items()
        if start not in seen
    ]
    return sorted(differences + missing, key=lambda difference: difference.window_start)


class RawTopic:
    """The records of a topic, each once, in offset order per partition.

    Whatever arrived at `complete_since` or later is there; older records may have been deleted.
    """

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=10_000,
                reconnect_backoff_max_ms=1000,
            )
        except KafkaError:
            raise SystemExit(f"no Kafka answers at {bootstrap_servers}") from None
        partitions = self._consumer.partitions_for_topic(topic)
        if not partitions:
            raise SystemExit(f"no topic {topic} at {bootstrap_servers}")
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning()
        self._begins = self._consumer.beginning_offsets(self._partitions)
        self.complete_since = datetime.min.replace(tzinfo=UTC)
        ends = self._consumer.end_offsets(self._partitions)
        if any(begin == ends[p] > 0 for p, begin in self._begins.items()):
            self.complete_since = datetime.now(UTC)  # all records of a partition are gone

    def read_new(self) -> Iterable[tuple[bytes | None, datetime]]:
        """Value and Kafka timestamp of every record between the last call and now."""
        ends = self._consumer.end_offsets(self._partitions)
        while any(self._consumer.position(p) < end for p, end in ends.items()):
            for records in self._consumer.poll(timeout_ms=1000).values():
                for record in records:
                    arrival = datetime.fromtimestamp(0, UTC) + timedelta(
                        milliseconds=record.timestamp
                    )
                    partition = TopicPartition(record.topic, record.partition)
                    if record.offset == self._begins[partition] > 0:
                        self.complete_since = max(self.complete_since, arrival)
                    yield record.value, arrival

    def size(self) -> int:
        """The number of records in the topic."""
        ends = self._consumer.end_offsets(self._partitions)
        return sum(ends[p] - begin for p, begin in self._begins.items())

    def close(self) -> None:
        self._consumer.close()


def fetch_rows(client: Client, table: str) -> list[Row]:
    return [Row(*row) for row in client.execute(f"SELECT {', '.join(COLUMNS)} FROM {table}")]


def still_filling(
    difference: Difference, expected: Expected, actual: Mapping[datetime, Row]
) -> bool:
    """The table is merely behind on a window that has just got a record."""
    window = expected.windows.get(difference.window_start)
    row = actual.get(difference.window_start)
    if window is None or difference.kind == "duplicate":
        return False
    fresh = datetime.now(UTC) - window.last_arrival < timedelta(seconds=STILL_FILLING_SEC)
    return fresh and (row is None or row.total_orders < window.orders)


def verify(
    raw: RawTopic, client: Client, table: str, expected: Expected, timeout_sec: float
) -> bool:
    """Compare until all is equal or the time is over; print the verdict."""
    start = time.monotonic()
    while True:
        for value, arrival in raw.read_new():
            expected.add(value, arrival)
        try:
            rows = fetch_rows(client, table)
        except (OSError, EOFError, ClickHouseError) as error:  # restarting, perhaps
            if time.monotonic() - start > timeout_sec:
                raise SystemExit(
                    f"ClickHouse does not answer: {str(error).splitlines()[0]}"
                ) from None
            time.sleep(POLL_INTERVAL_SEC)
            continue
        # Rows can be ahead of the records read: read what has come since, for those.
        for value, arrival in raw.read_new():
            expected.add(value, arrival)
        # Older windows may have counted records that the topic no longer has.
        oldest = raw.complete_since + AHEAD_LIMIT
        older = sum(row.window_start < oldest for row in rows)
        rows = [row for row in rows if row.window_start >= oldest]
        windows = {start: each for start, each in expected.windows.items() if start >= oldest}
        want = {start: window.row(start) for start, window in windows.items()}
        by_start = {row.window_start: row for row in rows}
        differences = compare(want, rows)
        open_now = [d for d in differences if still_filling(d, expected, by_start)]
        serious = [d for d in differences if d not in open_now]
        elapsed_sec = time.monotonic() - start
        is_settled = not serious and (not open_now or elapsed_sec > PATIENCE_SEC)
        if (windows and is_settled) or elapsed_sec > timeout_sec:
            print_verdict(expected, len(windows), serious, len(open_now))
            if older:
                since = f"{oldest:%Y-%m-%d %H:%M:%S}"
                print(f"left out: {older} windows from before {since}, which the topic has lost")
            return bool(windows) and not serious  # nothing compared is nothing proven
        time.sleep(POLL_INTERVAL_SEC)


def print_verdict(
    expected: Expected, windows: int, differences: list[Difference], open_now: int
) -> None:
    for kind, start, detail in differences:
        print(f"{kind:9} {start:%Y-%m-%dT%H:%MZ}  {detail}")
    counts = (
        f"{windows} windows, {expected.verdicts['valid']} transactions,"
        f" {expected.rejected} rejected"
    )
    extra = [f"{expected.verdicts[name]} {name}" for name in ("late", "repeated")]
    counts += "".join(f", {text}" for text in extra if not text.startswith("0 "))
    filling = f" ({open_now} still filling)" if open_now else ""
    if not windows:
        print(f"nothing to verify: {counts}")
    elif differences:
        print(f"NOT equal: {len(differences)} differences in {counts}{filling}")
    else:
        print(f"verified: {counts}, all equal{filling}")


def main(arguments: list[str], env: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for equality")
    timeout_sec = parser.parse_args(arguments).timeout
    raw = RawTopic(
        env.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092",
        env.get("RAW_TOPIC") or "transactions_raw",
    )
    client = Client(
        host=env.get("CLICKHOUSE_HOST") or "localhost",
        port=int(env.get("CLICKHOUSE_PORT") or 9000),
        user=env.get("CLICKHOUSE_USER") or "consumer",
        password=env.get("CLICKHOUSE_PASSWORD") or "MySecret",
        database=env.get("CLICKHOUSE_DATABASE") or "default",
    )
    table = env.get("CLICKHOUSE_TABLE") or "aggregated_analytics"
    return 0 if verify(raw, client, table, Expected.from_env(env), timeout_sec) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
