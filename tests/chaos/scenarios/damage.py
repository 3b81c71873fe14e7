"""Damaged files: one byte changes while the service that owns the file is stopped.

After the start, the run reads what a person would read (logs, answers, `make verify`) and does what
the documentation says, which goes into the notes of each fault. A byte that nobody notices must not
change a number. A fault damages a file of each of several services. The faults of a seed damage 12
files; those of seeds 1 to 5 damage every kind of file 3 times.
"""

import random
import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from clickhouse_driver.errors import Error as ClickHouseError
from kafka import TopicPartition

from chaos_run import RECOVERY_DEADLINE_SEC, ChaosRun
from faults import Fault, NotRecovered, recovering
from injection import Injector
from paths import TOOLS
from pipeline import Pipeline
from raw_topic import RawTopic
from reader import Reader
from stack import Stack
from traffic import Producer
from waiting import eventually

FILES_PER_SEED = 12
VERIFY_SEC = 5
POLL_SEC = 0.3
UNREAD_BATCHES = 10  # that wait for the job when one of them is damaged
HEADER = struct.Struct(">qiibIhiqqqhii")  # of a batch of records, see Kafka's protocol
NOT_IN_CHECKSUM = 17  # bytes of it: offset, length, epoch, version

RAW, AGG = "transactions_raw", "transactions_agg"
COUNTED, UNREAD = "raw-log-counted", "raw-log-unread"
ALONE = (COUNTED, UNREAD)
# What can be damaged -> the service that owns it, and its files in the folder of the stack.
FILES = {
    AGG: ("kafka", f"kafka/{AGG}-*/*.log"),
    "state-delta": ("spark-job", "checkpoint/state/0/[0-9]*/*.delta"),
    "part-data": ("clickhouse-server", "clickhouse/store/*/*/all_*/data.bin"),
    "index": ("kafka", "kafka/transactions_*-*/*.index"),
    "job-offsets": ("spark-job", "checkpoint/offsets/[0-9]*"),
    "zookeeper-snapshot": ("zookeeper", "zookeeper/version-2/snapshot.*"),
    COUNTED: ("kafka", f"kafka/{RAW}-*/*.log"),
    "part-checksums": ("clickhouse-server", "clickhouse/store/*/*/all_*/checksums.txt"),
    "job-commits": ("spark-job", "checkpoint/commits/[0-9]*"),
    "consumer-offsets": ("kafka", "kafka/__consumer_offsets-*/*.log"),
    "meta.properties": ("kafka", "kafka/meta.properties"),
    "part-marks": ("clickhouse-server", "clickhouse/store/*/*/all_*/*.c[mi]*"),
    "state-snapshot": ("spark-job", "checkpoint/state/0/[0-9]*/*.snapshot"),
    UNREAD: ("kafka", f"kafka/{RAW}-*/*.log"),
    "zookeeper-log": ("zookeeper", "zookeeper/version-2/log.*"),
    "kafka-checkpoint": ("kafka", "kafka/*-checkpoint"),
    "topic-ids": ("spark-job", "checkpoint/topic_ids.json"),
    "timeindex": ("kafka", "kafka/transactions_*-*/*.timeindex"),
    "part-columns": ("clickhouse-server", "clickhouse/store/*/*/all_*/co*.txt"),
    "job-metadata": ("spark-job", "checkpoint/metadata"),
}


def schedule(seed: int) -> Iterator[Fault]:
    """The faults of a seed; those of the next one go on with the kinds of files where they end.

    The raw topic comes last: without a batch that was counted, a job with a new checkpoint would
    count too little in the windows that still get records.
    """
    first = FILES_PER_SEED * (seed - 1) % len(FILES)
    kinds = list(islice(cycle(FILES), first, first + FILES_PER_SEED))
    random.Random(seed).shuffle(kinds)
    groups: list[dict[str, str]] = []  # of each: service -> kind
    for kind in kinds:
        if kind not in ALONE:
            owner, _ = FILES[kind]
            group = next((each for each in groups if owner not in each), {})
            if not group:
                groups.append(group)
            group[owner] = kind
    for group in groups:
        yield Fault("damage", tuple(group.values()))
    for kind in ALONE:
        if kind in kinds:
            yield Fault("damage", (kind,))


class Batch(NamedTuple):
    """A batch of records in a segment of Kafka's log."""

    position: int
    size: int
    first: int  # offset
    records: int


def batches(segment: Path) -> list[Batch]:
    content, position, found = segment.read_bytes(), 0, []
    while position + HEADER.size <= len(content):
        first, length, *_, records = HEADER.unpack_from(content, position)
        found.append(Batch(position, length + 12, first, records))
        position += length + 12
    return found


class Raw(RawTopic):
    """The raw topic without the records that were lost with a damaged batch."""

    lost = 0

    def size(self) -> int:
        return super().size() - self.lost


def damage(file: Path, position: int) -> str:
    """Change the byte at this position; says how."""
    with file.open("r+b") as content:
        content.seek(position)
        (before,) = content.read(1)
        after = 0 if before else 0xFF
        content.seek(position)
        content.write(bytes([after]))
    return f"byte {position} of {file.stat().st_size}: {before} -> {after}"


class Symptom(NamedTuple):
    """What a person reads, and what they do then."""

    service: str  # whose log it is in
    line: str  # a regular expression
    step: str  # the method of Person


SYMPTOMS = (
    Symptom("spark-job", r"the checkpoint is damaged \(.*", "new_checkpoint"),
    Symptom("spark-job", r"the state in the checkpoint \S+ cannot be read.*", "new_checkpoint"),
    Symptom("spark-job", r"Kafka has a damaged batch of records in (\S+?),.*", "cut_out"),
    Symptom(
        "clickhouse-consumer",
        r"Kafka has a damaged batch .*topic='(\S+)', partition=(\d+)\) at offset.*",
        "cut_out_and_write_again",
    ),
    Symptom("zookeeper", r"Not able to find valid snapshots.*", "without_snapshot"),
    Symptom("zookeeper", r"IOException: CRC check failed.*", "without_log"),
    Symptom("kafka", r"Malformed line in checkpoint file \[(\S+)\].*", "without_file"),
    Symptom("kafka", r"\S+Exception: .*(meta\.properties|doesn't match).*", "without_meta"),
    Symptom(
        "clickhouse-server", r"Part \S+ is broken and needs manual correction", "new_checkpoint"
    ),
)


class Person:
    """Does what docs/troubleshooting.md says."""

    def __init__(self, stack: Stack, readers: Sequence[Reader]) -> None:
        self.stack, self.readers = stack, readers
        self.folder = stack.directory
        self.wants_checkpoint = False

    def java(self, name: str, *arguments: str | Path) -> str:
        """What a tool of Kafka or ZooKeeper prints."""
        command = [TOOLS / "java" / "bin" / "java", "-XX:TieredStopAtLevel=1"]
        command += ["-cp", f"{TOOLS / 'kafka'}/*", name, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def new_checkpoint(self, *_: str) -> str:
        """Wait with it: the job may have more to say."""
        self.wants_checkpoint = True
        return "gave the job a new checkpoint"

    def give_checkpoint(self) -> None:
        self.wants_checkpoint = False
        self.stack.stop("spark-job")
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)  # perhaps not made yet
        self.stack.start("spark-job")

    def cut_out(self, partition: str) -> str:
        self.stack.stop("kafka")
        cut = [self.without_damage(each) for each in self.segments(partition)]
        self.stack.start("kafka")
        if not any(cut):
            raise NotRecovered(f"kafka-dump-log finds no damage in {partition}")
        return f"cut out the batch at {' '.join(filter(None, cut))} of {partition}"

    def segments(self, partition: str) -> list[Path]:
        return sorted((self.folder / "kafka" / partition).glob("*.log"))

    def without_damage(self, segment: Path) -> str:
        text = self.java("kafka.tools.DumpLogSegments", "--files", segment)
        found = re.search(r"position: (\d+) .* size: (\d+) .*isvalid: false", text)
        if not found:
            return ""
        position, size = map(int, found.groups())
        content = segment.read_bytes()
        segment.write_bytes(content[:position] + content[position + size :])
        for suffix in (".index", ".timeindex"):
            segment.with_suffix(suffix).unlink(missing_ok=True)
        return str(position)

    def cut_out_and_write_again(self, topic: str, partition: str) -> str:
        return f"{self.cut_out(f'{topic}-{partition}')}, {self.new_checkpoint()}"

    def without_snapshot(self, *_: str) -> str:
        self.stack.stop("zookeeper")
        versions = self.folder / "zookeeper" / "version-2"
        for snapshot in versions.glob("snapshot.*"):
            snapshot.unlink()
        properties = self.folder / "zookeeper.properties"
        text = properties.read_text()
        properties.write_text(f"{text}\nsnapshot.trust.empty=true\n")
        self.stack.start("zookeeper")
        self.stack.wait_until_healthy(60, say=lambda _: None, services=["zookeeper"])
        properties.write_text(text)
        return "deleted the snapshot, started once with snapshot.trust.empty=true"

    def without_log(self, *_: str) -> str:
        for service in ("kafka", "zookeeper"):
            self.stack.stop(service)
        logs = (self.folder / "zookeeper" / "version-2").glob("log.*")
        log = max(logs, key=lambda file: int(file.suffix[1:], 16))
        log.unlink()
        for service in ("zookeeper", "kafka"):
            self.stack.start(service)
        return f"deleted {log.name}, restarted Kafka"

    def without_meta(self, *_: str) -> str:
        return self.without_file("meta.properties")

    def without_file(self, path: str) -> str:
        """Kafka writes it again."""
        file = self.folder / "kafka" / Path(path).name
        self.stack.stop("kafka")
        file.unlink(missing_ok=True)
        self.stack.start("kafka")
        return f"deleted {file.name}"

    def without_part(self, part: str) -> str:
        self.stack.stop("clickhouse-server")
        for folder in self.folder.glob(f"clickhouse/store/*/*/{part}"):
            shutil.rmtree(folder)
        forget(self.readers)
        self.stack.start("clickhouse-server")
        return f"deleted {part}, {self.new_checkpoint()}"


def forget(readers: Sequence[Reader]) -> None:
    """Call this while ClickHouse is stopped: from here on, the table may lack rows of a part."""
    for reader in readers:
        reader.orders.clear()


class DamageInjector(Injector):
    """Damages files."""

    def __init__(
        self, stack: Stack, producer: Producer, seed: int, raw: Raw, readers: Sequence[Reader]
    ) -> None:
        super().__init__(stack, producer)
        self.readers = readers
        self.rng = random.Random(seed)
        self.pipeline = Pipeline(stack)
        self.raw = raw
        self.reading = threading.Lock()  # of the raw topic
        self.is_paused = False  # no reading until the damage is cut out
        self.stopped: list[str] = []  # the services that the latest fault has stopped

    def inflict(self, fault: Fault) -> datetime:
        """Stop the owners, damage a file of each, and start them again."""
        self.notes = {"files": {}, "seen": []}
        self.pipeline = Pipeline(self.stack)  # its logs begin here
        if UNREAD in fault.components:
            self.damage_unread()
            return datetime.now(UTC)
        for kind in fault.components:
            self.wait_for_files(kind)
        owners = [name for name in self.stack.services if name in self.owners(fault.components)]
        self.stopped = owners
        for owner in reversed(owners):
            self.stack.stop(owner)
        for kind in fault.components:
            self.damage_one(kind)
        if "clickhouse-server" in owners:
            forget(self.readers)
        for owner in owners:
            self.stack.start(owner)
        return datetime.now(UTC)

    def owners(self, kinds: Sequence[str]) -> set[str]:
        names = {FILES[kind][0] for kind in kinds}
        return names | {"clickhouse-consumer"} if AGG in kinds else names

    def wait_for_files(self, kind: str) -> None:
        wait_for(lambda: self.files(kind), f"files of {kind}")
        if kind == "zookeeper-log":  # as after a while: its latest snapshot has the topics
            self.stack.stop("zookeeper")
            self.stack.start("zookeeper")
            self.stack.wait_until_healthy(say=lambda _: None, services=["zookeeper", "kafka"])
        if kind == AGG:  # totals that the consumer has not read
            self.stack.stop("clickhouse-consumer")
            self.stored = {file: len(batches(file)) for file in self.files(AGG)}
            wait_for(self.unstored, "totals that are not stored")

    def unstored(self) -> list[tuple[Path, Batch]]:
        return [
            (file, batch)
            for file, stored in sorted(self.stored.items())
            for batch in batches(file)[stored:]
        ]

    def damage_one(self, kind: str) -> None:
        if kind == AGG:
            self.damage_batch(kind, *self.rng.choice(self.unstored()))
            return
        file = self.rng.choice(sorted(self.files(kind)))
        if kind == COUNTED:
            # Of the older half: the job has read it.
            found = batches(file)
            self.damage_batch(kind, file, self.rng.choice(found[: len(found) // 2]))
        elif kind == "consumer-offsets":
            self.damage_batch(kind, file, self.rng.choice(batches(file)[-3:]))
        else:
            content = file.read_bytes().rstrip(b"\0") if kind == "zookeeper-log" else b""
            size = len(content) or file.stat().st_size
            self.damage(kind, file, self.rng.randrange(size))

    def files(self, kind: str) -> list[Path]:
        """Those of its files that will be read."""
        _, pattern = FILES[kind]
        files = [each for each in self.stack.directory.glob(pattern) if each.stat().st_size]
        if kind in ("job-offsets", "job-commits"):
            return newest(files, lambda file: int(file.name))
        if kind.startswith("state-"):
            version = max((int(file.stem) for file in files), default=0)
            return [file for file in files if int(file.stem) == version]
        if kind.startswith("zookeeper-"):
            return newest(files, lambda file: int(file.suffix[1:], 16))
        if kind.startswith("part-"):
            return [file for file in files if is_active(file.parent)]
        return files

    def damage_batch(self, kind: str, file: Path, batch: Batch) -> None:
        within = self.rng.randrange(NOT_IN_CHECKSUM, batch.size)
        self.damage(kind, file, batch.position + within)

    def damage(self, kind: str, file: Path, position: int) -> None:
        files = self.notes["files"]
        assert isinstance(files, dict)
        files[kind] = f"{file.relative_to(self.stack.directory)}, {damage(file, position)}"

    def damage_unread(self) -> None:
        """Damage a batch that neither the job nor this run has read."""
        self.stack.stop("spark-job")
        partition = self.rng.randrange(3)
        with self.reading:
            self.is_paused = True
            position = self.raw._consumer.position(TopicPartition(RAW, partition))
        file = self.stack.directory / "kafka" / f"{RAW}-{partition}" / f"{0:020}.log"

        def unread() -> list[Batch]:
            found = [batch for batch in batches(file) if batch.first >= position]
            return found if len(found) > UNREAD_BATCHES else []

        wait_for(unread, "records that nobody has read")
        self.stack.stop("kafka")
        batch = self.rng.choice(unread()[:-1])
        self.damage_batch(UNREAD, file, batch)
        self.raw.lost += batch.records
        for service in ("kafka", "spark-job"):
            self.stack.start(service)


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Raises NotRecovered."""
    with recovering():
        eventually(condition, what, RECOVERY_DEADLINE_SEC)


def newest(files: Sequence[Path], number: Callable[[Path], int]) -> list[Path]:
    """The file with the highest number; empty if there are no files."""
    return sorted(files, key=number)[-1:]


def is_active(part: Path) -> bool:
    """Whether no other part has the rows of this one."""
    spans = [span(each) for each in part.parent.glob("all_*")]
    first, last, level = span(part)
    return not any(
        (a, b, c) != (first, last, level) and a <= first and last <= b and c >= level
        for a, b, c in spans
    )


def span(part: Path) -> tuple[int, int, int]:
    _, first, last, level = part.name.split("_")
    return int(first), int(last), int(level)


class DamageRun(ChaosRun):
    """A run in which one byte after the other changes at rest."""

    injector: DamageInjector

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.raw = raw = Raw(self.pipeline.bootstrap_servers, RAW)
        self.injector = DamageInjector(stack, self.producer, seed, raw, self.readers)
        self.person = Person(stack, self.readers)
        faults = list(schedule(seed))
        self.faults, self.number = iter(faults), len(faults)

    def inflict_faults(self, is_enough: Callable[[int], bool]) -> None:
        """As ChaosRun does, until the faults of the seed are over. Raises NotRecovered."""
        super().inflict_faults(lambda done: done >= self.number or is_enough(done))

    def read_raw(self) -> None:
        """As ChaosRun does; nothing while a batch that is damaged must not be read."""
        with self.injector.reading:
            if not self.injector.is_paused:
                super().read_raw()

    def wait_until_counted(self, moment: datetime, what: str) -> float:
        """As ChaosRun does, and do what the logs ask for meanwhile. Raises NotRecovered."""
        start, done, is_over = time.monotonic(), set[object](), False
        while not is_over:
            if self.act(done):
                moment = datetime.now(UTC)
            counted_until = min(reader.counted_until for reader in self.readers)
            is_over = counted_until > moment and not (self.answer() or self.problems())
            if time.monotonic() > start + RECOVERY_DEADLINE_SEC:
                raise NotRecovered(f"{what}: {self.problems()}, {self.injector.notes}")
            time.sleep(POLL_SEC)
        if what.endswith(COUNTED):
            self.ask_verify()
            self.wait_until_counted(datetime.now(UTC), "cutting out a batch")
        return time.monotonic() - start

    def problems(self) -> list[str]:
        return [f"{each.name}: {each.problem}" for each in self.stack.status() if each.problem]

    def act(self, done: set[object]) -> bool:
        """Do what the logs and answers ask for that is not done yet; whether there was anything."""
        for symptom in SYMPTOMS:
            log = self.injector.pipeline.log(symptom.service)
            found = re.search(symptom.line, log)
            if found and symptom not in done:
                done.add(symptom)
                step = getattr(self.person, symptom.step)(*found.groups())
                self.take_note(symptom.service, found[0], step)
                return True
        found = re.search(r"DB::Exception: .*?/(all_\w+)/", self.answer(), re.DOTALL)
        if found and "part" not in done:
            done.add("part")
            line = " ".join(found[0].split())
            self.take_note("answer of ClickHouse", line, self.person.without_part(found[1]))
            return True
        if self.person.wants_checkpoint and self.job_has_spoken():
            self.person.give_checkpoint()
            return True
        return self.person.wants_checkpoint

    def job_has_spoken(self) -> bool:
        """Whether the job has read its checkpoint, if that may be damaged."""
        _, start, log = self.injector.pipeline.log("spark-job").rpartition(" INFO starting with ")
        was_stopped = "spark-job" in self.injector.stopped
        return not was_stopped or bool(start and re.search(" ERROR |reading starts at", log))

    def answer(self) -> str:
        """What ClickHouse says when it cannot read the table."""
        try:
            self.read_columns()
        except ClickHouseError as error:
            return str(error)
        except (OSError, EOFError):
            return ""
        return ""

    def read_columns(self) -> None:
        client = self.readers[0].connect()
        try:
            client.execute("SELECT * FROM aggregated_analytics")
        finally:
            client.disconnect()

    def take_note(self, where: str, line: str, step: str) -> None:
        seen = self.injector.notes["seen"]
        assert isinstance(seen, list)
        line = line.replace(str(self.stack.directory), "STACK_DIR")[:300]
        seen.append({"where": where, "line": line, "done": step})
        if step.startswith("cut out"):
            self.injector.is_paused = False

    def ask_verify(self) -> None:
        """Nobody but `make verify` reads a batch again that was counted."""
        result = self.injector.pipeline.run_verify(VERIFY_SEC)
        if "Kafka has a damaged batch of records" not in result.stderr or result.returncode != 1:
            raise NotRecovered(f"verify has not seen the damage: {result.stdout} {result.stderr}")
        files = self.injector.notes["files"]
        assert isinstance(files, dict)
        partition = Path(files[COUNTED].partition(",")[0]).parent.name
        self.take_note("make verify", result.stderr.strip(), self.person.cut_out(partition))
