"""A user who polls the table during a run, and compares each answer with the earlier ones."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from statistics import quantiles

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

from faults import numbered
from freshness import Freshness
from stack import Stack
from verify import fetch_rows
from windows import Row

SLOW_SEC = 1.0


class Reader:
    """Polls the table as any user does, and notices answers that contradict earlier ones."""

    def __init__(self, stack: Stack, freshness: Freshness, number: int = 1) -> None:
        self.component = numbered("clickhouse", number)
        self.group = numbered("clickhouse-consumer", number)  # that fills this table
        self.port = stack.block(stack.clickhouse_port)[number - 1]
        self.freshness = freshness
        self.client = self.connect()
        self.may_fail = False  # while a fault keeps ClickHouse from answering
        self.counted_until = datetime.min.replace(tzinfo=UTC)  # arrival of the newest counted order
        self.orders: dict[datetime, int] = {}  # of each window, in the latest answer
        self.answers_sec: list[float] = []
        self.answered_at: list[float] = []
        self.stored_at: list[float] = []  # the answers that counted more orders than before
        self.contradictions: list[str] = []

    def connect(self) -> Client:
        """A client, which connects when it is first used."""
        return Client(
            "127.0.0.1",
            port=self.port,
            user="consumer",
            password="MySecret",
            connect_timeout=3,
            send_receive_timeout=10,
        )

    def poll(self) -> None:
        """Read the table once; without an answer, connect again for the next call."""
        start, must_answer = time.monotonic(), not self.may_fail
        try:
            rows = fetch_rows(self.client, "aggregated_analytics")
        except (OSError, EOFError, ClickHouseError):
            self.client = self.connect()
            return
        if must_answer and not self.may_fail:
            self.answers_sec.append(time.monotonic() - start)
        before = sum(self.orders.values())
        self.check(rows)
        self.counted_until = max([self.counted_until, *self.freshness.counted(rows)])
        self.answered_at.append(time.monotonic())
        if sum(self.orders.values()) > before:
            self.stored_at.append(time.monotonic())

    def check(self, rows: Iterable[Row]) -> None:
        """Note each window that appears twice, has fewer orders than before, or has vanished."""
        found = Counter[datetime]()
        for row in rows:
            found[row.window_start] += 1
            before = self.orders.get(row.window_start, 0)
            if row.total_orders < before:
                self.contradict(row.window_start, f"fell from {before} to {row.total_orders}")
            self.orders[row.window_start] = row.total_orders
        for start, times in found.items():
            if times > 1:
                self.contradict(start, f"appears {times} times")
        for start in self.orders.keys() - found.keys():
            self.contradict(start, "vanished")

    def contradict(self, window_start: datetime, what: str) -> None:
        self.contradictions.append(f"{window_start:%Y-%m-%dT%H:%MZ} {what}")


def answer_times(seconds: list[float]) -> dict[str, float]:
    """How fast a running ClickHouse has answered, for the result of a run."""
    cuts = quantiles(seconds, n=100) if len(seconds) > 1 else [0.0] * 99
    return {
        "answers": len(seconds),
        "p99_sec": round(cuts[98], 3),
        "worst_sec": round(max(seconds, default=0), 3),
        "slower_than_1_sec": sum(each > SLOW_SEC for each in seconds),
    }
