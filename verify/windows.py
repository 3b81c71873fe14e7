"""What the table must hold after some records, and how it differs from what it holds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from rules import CENT, REASONS, Rejected, judge

WINDOW = timedelta(minutes=1)


class Row(NamedTuple):
    """One window as the table shows it."""

    window_start: datetime
    window_end: datetime
    total_sales: Decimal
    total_orders: int
    average_order_value: Decimal
    top_product: str


COLUMNS = Row._fields


class Difference(NamedTuple):
    """One way in which the table is not as expected."""

    kind: str  # missing, extra, wrong or duplicate
    window_start: datetime
    detail: str


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
        """The row that the table must have for this window, which starts at `start`."""
        most = max(self.products.values())
        # Spark compares strings by their UTF-8 bytes.
        top = min((p for p, n in self.products.items() if n == most), key=str.encode)
        average = (self.sales / self.orders).quantize(CENT, ROUND_HALF_UP)
        return Row(start, start + WINDOW, self.sales, self.orders, average, top)


@dataclass
class Expected:
    """What the table must hold after the records added so far.

    `watermark` and `deduplicate` are the job's settings WATERMARK and DEDUPLICATE_ORDERS.
    """

    watermark: timedelta
    deduplicate: bool = False
    windows: dict[datetime, Window] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    order_ids: set[str] = field(default_factory=set)

    def add(self, value: bytes | None, arrival: datetime) -> datetime | None:
        """Judge and count one record; the start of the window it counts in, or None."""
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
        """The number of records rejected for one of REASONS; late ones are not among them."""
        return sum(self.verdicts[reason] for reason in REASONS)


def compare(expected: Mapping[datetime, Row], actual: Iterable[Row]) -> list[Difference]:
    """All differences between the expected rows and those of the table, in order of time."""
    differences, seen = [], set()
    for row in actual:
        want = expected.get(row.window_start)
        if row.window_start in seen:
            differences.append(Difference("duplicate", row.window_start, f"again as {row[1:]}"))
        elif want is None:
            differences.append(Difference("extra", row.window_start, f"{row[1:]}"))
        elif row != want:
            differences.append(Difference("wrong", row.window_start, wrong_columns(row, want)))
        seen.add(row.window_start)
    missing = [
        Difference("missing", start, f"{row[1:]}")
        for start, row in expected.items()
        if start not in seen
    ]
    return sorted(differences + missing, key=lambda difference: difference.window_start)


def wrong_columns(row: Row, want: Row) -> str:
    return ", ".join(
        f"{name} is {got}, not {right}"
        for name, got, right in zip(COLUMNS, row, want, strict=True)
        if got != right
    )
