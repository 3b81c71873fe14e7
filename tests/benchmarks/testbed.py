"""What every part of the benchmark works on: a stack of its own, and topics on it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from kafka_topic import Topic
from pipeline import PYTHON, Pipeline
from processes import java_below
from sizes import Sizes
from stack import PROJECT, Stack

HERE = Path(__file__).parent
RESULTS = PROJECT / ".local" / "bench"
INSIDE = {
    "producer": "inside_producer.py",
    "spark-job": "inside_job.py",
    "clickhouse-consumer": "inside_consumer.py",
}
READY_SEC = 240
LOG_TAIL = 20


@dataclass
class Testbed:
    """The stack, started when it is first needed."""

    sizes: Sizes
    stack: Stack = field(default_factory=lambda: Stack.on_free_ports(RESULTS / "stack"))
    numbers: "count[int]" = field(default_factory=count)
    # What the stack gives its services, for their code that runs here instead.
    environments: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.stack)

    def start_from_scratch(self) -> None:
        """Start the stack in an empty folder."""
        self.end()
        shutil.rmtree(self.stack.directory, ignore_errors=True)
        self.stack.up(deadline_sec=READY_SEC, say=lambda _: None)
        self.environments = {
            "producer": self.stack.environment(),
            "spark-job": psutil.Process(self.stack.pid("spark-job")).environ(),
            "clickhouse-consumer": psutil.Process(self.stack.pid("clickhouse-consumer")).environ(),
        }

    def run_whole_pipeline(self) -> None:
        """Return once every service runs and answers."""
        if not self.stack.is_up():
            self.start_from_scratch()
        self.stack.start("spark-job")
        self.stack.start("clickhouse-consumer")
        self.stack.wait_until_healthy(READY_SEC, say=lambda _: None)

    def run_engines_only(self) -> None:
        """Return once Kafka, ClickHouse and Spark's master and worker run, and no job or consumer.

        What is measured then runs in their place.
        """
        if not self.stack.is_up():
            self.start_from_scratch()
        self.stack.stop("spark-job")
        self.stack.stop("clickhouse-consumer")

    def end(self) -> None:
        if self.stack.is_up():
            self.stack.down(say=lambda _: None)

    def topic(self, name: str) -> Topic:
        return Topic(self.pipeline.bootstrap_servers, name)

    def new_topic(self, sender_time: bool = False) -> Topic:
        """An empty topic, stamped by the broker or, with `sender_time`, by whoever sends."""
        return self.topic(f"bench_{next(self.numbers)}").create(sender_time)

    def backlog(self, records: int) -> Topic:
        """A new topic with valid, invalid and late records of the producer, sent at full speed."""
        topic, processes = self.new_topic(), os.cpu_count() or 1

        def send_share(number: int) -> None:
            share = records // processes + (number < records % processes)
            seed = f"1/{number}"
            run = {"topic": topic.name, "count": share, "seed": seed}
            if share:
                self.run_inside("producer", "fill", **run)

        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(send_share, range(processes)))
        return topic

    def new_checkpoint(self) -> str:
        return str(self.stack.directory / f"checkpoint-{next(self.numbers)}")

    def executors(self) -> list[psutil.Process]:
        return java_below(psutil.Process(self.stack.pid("spark-worker")))

    @contextmanager
    def producer(self, rate: float, processes: int = 1) -> Iterator[psutil.Process]:
        """A producer that sends until the block ends. Raises RuntimeError if it failed."""
        process = self.pipeline.producer(RATE=rate, PROCESSES=processes)
        try:
            assert process.stderr
            process.stderr.readline()  # its first line: Python has started, records come next
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            _, log = process.communicate(timeout=60)
        if process.returncode != 0:
            raise RuntimeError(log)

    def run_inside(
        self, service: str, function: str, project: Path = PROJECT, **arguments: object
    ) -> Any:
        """Run a function of a program of INSIDE in a fresh process; what it returns.

        The process has the service's folder on its path and nothing else of the project, and the
        environment that the stack gives the service. With `project`, the service is that of another
        copy of the project. Raises RuntimeError with the end of its log.
        """
        log = self.stack.directory / "log" / f"bench-{service}.log"
        ours, folder = str(PROJECT / service), str(project / service)
        environment = {**os.environ, **self.environments[service]}
        environment = {name: text.replace(ours, folder) for name, text in environment.items()}
        with open(log, "ab") as stderr:
            process = subprocess.run(
                # -P: a module beside the program must not hide one of the service.
                [PYTHON, "-P", HERE / INSIDE[service], function],
                input=json.dumps(arguments),
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**environment, "PYTHONPATH": folder},
                cwd=self.stack.directory,
                text=True,
            )
        if process.returncode != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
            raise RuntimeError(f"{INSIDE[service]} {function} failed:\n{tail}")
        return json.loads(process.stdout)
