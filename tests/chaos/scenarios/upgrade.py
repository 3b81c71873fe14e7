"""Upgrades and downgrades while sales arrive: the previous release and the code of today.

The data begins with the previous release. Then all services, or a single one, change their version,
again and again. After each change, the pipeline must continue by itself. It ends with today's code.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import psutil

from chaos_run import WATERMARK, ChaosRun
from faults import Fault, recovering, service_of
from injection import Injector
from lag import wait_for_consumer, wait_for_job
from metrics_check import logged_by_consumer, logged_by_job
from paths import PROJECT
from pipeline import Pipeline
from records import CORPUS, moved_to
from rules import Rejected, judge
from scenarios.release import VERSION, Release, missing
from stack import Stack
from traffic import COMMAND, Producer
from waiting import eventually

SINGLE = ("producer", "job", "consumer")
EVERYTHING = "everything"
RECORDS_BEFORE = 3000
READY_SEC = 240
CHANGE_SEC = 30
MAX_READ = 1.2  # a batch that is stopped half way is read again
TODAY = "today"


class UpgradeRun(ChaosRun):
    """A run on one stack of today's code, which has to be up; data of the release is in there."""

    injector: "UpgradeInjector"

    @classmethod
    def missing(cls) -> str:
        return missing()

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        """As for ChaosRun; lets the release write data first. Raises StackError."""
        release = Release(stack)
        release.unpack()
        release.up()
        try:
            release.produce(RECORDS_BEFORE)
            pipeline = Pipeline(stack)
            wait_for_job(pipeline)
            wait_for_consumer(pipeline)
        finally:
            release.down()
        yield {}

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.noise.strange = [value for value in CORPUS if is_judged_alike(value)]
        self.injector = UpgradeInjector(stack, self.producer)
        self.faults = upgrade_schedule(random.Random(seed))

    def settle(self) -> list[str]:
        """As ChaosRun does, with the code of today; also notice what has started over."""
        self.injector.finish()
        return [*super().settle(), *self.read_again()]

    def read_again(self) -> list[str]:
        """Which services have read their topic again, instead of where another version stopped."""
        job = logged_by_job(self.stack.log_file("spark-job").read_text())
        consumer = logged_by_consumer(self.stack.log_file("clickhouse-consumer").read_text())
        read = {"transactions_raw": job.total(), "transactions_agg": consumer["stored"]}
        self.read = {topic: (read[topic], self.pipeline.topic_size(topic)) for topic in read}
        return [
            f"of {records} records of {topic}, {found} were read: a service has started over"
            for topic, (found, records) in self.read.items()
            if found > MAX_READ * records
        ]

    def findings(self) -> dict[str, Any]:
        return {"read_and_size": self.read}


class UpgradeInjector(Injector):
    """Changes the version of a single service, or of everything with the stack."""

    def __init__(self, stack: Stack, producer: Producer) -> None:
        super().__init__(stack, producer)
        self.release = Release(stack)
        self.versions = dict.fromkeys((EVERYTHING, *SINGLE), TODAY)

    def inflict(self, fault: Fault) -> datetime:
        """As Injector does. Raises StackError."""
        (target,) = fault.components
        self.change(target, VERSION if fault.kind == "downgrade" else TODAY)
        self.notes = {"versions": {name: self.seen(name) for name in SINGLE}}
        return datetime.now(UTC)

    def change(self, target: str, version: str) -> None:
        """Stop the target, and start it as the other version. Raises StackError."""
        if self.versions[target] == version:
            return
        if target == EVERYTHING:
            self.change_stack(version)
            self.change("producer", version)
            self.versions |= dict.fromkeys(self.versions, version)
            return
        project = self.release.folder if version == VERSION else PROJECT
        if target == "producer":
            self.producer.run_from_now_on((COMMAND[0], project / "producer" / "producer.py"))
        else:
            self.release.replace_service(service_of(target), project)
        self.versions[target] = version

    def seen(self, component: str) -> str:
        """The version that runs, once it is the one that should. Raises NotRecovered."""
        wanted = self.versions[component]

        def has_changed() -> bool:
            with suppress(psutil.NoSuchProcess):  # it is just being replaced
                (process,) = self.processes(component)
                is_old = any(str(self.release.folder) in word for word in process.cmdline())
                return wanted == (VERSION if is_old else TODAY)
            return False

        with recovering():
            eventually(has_changed, f"{component} has changed to {wanted}", CHANGE_SEC)
        return wanted

    def finish(self) -> None:
        """Leave a stack of today, whose producer has ended. Raises StackError."""
        self.versions["producer"] = TODAY
        for target in (EVERYTHING, "job", "consumer"):
            self.change(target, TODAY)

    def change_stack(self, version: str) -> None:
        """As a person does it: make local-down, git checkout, make local-up."""
        if version == VERSION:
            self.stack.down(say=lambda _: None)
            self.release.up()
        else:
            self.release.down()
            self.stack.up(deadline_sec=READY_SEC, say=lambda _: None)


def upgrade_schedule(rng: random.Random) -> Iterator[Fault]:
    """Endless changes. Each 8 of them downgrade and upgrade everything, and each single service.

    In half of them, two single services are of the previous release for a while.
    """
    while True:
        first, second, alone = rng.sample(SINGLE, 3)
        together = [("downgrade", first), ("downgrade", second), ("upgrade", first)]
        together.append(("upgrade", second))
        apart = [[("downgrade", target), ("upgrade", target)] for target in (EVERYTHING, alone)]
        rng.shuffle(apart)
        halves = [together, [*apart[0], *apart[1]]]
        rng.shuffle(halves)
        for half in halves:
            for kind, target in half:
                yield Fault(kind, (target,))


def is_judged_alike(value: bytes) -> bool:
    """Whether both versions count a record of the corpus, or both reject it.

    Unlike today, 1.0.0 counts ids in scientific notation (CHANGELOG.md).
    """
    now = datetime.now(UTC)
    try:
        judge(moved_to(now, value), now, WATERMARK)
    except Rejected as reason:
        return str(reason) != "identity"
    return True
