"""Run each program of the project against the secured Kafka, with any settings."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import secured
from paths import PROJECT
from pipeline import PYTHON, Pipeline
from polling import eventually_matches
from ports import HOST

# Each program, as its user is called -> what runs, and the variables of a short run.
PROGRAMS: dict[str, tuple[list[str], dict[str, str]]] = {
    "producer": (["producer/producer.py"], {"RATE": "0", "COUNT": "10"}),
    "spark-job": (
        ["spark-job/stream_job.py"],
        {"SPARK_MASTER": "local[1]", "SPARK_LOCAL_IP": HOST, "TRIGGER_INTERVAL": "1 second"},
    ),
    "clickhouse-consumer": (["clickhouse-consumer/consumer.py"], {}),
    "verify": (["verify/verify.py", "--timeout", "60"], {}),
    "topics": (["local-stack/topics.py"], {"PYTHONPATH": str(PROJECT / "verify")}),
}
DEADLINE_SEC = 120


class Run:
    """One run of a program; its log is a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log_file: Path) -> None:
        self.process, self._log_file = process, log_file

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def wait_for(self, text: str, deadline_sec: float = DEADLINE_SEC) -> str:
        """Wait until the log has this text; returns the line with it."""
        log = eventually_matches(self.log, lambda log: text in log, repr(text), deadline_sec)
        return next(line for line in log.splitlines() if text in line)

    def wait_for_end(self) -> int:
        return self.process.wait(DEADLINE_SEC)


class SecuredPipeline(Pipeline):
    """A pipeline whose programs log in. The test itself uses the listener without security."""

    @property
    def security(self) -> Path:
        """The folder with certificates and passwords."""
        return self.stack.directory / secured.FOLDER

    def login(self, user: str) -> dict[str, str]:
        """The variables with which the stack's own services log in."""
        return secured.login(user, self.stack)

    def tls(self, **changes: str) -> dict[str, str]:
        """The variables for the listener that knows its clients by their certificates, if any."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.stack.kafka_ssl_port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(self.security / "ca.pem"),
            **changes,
        }

    def certificate(self, user: str) -> dict[str, str]:
        """The variables with which the certificate of a user is its login."""
        own = self.security / user
        return self.tls(KAFKA_SSL_CERTFILE=f"{own}.crt", KAFKA_SSL_KEYFILE=f"{own}.key")

    def kill_kafka(self) -> None:
        """So that everybody has to connect and log in again."""
        os.kill(self.pid("kafka"), signal.SIGKILL)

    @contextmanager
    def running(self, program: str, settings: Mapping[str, str], **more: str) -> Iterator[Run]:
        """A program with these settings, killed at the end of the block."""
        command, usual = PROGRAMS[program]
        checkpoint = {"CHECKPOINT_LOCATION": str(self.stack.directory / "checkpoint-of-a-run")}
        log_file = self.stack.log_file(f"run-of-{program}")
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [PYTHON, PROJECT / command[0], *command[1:]],
                env=self.environment(**{**checkpoint, **usual, **settings, **more}),
                cwd=self.stack.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield Run(process, log_file)
            finally:
                process.kill()
                process.wait()
