"""How the value of a record becomes a row."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import fields, message, row
from message import InvalidMessage, Row, datetime_from_text, parse


def test_a_message_as_the_job_writes_it_is_read_exactly() -> None:
    assert parse(message(minute=3, orders=2)) == row(minute=3, orders=2)


def test_money_is_read_as_decimal_to_the_cent_half_up() -> None:
    text = message().replace(b"2.5,", b"12345678901234567890.125,", 1).replace(b"2.5,", b"0.005,")
    found = parse(text)
    assert found.total_sales == Decimal("12345678901234567890.13")
    assert str(found.average_order_value) == "0.01"


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00.000Z",
        "2026-11-22T12:00Z",
        "2026-11-22T14:00:00+02:00",
        "2026-11-22T06:30:00-05:30",
        "2026-11-22T12:00:00",
        "2026-11-22 12:00:00",
        "2026-11-22 14:00:00+02:00",
        "20261122T120000Z",
        1795348800,
        1795348800.0,
        1795348800000,
        "1795348800",
        "1795348800000",
        "2026-11-22T12:00:00.999999Z",
        1795348800.999,
        1795348800999,
    ],
)
def test_a_time_is_read_in_many_forms_and_cut_to_the_second(moment: object) -> None:
    assert parse(message(window_start=moment)) == row()


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2106-02-07T06:28:14Z", datetime(2106, 2, 7, 6, 28, 14, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (2**32 - 2, datetime(2106, 2, 7, 6, 28, 14, tzinfo=UTC)),
        (10**11, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_anywhere_in_the_range_of_the_column(moment: object, expected: Any) -> None:
    found = parse(message(window_start=moment, window_end="2106-02-07T06:28:15Z"))
    assert found.window_start == expected


def test_the_time_zone_of_the_host_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    datetime_from_text.cache_clear()
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        assert parse(message(window_start="2026-11-22T12:00:00")) == row()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_numbers_may_be_as_large_as_their_columns() -> None:
    most, average = Decimal("9" * 36 + ".99"), Decimal("-" + "9" * 16 + ".99")
    text = message(total_orders=2**64 - 1, total_sales=1.5, average_order_value=2.5)
    text = text.replace(b"1.5", f"{most}".encode()).replace(b"2.5", f"{average}".encode())
    assert parse(text)[2:5] == (most, 2**64 - 1, average)


def test_keys_that_are_not_part_of_the_contract_are_ignored() -> None:
    assert parse(message(added_later=[1, None, {}])) == row()


BAD_FIELDS: dict[str, list[Any]] = {
    "window_start": [
        *(None, True, [], {}, "", "now", "2026", "2026-11", "2026-11-22", "2026-11-22T12"),
        *("2026-11-22X12:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T12:00:00 Z", "x" * 10**6),
        *("1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z", "9999-12-31T23:59:59Z"),
        *("0001-01-01T00:00:00+14:00", "２０２６-11-22T12:00:00Z", "202611221200", -1, 2**32),
        *(10**11 - 1, 10**18, 10**400, -0.5),
        *("2026-11-22T12:00:00." + "0" * 50, "2026-11-22T12:00:00Z\n"),
    ],
    "total_sales": [None, False, "2.50", [], 10**36, -(10**36), 10**4000],
    "total_orders": [None, True, "1", 1.0, 1.5, -1, 2**64, [1]],
    "average_order_value": [None, True, "2.50", {}, 10**16, -(10**16)],
    "top_product": [None, 1, True, ["P"], "\ud800"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in BAD_FIELDS for value in BAD_FIELDS[name]]
)
def test_a_field_that_the_column_cannot_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidMessage, match=f"^{name} is not ") as error:
        parse(json.dumps(fields() | {name: value}).encode())
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("end", ["2026-11-22T12:00:00Z", "2026-11-22T12:00:00.9Z", 0])
def test_a_window_that_does_not_end_after_its_start_is_refused(end: object) -> None:
    with pytest.raises(InvalidMessage, match=r"^window_end is not after window_start$"):
        parse(message(window_end=end))


@pytest.mark.parametrize("name", Row._fields)
def test_a_missing_field_is_refused(name: str) -> None:
    value = json.dumps({key: value for key, value in fields().items() if key != name})
    with pytest.raises(InvalidMessage, match=f"^{name} is missing$"):
        parse(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b" ", b"{", b"null", b"true", b"[]", b"[{}]", b'"text"', b"1", b"{} {}"),
        *(message()[:-5], message() + b"x", b"{'a': 1}", message(more=float("nan"))),
        *(b"\xff", b"\xef\xbb\xbf{}", message().decode().encode("utf-16")),
        message().replace(b"P0001", b"\xff"),
        *(b"[" * 10**6, b'{"a":' * 10**6, b"1" * 10**6),
        *(message(total_sales=float(name)) for name in ("nan", "inf", "-inf")),
        *(message().replace(b"2.5", number) for number in (b"1e999999999", b"1e" + b"9" * 99)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_record_that_is_not_a_json_object_of_finite_numbers_is_refused(
    value: bytes | None,
) -> None:
    with pytest.raises(InvalidMessage) as error:
        parse(value)
    assert len(str(error.value)) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
almost_messages = st.fixed_dictionaries(
    {},
    optional={
        "window_start": json_values | st.datetimes().map(str),
        "window_end": json_values | st.integers(0, 2**42),
        "total_sales": json_values,
        "total_orders": json_values | st.integers(0),
        "average_order_value": json_values,
        "top_product": json_values,
    },
)
any_bytes = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    json_values.map(lambda value: json.dumps(value).encode()),
    almost_messages.map(lambda changes: json.dumps(fields() | changes).encode()),
    st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(
        lambda change: message()[: change[0]] + change[1] + message()[change[0] + 1 :]
    ),
)


@given(any_bytes)
@settings(max_examples=150)
def test_any_value_of_a_record_is_read_as_a_row_or_refused(value: bytes) -> None:
    try:
        found = parse(value)
    except InvalidMessage as reason:
        assert 0 < len(str(reason)) < 300
    else:
        assert [type(field) for field in found] == [datetime, datetime, Decimal, int, Decimal, str]
        assert found.window_start.tzinfo is UTC


def amounts(digits: int) -> st.SearchStrategy[Decimal]:
    limit = 10**digits - 1
    return st.integers(-limit, limit).map(lambda cents: Decimal(f"{cents}e-2"))


seconds = st.integers(0, 2**32 - 1)


def window(times: set[int], *others: Any) -> Row:
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in sorted(times))
    return Row(start, end, *others)


storable_rows = st.builds(
    window,
    st.sets(seconds, min_size=2, max_size=2),
    amounts(38),
    st.integers(0, 2**64 - 1),
    amounts(18),
    st.text(st.characters(codec="utf-8")),
)
time_forms: list[Callable[[datetime], object]] = [
    datetime.isoformat,
    lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    lambda moment: f"{moment + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+01:00",
    lambda moment: int(moment.timestamp()),
]


@given(storable_rows, st.sampled_from(time_forms), st.sampled_from(time_forms))
def test_every_row_that_the_table_can_hold_is_read_back_exactly(
    expected: Row, form: Callable[[datetime], object], other_form: Callable[[datetime], object]
) -> None:
    text = json.dumps(
        {
            "window_start": form(expected.window_start),
            "window_end": other_form(expected.window_end),
            "total_sales": "SALES",
            "total_orders": expected.total_orders,
            "average_order_value": "AVERAGE",
            "top_product": expected.top_product,
        }
    )
    text = text.replace('"SALES"', f"{expected.total_sales:f}", 1)
    text = text.replace('"AVERAGE"', f"{expected.average_order_value:f}", 1)
    assert parse(text.encode()) == expected
