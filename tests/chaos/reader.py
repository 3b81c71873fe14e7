"""A user who polls the table during a run, and holds each answer against the earlier ones."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from statistics import quantiles

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as ClickHouseError

import oracle
from freshness import Freshness
from stack import Stack

SLOW_SEC = 1.0


class Reader:
    """Polls the table as any user does, and checks that no answer contradicts an earlier one."""

    def __init__(self, stack: Stack, freshness: Freshness) -> None:
        self.port = stack.clickhouse_port
        self.freshness = freshness
        self.client = self.connect()
        self.is_down_for_a_reason = False
        self.counted_until = datetime.min.replace(tzinfo=UTC)
        self.orders: dict[datetime, int] = {}
        self.answers_sec: list[float] = []
        self.contradictions: list[str] = []

    def connect(self) -> Client:
        return Client(
            "localhost",
            port=self.port,
            user="consumer",
            password="MySecret",
            connect_timeout=3,
            send_receive_timeout=10,
        )

    def poll(self) -> None:
        start, expect_answer = time.monotonic(), not self.is_down_for_a_reason
        try:
            rows = oracle.fetch_rows(self.client, "aggregated_analytics")
        except (OSError, EOFError, ClickHouseError):
            self.client = self.connect()
            return
        if expect_answer and not self.is_down_for_a_reason:
            self.answers_sec.append(time.monotonic() - start)
        self.check(rows)
        self.counted_until = max([self.counted_until, *self.freshness.counted(rows)])

    def check(self, rows: Iterable[oracle.Row]) -> None:
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
    cuts = quantiles(seconds, n=100) if len(seconds) > 1 else [0.0] * 99
    return {
        "answers": len(seconds),
        "p99_sec": round(cuts[98], 3),
        "worst_sec": round(max(seconds, default=0), 3),
        "slower_than_1_sec": sum(each > SLOW_SEC for each in seconds),
    }
