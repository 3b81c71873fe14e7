"""Inflicts faults on the processes of a running pipeline."""

import os
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime

import psutil

from faults import PARENT, Fault, recovering, service_of
from paths import PROJECT, VENV
from stack import Stack
from traffic import Producer
from waiting import eventually

PYTHON = VENV / "bin" / "python"
START_SEC = 60  # for a process that is about to be started again


class Injector:
    """Inflicts faults on one stack and on the producer that feeds it."""

    def __init__(self, stack: Stack, producer: Producer) -> None:
        self.stack, self.producer = stack, producer
        # About the latest fault, for the result: what was seen, what a person had to do.
        self.notes: dict[str, object] = {}

    def inflict(self, fault: Fault) -> datetime:
        """Inflict a fault and wait until it is over. Raises NotRecovered if its target is missing.

        Returns the moment from which on the pipeline has to recover by itself.
        """
        if fault.kind == "outage":
            (component,) = fault.components
            self.stop_for_a_while(component, fault.seconds)
        elif fault.kind == "join":
            self.join_and_kill(fault.seconds)
        else:
            self.signal(fault)
        return datetime.now(UTC)

    def stop_for_a_while(self, component: str, seconds: int) -> None:
        self.stack.stop(service_of(component))
        time.sleep(seconds)
        self.stack.start(service_of(component))

    def join_and_kill(self, seconds: int) -> None:
        """Start a second consumer, which gets some of the partitions, and kill it."""
        second = subprocess.Popen(
            [PYTHON, PROJECT / "clickhouse-consumer" / "consumer.py"],
            env={**os.environ, **self.stack.environment()},
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        second.kill()
        second.wait()

    def signal(self, fault: Fault) -> None:
        """Kill the processes of the components, or freeze them and let them continue."""
        targets = [process for name in fault.components for process in self.processes(name)]
        for process in targets:
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                process.kill() if fault.kind == "kill" else process.suspend()
        try:
            self.hold(fault)
        finally:
            for process in targets:
                # It may be gone: killed, or given up by the others, as an executor is.
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def hold(self, fault: Fault) -> None:
        time.sleep(fault.seconds)

    def processes(self, component: str) -> list[psutil.Process]:
        """The processes of a component, once there are any. Raises NotRecovered."""

        def find() -> list[psutil.Process]:
            if component == "producer":
                return self.producer.processes()
            return running(self.stack, component)

        with recovering():
            return eventually(find, f"{component} runs", START_SEC, 0.1)


def running(stack: Stack, component: str) -> list[psutil.Process]:
    """The processes that a component of the stack has at the moment."""
    pid = stack.pid(service_of(component))
    if not pid:
        return []
    try:
        process = psutil.Process(pid)
        if component.partition("-")[0] not in PARENT:
            return [process]
        return [child for child in process.children(recursive=True) if child.name() == "java"]
    except psutil.NoSuchProcess:
        return []
