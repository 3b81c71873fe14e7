"""How the job stops on signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle import Stop

SIGNALS = (signal.SIGTERM, signal.SIGINT)
JOB = Path(__file__).parents[2] / "spark-job"
WAITING = """
from lifecycle import Stop
stop = Stop()
stop.on_signals()
print("started", flush=True)
stop.wait(30)
print("requested", flush=True)
Stop().wait(30)
"""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_requests_the_stop(number: signal.Signals) -> None:
    stop = Stop()
    stop.on_signals()
    assert not stop.requested
    os.kill(os.getpid(), number)
    assert stop.wait(60)


@pytest.mark.parametrize(("first", "second"), [SIGNALS, SIGNALS[::-1]])
def test_the_second_signal_ends_the_process_at_once(
    first: signal.Signals, second: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=JOB, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        process.send_signal(first)
        assert process.stdout.readline() == "requested\n"
        process.send_signal(second)
        assert process.wait() == -second


def test_the_second_signal_still_ends_the_process_when_handlers_are_installed_again() -> None:
    """A stop may be requested while Spark starts, which installs a handler of its own."""
    stop = Stop()
    stop.on_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stop.on_signals()
    assert stop.requested
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL] * 2


def test_waiting_ends_with_the_time_or_the_request() -> None:
    stop = Stop()
    assert not stop.wait(0)
    start = time.monotonic()
    threading.Timer(0.05, stop.request).start()
    assert stop.wait(60)
    assert time.monotonic() - start < 30
