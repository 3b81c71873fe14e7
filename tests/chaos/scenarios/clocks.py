"""Wrong clocks: each component is 15 minutes ahead or behind, from its start on or all at once.

Each process has clock.c preloaded, which adds what a file says to the time: one file per component.
What time-outs are measured with (CLOCK_MONOTONIC) stays right, as it does on a real machine.
"""

import platform
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clickhouse_driver.errors import Error as ClickHouseError

import services
from chaos_run import ChaosRun
from faults import PARENT, SERVICE, Fault, recovering, service_of
from freshness import Freshness
from injection import Injector, running
from metrics_check import samples
from paths import TOOLS
from pipeline import Pipeline
from polling import eventually_matches
from stack import Stack
from traffic import Producer
from waiting import eventually
from windows import Row

SOURCE = Path(__file__).with_name("clock.c")
FILE = "CLOCK_FILE"
WRONG_SEC = 15 * 60  # more than WATERMARK
# 4 kinds and 9 components: as the numbers have no common divisor, 36 faults have all pairs.
KINDS = ("jump behind", "jump ahead", "start behind", "start ahead")
COMPONENTS = (
    *("producer", "job", "broker", "executor", "clickhouse"),
    *("consumer", "master", "zookeeper", "worker"),
)
FAULTS_PER_SEED = 8
IN_JAVA = ("job", "broker", "executor", "master", "zookeeper", "worker")  # of the job: its driver
IN_PYTHON = ("producer", "job", "consumer")  # they log every 10 s
LOG_TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z ", re.MULTILINE)
DUMP_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", re.MULTILINE)
TOLERANCE_SEC = 30
SEEN_SEC = 90
# Longer than the time-outs that would go by a clock: inside Spark, they are 30 s.
IN_SPARK = ("job", "executor", "master", "worker")
HELD_SEC = {name: 40 if name in IN_SPARK else 20 for name in COMPONENTS}
DELAY_METRIC = "purchases_job_arrival_delay_seconds"
# What the job's log then says about the arrival times.
WARNINGS = {
    ("broker", "ahead"): "after their transaction_time",
    ("broker", "behind"): "BEFORE their transaction_time",
    ("producer", "ahead"): "BEFORE their transaction_time",
    ("producer", "behind"): "after their transaction_time",
}


def clocks_schedule(seed: int) -> Iterator[Fault]:
    """Endless faults, 8 further for each seed: 5 seeds have all 36."""
    number = FAULTS_PER_SEED * (seed - 1)
    while True:
        yield Fault(KINDS[number % len(KINDS)], (COMPONENTS[number % len(COMPONENTS)],))
        number += 1


def clock_file(component: str, directory: object = "{directory}") -> str:
    return f"{directory}/clocks/{component}"


def clock_environment(component: str, directory: object = "{directory}") -> dict[str, str]:
    """What gives a process the clock of a component, and Java's thread dumps their dates in UTC."""
    library = clock_file("clock.so", directory)
    return {"LD_PRELOAD": library, FILE: clock_file(component, directory), "TZ": "UTC"}


def set_clock(stack: Stack, component: str, ahead_sec: int) -> None:
    """Set the clock of a component, and of all its processes, at once."""
    with Path(clock_file(component, stack.directory)).open("r+b", buffering=0) as file:
        file.write(struct.pack("q", ahead_sec))  # in place: the processes see this file


def with_clock(service: services.Service) -> services.Service:
    """The service with a clock of its own; the executors have one of theirs."""
    components = [name for name, its_service in SERVICE.items() if its_service == service.name]
    if not components:  # `topics`, which runs once
        return service
    environment = {**service.environment, **clock_environment(components[0])}
    if service.name == "spark-job":
        executor = f"--conf 'spark.executorEnv.{FILE}={clock_file('executor')}'"
        environment["PYSPARK_SUBMIT_ARGS"] = f"{executor} {environment['PYSPARK_SUBMIT_ARGS']}"
    return replace(service, environment=environment)


class ClocksInjector(Injector):
    """Sets clocks wrong, waits until that is seen, and sets them right again."""

    def __init__(
        self,
        stack: Stack,
        producer: Producer,
        pipeline: Pipeline,
        wait_until_counted: Callable[[datetime, str], float],
    ) -> None:
        super().__init__(stack, producer)
        self.pipeline, self.wait_until_counted = pipeline, wait_until_counted

    def inflict(self, fault: Fault) -> datetime:
        """As Injector does; the fault is over when the clock is right again."""
        (component,), (how, direction) = fault.components, fault.kind.split()
        ahead_sec = WRONG_SEC if direction == "ahead" else -WRONG_SEC
        job_log = self.stack.log_file("spark-job")
        log_start, begin = job_log.stat().st_size, time.monotonic()
        if how == "start":
            self.start_again(component, ahead_sec)
        else:
            set_clock(self.stack, component, ahead_sec)
        self.notes = {"seen_sec": self.wait_until_seen(component, ahead_sec)}
        warning = WARNINGS.get((component, direction))
        if warning:
            self.notes["warning"] = wait_for_line(job_log, log_start, warning)
            delay_sec = samples(self.stack.job_metrics_port, DELAY_METRIC)
            self.notes["arrival_delay_sec"] = delay_sec.total()
        time.sleep(max(0, begin + HELD_SEC[component] - time.monotonic()))
        if not warning:  # what counts does not depend on this clock
            self.wait_until_counted(datetime.now(UTC), f"{fault}, with a wrong clock")
        self.notes["wrong_for_sec"] = round(time.monotonic() - begin, 1)
        set_clock(self.stack, component, 0)
        self.wait_until_seen(component, 0)
        self.notes["job_log"] = [
            line for line in lines_since(job_log, log_start) if " INFO " not in line
        ]
        return datetime.now(UTC)

    def start_again(self, component: str, ahead_sec: int) -> None:
        """End the component, and let it start with this clock."""
        if component in ("producer", *PARENT):
            set_clock(self.stack, component, ahead_sec)
            for process in self.processes(component):
                process.terminate()
        else:
            self.stack.stop(service_of(component))
            set_clock(self.stack, component, ahead_sec)
            self.stack.start(service_of(component))

    def wait_until_seen(self, component: str, ahead_sec: int) -> list[int]:
        """Wait until all processes of the component have this clock. Raises NotRecovered.

        Returns how far ahead each of them is, in seconds.
        """
        with recovering():
            return eventually_matches(
                lambda: self.clocks(component),
                lambda seen: all(abs(sec - ahead_sec) < TOLERANCE_SEC for sec in seen or [1e9]),
                f"{component} is {ahead_sec} s ahead",
                SEEN_SEC,
                1,
            )

    def clocks(self, component: str) -> list[int]:
        """How many seconds ahead the clocks of its processes are; empty if one does not tell."""
        times: list[datetime | None] = []
        if component in IN_JAVA:
            java = running(self.stack, "driver" if component == "job" else component)
            times += [java_time(process.pid) for process in java] or [None]
        if component in IN_PYTHON:
            service = "producer" if component == "producer" else service_of(component)
            times.append(last_log_time(self.stack.log_file(service)))
        if component == "clickhouse":
            times.append(clickhouse_time(self.pipeline))
        now = datetime.now(UTC)
        found = [round((each - now).total_seconds()) for each in times if each]
        return found if len(found) == len(times) else []


def java_time(pid: int) -> datetime | None:
    """The clock of a JVM, which heads its thread dump; None if it does not answer."""
    dump = subprocess.run(
        [TOOLS / "java" / "bin" / "jcmd", str(pid), "Thread.print"], capture_output=True, text=True
    )
    match = DUMP_TIME.search(dump.stdout)
    return datetime.fromisoformat(f"{match[0]}+00:00") if match else None


def clickhouse_time(pipeline: Pipeline) -> datetime | None:
    """The clock of ClickHouse; None if it does not answer."""
    try:
        ((now,),) = pipeline.query("SELECT toUnixTimestamp(now())")
    except (OSError, EOFError, ClickHouseError):
        return None
    return datetime.fromtimestamp(int(str(now)), UTC)


def last_log_time(log: Path) -> datetime | None:
    """The time of the last line that a service has logged."""
    times = LOG_TIME.findall(log.read_text(errors="replace"))
    return datetime.fromisoformat(f"{times[-1]}+00:00") if times else None


def lines_since(log: Path, start: int) -> list[str]:
    """What was logged after the first `start` bytes."""
    return log.read_bytes()[start:].decode(errors="replace").splitlines()


def wait_for_line(log: Path, start: int, text: str) -> str:
    """The first line with this text after the first `start` bytes. Raises NotRecovered."""

    def find() -> str:
        return next((line for line in lines_since(log, start) if text in line), "")

    with recovering():
        return eventually(find, f"{log.name} says {text!r}", SEEN_SEC, 1)


class PresentFreshness(Freshness):
    """Ignores arrivals in the future, which a broker that is ahead has stamped."""

    def counted(self, rows: Iterable[Row]) -> list[datetime]:
        soon = datetime.now(UTC) + timedelta(seconds=TOLERANCE_SEC)
        return [arrival for arrival in super().counted(rows) if arrival < soon]


class ClocksRun(ChaosRun):
    """A run in which clocks are wrong, one after the other."""

    @classmethod
    def missing(cls) -> str:
        if platform.machine() != "x86_64":
            return "clock.c is for x86_64"
        return "" if shutil.which("cc") else "no C compiler (on Debian: apt install gcc libc6-dev)"

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        """Give each service a clock that can be set."""
        before = services.TABLE
        (stack.directory / "clocks").mkdir(parents=True)
        library = clock_file("clock.so", stack.directory)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        for component in COMPONENTS:
            Path(clock_file(component, stack.directory)).write_bytes(bytes(8))
        services.TABLE = tuple(with_clock(service) for service in before)
        try:
            yield {}
        finally:
            services.TABLE = before

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        for reader in self.readers:
            reader.freshness = PresentFreshness(self.expected)
        self.producer.environment |= clock_environment("producer", stack.directory)
        self.injector = ClocksInjector(stack, self.producer, self.pipeline, self.wait_until_counted)
        self.faults = clocks_schedule(seed)
