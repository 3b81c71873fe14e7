"""How the producer starts and stops, and what it logs then."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from threading import Timer

import pytest

import lifecycle
import producer
import samples
from fakes import FakeKafka
from lifecycle import Stop
from sending import Delivery
from settings import Settings
from waiting import eventually

FOLDER = Path(producer.__file__).parent


def main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str
) -> tuple[int, list[str]]:
    """The exit code, and the lines of the log without their times."""
    monkeypatch.setattr(sys, "argv", ["producer.py", *flags])
    code = producer.main()
    return code, [line.split(" ", maxsplit=1)[1] for line in capsys.readouterr().err.splitlines()]


def test_the_log_starts_with_the_settings_and_ends_with_the_totals(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--count", "7", "--seed", "3", "--rate", "0")
    code, lines = main(monkeypatch, capsys, *flags)
    assert code == 0
    assert lines == [
        "INFO starting with kafka_bootstrap_servers='localhost:9092'"
        " kafka_security_protocol='PLAINTEXT' metrics_host='127.0.0.1'"
        " raw_topic='transactions_raw' rate=0.0 count=7 duration_sec=0.0 seed=3"
        " invalid_share=0.02 late_share=0.01 processes=1",
        "INFO stopped: sent 7, acknowledged 7, failed 0, not acknowledged 0",
    ]
    assert kafka.keys() == samples.keys(7, seed=3)


def test_an_empty_seed_is_drawn_and_logged(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, lines = main(monkeypatch, capsys, "--count", "7", "--rate", "0")
    seed = re.search(r" seed=(\d+) ", lines[0])
    assert seed
    assert kafka.keys() == samples.keys(7, seed=int(seed[1]))


def test_another_start_draws_another_seed() -> None:
    assert producer.with_seed(Settings()) != producer.with_seed(Settings())
    assert producer.with_seed(Settings(seed=0)) == Settings(seed=0)


def test_run_ends_after_its_duration(kafka: FakeKafka) -> None:
    began = time.monotonic()
    assert producer.run(Settings(duration_sec=1, rate=100), Stop(), Delivery()) == 0
    assert time.monotonic() - began >= 1
    assert kafka.sent


def test_run_leaves_no_thread_behind(kafka: FakeKafka) -> None:
    before = set(threading.enumerate())
    assert producer.run(Settings(count=1, rate=0), Stop(), Delivery()) == 0
    eventually(lambda: set(threading.enumerate()) <= before, "threads ended", deadline_sec=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly(
    number: signal.Signals,
    kafka: FakeKafka,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka.on_send = lambda: os.kill(os.getpid(), number) if len(kafka.sent) == 5 else None
    code, lines = main(monkeypatch, capsys, "--rate", "0")
    assert code == 0
    assert lines[-1] == "INFO stopped: sent 5, acknowledged 5, failed 0, not acknowledged 0"
    assert kafka.closed_with_timeout == 10


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(first: signal.Signals) -> None:
    code = (
        "import lifecycle, time\n"
        "stop = lifecycle.Stop()\n"
        "stop.on_signals()\n"
        "print('started', flush=True)\n"
        "stop.wait(20)\n"
        "print('stopping', flush=True)\n"
        "time.sleep(20)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        process.send_signal(first)
        assert process.stdout.readline() == "stopping\n"
        process.terminate()
        # Not 0, which it would return after its sleep.
        assert process.wait() == -signal.SIGTERM


def test_a_wait_ends_soon_after_a_stop_is_requested() -> None:
    stop = Stop()
    began = time.monotonic()
    Timer(0.05, stop.request).start()
    assert stop.wait(30)
    assert time.monotonic() - began < 20


def test_a_wait_without_a_stop_takes_its_time() -> None:
    began = time.monotonic()
    assert not Stop().wait(0.02)
    assert time.monotonic() - began >= 0.02


def test_a_prefix_replaces_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    lifecycle.set_up_logging("1/2: ")
    lifecycle.set_up_logging("2/2: ")
    producer.logger.info("hello")
    assert capsys.readouterr().err.endswith("Z INFO 2/2: hello\n")


def test_the_service_starts_from_a_copy_of_only_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    for file in FOLDER.glob("*.py"):
        shutil.copy(file, folder)
    log = tmp_path / "log"
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    env["KAFKA_BOOTSTRAP_SERVERS"] = "localhost:1"
    command = [sys.executable, "producer.py"]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=file)
    try:
        eventually(lambda: "waiting for Kafka" in log.read_text(), "the producer waits", 30)
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
    lines = [line.split(" ", maxsplit=1)[1] for line in log.read_text().splitlines()]
    assert len(lines) == 3
    assert lines[0].startswith("INFO starting with kafka_bootstrap_servers='localhost:1' ")
    assert lines[1] == "WARNING waiting for Kafka at localhost:1 and its topic transactions_raw"
    assert lines[2] == "INFO stopped: sent 0, acknowledged 0, failed 0, not acknowledged 0"
