"""Inflicts faults on a cluster, in which somebody else has to take over."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import psutil

from cluster_faults import instances
from cluster_roles import Roles, wait_for
from faults import Fault
from injection import Injector
from prober import Prober
from stack import Stack
from traffic import Producer

OUT_OF_SYNC_SEC = 60
WRITES_SEC = 60  # until Kafka acknowledges writes again
GRACE_SEC = 2  # for an acknowledgement that is under way


class ClusterInjector(Injector):
    """Inflicts faults on a cluster, its producer, and whoever has a role in it."""

    def __init__(self, stack: Stack, producer: Producer, roles: Roles, prober: Prober) -> None:
        super().__init__(stack, producer)
        self.roles, self.prober = roles, prober
        self.hit: tuple[str, ...] = ()  # the components that the latest fault has hit
        self.wrong: list[str] = []

    def inflict(self, fault: Fault) -> datetime:
        """As Injector does. Raises NotRecovered or StackError."""
        self.hit = self.roles.find(fault.components)
        if fault.kind == "outage":
            self.leave_one_broker(fault)
        elif fault.kind == "restart":
            self.restart_everything()
        else:
            return super().inflict(fault._replace(components=self.hit))
        return datetime.now(UTC)

    def hold(self, fault: Fault) -> None:
        """Let a fault last. A frozen broker must be out of sync before it goes on."""
        super().hold(fault)
        brokers = set(fault.components) & set(instances("broker"))
        if fault.kind == "freeze" and brokers:
            self.wait_until_out_of_sync(brokers)

    def wait_until_out_of_sync(self, brokers: set[str]) -> None:
        def are_out_of_sync() -> bool:
            return brokers.isdisjoint(chain.from_iterable(self.roles.in_sync()))

        wait_for(are_out_of_sync, f"{' and '.join(brokers)} out of sync", OUT_OF_SYNC_SEC)

    def leave_one_broker(self, fault: Fault) -> None:
        """Freeze two of three brokers: no write may be acknowledged until one of them is back."""
        frozen = [process for name in fault.components for process in self.processes(name)]
        for process in frozen:
            process.suspend()
        try:
            self.wait_until_out_of_sync(set(fault.components))
            time.sleep(GRACE_SEC)
            begin = time.monotonic()
            time.sleep(fault.seconds)
            end = time.monotonic()
            if acknowledged := self.prober.between(begin, end):
                self.wrong.append(f"one broker alone acknowledged {acknowledged} writes")
            frozen[0].resume()
            wait_for(
                lambda: self.prober.between(end, time.monotonic()),
                "two of three brokers acknowledge writes",
                WRITES_SEC,
            )
        finally:
            for process in frozen:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def restart_everything(self) -> None:
        """Stop and start one service after the other, each when the one before is in sync again."""
        for service in self.stack.services:
            if service != "topics":  # has nothing left to do
                self.stack.stop(service)
                self.stack.start(service)
                self.roles.wait_until_in_sync()
        (producer,) = self.processes("producer")
        producer.terminate()
