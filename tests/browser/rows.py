"""Rows of the table, and how the live page shows them."""

import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from clickhouse_server import ClickHouse

COLUMNS = (
    "window_start",
    "window_end",
    "total_sales",
    "total_orders",
    "average_order_value",
    "top_product",
)
NONE = "–"
Row = dict[str, Any]


def window(minutes_from_now: int, **changes: object) -> Row:
    """A window of one minute. The same minute has the same totals, which are highest at noon."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=minutes_from_now)
    chance = random.Random(start.timestamp())
    time_of_day = math.cos(start.timestamp() / 86400 * math.tau)
    orders = int(5000 - 1500 * time_of_day + chance.gauss(0, 120))
    average = Decimal(int(chance.gauss(12000, 300))) / 100
    row = {
        "window_start": start,
        "window_end": start + timedelta(minutes=1),
        "total_sales": orders * average,
        "total_orders": orders,
        "average_order_value": average,
        "top_product": f"P{min(int(chance.paretovariate(0.9)), 100):04}",
    }
    return {**row, **changes}


def stored_rows(clickhouse: ClickHouse) -> list[Row]:
    """The rows of the table, newest first."""
    sql = f"SELECT {', '.join(COLUMNS)} FROM aggregated_analytics ORDER BY window_start DESC"
    return [dict(zip(COLUMNS, row, strict=True)) for row in clickhouse.query(sql)]


def elapsed_sec(row: Row) -> int:
    """The full seconds of the window that have passed."""
    return int((min(datetime.now(UTC), row["window_end"]) - row["window_start"]).total_seconds())


def per_second(orders: int, seconds: int) -> str:
    return f"{orders / seconds:,.2f}" if seconds >= 10 else NONE


def as_shown(row: Row) -> dict[str, str]:
    """The texts that the page shows for a row, by field."""
    start: datetime = row["window_start"]
    day = "" if start.date() == datetime.now(UTC).date() else f"{start:%Y-%m-%d} "
    return {
        "when": f"{day}{start:%H:%M}–{row['window_end']:%H:%M} UTC",
        "sales": f"{row['total_sales']:,.2f}",
        "orders": f"{row['total_orders']:,}",
        "rate": per_second(row["total_orders"], elapsed_sec(row)),
        "average": f"{row['average_order_value']:,.2f}",
        "top": row["top_product"],
    }


def as_table_row(row: Row) -> list[str]:
    """The cells that the page's table has for a row without any to compare it with."""
    shown = as_shown(row)
    return [
        shown["when"].removesuffix(" UTC"),
        shown["sales"],
        NONE,
        NONE,
        shown["orders"],
        shown["rate"],
        shown["average"],
        shown["top"],
    ]
