"""Which records of the raw topic the table counts by now."""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from threading import Lock

from windows import Expected, Row


class Freshness:
    """Follows each valid record from Kafka into the table. Feed it with both, from any thread."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.waiting: dict[datetime, deque[datetime]] = {}  # arrivals not counted yet, by window
        self.lock = Lock()

    def arrived(self, value: bytes | None, arrival: datetime) -> datetime | None:
        """Take note of a record that Kafka stamped `arrival`; the start of its window, if any."""
        with self.lock:
            start = self.expected.add(value, arrival)
            if start:
                self.waiting.setdefault(start, deque()).append(arrival)
            return start

    def counted(self, rows: Iterable[Row]) -> list[datetime]:
        """The arrivals of the records that these rows count and no earlier rows did."""
        found = []
        with self.lock:
            for row in rows:
                waiting = self.waiting.get(row.window_start)
                window = self.expected.windows.get(row.window_start)
                while window and waiting and window.orders - len(waiting) < row.total_orders:
                    found.append(waiting.popleft())
        return found
