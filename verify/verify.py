"""Recompute every window from transactions_raw and compare the result with the table.

This is an independent recomputation (testers call it an oracle). It reads the topic from the first
record to the last and applies the rules of docs/validity.md in plain Python. It shares no code with
the pipeline, so a mistake in one cannot hide in the other.

Prints `verified` and exits 0 when every window is equal. Prints the differences and exits 1 when
the deadline has passed and some window is not, or when it cannot go on. Exits 2 when a setting is
wrong.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from entry_point import exit_code, first_line
from kafka_access import security_options
from raw_topic import RawTopic
from refusals import of_clickhouse
from rules import AHEAD_LIMIT
from settings import Settings, load
from windows import COLUMNS, Difference, Expected, Row, compare

STILL_FILLING_SEC = 5  # the table may be behind on a window that has just got a record
PATIENCE_SEC = 10  # for such windows; while a producer runs, there is always one
POLL_INTERVAL_SEC = 0.5


class TableUnavailable(Exception):
    """ClickHouse does not answer; the text is one line."""


def fetch_rows(client: Client, table: str) -> list[Row]:
    """All rows of the table, in no particular order. Raises what clickhouse-driver raises."""
    return [Row(*row) for row in client.execute(f"SELECT {', '.join(COLUMNS)} FROM {table}")]


@dataclass(frozen=True)
class Snapshot:
    """The topic and the table at one moment, compared from the window `since` on."""

    expected: dict[datetime, Row]  # by window_start
    rows: list[Row]  # of the table
    differences: list[Difference]  # those that waiting does not explain
    filling: list[Difference]  # those of windows that the table is merely behind on
    since: datetime  # the topic may have lost records of older windows
    left_out: int  # rows of such windows
    gaps: int = 0  # offsets of the topic without a record

    @property
    def is_equal(self) -> bool:
        return bool(self.expected) and not self.differences  # nothing compared proves nothing

    @property
    def exceeding(self) -> int:
        """How many windows that differ have more orders in the table than in the topic."""
        want, rows = self.expected, {row.window_start: row for row in self.rows}
        differ = {difference.window_start for difference in self.differences} & rows.keys()
        return sum(
            start not in want or rows[start].total_orders > want[start].total_orders
            for start in differ
        )

    def is_final(self, elapsed_sec: float) -> bool:
        """Whether this is the verdict, or another snapshot may be better."""
        return self.is_equal and (not self.filling or elapsed_sec > PATIENCE_SEC)


def take_snapshot(raw: RawTopic, client: Client, table: str, expected: Expected) -> Snapshot:
    """Read what is new in the topic, read the table, and compare. Raises TableUnavailable."""
    add_new(raw, expected)
    try:
        rows = fetch_rows(client, table)
    except (OSError, EOFError, ClickHouseError) as error:
        raise TableUnavailable(of_clickhouse(first_line(error))) from None
    # The rows may count records that have arrived since the topic was read.
    add_new(raw, expected)
    snapshot = compared(expected, rows, raw.complete_since, datetime.now(UTC))
    return replace(snapshot, gaps=raw.gaps)


def add_new(raw: RawTopic, expected: Expected) -> None:
    for record in raw.read_new():
        expected.add(record.value, record.arrival)


def compared(
    expected: Expected, rows: list[Row], complete_since: datetime, now: datetime
) -> Snapshot:
    """Compare the windows of which the topic still has every record."""
    since = complete_since + AHEAD_LIMIT  # a record may be for a window that is so much ahead
    complete = [row for row in rows if row.window_start >= since]
    want = {start: each.row(start) for start, each in expected.windows.items() if start >= since}
    by_start = {row.window_start: row for row in complete}
    differences: list[Difference] = []
    filling: list[Difference] = []
    for difference in compare(want, complete):
        is_filling = still_filling(difference, expected, by_start, now)
        (filling if is_filling else differences).append(difference)
    return Snapshot(want, complete, differences, filling, since, len(rows) - len(complete))


def still_filling(
    difference: Difference, expected: Expected, actual: Mapping[datetime, Row], now: datetime
) -> bool:
    """Whether the table is merely behind on a window that has just got a record."""
    window = expected.windows.get(difference.window_start)
    row = actual.get(difference.window_start)
    if window is None or difference.kind == "duplicate":
        return False
    # An arrival in the future says that a clock is wrong, not that the record is new.
    is_fresh = abs(now - window.last_arrival) < timedelta(seconds=STILL_FILLING_SEC)
    return is_fresh and (row is None or row.total_orders < window.orders)


def verify(
    raw: RawTopic, client: Client, table: str, expected: Expected, timeout_sec: float
) -> bool:
    """Take snapshots until one is final or the time is over, and print the verdict.

    Returns whether all is equal. Raises SystemExit if ClickHouse does not answer in time.
    """
    start = time.monotonic()
    while True:
        try:
            snapshot = take_snapshot(raw, client, table, expected)
        except TableUnavailable as error:  # it may be restarting
            if time.monotonic() - start > timeout_sec:
                raise SystemExit(f"ClickHouse does not answer: {error}") from None
        else:
            elapsed_sec = time.monotonic() - start
            if snapshot.is_final(elapsed_sec) or elapsed_sec > timeout_sec:
                print_verdict(snapshot, expected)
                return snapshot.is_equal
        time.sleep(POLL_INTERVAL_SEC)


def print_verdict(snapshot: Snapshot, expected: Expected) -> None:
    for kind, start, detail in snapshot.differences:
        print(f"{kind:9} {start:%Y-%m-%dT%H:%MZ}  {detail}")
    verdicts = expected.verdicts
    counts = (
        f"{len(snapshot.expected)} windows, {verdicts['valid']} transactions,"
        f" {expected.rejected} rejected"
    )
    counts += "".join(
        f", {verdicts[name]} {name}" for name in ("late", "repeated") if verdicts[name]
    )
    filling = f" ({len(snapshot.filling)} still filling)" if snapshot.filling else ""
    if snapshot.gaps:
        print(f"no record at {snapshot.gaps} offsets: ends of transactions, or damage in Kafka")
    if not snapshot.expected:
        print(f"nothing to verify: {counts}")
    elif snapshot.differences:
        print(f"NOT equal: {len(snapshot.differences)} differences in {counts}{filling}")
    else:
        print(f"verified: {counts}, all equal{filling}")
    if snapshot.exceeding:
        print(
            f"{snapshot.exceeding} windows have more orders than the topic: Kafka has lost records"
            " that were counted, or fewer records count than before"
            " (docs/production.md#after-a-power-failure)"
        )
    if snapshot.left_out:
        since = f"{snapshot.since:%Y-%m-%d %H:%M:%S}"
        print(
            f"left out: {snapshot.left_out} windows from before {since}, which the topic has lost"
        )


def connect_clickhouse(settings: Settings) -> Client:
    return Client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        database=settings.clickhouse_database,
        secure=settings.clickhouse_secure,
        ca_certs=settings.clickhouse_cafile,
        send_receive_timeout=30,  # while a query runs, ClickHouse reports its progress
    )


def run(timeout_sec: float) -> int:
    settings = load()
    security = security_options(settings)
    raw = RawTopic(settings.kafka_bootstrap_servers, settings.raw_topic, security)
    expected = Expected(settings.watermark, settings.deduplicate_orders)
    client = connect_clickhouse(settings)
    is_equal = verify(raw, client, settings.clickhouse_table, expected, timeout_sec)
    return 0 if is_equal else 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for equality")
    timeout_sec = parser.parse_args(arguments).timeout
    return exit_code(lambda: run(timeout_sec))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
