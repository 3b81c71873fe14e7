"""The services of docker-compose.yml as processes of this machine: stack.py up | down | status.

supervisord (supervisord.conf) runs them and starts them again when they end. This program starts
and stops supervisord, and knows whether the parts really answer. All that a stack writes lies in
its folder and all its ports can be moved, so several can run side by side.
"""

import hashlib
import json
import logging
import os
import random
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, Self
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from doctor import is_free
from launch import PID_FILES, running_pid
from probes import complaint

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
TOOLS = PROJECT / ".local" / "tools"
HERE = PROJECT / "local-stack"

SERVICES = (
    "zookeeper",
    "kafka",
    "topics",
    "clickhouse-server",
    "spark-master",
    "spark-worker",
    "spark-job",
    "clickhouse-consumer",
)
READY_SEC = 120.0
STOP_SEC = 90.0
ORPHAN_STOP_SEC = 15.0
MIN_FREE_MB = 500
SOCKET_PATH_LIMIT = 90  # systems allow 103 and more; supervisord adds its pid for a moment
SAFE_PORTS = range(15000, 32000)  # not given to outgoing connections
MAX_STARTS = 6  # while waiting; a broker needs up to 4 to get over the session of a killed one


class StackError(Exception):
    """What was asked cannot be done; the text says why, and what to do."""


class ConfigError(ValueError):
    """A setting has a value that is not allowed; the text names the variable and what is."""


class Part(NamedTuple):
    """One service: its process, and what keeps it from being healthy ("" if nothing)."""

    name: str
    state: str
    pid: int
    uptime_sec: float
    address: str
    complaint: str


@dataclass(frozen=True)
class Stack:
    """One stack. Each setting is the environment variable of that name, the folder is STACK_DIR."""

    directory: Path = PROJECT / ".local" / "stack"
    kafka_port: int = 9092
    zookeeper_port: int = 2181
    clickhouse_port: int = 9000
    clickhouse_http_port: int = 8123
    spark_master_port: int = 7077
    spark_master_webui_port: int = 8080
    spark_worker_webui_port: int = 8081
    spark_ui_port: int = 4040

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read and check all settings; an empty variable counts as not set. Raises ConfigError."""
        directory = PROJECT / (env.get("STACK_DIR") or cls.directory)
        given = {name: env[name.upper()] for name in port_names() if env.get(name.upper())}
        for name, text in given.items():
            if not (text.isdecimal() and 1 <= int(text) <= 65535):
                raise ConfigError(f"{name.upper()} must be a port from 1 to 65535, not {text!r}")
        stack = cls(directory, **{name: int(text) for name, text in given.items()})
        for variable, port in stack.ports().items():
            if list(stack.ports().values()).count(port) > 1:
                raise ConfigError(f"{variable} must be a port of its own, {port} is used twice")
        return stack

    @classmethod
    def on_free_ports(cls, directory: Path) -> Self:
        """A stack that can run beside any other."""
        free = (port for port in random.sample(SAFE_PORTS, len(SAFE_PORTS)) if is_free(port))
        return cls(directory.resolve(), **dict(zip(port_names(), free, strict=False)))

    @classmethod
    def left_in(cls, directory: Path) -> Self | None:
        """The stack that was last started in a folder, whether it runs or not."""
        ports = directory / "ports.json"
        if not ports.exists():
            return None
        given = {name.lower(): port for name, port in json.loads(ports.read_text()).items()}
        return cls(directory, **given)

    def ports(self) -> dict[str, int]:
        """Variable -> port."""
        return {name.upper(): getattr(self, name) for name in port_names()}

    def environment(self) -> dict[str, str]:
        """The variables for a program that is to use this stack, such as the producer."""
        return {
            "STACK_DIR": str(self.directory),
            **{variable: str(port) for variable, port in self.ports().items()},
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self.kafka_port}",
            "CLICKHOUSE_HOST": "localhost",
        }

    def address(self, service: str) -> str:
        return {
            "zookeeper": f"localhost:{self.zookeeper_port}",
            "kafka": f"localhost:{self.kafka_port}",
            "clickhouse-server": (
                f"localhost:{self.clickhouse_port} http://localhost:{self.clickhouse_http_port}"
            ),
            "spark-master": (
                f"spark://localhost:{self.spark_master_port}"
                f" http://localhost:{self.spark_master_webui_port}"
            ),
            "spark-worker": f"http://localhost:{self.spark_worker_webui_port}",
            "spark-job": f"http://localhost:{self.spark_ui_port}",
        }.get(service, "")

    def up(
        self,
        environment: Mapping[str, str] | None = None,
        deadline_sec: float = READY_SEC,
        say: Callable[[str], None] = print,
    ) -> None:
        """Return once every part answers. `environment` is for the services, e.g. WATERMARK.

        Raises StackError with the reason; a stack that was started here is then stopped again.
        """
        if self.is_up():
            self.check_same_ports()
            say(f"The stack in {self.directory} runs already.")
            self.wait_until_healthy(deadline_sec, say)
            return
        self.check_startable()
        orphans = self.stop_orphans()
        if orphans:
            say(f"Stopped what a killed supervisord had left: {', '.join(orphans)}")
        self.check_ports()
        say(f"Starting {len(SERVICES)} services in {self.directory}")
        try:
            self.start_supervisord(environment or {})
            self.wait_until_healthy(deadline_sec, say)
        except BaseException:
            self.down(say)
            raise

    def down(self, say: Callable[[str], None] = print) -> None:
        """Stop what runs in this folder, against the flow of the data. Raises StackError."""
        start = time.monotonic()
        was_up = self.is_up()
        if was_up:
            self.supervisor().shutdown()
            wait_for(lambda: not self.is_up(), STOP_SEC, "supervisord does not end")
        orphans = self.stop_orphans()
        if not (was_up or orphans):
            say(f"Nothing runs in {self.directory}")
            return
        wait_for(lambda: all(map(is_free, self.ports().values())), STOP_SEC, "a port stays in use")
        what = "all services" if was_up else f"{', '.join(orphans)} (left by a killed supervisord)"
        say(f"Stopped {what} in {time.monotonic() - start:.1f} s; the data stays.")

    def status(self, services: Sequence[str] = SERVICES) -> list[Part]:
        """What is known about each service, in the order of the data flow."""
        try:
            found = self.supervisor().getAllProcessInfo()
        except (Fault, OSError, HTTPException):  # it does not run, or is just ending
            found = []
        processes = {process["name"]: process for process in found}
        return [self.part(service, processes.get(service)) for service in services]

    def part(self, service: str, process: Mapping[str, Any] | None) -> Part:
        """Look at one service, given what supervisord says about its process."""
        address = self.address(service)
        if process is None:
            pid = running_pid(self.directory, service) or 0
            state = "ORPHANED" if pid else "STOPPED"
            return Part(service, state, pid, 0, address, "is not supervised")
        state = process["statename"]
        is_running = state in ("STARTING", "RUNNING")
        is_done = service == "topics" and state == "EXITED" and process["exitstatus"] == 0
        problem = f"is {state}"
        if is_running or is_done:
            problem = complaint(self, service, process["start"])
        uptime_sec = process["now"] - process["start"] if is_running else 0
        return Part(service, state, process["pid"], uptime_sec, address, problem)

    def wait_until_healthy(
        self, deadline_sec: float = READY_SEC, say: Callable[[str], None] = print
    ) -> None:
        """Return once every part answered. Raises StackError with the log of one that has not."""
        start = time.monotonic()
        for service in SERVICES:  # in the order of the data flow: the first to fail is the cause
            pids = set()
            while (part := self.status([service])[0]).complaint:
                pids.add(part.pid)
                elapsed_sec = time.monotonic() - start
                if elapsed_sec > deadline_sec or len(pids - {0}) > MAX_STARTS:
                    raise StackError(
                        f"{service} is not ready after {elapsed_sec:.0f} s: {part.complaint}"
                        f" ({part.state}, started {len(pids - {0})} times meanwhile);"
                        f" the end of its log:\n{self.log_tail(service)}"
                    )
                time.sleep(0.2)
            say(f"  {service:<20} ready after {time.monotonic() - start:4.1f} s  {part.address}")

    def pid(self, service: str) -> int:
        """The process of a service or "supervisord", 0 if it has none. The stack must be up."""
        if service == "supervisord":
            return int(self.supervisor().getPID())
        return int(self.supervisor().getProcessInfo(service)["pid"])

    def stop(self, service: str) -> None:
        """Stop one service and return when it has ended; it stays so until `start`."""
        call_unless(Faults.NOT_RUNNING, self.supervisor().stopProcess, service)

    def start(self, service: str) -> None:
        """Start one service again; returns at once."""
        call_unless(Faults.ALREADY_STARTED, self.supervisor().startProcess, service, False)

    def log_tail(self, service: str, lines: int = 20) -> str:
        log = self.directory / "log" / f"{service}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def health_file(self, service: str) -> Path:
        return self.directory / "health" / service

    def is_up(self) -> bool:
        """Whether supervisord runs, even if it is just ending."""
        try:
            self.supervisor().getState()
        except Fault:
            return True
        except (OSError, HTTPException):
            return False
        return True

    def supervisor(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket_path()}")
        return ServerProxy("http://127.0.0.1", transport).supervisor

    def socket_path(self) -> Path:
        path = self.directory / "supervisord.sock"
        if len(str(path)) <= SOCKET_PATH_LIMIT:
            return path
        digest = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"supervisord-{digest}.sock"

    def check_same_ports(self) -> None:
        running = json.loads((self.directory / "ports.json").read_text())
        for variable, port in self.ports().items():
            if running[variable] != port:
                raise StackError(
                    f"the stack in {self.directory} runs with {variable}={running[variable]};"
                    " stop it with make local-down first"
                )

    def check_startable(self) -> None:
        """Raises StackError unless the set-up is done and the disk has room."""
        if not all((TOOLS / tool).exists() for tool in ("java", "kafka", "clickhouse")):
            raise StackError("not set up yet: run make setup")
        self.directory.mkdir(parents=True, exist_ok=True)
        free_mb = shutil.disk_usage(self.directory).free // 2**20
        if free_mb < MIN_FREE_MB:
            raise StackError(f"{MIN_FREE_MB} MB are needed in {self.directory}, {free_mb} are free")

    def check_ports(self) -> None:
        for variable, port in self.ports().items():
            if not is_free(port):
                raise StackError(
                    f"port {port} is in use by another program; choose another one with {variable},"
                    f" for example {variable}={port + 10000} make local-up"
                )

    def start_supervisord(self, environment: Mapping[str, str]) -> None:
        # What only means something to processes that run no more. Spark's master would wait for
        # the workers and applications it remembers.
        for name in ("tmp", "health", "spark-master", "spark-worker"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in ("tmp", "health", "spark-master", "log", PID_FILES):
            (self.directory / name).mkdir(exist_ok=True)
        (self.directory / "ports.json").write_text(json.dumps(self.ports()))
        template = string.Template((HERE / "conf" / "zookeeper.properties").read_text())
        properties = template.substitute(self.environment())
        (self.directory / "zookeeper.properties").write_text(properties)
        command = (VENV / "bin" / "python", "-m", "supervisor.supervisord")
        result = subprocess.run(
            [*command, "-c", HERE / "supervisord.conf"],
            cwd=self.directory,
            env={**os.environ, **environment, **self.supervisord_environment()},
            capture_output=True,
            text=True,
        )
        if result.returncode != 0:
            raise StackError(f"supervisord does not start: {result.stderr.strip()}")
        wait_for(self.is_up, STOP_SEC, "supervisord does not answer")

    def supervisord_environment(self) -> dict[str, str]:
        """What supervisord.conf refers to."""
        java_home = TOOLS / "java"
        programs = (VENV / "bin", java_home / "bin", os.environ["PATH"])
        return {
            **self.environment(),
            "STACK_SOCKET": str(self.socket_path()),
            "TOOLS": str(TOOLS),
            "JAVA_HOME": str(java_home),
            "SPARK_HOME": str(next(VENV.glob("lib/python3*/site-packages/pyspark"))),
            "PATH": os.pathsep.join(map(str, programs)),
        }

    def stop_orphans(self) -> list[str]:
        """End services of this folder whose supervisord was killed; the names of those found."""
        orphans = [name for name in reversed(SERVICES) if running_pid(self.directory, name)]
        for name in orphans:
            end_process(self.directory, name)
        return orphans


def port_names() -> list[str]:
    return [setting.name for setting in fields(Stack) if setting.name.endswith("_port")]


def wait_for(condition: Callable[[], bool], deadline_sec: float, otherwise: str) -> None:
    """Raises StackError with the text `otherwise` when the time is over."""
    deadline = time.monotonic() + deadline_sec
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{otherwise} (waited {deadline_sec:.0f} s)")
        time.sleep(0.1)


def end_process(directory: Path, service: str) -> None:
    """Ask the process to end, after a while end it and its children."""

    def has_ended() -> bool:
        return running_pid(directory, service) is None

    pid = running_pid(directory, service)
    if not pid:
        return
    os.kill(pid, signal.SIGTERM)
    try:
        wait_for(has_ended, ORPHAN_STOP_SEC, "it does not end")
    except StackError:
        os.killpg(pid, signal.SIGKILL)  # supervisord makes each service the leader of a group
        wait_for(has_ended, ORPHAN_STOP_SEC, f"process {pid} cannot be ended")


def call_unless(accepted_fault: int, function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except Fault as fault:
        if fault.faultCode != accepted_fault:
            raise


def table(parts: Sequence[Part]) -> str:
    lines = [f"{'service':<20} {'state':<9} {'pid':>7} {'up':>7}  answers  address"]
    for part in parts:
        uptime = f"{part.uptime_sec:.0f} s" if part.uptime_sec else "-"
        lines.append(
            f"{part.name:<20} {part.state:<9} {part.pid or '-':>7} {uptime:>7}"
            f"  {'no' if part.complaint else 'yes':<7}  {part.complaint or part.address}"
        )
    return "\n".join(lines)


def next_steps(stack: Stack) -> str:
    def moved(variable: str, value: object, usual: object) -> str:
        return "" if value == usual else f"{variable}={value} "

    servers = f"localhost:{stack.kafka_port}"
    servers = moved("KAFKA_BOOTSTRAP_SERVERS", servers, f"localhost:{Stack.kafka_port}")
    kafka = moved("KAFKA_PORT", stack.kafka_port, Stack.kafka_port)
    native = moved("CLICKHOUSE_PORT", stack.clickhouse_port, Stack.clickhouse_port)
    http = moved("CLICKHOUSE_HTTP_PORT", stack.clickhouse_http_port, Stack.clickhouse_http_port)
    site = f"http://localhost:{stack.clickhouse_http_port}/analytics"
    folder = moved("STACK_DIR", stack.directory, Stack.directory)
    return f"""
Everything runs. Logs: {stack.directory / "log"}
  send transactions   . .venv/bin/activate && {servers}python producer/producer.py
  watch the sales     {site} (user consumer, password MySecret)
  look at a topic     {kafka}make topics TOPIC=transactions_agg
  query               {http}make query
  prove the numbers   {kafka}{native}make verify
  stop                {folder}make local-down"""


def run(command: str, stack: Stack) -> int:
    if command == "up":
        stack.up()
        print(next_steps(stack))
        return 0
    # As it was started, whatever ports the environment names by now.
    stack = Stack.left_in(stack.directory) or stack
    if command == "down":
        stack.down()
        return 0
    parts = stack.status()
    print(table(parts))
    return 1 if any(part.complaint for part in parts) else 0


def main(arguments: Sequence[str]) -> int:
    logging.basicConfig(level=logging.CRITICAL)  # failed probes are told in the table
    if len(arguments) != 1 or arguments[0] not in ("up", "down", "status"):
        print("usage: stack.py up | down | status", file=sys.stderr)
        return 2
    try:
        return run(arguments[0], Stack.from_env(os.environ))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
