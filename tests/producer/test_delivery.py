"""What the producer promises about each record, on the fake Kafka and on the real one."""

import re
import subprocess
import sys
from collections import Counter
from threading import Thread
from typing import Any

import pytest

import producer
import samples
import sending
from clusters import Cluster, RealCluster
from lifecycle import Stop
from sending import Delivery
from settings import Settings
from waiting import eventually


class Running:
    """A producer that runs in a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.stop = Stop()
        self.delivery = Delivery()
        self.exit_code: int | None = None
        self._thread = Thread(target=self._run, args=(settings,), daemon=True)
        self._thread.start()

    def _run(self, settings: Settings) -> None:
        self.exit_code = producer.run(settings, self.stop, self.delivery)

    def wait_until_sent(self, count: int) -> None:
        what = f"{count} records sent"
        eventually(lambda: self.delivery.sent >= count, what, deadline_sec=30, interval_sec=0.01)

    def wait(self) -> int | None:
        """The exit code, or None if it does not end."""
        self._thread.join(timeout=60)
        self.stop.request()
        return self.exit_code


@pytest.fixture
def topic(cluster: Cluster) -> str:
    name = cluster.new_topic_name()
    cluster.create_topic(name)
    return name


def settings_for(cluster: Cluster, topic: str, **settings: Any) -> Settings:
    return Settings(kafka_bootstrap_servers=cluster.address, raw_topic=topic, **settings)


def produce(cluster: Cluster, topic: str, *records: tuple[bytes, bytes]) -> Delivery:
    settings = settings_for(cluster, topic, rate=0, count=len(records))
    kafka, delivery, stop = cluster.new_producer(settings), Delivery(), Stop()
    assert sending.wait_for_topic(kafka, settings, stop)
    sending.produce(kafka, iter(records), settings, delivery, stop)
    return delivery


def counts(delivery: Delivery) -> tuple[int, int, int]:
    return delivery.sent, delivery.acknowledged, delivery.failed


def test_a_record_arrives_with_its_key_and_value(cluster: Cluster, topic: str) -> None:
    delivery = produce(cluster, topic, (b"order-1", b'{"total_amount":19.90}'), (b"order-2", b"?"))
    arrived = {(record.key, record.value) for record in cluster.records(topic)}
    assert arrived == {(b"order-1", b'{"total_amount":19.90}'), (b"order-2", b"?")}
    assert counts(delivery) == (2, 2, 0)


def test_equal_keys_share_a_partition_in_the_order_sent(cluster: Cluster, topic: str) -> None:
    keys = [b"order-%d" % number for number in range(50)]
    produce(cluster, topic, *[(key, value) for value in (b"first", b"second") for key in keys])
    arrived = cluster.records(topic)
    assert len({(record.key, record.partition) for record in arrived}) == 50
    for key in keys:
        assert [r.value for r in arrived if r.key == key] == [b"first", b"second"]
    assert {record.partition for record in arrived} == {0, 1, 2}


def test_run_sends_count_records_and_has_all_acknowledged(
    cluster: Cluster,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    settings = settings_for(cluster, topic, rate=0, count=2_000, seed=3)
    assert Running(monkeypatch, settings).wait() == 0
    arrived = Counter(record.key for record in cluster.records(topic))
    assert arrived == Counter(samples.keys(2_000, seed=3))
    last = "stopped: sent 2000, acknowledged 2000, failed 0, not acknowledged 0"
    assert caplog.messages[-1] == last


def test_start_waits_for_the_topic(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = cluster.new_topic_name()
    running = Running(monkeypatch, settings_for(cluster, name, rate=0, count=10))
    line = f"waiting for Kafka at {cluster.address} and its topic {name}"
    eventually(lambda: line in caplog.messages, line, deadline_sec=30)
    cluster.create_topic(name)
    assert running.wait() == 0
    assert len(cluster.records(name)) == 10


def test_a_stop_before_the_topic_exists_ends_with_0(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(cluster, cluster.new_topic_name())
    running = Running(monkeypatch, settings)
    eventually(lambda: caplog.messages, "the producer waits for the topic", deadline_sec=30)
    running.stop.request()
    assert running.wait() == 0
    assert counts(running.delivery) == (0, 0, 0)


def test_records_that_kafka_refuses_count_as_failed_and_make_the_exit_code_1(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    name = cluster.new_topic_name()
    cluster.create_topic(name, max_message_bytes=100)
    settings = settings_for(cluster, name, rate=0, count=3, invalid_share=0)
    assert Running(monkeypatch, settings).wait() == 1
    assert caplog.messages[-2].startswith("last error: ")
    assert caplog.messages[-1] == "stopped: sent 3, acknowledged 0, failed 3, not acknowledged 0"
    assert cluster.records(name) == []


def test_a_stop_flushes_what_is_in_flight(
    cluster: Cluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(monkeypatch, settings_for(cluster, topic, rate=2_000))
    running.wait_until_sent(100)
    running.stop.request()
    assert running.wait() == 0
    sent = running.delivery.sent
    assert counts(running.delivery) == (sent, sent, 0)
    assert len(cluster.records(topic)) == sent


def test_an_outage_delays_records_but_neither_loses_nor_repeats_any(
    cluster: Cluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(cluster, topic, rate=2_000, count=3_000, seed=3)
    running = Running(monkeypatch, settings)
    running.wait_until_sent(200)
    cluster.freeze()
    running.wait_until_sent(running.delivery.sent + 500)
    assert running.delivery.in_flight > 0
    cluster.resume()
    assert running.wait() == 0
    assert counts(running.delivery) == (3_000, 3_000, 0)
    arrived = Counter(record.key for record in cluster.records(topic))
    assert arrived == Counter(samples.keys(3_000, seed=3))


def test_a_stop_during_an_outage_ends_with_1_and_says_what_is_not_acknowledged(
    cluster: Cluster,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(sending, "FLUSH_TIMEOUT_SEC", 1)
    running = Running(monkeypatch, settings_for(cluster, topic, rate=1_000))
    running.wait_until_sent(10)
    cluster.freeze()
    running.wait_until_sent(running.delivery.sent + 500)
    running.stop.request()
    assert running.wait() == 1
    delivery = running.delivery
    assert delivery.in_flight > 0
    assert caplog.messages[-2:] == [
        f"waiting up to 1 s for {delivery.in_flight} records",
        f"stopped: sent {delivery.sent}, acknowledged {delivery.acknowledged}, failed 0,"
        f" not acknowledged {delivery.in_flight}",
    ]


@pytest.mark.services
@pytest.mark.parametrize("processes", [1, 2])
def test_the_program_sends_all_records_to_a_real_kafka(
    processes: int, real_cluster: RealCluster
) -> None:
    name = real_cluster.new_topic_name()
    real_cluster.create_topic(name)
    flags = ["--kafka-bootstrap-servers", real_cluster.address, "--raw-topic", name]
    flags += ["--rate", "0", "--count", "1001", "--processes", str(processes)]
    result = subprocess.run(
        [sys.executable, producer.__file__, *flags], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0
    assert re.findall(r"sent (\d+), acknowledged \1, failed 0, not acknowledged 0", result.stderr)
    assert len({record.key for record in real_cluster.records(name)}) == 1001
