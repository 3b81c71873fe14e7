"""Full disks: filled to the last byte until somebody notices, and emptied again.

Each component has a small disk of its own. On a machine with one disk for all, everything is full
at once: that is a fault, too.
"""

import os
import random
import re
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from signal import SIGKILL

from chaos_run import ChaosRun
from faults import Fault, recovering
from injection import Injector
from looper import Looper
from polling import eventually_matches
from ports import HOST
from scenarios import disks
from scenarios.small_disks import BLOCK_BYTES, disk_of, small_disks
from stack import Stack
from waiting import eventually

# The disk of each component: its size in MB, and what is on it.
DISKS = {
    "broker": (192, ("kafka",)),
    "zookeeper": (64, ("zookeeper",)),
    "checkpoint": (64, ("checkpoint",)),
    "executor": (256, ("spark-worker", "tmp")),
    "clickhouse": (256, ("clickhouse",)),
    "logs": (64, ("log", "health", "pids")),
}
# Who says that it is full, and how. Nobody can say it of the logs.
SAYS = {
    "broker": ("kafka", "No space left on device"),
    "zookeeper": ("zookeeper", "No space left on device"),
    "checkpoint": ("spark-job", "ERROR no space left .* checkpoint"),
    "executor": ("spark-job", r"ERROR (no space left .*SPARK_LOCAL_DIRS|.* Java did not start)"),
    "clickhouse": ("clickhouse-consumer", "did not acknowledge .* not enough space"),
}
# Killed while the logs are full. ZooKeeper says more at its start than its last block has room for.
KILLED = ("zookeeper", "spark-job", "clickhouse-consumer")
# Services that end if everything is full. Nothing reaches the disks of the others any more.
END = ("zookeeper", "kafka")
NOTICED_SEC = 150  # at most
FULL_SEC = (3, 15)  # from then on
INTERVAL_SEC = 0.1


def schedule(seed: int) -> Iterator[Fault]:
    """Endless faults. Each seven of them fill each disk once, and all of them at once."""
    rng = random.Random(seed)
    kinds = [*((name,) for name in DISKS), tuple(DISKS)]
    while True:
        for components in rng.sample(kinds, len(kinds)):
            yield Fault("full disk", components, rng.randint(*FULL_SEC))


class DiskInjector(Injector):
    """Fills disks, and notes what was seen of it."""

    def inflict(self, fault: Fault) -> datetime:
        """Fill the disks until that has an effect, and for some seconds more, then empty them.

        Raises NotRecovered if it has none.
        """
        self.notes = {}
        begun = time.monotonic()
        with ExitStack() as full:
            for name in fault.components:
                disk = disk_of(self.stack.directory, name)
                full.callback(disk.empty)
                full.enter_context(Looper(disk.fill, INTERVAL_SEC))
            if "zookeeper" in fault.components:
                full.enter_context(Looper(self.open_session, INTERVAL_SEC))
            with recovering():
                self.wait_for_effect(fault.components)
            self.notes["noticed_sec"] = round(time.monotonic() - begun, 1)
            time.sleep(fault.seconds)
        return datetime.now(UTC)

    def wait_for_effect(self, components: Collection[str]) -> None:
        if len(components) > 1:
            pids = {name: self.stack.pid(name) for name in END}
            for name in END:
                self.wait_for_end(name, pids[name])
            self.notes["ended"] = END
        elif "logs" in components:
            self.restart_without_logs()
        else:
            self.wait_for_line(*SAYS[next(iter(components))])

    def wait_for_line(self, service: str, pattern: str) -> None:
        log = self.stack.log_file(service)
        start = log.stat().st_size

        def line() -> str:
            with log.open(errors="replace") as file:
                file.seek(start)
                return next((each for each in file if re.search(pattern, each)), "").strip()

        said = eventually(line, f"{service} says {pattern!r}", NOTICED_SEC)
        self.notes[service] = said.replace(str(self.stack.directory), "STACK_DIR")

    def wait_for_end(self, service: str, pid: int) -> None:
        eventually(lambda: self.stack.pid(service) != pid, f"{service} ends", NOTICED_SEC)

    def restart_without_logs(self) -> None:
        """Kill services, which must answer again while nothing of it can be logged."""
        for name in KILLED:
            pid = self.stack.pid(name)
            os.kill(pid, SIGKILL)
            self.wait_for_end(name, pid)
        for name in KILLED:
            eventually_matches(
                lambda name=name: self.stack.status([name])[0].problem,
                lambda problem: not problem,
                f"{name} answers again",
                NOTICED_SEC,
            )
        log = self.stack.log_file(KILLED[0])
        size = log.stat().st_size
        assert size % BLOCK_BYTES == 0, f"{log.name} was written to its end: {size} bytes"
        self.notes["killed"] = KILLED
        self.notes[log.name] = f"cut off after {size} bytes"

    def open_session(self) -> None:
        """ZooKeeper writes little else to its disk."""
        request = struct.pack("!iqiqi16s?", 0, 0, 4000, 0, 16, bytes(16), False)
        with (
            suppress(OSError),
            socket.create_connection((HOST, self.stack.zookeeper_port), 3) as server,
        ):
            server.sendall(struct.pack("!i", len(request)) + request)
            server.recv(64)


class DiskRun(ChaosRun):
    """A run on one stack whose folders are on small disks."""

    @classmethod
    def missing(cls) -> str:
        return disks.missing()

    @classmethod
    @contextmanager
    def surroundings(cls, stack: Stack, seed: int) -> Iterator[dict[str, str]]:
        with small_disks(stack.directory, DISKS):
            yield {}

    def __init__(self, stack: Stack, seed: int, rate: float, deduplicate: bool) -> None:
        super().__init__(stack, seed, rate, deduplicate)
        self.injector = DiskInjector(stack, self.producer)
        self.faults = schedule(seed)

    def settle(self) -> list[str]:
        """As ChaosRun does, but first start again what is then compared with its log.

        The log has a gap where its disk was full, and so have its counts.
        """
        for name in ("spark-job", "clickhouse-consumer"):
            self.stack.stop(name)
            self.stack.start(name)
        return super().settle()
