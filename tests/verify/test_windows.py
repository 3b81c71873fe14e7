"""What the table is expected to hold, and every kind of difference from it."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal

import pytest

from orders import MINUTE, NOON, WATERMARK, order, row
from records import transaction
from windows import Difference, Expected, Row, compare


def expected_after(*values: bytes | None, deduplicate: bool = False) -> Expected:
    expected = Expected(WATERMARK, deduplicate)
    for value in values:
        expected.add(value, NOON + timedelta(seconds=90))
    return expected


def test_windows_are_totalled_exactly() -> None:
    expected = expected_after(
        order("a", "P2", "10.10", 0),
        order("b", "P2", "0.05", 59.999999),
        order("c", "P1", "3.00", 30),
        order("d", "P9", "7", 60),
    )
    assert {start: window.row(start) for start, window in expected.windows.items()} == {
        NOON: Row(NOON, NOON + MINUTE, Decimal("13.15"), 3, Decimal("4.38"), "P2"),
        NOON + MINUTE: Row(
            NOON + MINUTE, NOON + 2 * MINUTE, Decimal("7.00"), 1, Decimal("7.00"), "P9"
        ),
    }


def test_among_equals_the_smallest_product_is_on_top() -> None:
    expected = expected_after(*(order(name, name, "1", 0) for name in ("é", "P2", "P1", "z")))
    assert expected.windows[NOON].row(NOON).top_product == "P1"


def test_products_are_compared_by_their_bytes() -> None:
    expected = expected_after(*(order(name, name, "1", 0) for name in ("\U0001f600", "\uff21")))
    assert expected.windows[NOON].row(NOON).top_product == "\uff21"


def test_adding_a_record_gives_the_window_it_counts_in() -> None:
    expected = Expected(WATERMARK)
    assert expected.add(order("a", "P1", "1", 59.9), NOON + MINUTE) == NOON
    assert expected.add(b"x", NOON + MINUTE) is None
    assert expected.windows[NOON].last_arrival == NOON + MINUTE


def test_every_record_is_counted_once() -> None:
    late = transaction(transaction_time=(NOON - timedelta(hours=1)).isoformat())
    ahead = transaction(transaction_time=(NOON + timedelta(hours=1)).isoformat())
    repeated = order("a", "P1", "1", 0)
    values = [repeated, repeated, None, b"x", late, ahead, transaction(order_id="")]
    values += [transaction(total_amount=-1), transaction(payment_type=None)]
    expected = expected_after(*values)
    assert expected.verdicts == {
        "valid": 2,
        "malformed": 2,
        "late": 1,
        "time": 1,
        "identity": 1,
        "amount": 1,
        "payment_type": 1,
    }
    assert expected.rejected == 6


def test_repeats_of_an_order_are_dropped_only_if_asked_for() -> None:
    repeated = order("a", "P1", "1", 0)
    assert expected_after(repeated, repeated).verdicts == {"valid": 2}
    expected = expected_after(repeated, repeated, deduplicate=True)
    assert expected.verdicts == {"valid": 1, "repeated": 1}
    assert expected.windows[NOON].orders == 1


def test_equal_rows_have_no_difference() -> None:
    expected = {NOON: row(), NOON + MINUTE: row(NOON + MINUTE)}
    assert compare(expected, [row(NOON + MINUTE), row()]) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("missing", lambda rows: rows[1:]),
        ("extra", lambda rows: [*rows, row(NOON - MINUTE)]),
        ("duplicate", lambda rows: [*rows, rows[0]]),
        ("duplicate", lambda rows: [*rows, rows[0]._replace(total_orders=2)]),
        *[
            ("wrong", lambda rows, change=change: [rows[0]._replace(**change), *rows[1:]])
            for change in (
                {"window_end": NOON + 2 * MINUTE},
                {"total_sales": Decimal("30.01")},
                {"total_orders": 2},
                {"average_order_value": Decimal("10.01")},
                {"top_product": "P2"},
            )
        ],
    ],
)
def test_a_planted_difference_is_reported(
    kind: str, change: Callable[[list[Row]], Iterable[Row]]
) -> None:
    rows = [row(), row(NOON + MINUTE)]
    (difference,) = compare({each.window_start: each for each in rows}, change(rows))
    assert difference.kind == kind
    assert difference.window_start == (NOON - MINUTE if kind == "extra" else NOON)


def test_a_wrong_row_is_described_column_by_column() -> None:
    wrong = row(total_orders=2, top_product="P2")
    assert compare({NOON: row()}, [wrong]) == [
        Difference("wrong", NOON, "total_orders is 2, not 3, top_product is P2, not P1")
    ]


def test_differences_are_in_order_of_time() -> None:
    expected = {NOON: row(), NOON + 2 * MINUTE: row(NOON + 2 * MINUTE)}
    found = compare(expected, [row(NOON + 3 * MINUTE), row(NOON + MINUTE)])
    assert [(each.kind, (each.window_start - NOON) // MINUTE) for each in found] == [
        ("missing", 0),
        ("extra", 1),
        ("missing", 2),
        ("extra", 3),
    ]
