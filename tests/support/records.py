"""Raw records for tests: the contract's examples, builders, a corpus of edge cases, a strategy."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st

ARRIVAL = datetime(2026, 11, 1, 12, 30, 15, 250_000, tzinfo=UTC)
"""The Kafka timestamp of the records below, and of the examples."""

EXAMPLES = Path(__file__).resolve().parents[2] / "contract" / "examples"

VALID = {
    "order_id": "5f0c2b34-9a3e-4c53-8f0e-1df2a1b7c001",
    "user_id": 17,
    "product_id": "P0042",
    "quantity": 2,
    "price": 9.95,
    "total_amount": 19.90,
    "payment_type": "paypal",
    "transaction_time": "2026-11-01T12:30:14.123456+00:00",
}


def examples(name: str) -> list[bytes]:
    """The values in contract/examples/<name>.jsonl, such as "transactions_raw/late"."""
    return (EXAMPLES / f"{name}.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")


def transaction(**changes: object) -> bytes:
    """A valid record with some fields changed; a field set to `...` is left out."""
    fields = {**VALID, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def with_raw(name: str, token: str) -> bytes:
    """A valid record with one field written as the given JSON text, which need not be valid JSON."""
    return transaction(**{name: "@@"}).replace(b'"@@"', token.encode("utf-8", "surrogatepass"))


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _at(**offset: float) -> str:
    return (ARRIVAL + timedelta(**offset)).isoformat()


NOT_OBJECTS = [
    None, b"", b" ", b"\n", b"null", b"true", b"12", b'"text"', b"[]", b"[" + transaction() + b"]",
    b"not json", b"{", b"}", b"{}x"[:1], transaction()[:-1], transaction()[:40], b"\x00",
    transaction().replace(b'"', b"'"), b"\xff\xfe" + transaction(), b"\xef\xbb\xbf" + transaction(),
    transaction(note="x").replace(b'"x"', b'"\xff"'), transaction() + b"\xff",
    transaction(note="x").replace(b'"x"', b'"\xed\xa0\x80"'), b"\x00" + transaction(),
    transaction().replace(b"{", b"{,"), transaction().replace(b"}", b",}"), b"\x0b" + transaction(),
    transaction().replace(b'"order_id"', b"order_id"), transaction(note="a\x01").replace(
        b"\\u0001", b"\x01"), transaction() * 2 + b"{", transaction().decode().encode("utf-16"),
]  # fmt: skip

OBJECTS = [
    b"{}", b" \t\r\n{}", b"{}}", b'{"order_id": "a"}', transaction() + b"trailing",
    transaction() + transaction(total_amount=5), transaction() + b"\x00", b"\n" + transaction(),
    transaction(note="\x00"), transaction(note="\u2028\U0001f600"), transaction(extra=[1, {"a": 2}]),
    transaction().replace(b"}", b', "total_amount": 7}'),
    transaction().replace(b"}", b', "order_id": null}'),
    transaction(malformed_text="me"), transaction(ORDER_ID="b", order_id=...),
]  # fmt: skip

IDS = [
    with_raw(name, token)
    for name in ("order_id", "product_id")
    for token in (
        '""', '" "', "null", "0", "-0", "42", "1.50", "0.0001", "12345678.5", "1e400", "-1e400", "true",
        "false", "[]", "{}", '["a"]', '"[a"', '"{a"', '"\\"a"', '"\\u0000"', '"\\ud800"', '"\\udc00x"',
        '"\\ud83d\\ude00"', '"\\u00Ł1"', '"\\u00é1"', '"\\\\u00é1"', '"\\u0\U0001f630Łx"', '"\\u00Ł\U0001f630"',
        '"\\u00ŁŁ\U0001f600"', '"\\é"', '"\\uŁ"', '"é"', '"P\\n1"', "123456789012345678901234567890", '"null"',
        "2e23", "-2e23", "8.41e21", "1e7", "9999999.5", "0.001", "0.0009", "-1.5e-7", "5e-324", "0e9", "-0.0",
        '"2.0E23"', '"-1.5E-7"', '"2.0E23x"', '"x2.0E23"', '"2.0E23\\n"', '"2.0e23"', '"20.0E23"', '"2E23"', '"2.0E+23"',
        '"٢.0E23"',
        *(f'"{letter * count}"' for letter in ("x", "\U0001f600") for count in (200, 201)), "1" * 201,
    )
]  # fmt: skip

AMOUNTS = [
    with_raw("total_amount", token)
    for token in (
        "0", "-0", "0.0", "-0.0", "-0.00", "-0.001", "-0.005", "-0.01", "-1", "0.004", "0.005", "0.015", "1.005",
        "1e2", "1E2", "1e+2", "1e-2", "12e-1", "1e20", "1e99", "1e100", "1e308", "1e400", "1e-400", "-1e400",
        "9999999999999.99", "9999999999999.994", "9999999999999.995", "10000000000000", "12345678.91",
        "9007199254740993", "1e-999999999", "1e999999999", "NaN", "Infinity", "-Infinity", "INF", "null", "true",
        "[]", "[5]", "{}", '"19.90"', '" 19.90"', '"19.90 "', '"19.90\\n"', '"19,90"', '"1_000"', '"+5"', '"-5"',
        '"5."', '".5"', '"1e2"', '"1e-999999999"', '"1e999999999"', '"NaN"', '"Infinity"', '"5d"', '"5f"', '"0x10"',
        '"٣"', '""', '"abc"', '"12345678901234567890.12345678901234567890"', '"9999999999999.99"',
        '"0.00499999999999999999"', '"0.005"', '"000012.5"', "007", "1.", ".5", "+5", "0.1" + "0" * 30 + "1",
        "1" * 1000, "1" * 1001, "-" + "1" * 1000, "0." + "1" * 999, "0." + "1" * 1001, "1" * 999 + ".5",
        "1" * 1000 + ".5", "1e" + "1" * 998, "1e" + "1" * 1000, '"' + "1" * 100_000 + '"', "@",
    )
]  # fmt: skip

PAYMENTS = [
    with_raw("payment_type", token)
    for token in (
        "null", '""', '"bitcoin"', '"PayPal"', '" paypal"', '"paypal "', '"paypal\\u0000"', "1", "true", "[]",
        '["paypal"]', "{}", *(f'"{name}"' for name in
            ("credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery")),
    )
]  # fmt: skip

TIMES = [
    with_raw("transaction_time", token if token[0] not in "12" or "-" not in token else f'"{token}"')
    for token in (
        "null", '""', '"now"', '"today"', '"epoch"', "1793536215", "1793536215250", '"1793536215"', "true", "[]",
        "2026-11-01T12:30:15Z", "2026-11-01T12:30:15", "2026-11-01 12:30:15", "2026-11-01T12:30", "2026-11-01T12:30Z",
        "2026-11-01T12:30:15.1Z", "2026-11-01T12:30:15.123456789Z", "2026-11-01T12:30:15.1234567890Z",
        "2026-11-01T12:30:15.Z", "2026-11-01T12:30:15,5Z", "2026-11-01T14:30:15+02:00", "2026-11-01T07:00:15-05:30",
        "2026-11-02T06:30:15+18:00", "2026-11-02T06:31:15+18:01", "2026-11-01T12:30:15+00:60",
        "2026-11-01T12:30:15-00:00", "2026-11-01T14:30:15+0200", "2026-11-01T14:30:15+02", "2026-11-01T12:30:15z",
        "2026-11-01t12:30:15Z", "2026-11-01T12:30:15 Z", "2026-11-01T12:30:15 UTC", "2026-11-01T12:30:15UTC",
        "2026-11-01T12:30:15 Europe/Berlin", "2026-11-01", "2026-11", "2026", "2026-11-01T12", "2026-13-01T12:30:15Z",
        "2026-02-29T12:30:15Z", "2026-11-31T12:30:15Z", "2026-11-01T24:00:00Z", "2026-11-01T12:60:00Z",
        "2026-11-01T12:30:60Z", "2026-11-1T12:30:15Z", "20261101T123015Z", "2026-W44-7T12:30:15Z", "1970-01-01T00:00:00Z",
        "1000-01-01T00:00:00Z", '"0999-01-01T00:00:00Z"', '"0000-01-01T00:00:00Z"', "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-18:00", "1000-01-01T00:00:00+18:00", "2099-01-01T00:00:00Z", '"+10000-01-01T00:00:00Z"',
        '" 2026-11-01T12:30:15Z"', '"2026-11-01T12:30:15Z "', '"2026-11-01T12:30:15Z\\n"', '"٢٠٢٦-11-01T12:30:15Z"',
        _at(), _at(minutes=5), _at(minutes=5, microseconds=1), _at(minutes=5, microseconds=-1),
        _at(minutes=-10), _at(minutes=-10, microseconds=-1), _at(minutes=-10, microseconds=1), _at(hours=1), _at(days=-1),
    )
]  # fmt: skip

LIMITS = [
    transaction(extra="x").replace(b'"x"', token.encode())
    for token in (
        _nested(998), _nested(999), _nested(1000), _nested(5000), '"' + "[" * 5000 + '"', "[" * 1500,
        "1" * 1000, "1" * 1001, "0." + "1" * 999, "0." + "1" * 1001, "1e" + "1" * 999, "1e" + "1" * 1000, "007", "NaN",
        '{"' + "k" * 50_000 + '": 1}', '{"' + "k" * 50_001 + '": 1}', '{"' + "😀" * 25_001 + '": 1}',
        '"' + "x" * 1_000_000 + '"', '{"a": [1, {"b": NaN}]}', "tru", "[1,]",
    )
]  # fmt: skip
LIMITS.append(transaction() + b"[" * 2000)

CORPUS = [transaction(), *NOT_OBJECTS, *OBJECTS, *IDS, *AMOUNTS, *PAYMENTS, *TIMES, *LIMITS]

JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.decimals(-1000, 1000, places=3).map(float)
    | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=3), children, max_size=2)
    ),
    max_leaves=4,
)
CENTS = st.integers(0, 10**15 - 1).map(lambda cents: f"{cents // 100}.{cents % 100:02}")
TIME_TEXT = st.builds(
    lambda moment, offset, form: form.format(
        moment.isoformat(),
        f"{'+' if offset >= 0 else '-'}{abs(offset) // 60:02}:{abs(offset) % 60:02}",
    ),
    st.datetimes(datetime(2026, 11, 1, 11), datetime(2026, 11, 1, 14)),
    st.integers(-1100, 1100),
    st.sampled_from(["{0}{1}", "{0}Z", "{0}", "{1}{0}"]),
)
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "order_id": st.uuids().map(str) | JSON_VALUE,
        "product_id": st.from_regex(r"P[0-9]{4}", fullmatch=True) | JSON_VALUE,
        "total_amount": CENTS.map(float) | CENTS | JSON_VALUE,
        "payment_type": st.sampled_from(
            ["credit_card", "debit_card", "paypal", "bank_transfer", "cash_on_delivery"]
        )
        | JSON_VALUE,
        "transaction_time": TIME_TEXT | JSON_VALUE,
        "extra": JSON_VALUE,
    },
).map(lambda fields: {**VALID, **fields})


@st.composite
def broken_bytes(draw: st.DrawFn) -> bytes:
    """A record with a few bytes inserted, removed or changed."""
    value = bytearray(json.dumps(draw(RECORD)).encode())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(value)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(value)


RECORDS = RECORD.map(json.dumps).map(str.encode) | broken_bytes()
"""Any record that is valid or nearly so."""


def moved_to(moment: datetime, value: bytes | None) -> bytes | None:
    """The record with every time in the minute of ARRIVAL moved to that of `moment`."""
    written, wanted = (f"{each:%Y-%m-%dT%H:%M}".encode() for each in (ARRIVAL, moment))
    return value and value.replace(written, wanted)
