"""The oracle itself: what it expects, and that it sees each kind of difference."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import oracle
from oracle import Difference, Expected, Row
from records import transaction

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WATERMARK = timedelta(minutes=10)


def row(start: datetime = NOON, **changes: object) -> Row:
    values = Row(start, start + MINUTE, Decimal("30.00"), 3, Decimal("10.00"), "P1")
    return values._replace(**changes)


def expected_after(*values: bytes | None, deduplicate: bool = False) -> Expected:
    expected = Expected(WATERMARK, deduplicate)
    for value in values:
        expected.add(value, NOON + timedelta(seconds=90))
    return expected


def order(order_id: str, product_id: str, amount: str, second: float) -> bytes:
    return transaction(
        order_id=order_id,
        product_id=product_id,
        total_amount=amount,
        transaction_time=(NOON + timedelta(seconds=second)).isoformat(),
    )


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


def test_every_record_is_counted_once() -> None:
    late = transaction(transaction_time=(NOON - timedelta(hours=1)).isoformat())
    ahead = transaction(transaction_time=(NOON + timedelta(hours=1)).isoformat())
    repeated = order("a", "P1", "1", 0)
    values = [repeated, repeated, None, b"x", late, ahead, transaction(order_id="")]
    values += [transaction(total_amount=-1), transaction(payment_type=None)]
    assert expected_after(*values).verdicts == {
        "valid": 2,
        "malformed": 2,
        "late": 1,
        "time": 1,
        "identity": 1,
        "amount": 1,
        "payment_type": 1,
    }
    assert expected_after(repeated, repeated, deduplicate=True).verdicts == {
        "valid": 1,
        "repeated": 1,
    }


def test_equal_rows_have_no_difference() -> None:
    expected = {NOON: row(), NOON + MINUTE: row(NOON + MINUTE)}
    assert oracle.compare(expected, [row(NOON + MINUTE), row()]) == []


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
    (difference,) = oracle.compare({each.window_start: each for each in rows}, change(rows))
    assert difference.kind == kind
    assert difference.window_start == (NOON - MINUTE if kind == "extra" else NOON)


def test_a_wrong_row_is_described_column_by_column() -> None:
    wrong = row(total_orders=2, top_product="P2")
    assert oracle.compare({NOON: row()}, [wrong]) == [
        Difference("wrong", NOON, "total_orders is 2, not 3, top_product is P2, not P1")
    ]


class FakeRaw:
    """A topic whose records arrive in the given portions, one for each time it is read."""

    complete_since = datetime.min.replace(tzinfo=UTC)

    def __init__(self, *portions: list[bytes]) -> None:
        self._portions = list(portions)

    def read_new(self) -> Iterable[tuple[bytes, datetime]]:
        for value in self._portions.pop(0) if self._portions else []:
            yield value, NOON + timedelta(seconds=90)


class FakeTable:
    def __init__(self, *answers: list[Row]) -> None:
        self._answers = list(answers)

    def execute(self, _query: str) -> list[Row]:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def verify(raw: FakeRaw, table: FakeTable, timeout_sec: float) -> bool:
    return oracle.verify(raw, table, "t", Expected(WATERMARK), timeout_sec)  # type: ignore[arg-type]


ONE_ORDER = Row(NOON, NOON + MINUTE, Decimal("5.00"), 1, Decimal("5.00"), "P1")


def test_equality_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    raw = FakeRaw([order("a", "P1", "5", 0), b"x"])
    assert verify(raw, FakeTable([], [ONE_ORDER]), timeout_sec=30)
    assert capsys.readouterr().out == (
        "verified: 1 windows, 1 transactions, 1 rejected, all equal\n"
    )


def test_rows_of_records_that_arrived_meanwhile_are_not_extra() -> None:
    assert verify(FakeRaw([], [order("a", "P1", "5", 0)]), FakeTable([ONE_ORDER]), timeout_sec=0)


def test_differences_are_shown_after_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    raw = FakeRaw([order("a", "P1", "5", 0), order("b", "P1", "5", 1)])
    assert not verify(raw, FakeTable([ONE_ORDER]), timeout_sec=0)
    assert capsys.readouterr().out == (
        "wrong     2026-11-01T12:00Z  total_sales is 5.00, not 10.00, total_orders is 1, not 2\n"
        "NOT equal: 1 differences in 1 windows, 2 transactions, 0 rejected\n"
    )


def test_windows_older_than_the_topic_are_left_out_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = FakeRaw([order("a", "P1", "5", 0)])
    older = row(NOON - MINUTE)
    raw.complete_since = NOON - oracle.AHEAD_LIMIT
    assert verify(raw, FakeTable([older, ONE_ORDER]), timeout_sec=0)
    assert "left out: 1 windows from before" in capsys.readouterr().out
    raw = FakeRaw([order("a", "P1", "5", 0)])
    raw.complete_since = NOON - oracle.AHEAD_LIMIT - MINUTE
    assert not verify(raw, FakeTable([older, ONE_ORDER]), timeout_sec=0)


def test_an_empty_topic_and_an_empty_table_are_not_verified() -> None:
    assert not verify(FakeRaw(), FakeTable([]), timeout_sec=0)


@pytest.mark.parametrize(
    ("kind", "age_sec", "orders", "filling"),
    [
        ("wrong", 1, 2, True),
        ("missing", 1, None, True),
        ("wrong", 60, 2, False),  # it had time enough
        ("wrong", 1, 4, False),  # ahead of the records is never right
        ("duplicate", 1, 2, False),
        ("extra", 1, 3, False),
    ],
)
def test_only_a_window_that_has_just_got_a_record_may_be_behind(
    kind: str, age_sec: float, orders: int | None, filling: bool
) -> None:
    expected = Expected(WATERMARK)
    window = expected.windows.setdefault(NOON, oracle.Window())
    window.products.update(["P1", "P1", "P1"])
    window.last_arrival = datetime.now(UTC) - timedelta(seconds=age_sec)
    actual = {} if orders is None else {NOON: row(total_orders=orders)}
    start = NOON + MINUTE if kind == "extra" else NOON
    assert oracle.still_filling(Difference(kind, start, ""), expected, actual) is filling
