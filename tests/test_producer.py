"""What producer.py promises; fakes stand in for Kafka, the clock and the sleep."""

import gc
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError

import producer
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

    def __init__(self, late: float = 0.0) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.late = late
        self.waits: list[float] = []
        self.while_waiting: Callable[[], None] = lambda: None

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.now += seconds + self.late
        self.while_waiting()
        return self.requested


class FakeFuture:
    """Settles as soon as both callbacks are there, or when told to if `outcome` is "pending"."""

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome

    def add_callback(self, callback: Callable[[object], None]) -> "FakeFuture":
        self.callback = callback
        return self

    def add_errback(self, errback: Callable[[BaseException], None]) -> "FakeFuture":
        self.errback = errback
        if self.outcome != "pending":
            self.settle()
        return self

    def settle(self) -> None:
        if self.outcome == "failed":
            self.errback(OSError("no such luck"))
        else:
            self.callback("metadata")


class FakeKafka:
    """Takes records as KafkaProducer does."""

    def __init__(self, outcome: str = "acknowledged") -> None:
        self.outcome = outcome
        self.clock: Callable[[], float] = lambda: 0.0
        self.records: list[tuple[str, bytes, bytes]] = []
        self.partitions: list[int] = []
        self.sent_at: list[float] = []
        self.pending: list[FakeFuture] = []
        self.timeouts_ahead = 0
        self.on_send: Callable[[], None] = lambda: None
        self.closed_with: float | None = None
        self._closed = False

    def partitions_for(self, topic: str) -> set[int]:
        self.maybe_time_out()
        return {0, 1, 2}

    def send(self, topic: str, value: bytes, key: bytes, partition: int) -> FakeFuture:
        self.maybe_time_out()
        self.records.append((topic, key, value))
        self.partitions.append(partition)
        self.sent_at.append(self.clock())
        self.on_send()
        future = FakeFuture(self.outcome)
        if self.outcome == "pending":
            self.pending.append(future)
        return future

    def settle_one(self) -> None:
        self.pending.pop(0).settle()

    def close(self, timeout: float) -> None:
        self.closed_with = timeout
        if self.pending:
            raise KafkaTimeoutError

    def maybe_time_out(self) -> None:
        if self.timeouts_ahead:
            self.timeouts_ahead -= 1
            raise KafkaTimeoutError


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """run() and main() set these up for the whole process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    thresholds, converter = gc.get_threshold(), logging.Formatter.converter
    kafka_level = logging.getLogger("kafka").level
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    if cores:
        os.sched_setaffinity(0, cores)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    gc.set_threshold(*thresholds)
    logging.Formatter.converter = converter
    logging.getLogger("kafka").setLevel(kafka_level)


def config(*flags: str) -> Config:
    return Config.from_env({}, flags)


def records(count: int, *flags: str, seed: int = 1, now: float = NOW) -> list[tuple[bytes, bytes]]:
    rng, pools = random.Random(seed), producer.make_pools(seed)
    return list(islice(producer.make_records(config(*flags), rng, pools, lambda: now), count))


def good(count: int, *flags: str) -> list[dict[str, Any]]:
    """So many valid records, read as the job reads them: numbers as Decimal."""
    flags = ("--invalid-share", "0", *flags)
    return [json.loads(value, parse_float=Decimal) for _, value in records(count, *flags)]


def numbered() -> Iterator[tuple[bytes, bytes]]:
    return ((b"key%d" % number, b"value%d" % number) for number in range(10**9))


def produce(kafka: FakeKafka, stop: FakeStop, *flags: str) -> Delivery:
    kafka.clock = stop.clock
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
    assert len({producer.make_pools(seed).products[0][0] for seed in range(5)}) > 1


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


def send_times(rate: int, count: int, late: float = 0.0) -> list[float]:
    kafka = FakeKafka()
    produce(kafka, FakeStop(late), "--rate", str(rate), "--count", str(count))
    return kafka.sent_at


def test_records_leave_in_even_steps() -> None:
    assert send_times(rate=10, count=5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("rate", [10, 1_000, 10_000])
def test_rate_does_not_drift_although_every_sleep_is_too_long(rate: int) -> None:
    assert send_times(rate, count=20 * rate, late=0.003)[-1] == pytest.approx(20, abs=0.01)


def test_rate_0_never_pauses() -> None:
    kafka, stop = FakeKafka(), FakeStop()
    produce(kafka, stop, "--rate", "0", "--count", "1000")
    assert len(kafka.records) == 1000
    assert stop.waits == []


def test_a_short_stall_is_made_up_for() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses = [pacer.pause(now=0.405) for _ in range(42)]
    assert sum(pause <= 0 for pause in pauses) == 40
    assert pauses[-2:] == pytest.approx([0.005, 0.015])


def test_after_a_long_stall_there_is_no_burst() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses = [pacer.pause(now=600.005) for _ in range(100)]
    at_once = sum(pause <= 1e-9 for pause in pauses)
    assert at_once == 51  # half a second's worth, not ten minutes'
    assert pauses[at_once : at_once + 3] == pytest.approx([0.01, 0.02, 0.03])


# Sending


def test_a_record_goes_to_the_topic_with_its_key_and_value() -> None:
    kafka = FakeKafka()
    produce(kafka, FakeStop(), "--raw-topic", "sales", "--count", "2")
    assert kafka.records == [("sales", b"key0", b"value0"), ("sales", b"key1", b"value1")]


def test_equal_keys_share_a_partition_and_all_partitions_are_used() -> None:
    kafka = FakeKafka()
    for _ in range(2):
        produce(kafka, FakeStop(), "--rate", "0", "--count", "3000")
    assert kafka.partitions[:3000] == kafka.partitions[3000:]
    counts = Counter(kafka.partitions[:3000])
    assert counts == {partition: pytest.approx(1000, rel=0.1) for partition in (0, 1, 2)}


def test_sending_ends_only_when_all_records_are_acknowledged() -> None:
    kafka, stop = FakeKafka("pending"), FakeStop()
    stop.while_waiting = lambda: kafka.settle_one() if len(stop.waits) > 50 else None
    delivery = produce(kafka, stop, "--rate", "0", "--count", "5")
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (5, 5, 0)
    assert len(stop.waits) == 55


def test_no_more_records_are_in_flight_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT", 10)
    kafka, stop = FakeKafka("pending"), FakeStop()
    in_flight: list[int] = []
    kafka.on_send = lambda: in_flight.append(len(kafka.pending) + 1)
    stop.while_waiting = kafka.settle_one
    delivery = produce(kafka, stop, "--rate", "0", "--count", "200")
    assert max(in_flight) == 10
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (200, 200, 0)


def test_waiting_at_the_bound_ends_when_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT", 10)
    kafka, stop = FakeKafka("pending"), FakeStop()
    stop.while_waiting = lambda: stop.request() if len(stop.waits) == 100 else None
    delivery = produce(kafka, stop, "--rate", "0")
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (10, 0, 0)


def test_a_record_is_tried_again_while_the_topic_is_unknown() -> None:
    kafka = FakeKafka()

    def lose_the_topic_once() -> None:
        kafka.timeouts_ahead = 3 if len(kafka.records) == 1 else 0

    kafka.on_send = lose_the_topic_once
    delivery = produce(kafka, FakeStop(), "--rate", "0", "--count", "3")
    assert [key for _, key, _ in kafka.records] == [b"key0", b"key1", b"key2"]
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (3, 3, 0)


def test_trying_again_ends_when_asked_to_stop() -> None:
    kafka, stop = FakeKafka(), FakeStop()

    def lose_the_topic_and_stop() -> None:
        kafka.timeouts_ahead = 10**9
        stop.request()

    kafka.on_send = lose_the_topic_and_stop
    assert produce(kafka, stop, "--rate", "0").sent == 1


def test_start_waits_for_the_topic_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    kafka = FakeKafka()
    kafka.timeouts_ahead = 25
    assert producer.wait_for_topic(kafka, config(), FakeStop())
    line = "waiting for Kafka at localhost:9092 and its topic transactions_raw"
    assert caplog.messages == [line] * 3  # one for every ten tries of half a second


def test_producer_is_set_up_to_lose_nothing_in_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "KafkaProducer", dict)
    options = producer.new_producer(config("--kafka-bootstrap-servers", "a:1,b:2"))
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert options["acks"] == "all"
    assert options["delivery_timeout_ms"] > 24 * 3_600_000
    assert "enable_idempotence" not in options  # kafka-python 3 has it on


# The lines it logs, and how it ends


def delivery_of(sent: int, acknowledged: int = 0, failed: int = 0) -> Delivery:
    delivery = Delivery()
    delivery.sent, delivery.acknowledged, delivery.failed = sent, acknowledged, failed
    return delivery


def report(caplog: pytest.LogCaptureFixture, *states: Delivery) -> list[str]:
    """What is logged when the counts are these at the start and after every interval."""
    caplog.set_level("INFO")
    delivery, stop = delivery_of(0), FakeStop()
    remaining = iter(states[1:])
    vars(delivery).update(vars(states[0]))

    def move_on() -> None:
        state = next(remaining, None)
        stop.requested = state is None
        vars(delivery).update(vars(state or delivery))

    stop.while_waiting = move_on
    producer.report(delivery, config(), stop)
    assert stop.waits == [5] * len(states)
    return caplog.messages


def test_progress_is_reported_with_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    assert report(caplog, delivery_of(0), delivery_of(500, 490), delivery_of(1000, 985, 5)) == [
        "sent 500, acknowledged 490, failed 0, 98.0/s",
        "sent 1000, acknowledged 985, failed 5, 99.0/s",
    ]


def test_an_outage_is_reported_in_one_line_each_time(caplog: pytest.LogCaptureFixture) -> None:
    states = [delivery_of(500, 490), delivery_of(900, 490), delivery_of(1300, 490)]
    assert report(caplog, *states, delivery_of(1300, 1200)) == [
        "waiting for Kafka at localhost:9092: sent 900, acknowledged 490, failed 0",
        "waiting for Kafka at localhost:9092: sent 1300, acknowledged 490, failed 0",
        "sent 1300, acknowledged 1200, failed 0, 142.0/s",
    ]


def test_a_slow_producer_is_not_taken_for_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    assert report(caplog, delivery_of(1, 1), delivery_of(2, 1), delivery_of(2, 2)) == [
        "sent 2, acknowledged 1, failed 0, 0.0/s",
        "sent 2, acknowledged 2, failed 0, 0.2/s",
    ]


def run(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kafka: FakeKafka,
    stop: Stop,
    *flags: str,
) -> tuple[int, list[str]]:
    caplog.set_level("INFO")
    monkeypatch.setattr(producer, "new_producer", lambda config: kafka)
    return producer.run(config(*flags), stop), caplog.messages


def test_run_sends_count_records_then_closes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = FakeKafka()
    flags = ("--count", "7", "--seed", "3", "--rate", "0")
    code, lines = run(monkeypatch, caplog, kafka, Stop(), *flags)
    assert [key for _, key, _ in kafka.records] == [key for key, _ in records(7, seed=3)]
    assert kafka.closed_with == 10
    assert code == 0
    assert lines == [
        "starting: Config(kafka_bootstrap_servers='localhost:9092', raw_topic='transactions_raw',"
        " rate=0.0, count=7, duration_sec=0.0, seed=3, invalid_share=0.02, late_share=0.01,"
        " processes=1)",
        "stopped: sent 7, acknowledged 7, failed 0, not acknowledged 0",
    ]


def test_an_empty_seed_is_drawn_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = FakeKafka()
    _, lines = run(monkeypatch, caplog, kafka, Stop(), "--count", "7", "--rate", "0")
    seed = re.search(r"seed=(\d+)", lines[0])
    assert seed
    keys = [key for key, _ in records(7, seed=int(seed[1]))]
    assert [key for _, key, _ in kafka.records] == keys


def test_run_ends_after_its_duration(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = FakeKafka()
    code, _ = run(monkeypatch, caplog, kafka, Stop(), "--duration-sec", "1", "--rate", "20")
    assert code == 0
    assert 0 < len(kafka.records) <= 20


def test_failed_records_make_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--count", "7", "--rate", "0")
    code, lines = run(monkeypatch, caplog, FakeKafka("failed"), Stop(), *flags)
    assert code == 1
    assert lines[1:] == [
        "last error: OSError('no such luck')",
        "stopped: sent 7, acknowledged 0, failed 7, not acknowledged 0",
    ]


def test_records_not_acknowledged_make_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, stop = FakeKafka("pending"), Stop()
    kafka.on_send = lambda: stop.request() if len(kafka.records) == 3 else None
    code, lines = run(monkeypatch, caplog, kafka, stop, "--rate", "0")
    assert code == 1
    assert lines[1:] == [
        "waiting up to 10 s for 3 records",
        "stopped: sent 3, acknowledged 0, failed 0, not acknowledged 3",
    ]
    assert kafka._closed  # else KafkaProducer.__del__ waits again and prints a traceback


def test_a_stop_during_the_start_ends_with_0(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, stop = FakeKafka(), Stop()
    kafka.timeouts_ahead = 10**9
    stop.request()
    code, lines = run(monkeypatch, caplog, kafka, stop)
    assert code == 0
    assert lines[1:] == ["stopped: sent 0, acknowledged 0, failed 0, not acknowledged 0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_a_second_one_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = FakeKafka()
    kafka.on_send = lambda: os.kill(os.getpid(), number) if len(kafka.records) == 5 else None
    monkeypatch.setattr(producer, "new_producer", lambda config: kafka)
    monkeypatch.setattr(sys, "argv", ["producer.py", "--rate", "0"])
    assert producer.main() == 0
    assert len(kafka.records) == 5
    assert kafka.closed_with == 10
    assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_wait_ends_soon_after_a_stop() -> None:
    stop = Stop()
    began = time.monotonic()
    Timer(0.05, stop.request).start()
    assert stop.wait(5)
    assert time.monotonic() - began < 4


def test_a_wait_without_a_stop_takes_its_time() -> None:
    began = time.monotonic()
    assert not Stop().wait(0.02)
    assert time.monotonic() - began >= 0.02


# Several processes


def test_processes_share_rate_and_count() -> None:
    flags = ("--processes", "3", "--rate", "100", "--count", "8", "--seed", "5")
    each = [(share.rate, share.count, share.seed) for share in producer.shares(config(*flags))]
    assert each == [(pytest.approx(100 / 3), count, 5) for count in (3, 3, 2)]


def test_no_process_is_endless_when_there_are_fewer_records_than_processes() -> None:
    counts = [share.count for share in producer.shares(config("--processes", "5", "--count", "2"))]
    assert counts == [1, 1]


def test_endless_processes_sell_from_one_shop_although_the_seed_is_drawn() -> None:
    all_shares = producer.shares(config("--processes", "2", "--rate", "0"))
    assert [(share.rate, share.count) for share in all_shares] == [(0, 0), (0, 0)]
    assert all_shares[0].seed is not None
    assert all_shares[0].seed == all_shares[1].seed


def test_no_process_makes_the_orders_of_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = FakeKafka()
    monkeypatch.setattr(producer, "new_producer", lambda config: kafka)
    for number in (1, 2, 3):
        producer.run(config("--count", "20", "--rate", "0", "--seed", "1"), Stop(), number)
    assert len({key for _, key, _ in kafka.records}) == 60
    prices = Counter(
        (record["product_id"], record["price"])
        for record in (json.loads(v) for _, _, v in kafka.records if v.startswith(b"{"))
    )
    assert len({product for product, _ in prices}) == len(prices)  # the same shop


class FileKafka(FakeKafka):
    """Writes a line for each record, as the processes share no memory; slow, so as to be killed."""

    def __init__(self, path: Path, outcome: str = "acknowledged") -> None:
        super().__init__(outcome)
        self.path = path

    def send(self, topic: str, value: bytes, key: bytes, partition: int) -> FakeFuture:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()} {key.decode()}\n")
        return super().send(topic, value, key, partition)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


def wait_for_processes(kafka: FileKafka, number: int) -> set[int]:
    """The processes that have sent something, as soon as there are so many."""
    deadline = time.monotonic() + 20
    while len(pids := {int(line.split()[0]) for line in kafka.lines()}) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pids


def run_all(monkeypatch: pytest.MonkeyPatch, kafka: FileKafka, *flags: str) -> int:
    monkeypatch.setattr(producer, "new_producer", lambda config: kafka)
    monkeypatch.setattr(sys, "argv", ["producer.py", "--processes", "2", *flags])
    return producer.main()


def test_all_records_are_sent_by_all_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kafka = FileKafka(tmp_path / "sent")
    assert run_all(monkeypatch, kafka, "--rate", "0", "--count", "101") == 0
    pids, keys = zip(*(line.split() for line in kafka.lines()), strict=True)
    assert sorted(Counter(pids).values()) == [50, 51]
    assert len(set(keys)) == 101


def test_one_process_that_fails_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kafka = FileKafka(tmp_path / "sent", "failed")
    assert run_all(monkeypatch, kafka, "--rate", "0", "--count", "2") == 1


@pytest.mark.parametrize(
    ("signal_one", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)]
)
def test_all_processes_end_with_one_of_them(
    signal_one: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The parent when it is asked to stop, a child when it is killed."""
    kafka = FileKafka(tmp_path / "sent")

    def end_one() -> None:
        child = min(wait_for_processes(kafka, 2))
        os.kill(child if signal_one == signal.SIGKILL else os.getpid(), signal_one)

    Thread(target=end_one, daemon=True).start()
    assert run_all(monkeypatch, kafka, "--rate", "50") == code
    assert not multiprocessing.active_children()


def test_processes_end_when_their_parent_is_killed() -> None:
    command = [sys.executable, producer.__file__, "--processes", "2"]
    command += ["--kafka-bootstrap-servers", "localhost:1"]
    parent = psutil.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(children := parent.children()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # for the second one to know its parent
    parent.kill()
    parent.wait()
    assert psutil.wait_procs(children, timeout=20)[1] == []


# The settings


def test_defaults_are_those_of_the_local_stack() -> None:
    assert Config.from_env({}, []) == Config(
        kafka_bootstrap_servers="localhost:9092",
        raw_topic="transactions_raw",
        rate=100.0,
        count=0,
        duration_sec=0.0,
        seed=None,
        invalid_share=0.02,
        late_share=0.01,
        processes=1,
    )


SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:29092,other:9092",
    "RAW_TOPIC": "sales.raw_2-x",
    "RATE": "0.5",
    "COUNT": "10",
    "DURATION_SEC": "1.5",
    "SEED": "42",
    "INVALID_SHARE": "1",
    "LATE_SHARE": "0",
    "PROCESSES": "4",
}
SET = Config("kafka:29092,other:9092", "sales.raw_2-x", 0.5, 10, 1.5, 42, 1.0, 0.0, 4)


def flag(name: str) -> str:
    return "--" + name.lower().replace("_", "-")


def test_every_setting_is_read_from_the_environment() -> None:
    assert Config.from_env(SETTINGS, []) == SET


def test_every_setting_is_a_flag_that_wins_over_the_environment() -> None:
    env = dict.fromkeys(SETTINGS, "not even valid")
    argv = [word for name, text in SETTINGS.items() for word in (flag(name), text)]
    assert Config.from_env(env, argv) == SET


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Config.from_env(dict.fromkeys(SETTINGS, ""), []) == Config.from_env({}, [])


WRONG = [
    ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port[,host:port]"),
    ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2", "host:port[,host:port]"),
    ("RAW_TOPIC", "a/b", "letters, digits, '.', '_' and '-'"),
    ("RATE", "-1", "0 (no limit) to 1000000 records a second"),
    ("RATE", "nan", "0 (no limit) to 1000000 records a second"),
    ("RATE", "fast", "0 (no limit) to 1000000 records a second"),
    ("COUNT", "-1", "a whole number of records, 0 for endless"),
    ("COUNT", "1.5", "a whole number of records, 0 for endless"),
    ("DURATION_SEC", "-1", "0 (endless) to 1000000000 seconds"),
    ("DURATION_SEC", "inf", "0 (endless) to 1000000000 seconds"),
    ("SEED", "x", "a whole number, or empty"),
    ("INVALID_SHARE", "1.01", "a number from 0 to 1"),
    ("LATE_SHARE", "-0.01", "a number from 0 to 1"),
    ("PROCESSES", "0", "a whole number from 1 to 100"),
    ("PROCESSES", "2.0", "a whole number from 1 to 100"),
]


@pytest.mark.parametrize(("name", "text", "allowed"), WRONG)
def test_a_wrong_setting_is_named_with_what_is_allowed(name: str, text: str, allowed: str) -> None:
    for env, argv in (({name: text}, []), ({}, [f"{flag(name)}={text}"])):
        with pytest.raises(ConfigError) as error:
            Config.from_env(env, argv)
        assert str(error.value) == f"{name} must be {allowed}; it is {text!r}"


def test_a_wrong_setting_is_one_line_on_stderr_and_exit_code_2() -> None:
    command = [sys.executable, str(Path(producer.__file__)), "--rate", "fast"]
    env = {**os.environ, "TZ": "TOKYO-9"}  # logs are in UTC wherever the machine is
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    time_logged, rest = result.stderr.split(" ", maxsplit=1)
    assert result.returncode == 2
    assert result.stdout == ""
    assert rest == "ERROR RATE must be 0 (no limit) to 1000000 records a second; it is 'fast'\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time_logged)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(time_logged)) < timedelta(minutes=5)


def cores_of(rate: str, *flags: str) -> list[int]:
    """On how many cores each process of a producer may run."""
    code = (
        "import os, producer\n"
        "def run(*_): print(len(os.sched_getaffinity(0)), flush=True); return 0\n"
        "producer.run = run; producer.main()"
    )
    command = [sys.executable, "-c", code, "--rate", rate, *flags]
    folder = Path(producer.__file__).parent
    output = subprocess.check_output(command, cwd=folder, text=True, timeout=60)
    return [int(line) for line in output.split()]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system pins no process")
def test_only_a_producer_without_a_rate_keeps_each_process_to_one_core() -> None:
    assert cores_of("0") == [1]
    assert cores_of("0", "--processes", "2") == [1, 1]
    assert cores_of("100") == [len(os.sched_getaffinity(0))]
