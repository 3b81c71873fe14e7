"""What the producer tells Prometheus, over HTTP as Prometheus asks for it."""

import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

import producer
from fakes import FakeKafka, FileKafka
from local_http import urlopen
from servers import free_ports
from waiting import eventually


def scrape(port: int) -> dict[str, float]:
    """The value of each metric of the producer, without its prefix; none while nobody listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    prefix = "purchases_producer_records_"
    return {
        sample.name.removeprefix(prefix): sample.value
        for sample in samples
        if sample.name.startswith(prefix)
    }


def metrics_while_running(
    monkeypatch: pytest.MonkeyPatch, until: Callable[[dict[str, float]], bool], *flags: str
) -> dict[str, float]:
    """Run the producer until its metrics are as expected; returns these."""
    (port,) = free_ports(1)
    found: dict[str, float] = {}

    def look_and_stop() -> None:
        try:
            eventually(lambda: found.update(scrape(port)) or until(found), "the metrics", 30)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "argv", ["producer.py", "--metrics-port", str(port), *flags])
    Thread(target=look_and_stop, daemon=True).start()
    producer.main()
    return found


def test_what_became_of_the_records(kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka.max_value_bytes = 100  # enough for records that are no JSON
    found = metrics_while_running(
        monkeypatch,
        lambda found: found.get("sent_total", 0) > 100,
        *("--rate", "500", "--invalid-share", "0.5"),
    )
    acknowledged, failed = found["acknowledged_total"], found["failed_total"]
    assert min(acknowledged, failed) > 0
    assert found["sent_total"] == acknowledged + failed + found["in_flight"]


def test_records_in_flight(kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka.is_frozen = True
    monkeypatch.setattr("sending.FLUSH_TIMEOUT_SEC", 0)
    found = metrics_while_running(
        monkeypatch, lambda found: found.get("in_flight", 0) > 10, "--rate", "500"
    )
    assert (found["acknowledged_total"], found["failed_total"]) == (0, 0)
    assert found["sent_total"] == found["in_flight"]


def test_several_processes_are_added_up(
    file_kafka: FileKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = metrics_while_running(
        monkeypatch,
        lambda found: found.get("sent_total", 0) >= 60,
        *("--processes", "2", "--rate", "40"),
    )
    lines_by_pid = Counter(line.split()[0] for line in file_kafka.lines())
    assert len(lines_by_pid) == 2
    # More than either of them has sent, up to when the metrics were read.
    assert max(lines_by_pid.values()) < found["sent_total"] <= lines_by_pid.total()


def test_a_port_that_is_in_use_costs_the_metrics_only(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        flags = ["--metrics-port", str(port), "--rate", "0", "--count", "3"]
        monkeypatch.setattr(sys, "argv", ["producer.py", *flags])
        assert producer.main() == 0
    lines = capfd.readouterr().err.splitlines()
    assert f" ERROR no metrics: cannot listen on 127.0.0.1:{port}: Address already" in lines[1]
    assert len(kafka.sent) == 3
