"""Prometheus beside the stack of docker-compose.yml, and what it answers."""

import json
from typing import Any
from urllib.parse import quote

from compose import Compose
from local_http import urlopen
from waiting import eventually


class Monitored:
    """The stack with Prometheus and a producer."""

    def __init__(self, *more_files: str) -> None:
        self.compose = Compose("docker-compose.yml", "docker-compose.monitoring.yml", *more_files)

    def start(self) -> None:
        self.compose("--profile", "producer", "up", "-d", "--build", "prometheus", "producer")
        eventually(lambda: self.ask("vector(1)"), "Prometheus answers")

    def stop(self) -> None:
        self.compose("--profile", "producer", "rm", "-sf", "prometheus", "producer")
        project = self.compose.environment["COMPOSE_PROJECT_NAME"]
        self.compose.run(["docker", "volume", "rm", f"{project}_prometheus-data"], 60)

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What Prometheus answers to a query; nothing while it does not."""
        try:
            return list(self.get(f"query?query={quote(query)}")["result"])
        except OSError:
            return []

    def get(self, path: str) -> dict[str, Any]:
        with urlopen(f"http://localhost:9090/api/v1/{path}", timeout=10) as answer:
            return dict(json.load(answer)["data"])

    def in_prometheus(self, line: str) -> str:
        """Run a line of shell where Prometheus runs; returns its output."""
        return self.compose("exec", "-T", "prometheus", "sh", "-c", f"cd /etc/prometheus; {line}")
