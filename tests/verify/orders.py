"""Orders and rows around one minute, NOON."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from records import transaction
from windows import Row

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WATERMARK = timedelta(minutes=10)


def row(start: datetime = NOON, **changes: object) -> Row:
    """A row of three orders with some columns changed."""
    values = Row(start, start + MINUTE, Decimal("30.00"), 3, Decimal("10.00"), "P1")
    return values._replace(**changes)


def order(order_id: str, product_id: str, amount: str, second: float) -> bytes:
    """A valid record of so many seconds after NOON."""
    return transaction(
        order_id=order_id,
        product_id=product_id,
        total_amount=amount,
        transaction_time=(NOON + timedelta(seconds=second)).isoformat(),
    )
