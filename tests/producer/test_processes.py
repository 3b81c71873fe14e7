"""Several processes of one producer; a file stands in for Kafka, as they share no memory."""

import json
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from threading import Thread

import psutil
import pytest

import producer
from fakes import FakeKafka, FileKafka
from lifecycle import Stop
from processes import split_by_process
from sending import Delivery
from settings import Settings
from waiting import eventually

PRODUCER = Path(producer.__file__)


def main(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    monkeypatch.setattr(sys, "argv", ["producer.py", "--processes", "2", *flags])
    return producer.main()


def test_processes_share_rate_and_count_and_have_one_seed() -> None:
    parts = split_by_process(Settings(processes=3, rate=100, count=8, seed=5))
    each = [(part.rate, part.count, part.seed, part.processes) for part in parts]
    assert each == [(pytest.approx(100 / 3), count, 5, 1) for count in (3, 3, 2)]


def test_no_process_is_endless_when_there_are_fewer_records_than_processes() -> None:
    assert [part.count for part in split_by_process(Settings(processes=5, count=2))] == [1, 1]


def test_processes_are_endless_when_the_producer_is() -> None:
    parts = split_by_process(Settings(processes=2, rate=0))
    assert [(part.rate, part.count) for part in parts] == [(0, 0), (0, 0)]


def test_processes_sell_from_one_shop_but_none_repeats_the_orders_of_another(
    kafka: FakeKafka,
) -> None:
    for number in (1, 2, 3):
        settings = Settings(count=20, rate=0, seed=1, invalid_share=0)
        producer.run(settings, Stop(), Delivery(), number)
    assert len(set(kafka.keys())) == 60
    sold = [json.loads(record.value) for record in kafka.sent]
    prices = {(transaction["product_id"], transaction["price"]) for transaction in sold}
    assert len({product_id for product_id, _ in prices}) == len(prices)


def test_all_records_are_sent_by_all_processes(
    file_kafka: FileKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(monkeypatch, "--rate", "0", "--count", "101") == 0
    pids, keys = zip(*(line.split() for line in file_kafka.lines()), strict=True)
    assert sorted(Counter(pids).values()) == [50, 51]
    assert len(set(keys)) == 101


def test_each_process_logs_its_start_and_end_with_its_number_and_so_does_the_parent(
    file_kafka: FileKafka, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(monkeypatch, "--rate", "0", "--count", "7", "--seed", "3") == 0
    lines = [line.split(" INFO ")[1] for line in capfd.readouterr().err.splitlines()]
    settings = Settings(rate=0, count=7, seed=3, processes=2)
    assert lines[0] == f"starting with {settings}"
    assert lines[-1] == "stopped: 2 processes, exit codes 0, 0"
    assert sorted(lines[1:-1]) == [
        f"1/2: starting with {settings.model_copy(update={'count': 4, 'processes': 1})}",
        "1/2: stopped: sent 4, acknowledged 4, failed 0, not acknowledged 0",
        f"2/2: starting with {settings.model_copy(update={'count': 3, 'processes': 1})}",
        "2/2: stopped: sent 3, acknowledged 3, failed 0, not acknowledged 0",
    ]


def test_one_process_that_fails_makes_the_exit_code_1(
    file_kafka: FileKafka, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file_kafka.max_value_bytes = 0
    assert main(monkeypatch, "--rate", "0", "--count", "2") == 1
    last = capfd.readouterr().err.splitlines()[-1]
    # The first one that fails may stop the other before that has sent anything.
    assert re.search(r" INFO stopped: 2 processes, exit codes (1, 1|1, 0|0, 1)$", last)


@pytest.mark.parametrize(
    ("signal_one", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)]
)
def test_all_processes_end_with_one_of_them(
    signal_one: signal.Signals,
    code: int,
    file_kafka: FileKafka,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parent when it receives a signal, a child when it is killed."""

    def both() -> set[int]:
        return pids if len(pids := file_kafka.pids()) == 2 else set()

    def end_one() -> None:
        child = min(eventually(both, "both have sent something", 30, interval_sec=0.01))
        os.kill(child if signal_one == signal.SIGKILL else os.getpid(), signal_one)

    Thread(target=end_one, daemon=True).start()
    assert main(monkeypatch, "--rate", "50") == code
    assert not multiprocessing.active_children()


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, PRODUCER, "--processes", "2"]
    command += ["--kafka-bootstrap-servers", "localhost:1"]
    with log.open("w") as file:
        parent = psutil.Popen(command, stderr=file)
    try:
        eventually(lambda: log.read_text().count("/2: starting with ") == 2, "both started", 30)
        children = parent.children()
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()
    assert (len(children), alive) == (2, [])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system pins no process")
@pytest.mark.parametrize(("rate", "is_on_one_core"), [(0, True), (100, False)])
def test_only_a_producer_without_a_rate_keeps_each_process_on_one_core(
    rate: float, is_on_one_core: bool, kafka: FakeKafka
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    used: list[list[int]] = []
    kafka.on_send = lambda: used.append(sorted(os.sched_getaffinity(0)))
    for number in (1, 2):
        os.sched_setaffinity(0, cores)
        producer.run(Settings(rate=rate, count=1), Stop(), Delivery(), number)
    expected = [[cores[number % len(cores)]] if is_on_one_core else cores for number in (1, 2)]
    assert used == expected
