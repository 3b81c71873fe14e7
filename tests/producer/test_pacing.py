"""The rate at which records leave, with a clock that only waiting moves."""

from collections.abc import Iterator

import pytest

import sending
from fakes import FakeKafka, FakeStop
from sending import Delivery, Pacer
from settings import Settings


def send_times(rate: float, count: int, late_sec: float = 0.0) -> list[float]:
    kafka, stop = FakeKafka(), FakeStop(late_sec)
    kafka.clock = stop.clock
    produce(kafka, stop, rate, count)
    return kafka.sent_at


def produce(kafka: FakeKafka, stop: FakeStop, rate: float, count: int) -> None:
    records: Iterator[tuple[bytes, bytes]] = ((b"key", b"value") for _ in range(count))
    settings = Settings(rate=rate, count=count)
    sending.produce(kafka, records, settings, Delivery(), stop, stop.clock)


def test_records_leave_in_even_steps() -> None:
    assert send_times(rate=10, count=5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("rate", [10, 1_000, 10_000])
def test_the_rate_does_not_drift_although_every_sleep_is_too_long(rate: int) -> None:
    assert send_times(rate, count=5 * rate, late_sec=0.003)[-1] == pytest.approx(5, abs=0.01)


def test_rate_0_never_pauses() -> None:
    kafka, stop = FakeKafka(), FakeStop()
    produce(kafka, stop, rate=0, count=1000)
    assert len(kafka.sent) == 1000
    assert stop.waits == []


def test_the_pacer_catches_up_after_a_short_stall() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses_sec = [pacer.pause(now=0.405) for _ in range(42)]
    assert sum(pause_sec <= 0 for pause_sec in pauses_sec) == 40
    assert pauses_sec[-2:] == pytest.approx([0.005, 0.015])


def test_there_is_no_burst_after_a_long_stall() -> None:
    pacer = Pacer(rate=100, now=0.0)
    pauses_sec = [pacer.pause(now=600.005) for _ in range(100)]
    at_once = sum(pause_sec <= 1e-9 for pause_sec in pauses_sec)
    assert at_once == 51  # half a second's worth, not ten minutes'
    assert pauses_sec[at_once : at_once + 3] == pytest.approx([0.01, 0.02, 0.03])
