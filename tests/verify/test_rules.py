"""The rules for one record. tests/contract checks that the job judges every record the same way."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from records import ARRIVAL, examples, transaction, with_raw
from rules import REASONS, Rejected, Transaction, judge

WATERMARK = timedelta(minutes=10)
VERDICTS = ("valid", *REASONS, "late")


def verdict(value: bytes | None, watermark: timedelta = WATERMARK) -> str:
    try:
        judge(value, ARRIVAL, watermark)
    except Rejected as rejected:
        return str(rejected)
    return "valid"


EXAMPLES = [(name, name) for name in VERDICTS] + [("lenient", "valid")]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(value, wanted, id=f"{name}-{number}")
        for name, wanted in EXAMPLES
        for number, value in enumerate(examples(f"transactions_raw/{name}"), start=1)
    ],
)
def test_each_example_of_the_contract_gets_its_verdict(value: bytes, wanted: str) -> None:
    assert verdict(value) == wanted


def test_a_valid_record_is_read_in_full() -> None:
    value = transaction(
        order_id="a",
        product_id="P1",
        total_amount=19.9,
        transaction_time="2026-11-01T14:25:00.1234567+02:00",
    )
    assert judge(value, ARRIVAL, WATERMARK) == Transaction(
        "a", "P1", Decimal("19.90"), datetime(2026, 11, 1, 12, 25, 0, 123_456, UTC)
    )


@pytest.mark.parametrize(
    ("token", "amount"),
    [
        ("0.004", "0.00"),
        ("0.005", "0.01"),
        ("-0.004", "0.00"),
        ("1e2", "100.00"),
        ("12e-1", "1.20"),
        ("12345678.91", "12345678.91"),
        ("9999999999999.994", "9999999999999.99"),
        ('"1.005"', "1.01"),
        ('"000012.5"', "12.50"),
    ],
)
def test_amounts_are_rounded_half_up_to_the_cent(token: str, amount: str) -> None:
    found = judge(with_raw("total_amount", token), ARRIVAL, WATERMARK).amount
    assert str(abs(found)) == amount


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("42", "42"),
        ("-0", "0"),
        ("true", "true"),
        ("1.50", "1.5"),
        ("0.001", "0.001"),
        ("-9999999.5", "-9999999.5"),
        ('"2.0e23"', "2.0e23"),
        ('"\\ud800"', "?"),
        ('"\\u00Ł1"', "¡"),  # to Jackson, "Ł" is the digit "A"
        ('"\\\\u00Ł1"', "\\u00Ł1"),
    ],
)
def test_an_id_that_is_no_text_counts_by_its_text_in_java(token: str, text: str) -> None:
    assert judge(with_raw("product_id", token), ARRIVAL, WATERMARK).product_id == text


@pytest.mark.parametrize(
    "token", ["2e23", "1e7", "12345678.5", "0.0009", "-5e-324", "1e400", '"2.0E23"', '"-1.5E-7"']
)
def test_a_number_whose_text_depends_on_the_version_of_java_is_no_id(token: str) -> None:
    for name in ("order_id", "product_id"):
        assert verdict(with_raw(name, token)) == "identity"


def test_the_first_broken_rule_is_the_reason() -> None:
    rules = {
        "order_id": "",
        "total_amount": -1,
        "payment_type": None,
        "transaction_time": "soon",
    }
    found = []
    while rules:
        found.append(verdict(transaction(**rules)))
        rules.pop(next(iter(rules)))
    assert found == ["identity", "amount", "payment_type", "time"]


def test_lateness_is_judged_by_the_given_watermark() -> None:
    value = transaction(transaction_time=(ARRIVAL - timedelta(minutes=11)).isoformat())
    assert verdict(value, timedelta(minutes=10)) == "late"
    assert verdict(value, timedelta(minutes=11)) == "valid"


def test_a_watermark_may_reach_back_before_the_first_year() -> None:
    value = transaction(transaction_time="1000-01-01T00:00:00Z")
    assert verdict(value, timedelta(days=999_999)) == "valid"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, "malformed"),
        (b"", "malformed"),
        (b"\xff" + transaction(), "malformed"),
        (transaction() + b"\xff", "malformed"),
        (transaction(extra=1).replace(b" 1}", b" " + b"[" * 999 + b"]" * 999 + b"}"), "valid"),
        (
            transaction(extra=1).replace(b" 1}", b" " + b"[" * 1000 + b"]" * 1000 + b"}"),
            "malformed",
        ),
    ],
)
def test_what_no_line_of_text_can_show(value: bytes | None, wanted: str) -> None:
    assert verdict(value) == wanted
