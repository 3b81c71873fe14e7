"""The ClickHouse of the local stack, alone."""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clickhouse_driver import Client

from local_http import urlopen
from paths import LOCAL_STACK, PROJECT
from ports import HOST
from services import services_of
from stack import Stack
from supervision import tools_environment
from waiting import eventually

CONFIG = LOCAL_STACK / "clickhouse" / "config.xml"
INIT_SQL = PROJECT / "clickhouse-init" / "init.sql"
STOP_SEC = 60


class ClickHouse:
    """The server as the stack would start it in its folder and on its ports, with a table."""

    def __init__(self, stack: Stack, init_sql: Path = INIT_SQL, config: Path = CONFIG) -> None:
        self.stack, self.init_sql, self.config = stack, init_sql, config
        self.url = f"http://{HOST}:{stack.clickhouse_http_port}"
        self.log_file = stack.log_file("clickhouse-server")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers. Raises AssertionError with its log if it does not."""
        service = services_of(self.stack)["clickhouse-server"]
        command = [service.filled_in(word, self.stack) for word in service.command]
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command[:-2], self.config, self.init_sql],
                cwd=self.stack.directory,
                env={**os.environ, **self.stack.environment(), **tools_environment()},
                stdout=log,
                stderr=log,
            )
        eventually(self.answers, "ClickHouse answers")

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(signal_number)
            self.process.wait(STOP_SEC)
            self.process = None

    def answers(self) -> bool:
        """Raises AssertionError with its log if it has exited."""
        assert self.process and self.process.poll() is None, self.log_file.read_text()
        try:
            with urlopen(f"{self.url}/ping", timeout=5):  # HTTP is the last to start
                return True
        except OSError:
            return False

    def query(self, sql: str, rows: Iterable[Mapping[str, object]] | None = None) -> Any:
        client = Client(HOST, port=self.stack.clickhouse_port, user="consumer", password="MySecret")
        try:
            return client.execute(sql, list(rows) if rows is not None else None)
        finally:
            client.disconnect()

    def insert(self, *rows: Mapping[str, object]) -> None:
        """Insert rows that all have the same columns."""
        columns = ", ".join(rows[0])
        self.query(f"INSERT INTO aggregated_analytics ({columns}) VALUES", rows)
