"""Power cuts: a disk keeps only what was written to it, and its processes are gone.

After each cut the run does what docs/production.md says, and notes it. Odd things may remain only
where Kafka has lost records that were counted: the table then has more orders than the topic.
Seeds from FIRST_SAFE on have the settings of docs/production.md with which nothing is lost.
"""

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import psutil
from kafka.errors import KafkaError
from supervisor.xmlrpc import Faults

from chaos_run import RECOVERY_DEADLINE_SEC, WATERMARK, ChaosRun, say
from clickhouse_server import INIT_SQL, ClickHouse
from faults import Fault, NotRecovered, recovering
from freshness import Freshness
from injection import Injector
from lag import checkpoint
from looper import Looper
from paths import LOCAL_STACK, TOOLS
from prober import Acknowledgement, Prober, lost_or_repeated
from raw_topic import RawTopic
from reader import Reader
from rejected import verdict_on
from scenarios import disks
from scenarios.power_cost import flush_costs, insert_ms
from scenarios.power_disks import FOLDERS, Disks, power_disks
from stack import Stack
from supervision import ignoring_fault, supervisor, tools_environment
from traffic import Producer
from verdicts import Verdicts
from waiting import eventually
from windows import Expected, Row

FIRST_SAFE = 4
PROBE_SEC = 0.1
VERIFY_SEC = 40
VERIFY_TRIES = 4
OFF_SEC = 30
LOST_AFTER_SEC = 60  # the kernel begins to write after 30 s, and looks every 5 s
EVERYTHING = "everything"
DISKS_OF = {
    "broker": ("kafka",),
    "zookeeper": ("zookeeper",),
    "clickhouse": ("clickhouse",),
    "checkpoint": ("checkpoint",),
    EVERYTHING: FOLDERS,
}
# The machine of the checkpoint is that of the driver and the executors.
SERVICES_OF = {
    "broker": ("kafka",),
    "zookeeper": ("zookeeper",),
    "clickhouse": ("clickhouse-server",),
    "checkpoint": ("spark-job", "spark-worker"),
}
SAFE_MOUNTS = {"checkpoint": "nodelalloc"}
SAFE_TABLE = """
ALTER TABLE default.aggregated_analytics
    MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1;
"""
SAFE_BROKER = (
    *("kafka.admin.ConfigCommand", "--alter", "--entity-type", "brokers", "--entity-default"),
    *("--add-config", "log.flush.interval.messages=1"),
)
READ_AGAIN = (
    *("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--execute"),
    *("--group", "clickhouse-consumer", "--topic", "transactions_agg"),
    *("--reset-offsets", "--to-earliest"),
)
NEW_CHECKPOINT = "a new checkpoint"
AGG_AGAIN = "the consumer reads transactions_agg again"
# A line of the job that names what a person has to do.
REMEDY = re.compile("CHECKPOINT_LOCATION|rebuild")
# The verdict of verify.py and the line after it; others may follow.
ONLY_MORE = re.compile(r"NOT equal: (\d+) differences .*\n(\d+) windows have more orders")


def schedule(seed: int) -> Iterator[Fault]:
    """Endless power cuts; each five of them hit everything there is."""
    rng = random.Random(seed)
    while True:
        for name in rng.sample(list(DISKS_OF), len(DISKS_OF)):
            yield Fault("cut", (name,))


class PowerInjector(Injector):
    """Cuts the power of some disks and of the processes that use them."""

    def __init__(self, stack: Stack, producer: Producer, stack_disks: Disks) -> None:
        super().__init__(stack, producer)
        self.disks = stack_disks
        self.cut_at = datetime.now(UTC)
        self.disks_cut: tuple[str, ...] = ()  # by the latest cut
        self.while_off: Callable[[], None] = lambda: None

    def inflict(self, fault: Fault) -> datetime:
        (component,) = fault.components
        self.disks_cut = DISKS_OF[component]
        services = SERVICES_OF.get(component) or [
            each for each in self.stack.services if each != "topics"
        ]
        processes = [process for each in services for process in self.family(each)]
        if component == EVERYTHING:
            processes += self.producer.processes()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        self.disks.lose_power(self.disks_cut)
        self.cut_at = datetime.now(UTC)
        for service in services:  # or supervisord would start them on a disk without power
            ignoring_fault(Faults.NOT_RUNNING, supervisor(self.stack).stopProcess, service, False)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, OFF_SEC)
        eventually(lambda: not any(map(self.stack.pid, services)), "all services are off", OFF_SEC)
        for name in self.disks_cut:
            self.disks.mount_again(name)
        self.while_off()
        for service in services:
            self.stack.start(service)
        return datetime.now(UTC)

    def family(self, service: str) -> list[psutil.Process]:
        """The process of a service and all that it has started."""
        with suppress(psutil.NoSuchProcess):
            if pid := self.stack.pid(service):
                process = psutil.Process(pid)
                return [process, *process.children(recursive=True)]
        return []


class WholeWindows(Freshness):
    """A row that counts lost records does not tell whether it counts the new ones of its window."""

    def __init__(self, expected: Expected, lossy: Container[datetime]) -> None:
        super().__init__(expected)
        self.lossy = lossy  # starts of windows of which Kafka has lost records

    def counted(self, rows: Iterable[Row]) -> list[datetime]:
        return super().counted(row for row in rows if row.window_start not in self.lossy)


class PowerProducer(Producer):
    """A producer that Kafka may have refused a few records because it lost those before them."""

    def __exit__(self, *_: object) -> None:
        """Let it deliver or give up what it has. Raises NotRecovered if it does not."""
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)
            if ", not acknowledged 0" not in self.last_line():
                raise NotRecovered(f"the producer has {self.last_line()}")

    def last_line(self) -> str:
        return Path(self.log.name).read_text().rstrip().rpartition("\n")[2]


class PowerRun(ChaosRun):
    """A run on one stack, whose folders with data are disks."""

    injector: PowerInjector

    @classmethod
    def missing(cls) -> str:
        return disks.missing()

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        with power_disks(stack.directory, mounts(seed)):
            if is_safe(seed):
                create_safe_table(stack)
            yield {}

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.rate, self.is_safe = rate, is_safe(seed)
        (self.reader,) = self.readers
        self.reading = Lock()
        self.is_stale = False  # what is known of the topic, since a cut of Kafka
        # Of each record: its arrival, and the window in which it counts.
        self.known: dict[tuple[int, int], tuple[datetime, datetime | None]] = {}
        # Windows of which Kafka has lost records -> the orders that there were before.
        self.orders_before: dict[datetime, int] = {}
        self.table: dict[datetime, Row] = {}
        self.kept: set[datetime] = set()  # windows whose rows count orders that Kafka has lost
        self.cuts_of_kafka: list[float] = []  # by the monotonic clock
        self.prober = Prober(self.pipeline.bootstrap_servers)
        if not self.is_safe:
            self.producer = PowerProducer(stack, seed, rate)
        self.injector = PowerInjector(stack, self.producer, Disks(stack.directory, mounts(seed)))
        self.injector.while_off = self.forget_the_table
        self.faults = schedule(seed)
        self.log_start = 0
        self.may_exceed = 0  # windows with more orders that a new checkpoint has left
        self.verdict = ""
        self.wrong: list[str] = []
        if self.is_safe:
            self.kafka_tool(SAFE_BROKER)

    def inflict_faults(self, is_enough: Callable[[int], bool]) -> None:
        """As ChaosRun does. Raises NotRecovered or StackError."""
        with self.prober, Looper(self.prober.send, PROBE_SEC):
            super().inflict_faults(is_enough)

    def inflict_and_wait(self, fault: Fault) -> None:
        """As ChaosRun does, and what a person has to do. Raises NotRecovered."""
        self.read_raw()  # what is lost was there a moment before
        with self.reading:
            (component,) = fault.components
            self.is_stale = "kafka" in DISKS_OF[component]
        self.log_start = len(self.pipeline.log("spark-job"))
        with recovering():
            super().inflict_and_wait(fault)
        say(f"{'':12}{self.injector.notes}")

    def forget_the_table(self) -> None:
        """A ClickHouse that lost power may have lost rows: their windows may vanish."""
        if "clickhouse" in self.injector.disks_cut:
            self.reader.orders.clear()

    def read_raw(self) -> None:
        with self.reading, suppress(KafkaError):
            if not self.is_stale:
                self.add_new(self.reader.freshness)

    def add_new(self, freshness: Freshness) -> None:
        # In order of arrival, as they count, although partitions are read one after the other.
        for record in sorted(self.raw.read_new(), key=lambda record: record.arrival):
            start = freshness.arrived(record.value, record.arrival)
            place = (record.partition, record.offset)
            self.judged.add(*place, verdict_on(record, WATERMARK))
            self.known[place] = (record.arrival, start)

    def read_raw_again(self) -> dict[str, object]:
        """Read the topic as it is after Kafka lost power; returns what is lost, for the result."""
        before, known = self.expected, self.known
        with self.reading:
            freshness = eventually(self.read_from_start, "Kafka answers", RECOVERY_DEADLINE_SEC)
            assert freshness
            lost = [seen for place, seen in known.items() if self.known.get(place) != seen]
            for start in {start for _, start in lost if start}:
                orders = max(before.windows[start].orders, self.orders_before.get(start, 0))
                self.orders_before[start] = orders
            self.reader.freshness, self.is_stale = freshness, False
        cut_at = self.injector.cut_at
        oldest = min((arrival for arrival, _ in lost), default=cut_at)
        return {
            "lost_records": len(lost),
            "lost_sec": round((cut_at - oldest).total_seconds(), 1),
        }

    def read_from_start(self) -> Freshness | None:
        """Forget the topic and read it; nothing if Kafka does not answer yet."""
        self.expected = Expected(WATERMARK, self.expected.deduplicate)
        freshness = WholeWindows(self.expected, self.orders_before)
        self.judged, self.known = Verdicts(), {}
        with suppress(SystemExit, KafkaError):
            self.raw = self.open_topic()
            self.add_new(freshness)
            return freshness
        return None

    def open_topic(self) -> RawTopic:
        return RawTopic(self.pipeline.bootstrap_servers, "transactions_raw")

    def wait_until_counted(self, moment: datetime, what: str) -> float:
        """As ChaosRun does; after a cut also compare the table, and do what a person has to do."""
        begin = time.monotonic()
        cut, notes, steps = self.injector.disks_cut, dict[str, object](), list[str]()
        if not cut:
            return super().wait_until_counted(moment, what)
        if "kafka" in cut:
            self.cuts_of_kafka.append(begin)
            notes |= self.read_raw_again()
        advice = self.wait_for_advice(moment, what)
        recovery_sec = time.monotonic() - begin
        if advice or not self.is_equal():
            if not self.advice() and cut == ("clickhouse",):
                self.let_consumer_read_again()
                steps.append(AGG_AGAIN)
            if not steps or not self.is_equal():
                self.give_new_checkpoint()
                steps.append(NEW_CHECKPOINT)
            super().wait_until_counted(datetime.now(UTC), f"{what} and {' and '.join(steps)}")
            recovery_sec = time.monotonic() - begin
            self.may_exceed = len(self.orders_before)
            # Orders arrive meanwhile, and verify stops at any moment if windows differ for good.
            if not any(self.is_equal() for _ in range(VERIFY_TRIES)):
                self.wrong.append(f"{what}: not equal after {steps}: {self.verdict}")
        if self.is_safe and (steps or notes.get("lost_records")):
            self.wrong.append(f"{what}: {steps} {notes}, with settings that prevent it")
        self.injector.notes = {**notes, "steps": steps, "job": self.errors_of_job()}
        return recovery_sec

    def wait_for_advice(self, moment: datetime, what: str) -> str:
        """Wait as `wait_until_counted` does, or until the job says what a person has to do.

        Returns what it says. Raises AssertionError.
        """
        eventually(
            lambda: self.advice() or self.reader.counted_until > moment,
            f"after {what}, an order from after {moment:%H:%M:%S} UTC is counted",
            RECOVERY_DEADLINE_SEC,
        )
        return self.advice()

    def advice(self) -> str:
        """What the job has told a person to do since the cut."""
        return next(filter(REMEDY.search, self.errors_of_job()), "")

    def errors_of_job(self) -> list[str]:
        """What the job has said since the cut: each line once, without its time and our folder."""
        log = self.pipeline.log("spark-job")[self.log_start :]
        lines = log.replace(f"{self.stack.directory}/", "").splitlines()
        errors = [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line]
        return list(dict.fromkeys(errors))

    def is_equal(self) -> bool:
        """Whether `make verify` finds no difference, or only as many as may be left: windows with
        more orders, because Kafka has lost records that were counted.
        """
        done = self.pipeline.run_verify(VERIFY_SEC)
        self.verdict = done.stdout[-2000:] + done.stderr[-2000:]
        found = ONLY_MORE.search(done.stdout)
        only_more = found and found[1] == found[2] and int(found[1]) <= self.may_exceed
        return done.returncode == 0 or bool(only_more)

    def give_new_checkpoint(self) -> None:
        """As in docs/recipes.md; the folder itself is a disk, and stays."""
        self.stack.stop("spark-job")
        for path in checkpoint(self.pipeline).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.stack.start("spark-job")

    def let_consumer_read_again(self) -> None:
        """As in docs/production.md, after ClickHouse has lost rows that transactions_agg has."""
        self.stack.stop("clickhouse-consumer")
        self.kafka_tool(READ_AGAIN)
        self.stack.start("clickhouse-consumer")

    def kafka_tool(self, words: Sequence[str]) -> None:
        subprocess.run(
            [
                *("java", "-cp", f"{LOCAL_STACK / 'conf'}:{TOOLS / 'kafka' / '*'}", *words),
                *("--bootstrap-server", self.pipeline.bootstrap_servers),
            ],
            env={**os.environ, **tools_environment()},
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def findings(self) -> dict[str, object]:
        costs = {"flush_costs": flush_costs(self.pipeline)} if self.is_safe else {}
        return {
            "safe_settings": self.is_safe,
            "acknowledged": len(self.prober.acknowledged),
            "producer": self.producer_said(),
            "windows_with_more_orders": len(self.kept),
            "clickhouse_insert_ms": insert_ms(self.pipeline),
            **costs,
        }

    def producer_said(self) -> str:
        """The end of its log: how many records it has sent, and how many Kafka has refused."""
        return self.stack.log_tail("producer", 1).partition("stopped: ")[2]

    def settle(self) -> list[str]:
        """As ChaosRun does; also check that no more was lost than a cut explains."""
        wrong = super().settle()
        if not self.is_equal():
            wrong.append(f"make verify: {self.verdict}")
        return [*wrong, *self.wrong, *self.unexplained()]

    def read_table(self, reader: Reader) -> list[Row]:
        rows = super().read_table(reader)
        self.table = {row.window_start: row for row in rows}
        return rows

    def expected_rows(self) -> dict[datetime, Row]:
        """As ChaosRun does, but with a row of the table that counts orders which Kafka has lost."""
        expected, self.lost_orders, self.kept = super().expected_rows(), 0, set()
        for start, before in self.orders_before.items():
            row, now = self.table.get(start), self.expected.windows.get(start)
            orders = now.orders if now else 0
            # A second's worth may have arrived after the last look before the cut.
            if row and orders < row.total_orders <= before + self.rate:
                self.lost_orders += row.total_orders - orders
                expected[start] = row
                self.kept.add(start)
        return expected

    def unexplained(self) -> list[str]:
        """The acknowledged orders that are lost or repeated, other than before a cut of Kafka."""
        may_be_lost, others = list[Acknowledgement](), list[Acknowledgement]()
        for each in self.prober.acknowledged:
            is_near = any(cut - LOST_AFTER_SEC < each.at < cut for cut in self.cuts_of_kafka)
            (may_be_lost if is_near and not self.is_safe else others).append(each)
        wrong = lost_or_repeated(others, self.open_topic())
        found = lost_or_repeated(may_be_lost, self.open_topic())
        return [*wrong, *(line for line in found if " is 0 times" not in line)]


def is_safe(seed: int) -> bool:
    return seed >= FIRST_SAFE


def mounts(seed: int) -> Mapping[str, str]:
    return SAFE_MOUNTS if is_safe(seed) else {}


def create_safe_table(stack: Stack) -> None:
    """The stack finds this table at its first start, and then keeps it (`IF NOT EXISTS`)."""
    # A relative path, as the local ClickHouse has it, is applied twice with fsync_part_directory.
    (stack.directory / "clickhouse" / "clickhouse").symlink_to(".")
    init_sql = stack.directory / "safe.sql"
    init_sql.write_text(INIT_SQL.read_text() + SAFE_TABLE)
    server = ClickHouse(stack, init_sql)
    server.start()
    server.stop()
