"""The stack of docker-compose.yml, through the Compose command alone."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waiting import eventually

PROJECT = Path(__file__).parent.parent.parent
SERVICES = (
    "zookeeper",
    "kafka",
    "clickhouse-server",
    "spark-master",
    "spark-worker",
    "spark-job",
    "clickhouse-consumer",
)
CLIENT = "clickhouse-client --user consumer --password MySecret"
READER_PASSWORD = "it's \\ read only"
ONE_OF_EACH = ("--scale", "spark-worker=1", "--scale", "clickhouse-consumer=1")
BUILD_SEC = 900
DEADLINE_SEC = 180


class Compose:
    """Runs a Compose command, by default the one that COMPOSE names."""

    def __init__(self, *files: str, command: str = "", services: Sequence[str] = SERVICES) -> None:
        self.command = (command or os.environ.get("COMPOSE", "docker-compose")).split()
        self.command += [argument for name in files for argument in ("-f", name)]
        self.services = services
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": "purchase-analytics-test",
            "READER_PASSWORD": READER_PASSWORD,
        }

    def __call__(self, *arguments: str, timeout_sec: float = DEADLINE_SEC) -> str:
        """Run Compose with these arguments; returns its output. Raises AssertionError with it."""
        return self.run([*self.command, *arguments], timeout_sec)

    def shell(self, line: str, timeout_sec: float = DEADLINE_SEC) -> str:
        """Run a command line as users type it."""
        line = re.sub("docker[- ]compose exec", f"{' '.join(self.command)} exec -T", line)
        return self.run(["bash", "-c", line], timeout_sec)

    def run(self, command: list[str], timeout_sec: float) -> str:
        result = subprocess.run(
            command,
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_sec,
        )
        output = result.stdout + result.stderr
        assert result.returncode == 0, f"{' '.join(command)}\n{output[-4000:]}"
        return output

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What Docker knows of each container of these services, running or not."""
        # `docker-compose ps` would take a second of processor time, in each round of a wait.
        project = self.environment["COMPOSE_PROJECT_NAME"]
        labels = (f"project={project}", "oneoff=False")
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        ids = self.run(["docker", "ps", "--all", "--quiet", *filters], 60).split()
        found = json.loads(self.run(["docker", "inspect", *ids], 60)) if ids else []
        return [container for container in found if service_of(container) in services]

    def restore(self) -> None:
        """Return to one healthy container of each service, whatever a test has left behind."""
        containers = self.containers(*SERVICES)
        is_complete = sorted(map(service_of, containers)) == sorted(SERVICES)
        if not (is_complete and all(map(is_healthy, containers))):
            self("up", "-d", *ONE_OF_EACH)
            self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Raises AssertionError with the end of the log of the first service that is not."""

        def are_healthy(service: str) -> bool:
            containers = self.containers(service)
            return bool(containers) and all(map(is_healthy, containers))

        for service in self.services:
            try:
                eventually(lambda service=service: are_healthy(service), f"{service} is healthy")
            except AssertionError as error:
                log = self("logs", "--tail=30", service)
                raise AssertionError(f"{error}; the end of its log:\n{log}") from None

    def remove(self) -> None:
        """Remove everything, the data too."""
        self("--profile", "producer", "down", "--volumes", "--remove-orphans")

    def produce(self, **settings: object) -> str:
        """Send from the host, with the producer as users start it; returns its log."""
        variables = {name: str(value) for name, value in settings.items()}
        result = subprocess.run(
            [sys.executable, "producer/producer.py"],
            cwd=PROJECT,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        return result.stderr

    def verify(self) -> str:
        """The output of `make verify`, which must find no difference."""
        return self.make("verify", f"TIMEOUT={DEADLINE_SEC}")

    def make(self, *arguments: str) -> str:
        return self.run(["make", f"COMPOSE={' '.join(self.command)}", *arguments], 2 * DEADLINE_SEC)

    def stored_orders(self) -> int:
        query = "SELECT sum(total_orders) FROM aggregated_analytics"
        return int(self.shell(f'docker-compose exec clickhouse-server {CLIENT} --query "{query}"'))


def has_compose_2_24() -> bool:
    """Whether `docker compose` is there and knows `!override`."""
    version = ["docker", "compose", "version", "--short"]
    try:
        shown = subprocess.run(version, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return False
    numbers = [int(number) for number in re.findall(r"\d+", shown)[:2]]
    return numbers >= [2, 24]


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def is_healthy(container: dict[str, Any]) -> bool:
    """`container` is what `docker inspect` says."""
    state = container["State"]
    return bool(state["Running"]) and state.get("Health", {}).get("Status") == "healthy"
