"""Snapshots of the topic and the table, how often they are taken, and what is printed of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

import verify
from fakes import EVER, FakeRaw, FakeTable
from orders import MINUTE, NOON, WATERMARK, order, row
from rules import AHEAD_LIMIT
from verify import Snapshot
from windows import Difference, Expected, Row, Window

ONE_ORDER = Row(NOON, NOON + MINUTE, Decimal("5.00"), 1, Decimal("5.00"), "P1")
MISSING = Difference("missing", NOON, "")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "POLL_INTERVAL_SEC", 0)


def is_verified(raw: FakeRaw, table: FakeTable, timeout_sec: float) -> bool:
    return verify.verify(raw, table, "t", Expected(WATERMARK), timeout_sec)  # type: ignore[arg-type]


def snapshot(raw: FakeRaw, table: FakeTable) -> Snapshot:
    return verify.take_snapshot(raw, table, "t", Expected(WATERMARK))  # type: ignore[arg-type]


def test_waits_until_all_is_equal(capsys: pytest.CaptureFixture[str]) -> None:
    raw = FakeRaw([order("a", "P1", "5", 0), b"x"])
    assert is_verified(raw, FakeTable([], [ONE_ORDER]), timeout_sec=30)
    assert capsys.readouterr().out == (
        "verified: 1 windows, 1 transactions, 1 rejected, all equal\n"
    )


def test_differences_are_shown_after_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    raw = FakeRaw([order("a", "P1", "5", 0), order("b", "P1", "5", 1)])
    assert not is_verified(raw, FakeTable([ONE_ORDER]), timeout_sec=0)
    assert capsys.readouterr().out == (
        "wrong     2026-11-01T12:00Z  total_sales is 5.00, not 10.00, total_orders is 1, not 2\n"
        "NOT equal: 1 differences in 1 windows, 2 transactions, 0 rejected\n"
    )


def test_windows_of_which_kafka_has_lost_counted_records_are_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    next_minute, third = NOON + MINUTE, NOON + 2 * MINUTE
    raw = FakeRaw([order("a", "P1", "5", 0), order("b", "P1", "5", 120)])
    table = FakeTable([row(NOON, total_orders=2), row(next_minute)])
    assert not is_verified(raw, table, timeout_sec=0)
    *differences, verdict, explanation = capsys.readouterr().out.splitlines()
    assert [line[:27] for line in differences] == [
        f"wrong     {NOON:%Y-%m-%dT%H:%MZ}",
        f"extra     {next_minute:%Y-%m-%dT%H:%MZ}",
        f"missing   {third:%Y-%m-%dT%H:%MZ}",
    ]
    assert verdict.startswith("NOT equal: 3 differences")
    assert explanation == (
        "2 windows have more orders than the topic: Kafka has lost records that were counted, or"
        " fewer records count than before (docs/production.md#after-a-power-failure)"
    )


def test_late_and_repeated_records_are_shown_when_there_are_any(
    capsys: pytest.CaptureFixture[str],
) -> None:
    late = order("b", "P1", "5", -3600)
    raw = FakeRaw([order("a", "P1", "5", 0)] * 3 + [late])
    table, expected = FakeTable([ONE_ORDER]), Expected(WATERMARK, deduplicate=True)
    assert verify.verify(raw, table, "t", expected, timeout_sec=0)  # type: ignore[arg-type]
    assert capsys.readouterr().out == (
        "verified: 1 windows, 1 transactions, 0 rejected, 1 late, 2 repeated, all equal\n"
    )


def test_an_empty_topic_and_an_empty_table_are_not_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not is_verified(FakeRaw(), FakeTable([]), timeout_sec=0)
    assert capsys.readouterr().out == ("nothing to verify: 0 windows, 0 transactions, 0 rejected\n")


def test_a_window_that_is_still_filling_is_no_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE_SEC", 0)
    now = datetime.now(UTC)
    filling = order("b", "P1", "5", (now - NOON).total_seconds())
    raw = FakeRaw([order("a", "P1", "5", 0)], [filling], arrival=now)
    expected = Expected(timedelta(days=9999))
    assert verify.verify(raw, FakeTable([ONE_ORDER]), "t", expected, 30)  # type: ignore[arg-type]
    assert capsys.readouterr().out == (
        "verified: 2 windows, 2 transactions, 0 rejected, all equal (1 still filling)\n"
    )


def test_windows_older_than_the_topic_are_left_out_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = FakeTable([row(NOON - MINUTE), ONE_ORDER])
    raw = FakeRaw([order("a", "P1", "5", 0)], complete_since=NOON - AHEAD_LIMIT)
    assert is_verified(raw, table, timeout_sec=0)
    assert capsys.readouterr().out == (
        "verified: 1 windows, 1 transactions, 0 rejected, all equal\n"
        "left out: 1 windows from before 2026-11-01 12:00:00, which the topic has lost\n"
    )
    raw = FakeRaw([order("a", "P1", "5", 0)], complete_since=NOON - AHEAD_LIMIT - MINUTE)
    assert not is_verified(raw, table, timeout_sec=0)


def test_a_restart_of_clickhouse_is_waited_for() -> None:
    raw = FakeRaw([order("a", "P1", "5", 0)])
    table = FakeTable(ConnectionRefusedError(), EOFError(), [ONE_ORDER])
    assert is_verified(raw, table, timeout_sec=30)


def test_clickhouse_that_stays_away_ends_it_with_one_line() -> None:
    table = FakeTable(OSError("Code: 210. Connection refused\nmore lines"))
    with pytest.raises(SystemExit) as raised:
        is_verified(FakeRaw(), table, timeout_sec=0)
    assert raised.value.code == "ClickHouse does not answer: Code: 210. Connection refused"


def test_a_snapshot_shows_both_sides() -> None:
    extra = row(NOON - MINUTE)
    assert snapshot(FakeRaw([order("a", "P1", "5", 0)]), FakeTable([ONE_ORDER, extra])) == Snapshot(
        expected={NOON: ONE_ORDER},
        rows=[ONE_ORDER, extra],
        differences=[Difference("extra", NOON - MINUTE, str(tuple(extra[1:])))],
        filling=[],
        since=EVER + AHEAD_LIMIT,
        left_out=0,
    )


def test_a_row_of_a_record_that_has_arrived_meanwhile_is_not_extra() -> None:
    raw = FakeRaw([], [order("a", "P1", "5", 0)])
    assert snapshot(raw, FakeTable([ONE_ORDER])).is_equal


@pytest.mark.parametrize(
    ("differences", "filling", "elapsed_sec", "is_equal", "is_final"),
    [
        ([], [], 0, True, True),
        ([], [MISSING], 0, True, False),  # a better one may come soon
        ([], [MISSING], verify.PATIENCE_SEC + 1, True, True),
        ([MISSING], [], verify.PATIENCE_SEC + 1, False, False),  # it may go away until the deadline
        ([MISSING], [MISSING], verify.PATIENCE_SEC + 1, False, False),
    ],
)
def test_a_snapshot_is_final_when_waiting_cannot_improve_it(
    differences: list[Difference],
    filling: list[Difference],
    elapsed_sec: float,
    is_equal: bool,
    is_final: bool,
) -> None:
    taken = Snapshot({NOON: ONE_ORDER}, [], differences, filling, NOON, 0)
    assert (taken.is_equal, taken.is_final(elapsed_sec)) == (is_equal, is_final)


@pytest.mark.parametrize(
    ("kind", "age_sec", "orders", "filling"),
    [
        ("wrong", 1, 2, True),
        ("missing", 1, None, True),
        ("wrong", 60, 2, False),  # there was time enough
        ("wrong", -900, 2, False),  # as long as Kafka's clock is ahead
        ("wrong", 1, 4, False),  # to be ahead of the records is never right
        ("duplicate", 1, 2, False),
        ("extra", 1, 3, False),
    ],
)
def test_only_a_window_that_has_just_got_a_record_may_be_behind(
    kind: str, age_sec: float, orders: int | None, filling: bool
) -> None:
    expected, now = Expected(WATERMARK), NOON + MINUTE
    last_arrival = now - timedelta(seconds=age_sec)
    window = Window(last_arrival=last_arrival)
    window.products.update(["P1", "P1", "P1"])
    expected.windows[NOON] = window
    actual = {} if orders is None else {NOON: row(total_orders=orders)}
    start = NOON + MINUTE if kind == "extra" else NOON
    found = verify.still_filling(Difference(kind, start, ""), expected, actual, now)
    assert found is filling


def test_a_wrong_setting_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATERMARK", "abc")
    assert verify.main([]) == 2
    assert capsys.readouterr() == (
        "",
        "WATERMARK must be a duration such as '10 minutes', not 'abc'\n",
    )
