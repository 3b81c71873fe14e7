"""How records are sent, counted and reported, with a fake Kafka."""

from collections import Counter
from collections.abc import Iterator

import pytest

import sending
from fakes import FakeKafka, FakeStop, Record
from sending import Delivery
from settings import Settings


def numbered() -> Iterator[tuple[bytes, bytes]]:
    return ((b"key%d" % number, b"value%d" % number) for number in range(10_000))


def produce(kafka: FakeKafka, stop: FakeStop, count: int = 0, topic: str = "sales") -> Delivery:
    delivery = Delivery()
    settings = Settings(rate=0, count=count, raw_topic=topic)
    sending.produce(kafka, numbered(), settings, delivery, stop, stop.clock)
    return delivery


def delivery_of(sent: int, acknowledged: int = 0, failed: int = 0) -> Delivery:
    delivery = Delivery()
    delivery.sent, delivery.acknowledged, delivery.failed = sent, acknowledged, failed
    return delivery


def counts(delivery: Delivery) -> tuple[int, int, int]:
    return delivery.sent, delivery.acknowledged, delivery.failed


def test_a_record_goes_to_its_topic_with_its_key_and_value() -> None:
    kafka = FakeKafka()
    produce(kafka, FakeStop(), count=2, topic="orders")
    partitions = [record.partition for record in kafka.sent]
    assert kafka.sent == [
        Record("orders", partitions[0], b"key0", b"value0"),
        Record("orders", partitions[1], b"key1", b"value1"),
    ]


def test_equal_keys_share_a_partition_and_partitions_get_equal_parts() -> None:
    kafka = FakeKafka()
    for _ in range(2):
        produce(kafka, FakeStop(), count=3000)
    partitions = [record.partition for record in kafka.sent]
    assert partitions[:3000] == partitions[3000:]
    parts = Counter(partitions[:3000])
    assert parts == {partition: pytest.approx(1000, rel=0.1) for partition in (0, 1, 2)}


def test_sending_ends_only_when_all_records_are_acknowledged() -> None:
    kafka, stop = FakeKafka(), FakeStop()
    kafka.is_frozen = True
    stop.while_waiting = lambda: kafka.settle_one() if len(stop.waits) > 50 else None
    assert counts(produce(kafka, stop, count=5)) == (5, 5, 0)
    assert len(stop.waits) == 55


def test_no_more_records_are_in_flight_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_IN_FLIGHT_RECORDS", 10)
    kafka, stop = FakeKafka(), FakeStop()
    kafka.is_frozen = True
    in_flight: list[int] = []
    kafka.on_send = lambda: in_flight.append(len(kafka.pending))
    stop.while_waiting = kafka.settle_one
    assert counts(produce(kafka, stop, count=200)) == (200, 200, 0)
    assert max(in_flight) == 10


def test_waiting_at_the_limit_ends_when_a_stop_is_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "MAX_IN_FLIGHT_RECORDS", 10)
    kafka, stop = FakeKafka(), FakeStop()
    kafka.is_frozen = True
    stop.while_waiting = lambda: stop.request() if len(stop.waits) == 100 else None
    assert counts(produce(kafka, stop)) == (10, 0, 0)


def test_a_record_is_sent_again_while_the_topic_is_unknown() -> None:
    kafka = FakeKafka()

    def lose_the_topic_once() -> None:
        kafka.timeouts_ahead = 3 if len(kafka.sent) == 1 else 0

    kafka.on_send = lose_the_topic_once
    assert counts(produce(kafka, FakeStop(), count=3)) == (3, 3, 0)
    assert kafka.keys() == [b"key0", b"key1", b"key2"]


def test_sending_again_ends_when_a_stop_is_requested() -> None:
    kafka, stop = FakeKafka(), FakeStop()

    def lose_the_topic_and_stop() -> None:
        kafka.missing_topics.add("sales")
        stop.request()

    kafka.on_send = lose_the_topic_and_stop
    assert produce(kafka, stop).sent == 1


def test_start_waits_for_the_topic_and_says_so_every_5_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kafka = FakeKafka()
    kafka.timeouts_ahead = 25  # of half a second each
    assert sending.wait_for_topic(kafka, Settings(), FakeStop())
    line = "waiting for Kafka at localhost:9092 and its topic transactions_raw"
    assert caplog.messages == [line] * 3


def test_the_producer_is_set_up_to_lose_nothing_in_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "KafkaProducer", dict)
    options = sending.new_producer(Settings(kafka_bootstrap_servers="a:1,b:2"))
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert options["acks"] == "all"
    assert options["delivery_timeout_ms"] > 24 * 3_600_000
    assert options["request_timeout_ms"] == 10_000
    assert "enable_idempotence" not in options  # kafka-python 3 has it on


def report(caplog: pytest.LogCaptureFixture, *states: Delivery) -> list[str]:
    """What is logged when the counts are these at the start and after each interval."""
    caplog.set_level("INFO")
    delivery, stop = delivery_of(0), FakeStop()
    remaining = iter(states[1:])
    vars(delivery).update(vars(states[0]))

    def move_on() -> None:
        state = next(remaining, None)
        stop.requested = state is None
        vars(delivery).update(vars(state or delivery))

    stop.while_waiting = move_on
    sending.report(delivery, Settings(), stop)
    assert stop.waits == [5] * len(states)
    return caplog.messages


def test_progress_is_reported_with_the_rate(caplog: pytest.LogCaptureFixture) -> None:
    assert report(caplog, delivery_of(0), delivery_of(500, 490), delivery_of(1000, 985, 5)) == [
        "sent 500, acknowledged 490, failed 0, 98.0/s",
        "sent 1000, acknowledged 985, failed 5, 99.0/s",
    ]


def test_an_outage_is_reported_in_one_line_per_interval(caplog: pytest.LogCaptureFixture) -> None:
    states = [delivery_of(500, 490), delivery_of(900, 490), delivery_of(1300, 490)]
    assert report(caplog, *states, delivery_of(1300, 1200)) == [
        "waiting for Kafka at localhost:9092: sent 900, acknowledged 490, failed 0",
        "waiting for Kafka at localhost:9092: sent 1300, acknowledged 490, failed 0",
        "sent 1300, acknowledged 1200, failed 0, 142.0/s",
    ]


def test_a_slow_producer_is_not_mistaken_for_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    assert report(caplog, delivery_of(1, 1), delivery_of(2, 1), delivery_of(2, 2)) == [
        "sent 2, acknowledged 1, failed 0, 0.0/s",
        "sent 2, acknowledged 2, failed 0, 0.2/s",
    ]


def test_the_end_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kafka = FakeKafka()
    assert sending.finish(kafka, delivery_of(7, 7)) == 0
    assert kafka.closed_with_timeout == 10
    assert caplog.messages == ["stopped: sent 7, acknowledged 7, failed 0, not acknowledged 0"]


def test_a_connection_that_cannot_be_flushed_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kafka, stop = FakeKafka(), FakeStop()
    kafka.is_frozen = True
    stop.while_waiting = stop.request
    assert sending.finish(kafka, produce(kafka, stop, count=3)) == 1
    assert kafka._closed  # else KafkaProducer.__del__ waits again and prints a traceback
    assert caplog.messages == [
        "waiting up to 10 s for 3 records",
        "stopped: sent 3, acknowledged 0, failed 0, not acknowledged 3",
    ]


def test_the_end_reports_the_last_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kafka = FakeKafka()
    kafka.max_value_bytes = 6
    assert sending.finish(kafka, produce(kafka, FakeStop(), count=12)) == 1
    assert caplog.messages == [
        "last error: OSError('too large')",
        "stopped: sent 12, acknowledged 10, failed 2, not acknowledged 0",
    ]
