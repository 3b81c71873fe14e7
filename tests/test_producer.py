"""What producer.py promises, without a broker: fakes stand in for Kafka, the clock and the sleep."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import producer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError
from producer import Config, ConfigError, Delivery, Pacer, Stop, Transaction

NOW = 1_795_386_600.123  # 2026-11-22T22:30:00.123Z
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


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeStop(Stop):
    """Waiting moves the clock instead of sleeping, `late` seconds too far as a real sleep does."""

    def __init__(self, clock: FakeClock, late: float = 0.0) -> None:
        super().__init__()
        self.clock = clock
        self.late = late
        self.waits: list[float] = []
        self.while_waiting: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.now += seconds + self.late
        self.while_waiting()
        return self.requested


class FakeFuture:
    def add_callback(self, callback: Callable[[object], None]) -> "FakeFuture":
        self.succeed = lambda: callback("metadata")
        return self

    def add_errback(self, errback: Callable[[BaseException], None]) -> "FakeFuture":
        self.fail = lambda: errback(OSError("no such luck"))
        return self


class FakeKafka:
    """Takes records like KafkaProducer and acknowledges none until told to."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.sent: list[tuple[float, str, bytes, bytes, int]] = []
        self.unsettled: list[FakeFuture] = []
        self.unavailable_for = 0  # so many calls time out
        self.on_send: Callable[[], None] = lambda: None
        self.closed_with: float | None = None

    def partitions_for(self, topic: str) -> set[int]:
        self._maybe_time_out()
        return {0, 1, 2}

    def send(self, topic: str, value: bytes, key: bytes, partition: int) -> FakeFuture:
        self._maybe_time_out()
        self.sent.append((self.clock(), topic, key, value, partition))
        self.unsettled.append(FakeFuture())
        self.on_send()
        return self.unsettled[-1]

    def close(self, timeout: float) -> None:
        self.closed_with = timeout
        if self.unsettled:
            raise KafkaTimeoutError

    def acknowledge(self) -> None:
        while self.unsettled:
            self.unsettled.pop(0).succeed()

    def _maybe_time_out(self) -> None:
        if self.unavailable_for:
            self.unavailable_for -= 1
            raise KafkaTimeoutError


def config(*flags: str) -> Config:
    return Config.from_env({}, flags)


def records(count: int, *flags: str, seed: int = 1, now: float = NOW) -> list[tuple[bytes, bytes]]:
    return list(islice(producer.make_records(config(*flags), seed, lambda: now), count))


def good(count: int, *flags: str) -> list[dict[str, Any]]:
    """So many valid records, read as the job reads them: numbers as Decimal."""
    flags = ("--invalid-share", "0", *flags)
    return [json.loads(value, parse_float=Decimal) for _, value in records(count, *flags)]


def numbered() -> Iterator[tuple[bytes, bytes]]:
    return ((b"key%d" % number, b"value%d" % number) for number in range(10**9))


def produce(kafka: FakeKafka, stop: FakeStop, *flags: str) -> Delivery:
    delivery = Delivery()
    producer.produce(kafka, numbered(), config(*flags), delivery, stop, stop.clock)
    return delivery


# The records


def test_a_transaction_is_encoded_as_the_contract_says() -> None:
    sale = Transaction(
        order_id="0b0b3c2e-6a5b-4f5b-9f0e-7d0f6c1f9a11",
        user_id=123456,
        product_id="P0042",
        quantity=2,
        price_cents=1990,
        total_cents=3980,
        payment_type="paypal",
        transaction_time="2026-11-22T22:30:00.123+00:00",
    )
    assert producer.encode(sale) == (
        b'{"order_id":"0b0b3c2e-6a5b-4f5b-9f0e-7d0f6c1f9a11","user_id":123456,'
        b'"product_id":"P0042","quantity":2,"price":19.90,"total_amount":39.80,'
        b'"payment_type":"paypal","transaction_time":"2026-11-22T22:30:00.123+00:00"}'
    )


def test_every_good_record_has_the_fields_and_types_of_the_contract() -> None:
    for record in good(2_000):
        assert list(record) == FIELDS
        assert str(uuid.UUID(record["order_id"])) == record["order_id"]
        assert type(record["user_id"]) is int
        assert re.fullmatch(r"P\d{4}", record["product_id"])
        assert type(record["quantity"]) is int
        assert record["quantity"] >= 1
        assert re.fullmatch(r"\d+\.\d\d", str(record["price"]))
        assert re.fullmatch(r"\d+\.\d\d", str(record["total_amount"]))
        assert record["payment_type"] in producer.PAYMENT_TYPES
        assert datetime.fromisoformat(record["transaction_time"]).utcoffset() == timedelta(0)


def test_payment_types_are_those_of_the_contract_and_all_occur() -> None:
    assert producer.PAYMENT_TYPES == (
        "credit_card",
        "debit_card",
        "paypal",
        "bank_transfer",
        "cash_on_delivery",
    )
    assert {record["payment_type"] for record in good(200)} == set(producer.PAYMENT_TYPES)


def test_key_is_the_order_id_of_every_record_good_or_bad() -> None:
    for key, value in records(500, "--invalid-share", "0.5"):
        assert uuid.UUID(key.decode()).version == 4
        if value.startswith(b"{"):
            assert json.loads(value)["order_id"] == key.decode()


def test_no_order_id_occurs_twice() -> None:
    assert len({key for key, _ in records(20_000)}) == 20_000


@given(st.integers())
def test_order_id_is_the_version_4_uuid_of_its_random_bits(seed: int) -> None:
    bits = random.Random(seed).getrandbits(128)
    expected = str(uuid.UUID(int=bits, version=4))
    assert producer.random_uuid(random.Random(seed)) == expected


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_money_is_exact_and_has_two_decimals(cents: int) -> None:
    text = producer.money(cents)
    assert re.fullmatch(r"-?\d+\.\d\d", text)
    assert Decimal(text) == Decimal(cents).scaleb(-2)


def test_total_is_quantity_times_price() -> None:
    for record in good(2_000):
        assert record["total_amount"] == record["quantity"] * record["price"]


def test_a_product_always_has_the_same_price() -> None:
    sold = {(record["product_id"], record["price"]) for record in good(20_000)}
    assert sorted(product_id for product_id, _ in sold) == [f"P{n:04d}" for n in range(1, 101)]


def test_popularity_is_skewed_so_that_there_is_a_top_product() -> None:
    counts = Counter(record["product_id"] for record in good(20_000)).most_common()
    assert counts[0][1] == pytest.approx(20_000 / 5.19, rel=0.1)  # 5.19 = 1 + 1/2 + ... + 1/100
    assert counts[1][1] == pytest.approx(counts[0][1] / 2, rel=0.1)


def test_the_best_seller_depends_on_the_seed() -> None:
    assert len({producer.make_pools(seed).products[0] for seed in range(5)}) > 1


def test_same_seed_gives_the_same_records() -> None:
    assert records(3_000, seed=7) == records(3_000, seed=7)
    assert records(3_000, seed=7) != records(3_000, seed=8)


def test_another_clock_changes_nothing_but_the_times() -> None:
    def without_time(value: bytes) -> bytes:
        return re.sub(rb'"transaction_time":"[^"]+"', b"", value)

    one = [(key, without_time(value)) for key, value in records(3_000, now=NOW)]
    other = [(key, without_time(value)) for key, value in records(3_000, now=NOW + 12_345)]
    assert one == other


def test_time_is_iso_8601_in_utc_with_milliseconds() -> None:
    assert producer.iso_utc(0) == "1970-01-01T00:00:00.000+00:00"
    assert producer.iso_utc(1_795_386_600_123) == "2026-11-22T22:30:00.123+00:00"


def test_a_record_that_is_not_late_happened_now() -> None:
    times = {record["transaction_time"] for record in good(100, "--late-share", "0")}
    assert times == {"2026-11-22T22:30:00.123+00:00"}


def test_a_late_record_happened_one_to_five_minutes_ago() -> None:
    late_sec = [
        NOW - datetime.fromisoformat(record["transaction_time"]).timestamp()
        for record in good(5_000, "--late-share", "1")
    ]
    assert 60 <= round(min(late_sec), 3) < 61
    assert 299 < round(max(late_sec), 3) <= 300


def test_late_share_is_the_share_of_late_records() -> None:
    times = Counter(record["transaction_time"] for record in good(20_000, "--late-share", "0.01"))
    assert 20_000 - times["2026-11-22T22:30:00.123+00:00"] == pytest.approx(200, rel=0.25)


def kind_of(value: bytes) -> str:
    try:
        record = json.loads(value, parse_float=Decimal)
    except ValueError:
        return "not JSON"
    assert list(record) == FIELDS
    kinds = {
        "no payment type": record["payment_type"] is None,
        "unknown payment type": record["payment_type"] not in (None, *producer.PAYMENT_TYPES),
        "negative amount": record["total_amount"] < 0,
    }
    return " and ".join(kind for kind, applies in kinds.items() if applies) or "good"


def test_bad_records_are_of_four_kinds_equally_often() -> None:
    kinds = Counter(kind_of(value) for _, value in records(8_000, "--invalid-share", "1"))
    assert kinds == {
        "no payment type": pytest.approx(2_000, rel=0.1),
        "unknown payment type": pytest.approx(2_000, rel=0.1),
        "negative amount": pytest.approx(2_000, rel=0.1),
        "not JSON": pytest.approx(2_000, rel=0.1),
    }


def test_invalid_share_is_the_share_of_bad_records() -> None:
    kinds = Counter(kind_of(value) for _, value in records(20_000, "--invalid-share", "0.02"))
    assert 20_000 - kinds["good"] == pytest.approx(400, rel=0.2)
    kinds = Counter(kind_of(value) for _, value in records(5_000, "--invalid-share", "0"))
    assert kinds == {"good": 5_000}


# The pace


def sent_at(rate: str, count: str, late: float = 0.0) -> list[float]:
    clock = FakeClock()
    kafka, stop = FakeKafka(clock), FakeStop(clock, late)
    kafka.on_send = stop.while_waiting = kafka.acknowledge
    produce(kafka, stop, "--rate", rate, "--count", count)
    return [at for at, *_ in kafka.sent]


def test_records_leave_in_even_steps() -> None:
    assert sent_at("10", "5") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("rate", ["10", "1000", "10000"])
def test_rate_does_not_drift_although_every_sleep_is_too_long(rate: str) -> None:
    times = sent_at(rate, str(60 * int(rate)), late=0.003)
    assert times[-1] == pytest.approx(60, abs=0.01)


def test_rate_0_never_pauses() -> None:
    clock = FakeClock()
    kafka, stop = FakeKafka(clock), FakeStop(clock)
    stop.while_waiting = kafka.acknowledge
    produce(kafka, stop, "--rate", "0", "--count", "1000")
    assert len(kafka.sent) == 1000
    assert stop.waits == [0.01]  # for the acknowledgements, at the end


def test_a_short_stall_is_made_up_for() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses = [pacer.pause(now=0.4) for _ in range(41)]
    assert sum(pause <= 1e-9 for pause in pauses) == 40
    assert pauses[-1] == pytest.approx(0.01)


def test_after_a_long_stall_there_is_no_burst() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses = [pacer.pause(now=600.0) for _ in range(100)]
    at_once = sum(pause <= 1e-9 for pause in pauses)
    assert at_once == 51  # half a second's worth, not ten minutes'
    assert pauses[at_once : at_once + 3] == pytest.approx([0.01, 0.02, 0.03])


# Sending


def test_record_goes_to_the_topic_with_its_key_and_value() -> None:
    kafka = FakeKafka()
    kafka.on_send = lambda: None
    stop = FakeStop(FakeClock())
    stop.while_waiting = kafka.acknowledge
    produce(kafka, stop, "--raw-topic", "sales", "--count", "2")
    assert [sent[1:4] for sent in kafka.sent] == [
        ("sales", b"key0", b"value0"),
        ("sales", b"key1", b"value1"),
    ]


def test_equal_keys_share_a_partition_and_all_partitions_are_used() -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    stop.while_waiting = kafka.acknowledge
    for _ in range(2):
        produce(kafka, stop, "--rate", "0", "--count", "3000")
    partitions = {(key, partition) for _, _, key, _, partition in kafka.sent}
    assert len(partitions) == 3000
    used = Counter(partition for _, partition in partitions)
    assert used == {partition: pytest.approx(1000, rel=0.1) for partition in (0, 1, 2)}


def test_count_ends_only_when_all_records_are_acknowledged() -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    stop.while_waiting = lambda: kafka.acknowledge() if len(stop.waits) == 50 else None
    delivery = produce(kafka, stop, "--rate", "0", "--count", "5")
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (5, 5, 0)
    assert len(stop.waits) == 50


def test_no_more_records_are_in_flight_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT", 10)
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    in_flight = []
    kafka.on_send = lambda: in_flight.append(len(kafka.unsettled))
    stop.while_waiting = lambda: kafka.unsettled.pop(0).succeed()
    delivery = produce(kafka, stop, "--rate", "0", "--count", "200")
    assert max(in_flight) == 10
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (200, 200, 0)


def test_waiting_at_the_bound_ends_when_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT", 10)
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    stop.while_waiting = lambda: stop.request() if len(stop.waits) == 100 else None
    delivery = produce(kafka, stop, "--rate", "0")
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (10, 0, 0)


def test_a_record_is_tried_again_while_the_topic_is_unknown() -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    stop.while_waiting = kafka.acknowledge

    def lose_the_topic_once() -> None:
        kafka.unavailable_for = 3 if len(kafka.sent) == 1 else 0

    kafka.on_send = lose_the_topic_once
    delivery = produce(kafka, stop, "--rate", "0", "--count", "3")
    assert [key for _, _, key, _, _ in kafka.sent] == [b"key0", b"key1", b"key2"]
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (3, 3, 0)


def test_failed_records_are_counted_with_the_last_error() -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())

    def settle() -> None:
        for number, future in enumerate(kafka.unsettled):
            future.fail() if number < 2 else future.succeed()

    stop.while_waiting = settle
    delivery = produce(kafka, stop, "--rate", "0", "--count", "5")
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (5, 3, 2)
    assert repr(delivery.last_error) == "OSError('no such luck')"


def test_start_waits_for_the_topic_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    kafka.unavailable_for = 25
    assert producer.wait_for_topic(kafka, config(), stop)
    line = "waiting for Kafka at localhost:9092 and its topic transactions_raw"
    assert caplog.messages == [line] * 3


def test_waiting_for_the_topic_ends_when_asked_to_stop() -> None:
    kafka, stop = FakeKafka(), FakeStop(FakeClock())
    kafka.unavailable_for = 10**9
    stop.request()
    assert not producer.wait_for_topic(kafka, config(), stop)


# The run as a whole


def run(
    monkeypatch: pytest.MonkeyPatch, kafka: FakeKafka, stop: Stop, *flags: str
) -> tuple[int, FakeKafka]:
    monkeypatch.setattr(producer, "new_producer", lambda config: kafka)
    return producer.run(config(*flags), stop), kafka


def last_line(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.messages[-1]


def test_run_sends_count_records_and_exits_0(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kafka = FakeKafka()
    kafka.on_send = lambda: None
    stop = FakeStop(FakeClock())
    stop.while_waiting = kafka.acknowledge
    code, _ = run(monkeypatch, kafka, stop, "--count", "7", "--seed", "3", "--rate", "0")
    expected = islice(producer.make_records(config(), 3, lambda: NOW), 7)
    assert [key for _, _, key, _, _ in kafka.sent] == [key for key, _ in expected]
    assert code == 0
    assert last_line(caplog) == "stopped: sent 7, acknowledged 7, failed 0, not acknowledged 0"
