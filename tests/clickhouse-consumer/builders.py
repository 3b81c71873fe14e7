"""Builders of windows: as rows of the table, and as messages on the topic."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from message import Row

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def row(minute: int = 0, orders: int = 1) -> Row:
    """The totals of one minute after noon, when it has that many orders."""
    start = NOON + timedelta(minutes=minute)
    sales = Decimal(orders) * Decimal("2.50")
    return Row(
        start, start + timedelta(minutes=1), sales, orders, Decimal("2.50"), f"P{orders:04d}"
    )


def fields(minute: int = 0, orders: int = 1) -> dict[str, Any]:
    """The message that becomes `row(minute, orders)`, as the job writes it."""
    expected = row(minute, orders)
    return {
        "window_start": expected.window_start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "window_end": expected.window_end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total_sales": float(expected.total_sales),
        "total_orders": orders,
        "average_order_value": 2.5,
        "top_product": expected.top_product,
    }


def message(minute: int = 0, orders: int = 1, **changes: Any) -> bytes:
    """The value of the record that becomes `row(minute, orders)`, with some fields changed."""
    return json.dumps(fields(minute, orders) | changes).encode()
