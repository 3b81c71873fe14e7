"""The shop, its transactions and how they are encoded."""

import json
import random
import re
import uuid
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer import PAYMENT_TYPES
from samples import NOW, NOW_TEXT, records, shop, valid_records
from shop import Transaction, decimal_text, encode, iso_utc, random_uuid

FIELDS = [
    "order_id",
    "user_id",
    "product_id",
    "quantity",
    "price",
    "total_amount",
    "payment_type",
    "transaction_time",
]


def test_a_transaction_is_encoded_as_the_contract_says() -> None:
    transaction = Transaction(
        order_id="0b0b3c2e-6a5b-4f5b-9f0e-7d0f6c1f9a11",
        user_id=123456,
        product_id="P0042",
        quantity=2,
        price_cents=1990,
        total_cents=3980,
        payment_type="paypal",
        transaction_time="2026-11-22T22:30:00.123+00:00",
    )
    assert encode(transaction) == (
        b'{"order_id":"0b0b3c2e-6a5b-4f5b-9f0e-7d0f6c1f9a11","user_id":123456,'
        b'"product_id":"P0042","quantity":2,"price":19.90,"total_amount":39.80,'
        b'"payment_type":"paypal","transaction_time":"2026-11-22T22:30:00.123+00:00"}'
    )


def test_every_valid_record_has_the_fields_and_types_of_the_contract() -> None:
    for record in valid_records(2_000):
        assert list(record) == FIELDS
        assert str(uuid.UUID(record["order_id"])) == record["order_id"]
        assert type(record["user_id"]) is int
        assert re.fullmatch(r"P\d{4}", record["product_id"])
        assert type(record["quantity"]) is int
        assert record["quantity"] >= 1
        assert re.fullmatch(r"\d+\.\d\d", str(record["price"]))
        assert re.fullmatch(r"\d+\.\d\d", str(record["total_amount"]))
        assert record["payment_type"] in PAYMENT_TYPES
        assert datetime.fromisoformat(record["transaction_time"]).utcoffset() == timedelta(0)


def test_every_payment_type_occurs() -> None:
    assert {record["payment_type"] for record in valid_records(2_000)} == set(PAYMENT_TYPES)


def test_the_key_is_the_order_id_of_every_record_valid_or_not() -> None:
    for key, value in records(500, invalid_share=0.5):
        assert uuid.UUID(key.decode()).version == 4
        if value.startswith(b"{"):
            assert json.loads(value)["order_id"] == key.decode()


def test_no_order_id_occurs_twice() -> None:
    assert len({key for key, _ in records(10_000, invalid_share=0)}) == 10_000


@given(st.integers())
def test_an_order_id_is_the_version_4_uuid_of_its_random_bits(seed: int) -> None:
    bits = random.Random(seed).getrandbits(128)
    expected = str(uuid.UUID(int=bits, version=4))
    assert random_uuid(random.Random(seed)) == expected


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_money_is_exact_and_has_two_decimals(cents: int) -> None:
    text = decimal_text(cents)
    assert re.fullmatch(r"-?\d+\.\d\d", text)
    assert Decimal(text) == Decimal(cents).scaleb(-2)


def test_the_total_is_quantity_times_price() -> None:
    for record in valid_records(2_000):
        assert record["total_amount"] == record["quantity"] * record["price"]


def test_a_product_always_has_the_same_price() -> None:
    sold = {(record["product_id"], record["price"]) for record in valid_records(10_000)}
    assert sorted(product_id for product_id, _ in sold) == [f"P{n:04d}" for n in range(1, 101)]


def test_popularity_is_skewed_so_that_there_is_a_top_product() -> None:
    counts = Counter(record["product_id"] for record in valid_records(10_000)).most_common()
    assert counts[0][1] == pytest.approx(10_000 / 5.19, rel=0.1)  # 5.19 = 1 + 1/2 + ... + 1/100
    assert counts[1][1] == pytest.approx(counts[0][1] / 2, rel=0.1)


def test_the_best_seller_depends_on_the_seed() -> None:
    assert len({shop(seed).products[0] for seed in range(3)}) > 1


def test_the_same_seed_gives_the_same_records() -> None:
    first = records(1_000, seed=7)
    records.cache_clear()
    shop.cache_clear()
    assert records(1_000, seed=7) == first
    assert records(1_000, seed=8) != first


def test_another_clock_changes_nothing_but_the_times() -> None:
    def without_time(value: bytes) -> bytes:
        return re.sub(rb'"transaction_time":"[^"]+"', b"", value)

    now = [(key, without_time(value)) for key, value in records(1_000, now=NOW)]
    later = [(key, without_time(value)) for key, value in records(1_000, now=NOW + 12_345)]
    assert now == later


def test_a_time_is_iso_8601_in_utc_with_milliseconds() -> None:
    assert iso_utc(0) == "1970-01-01T00:00:00.000+00:00"
    assert iso_utc(int(NOW * 1000)) == NOW_TEXT


def test_a_record_that_is_not_late_happened_now() -> None:
    times = {record["transaction_time"] for record in valid_records(100, late_share=0)}
    assert times == {NOW_TEXT}


def test_a_late_record_happened_one_to_five_minutes_ago() -> None:
    lateness_sec = [
        NOW - datetime.fromisoformat(record["transaction_time"]).timestamp()
        for record in valid_records(5_000, late_share=1)
    ]
    assert 60 <= round(min(lateness_sec), 3) < 61
    assert 299 < round(max(lateness_sec), 3) <= 300


def test_late_share_is_the_share_of_late_records() -> None:
    times = Counter(record["transaction_time"] for record in valid_records(10_000))
    assert 10_000 - times[NOW_TEXT] == pytest.approx(0.01 * 10_000, rel=0.25)


def kind_of(value: bytes) -> str:
    try:
        record = json.loads(value, parse_float=Decimal)
    except ValueError:
        return "not JSON"
    assert list(record) == FIELDS
    kinds = {
        "no payment type": record["payment_type"] is None,
        "unknown payment type": record["payment_type"] not in (None, *PAYMENT_TYPES),
        "negative amount": record["total_amount"] < 0,
    }
    return " and ".join(kind for kind, applies in kinds.items() if applies) or "valid"


def test_invalid_records_are_of_four_kinds_equally_often() -> None:
    kinds = Counter(kind_of(value) for _, value in records(4_000, invalid_share=1))
    assert kinds == {
        "no payment type": pytest.approx(1_000, rel=0.1),
        "unknown payment type": pytest.approx(1_000, rel=0.1),
        "negative amount": pytest.approx(1_000, rel=0.1),
        "not JSON": pytest.approx(1_000, rel=0.1),
    }


def test_invalid_share_is_the_share_of_invalid_records() -> None:
    kinds = Counter(kind_of(value) for _, value in records(5_000, invalid_share=0.05))
    assert 5_000 - kinds["valid"] == pytest.approx(0.05 * 5_000, rel=0.2)
    kinds = Counter(kind_of(value) for _, value in records(2_000, invalid_share=0))
    assert kinds == {"valid": 2_000}
