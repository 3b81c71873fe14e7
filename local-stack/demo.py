"""See the whole pipeline work: start it, send transactions, watch the windows fill, prove them.

Uses a stack of its own in .local/demo, which starts empty and is stopped at the end, whatever
happens. Set DURATION (seconds, 90) and RATE (transactions per second, 200); ports as for
`make local-up`. Exits 0 only if every window equals its recomputation from transactions_raw, which
is done by the modules of verify/.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import quantiles
from typing import NoReturn

from clickhouse_driver import Client
from rich.console import Console
from rich.live import Live
from rich.table import Table

from checks import check_startable
from freshness import Freshness
from kafka_access import SettingsError as VerifySettingsError
from paths import LOCAL, PROJECT, VENV
from ports import HOST, SettingsError
from raw_topic import RawTopic
from rules import REASONS
from settings import Settings, load
from stack import Stack, StackError
from verify import fetch_rows, verify
from windows import Expected, Row

DIRECTORY = LOCAL / "demo"  # not STACK_DIR: it is deleted at the start
TABLE = "aggregated_analytics"
REFRESH_SEC = 0.5
PLAIN_LINE_SEC = 5  # between lines when the output is not a terminal
SHOWN_WINDOWS = 8
VERIFY_TIMEOUT_SEC = 60

console = Console()


class Progress:
    """What has been sent and what the table shows of it, as of the last `refresh`."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.raw = raw_topic(stack)
        self.client = Client(HOST, port=stack.clickhouse_port, user="consumer", password="MySecret")
        self.expected = Expected(settings.watermark, settings.deduplicate_orders)
        self.freshness = Freshness(self.expected)
        self.rows: list[Row] = []
        self.first_row_at: float | None = None
        self.delays_sec: deque[float] = deque(maxlen=5000)

    def refresh(self) -> None:
        for record in self.raw.read_new():
            self.freshness.arrived(record.value, record.arrival)
        self.rows = sorted(fetch_rows(self.client, TABLE))
        if self.rows and self.first_row_at is None:
            self.first_row_at = time.monotonic()
        now = datetime.now(UTC)
        counted = self.freshness.counted(self.rows)
        self.delays_sec.extend((now - arrival).total_seconds() for arrival in counted)

    def counts(self) -> str:
        verdicts = self.expected.verdicts
        reasons = ", ".join(f"{name} {verdicts[name]}" for name in REASONS if verdicts[name])
        return (
            f"sent {verdicts.total()}, counted {sum(row.total_orders for row in self.rows)}"
            f" in {len(self.rows)} windows, rejected {self.expected.rejected} ({reasons})"
            f"; Kafka to table {self.delay()}"
        )

    def delay(self) -> str:
        if len(self.delays_sec) < 2:
            return "-"
        cuts = quantiles(self.delays_sec, n=100)
        return f"{cuts[49]:.1f} s (99 %: {cuts[98]:.1f} s)"

    def table(self, remaining_sec: float) -> Table:
        table = Table(
            title=f"aggregated_analytics, {max(remaining_sec, 0):.0f} s to go",
            caption=self.counts(),
            caption_justify="left",
            min_width=76,
        )
        table.add_column("window (UTC)")
        for name in ("sales", "orders", "average"):
            table.add_column(name, justify="right")
        table.add_column("top product")
        for row in self.rows[-SHOWN_WINDOWS:]:
            table.add_row(
                f"{row.window_start:%H:%M}",
                f"{row.total_sales:,}",
                f"{row.total_orders:,}",
                f"{row.average_order_value:,}",
                row.top_product,
            )
        return table


def raw_topic(stack: Stack) -> RawTopic:
    """The topic, to be read from its first record on."""
    return RawTopic(f"{HOST}:{stack.kafka_port}", "transactions_raw")


@contextmanager
def producer(stack: Stack, rate: str, duration_sec: int) -> Iterator[subprocess.Popen[bytes]]:
    """A producer that sends to the stack, and is stopped at the end."""
    environment = {
        **os.environ,
        **stack.environment(),
        "RATE": rate,
        "DURATION_SEC": str(duration_sec),
    }
    log = (stack.directory / "log" / "producer.log").open("wb")
    process = subprocess.Popen(
        [VENV / "bin" / "python", PROJECT / "producer" / "producer.py"],
        env=environment,
        stderr=log,
        start_new_session=True,  # Ctrl-C reaches only the demo, which then stops the producer
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        log.close()


def watch(process: subprocess.Popen[bytes], progress: Progress, duration_sec: int) -> None:
    """Show the windows until the producer ends. Raises StackError if the producer fails."""
    end = time.monotonic() + duration_sec
    with show(progress, lambda: end - time.monotonic()) as update:
        while process.poll() is None:
            progress.refresh()
            update()
            time.sleep(REFRESH_SEC)
        progress.refresh()
    if process.returncode != 0:
        raise StackError(f"the producer ended with exit code {process.returncode}")


@contextmanager
def show(progress: Progress, remaining_sec: Callable[[], float]) -> Iterator[Callable[[], None]]:
    """Yield a function that draws the table again, or prints a line if there is no terminal."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda: live.update(progress.table(remaining_sec()), refresh=True)
        return
    next_line = time.monotonic()

    def line() -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line += PLAIN_LINE_SEC
            print(progress.counts(), flush=True)

    yield line


def run(stack: Stack, settings: Settings, rate: str, duration_sec: int) -> int:
    start = time.monotonic()
    stack.up(deadline_sec=180)
    progress = Progress(stack, settings)
    print(f"\nSending {rate} transactions per second for {duration_sec} s", flush=True)
    with producer(stack, rate, duration_sec) as process:
        watch(process, progress, duration_sec)
    if progress.first_row_at:
        print(f"first row {progress.first_row_at - start:.0f} s after the start of the stack")
    print("Recomputing every window from transactions_raw", flush=True)
    expected = Expected(settings.watermark, settings.deduplicate_orders)  # from scratch
    is_equal = verify(raw_topic(stack), progress.client, TABLE, expected, VERIFY_TIMEOUT_SEC)
    return 0 if is_equal else 1


def positive_number(env: Mapping[str, str], variable: str, default: int) -> int:
    text = env.get(variable) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{variable} must be a whole number above 0, not {text!r}")
    return int(text)


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(env: Mapping[str, str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        duration_sec = positive_number(env, "DURATION", 90)
        rate = positive_number(env, "RATE", 200)
        stack = Stack.from_env({**env, "STACK_DIR": str(DIRECTORY), "CLUSTER": ""})
        settings = load()
    except (SettingsError, VerifySettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        stack.down(say=lambda _: None)  # a demo that was killed may have left it running
        check_startable(stack)
        shutil.rmtree(stack.directory, ignore_errors=True)
        return run(stack, settings, str(rate), duration_sec)
    except (StackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if stack.is_up():
            stack.down()


if __name__ == "__main__":
    sys.exit(main(os.environ))
