"""supervisord, which runs the services and starts them again when they end."""

import hashlib
import io
import json
import os
import shutil
import signal
import string
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from configparser import RawConfigParser
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

import cluster
import secured
from launch import PID_FILES, running_pid
from locales import LOCALE
from paths import LOCAL_STACK, TOOLS, VENV, spark_home
from ports import StackSettings
from services import Service, services_of

SUPERVISORD = "supervisord"  # of its pid file
START_SEC = 90.0
ANSWER_SEC = 10.0
ORPHAN_STOP_SEC = 15.0
SOCKET_PATH_LIMIT = 90  # systems allow 103 and more; supervisord adds its pid for a moment


class StackError(Exception):
    """A request cannot be carried out; the text says why, and what to do."""


def eventually(condition: Callable[[], bool], deadline_sec: float, otherwise: str) -> None:
    """Poll until the condition is true. Raises StackError with `otherwise` after the deadline."""
    deadline = time.monotonic() + deadline_sec
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{otherwise} within {deadline_sec:.0f} s")
        time.sleep(0.1)


def start_supervisord(
    stack: StackSettings, configuration: RawConfigParser, environment: Mapping[str, str]
) -> None:
    """Start supervisord, whose services inherit `environment`; returns when it answers.

    Raises StackError.
    """
    prepare_folder(stack)
    text = io.StringIO()
    configuration.write(text)
    (stack.directory / "supervisord.conf").write_bytes(os.fsencode(text.getvalue()))
    python = VENV / "bin" / "python"
    errors = stack.directory / "log" / "supervisord.err"
    # Not as a daemon: a process that it forks would not hold the lock of launch.py.
    with errors.open("wb") as output:
        process = subprocess.Popen(
            [
                *(python, LOCAL_STACK / "launch.py", SUPERVISORD),
                *(python, LOCAL_STACK / "supervise.py", "--nodaemon", "-c", "supervisord.conf"),
            ],
            cwd=stack.directory,
            env={
                **os.environ,
                **environment,
                **stack.environment(),
                **tools_environment(),
                **LOCALE,
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def has_ended() -> bool:
        return process.poll() is not None

    eventually(lambda: answers(stack) or has_ended(), START_SEC, "supervisord did not answer")
    if has_ended():
        raise StackError(
            f"supervisord does not start: {errors.read_text(errors='replace').strip()}"
        )


def prepare_folder(stack: StackSettings) -> None:
    """Write what supervisord and the services expect in their folder."""
    # These only mean something to processes that no longer run. Spark's master would wait for the
    # workers and applications it remembers.
    folders = {stack.directory / each.folder for each in services_of(stack).values()}
    for folder in folders:
        for name in ("tmp", "health", "spark-master", "spark-worker"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("tmp", "health", "spark-master", "log", PID_FILES):
            (folder / name).mkdir(parents=True, exist_ok=True)
    (stack.directory / "ports.json").write_text(json.dumps(stack.saved()))
    if stack.secure:
        secured.make_files(stack)
    for service in services_of(stack).values():
        if "zookeeper_port" in service.ports:
            write_zookeeper_properties(service, stack)


def write_zookeeper_properties(service: Service, stack: StackSettings) -> None:
    """The file from which a ZooKeeper reads its port and, in a cluster, the others."""
    folder = stack.directory / service.folder
    template = string.Template((LOCAL_STACK / "conf" / "zookeeper.properties").read_text())
    properties = template.substitute(service.seen_from_here(stack).environment())
    if stack.cluster:
        properties += cluster.zookeeper_properties(stack)
        (folder / "zookeeper").mkdir(exist_ok=True)
        (folder / "zookeeper" / "myid").write_text(f"{service.number}\n")
    (folder / "zookeeper.properties").write_text(properties)


def tools_environment() -> dict[str, str]:
    """The variables with which services find Java, Spark and the Python of the project."""
    java_home = TOOLS / "java"
    folders = (VENV / "bin", java_home / "bin", os.environ["PATH"])
    return {
        "JAVA_HOME": str(java_home),
        "SPARK_HOME": str(spark_home()),
        "PATH": os.pathsep.join(map(str, folders)),
    }


def stop_supervisord(stack: StackSettings, deadline_sec: float) -> None:
    """Stop all services, then supervisord; returns when it has ended. Raises StackError."""
    if pid := running_pid(stack.directory, SUPERVISORD):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    else:
        with suppress(Fault, OSError, HTTPException):  # it is just ending
            supervisor(stack).shutdown()
    eventually(lambda: not is_up(stack), deadline_sec, "supervisord did not end")


def is_up(stack: StackSettings) -> bool:
    """Whether supervisord runs, even if it is just starting or ending, or does not answer."""
    # That of version 1.0.0 holds no lock, and is there until its socket is gone.
    return running_pid(stack.directory, SUPERVISORD) is not None or answers(stack)


def check_answers(stack: StackSettings) -> None:
    """Raise StackError if the supervisord that runs can be told nothing."""
    try:
        eventually(lambda: answers(stack), ANSWER_SEC, "")
    except StackError:
        raise StackError(
            f"the stack in {stack.directory} runs, but its supervisord does not answer; perhaps"
            f" {socket_path(stack)} was deleted. Stop it with make local-down first"
        ) from None


def answers(stack: StackSettings) -> bool:
    """Whether supervisord answers through its socket."""
    try:
        supervisor(stack).getState()
    except Fault:
        return True
    except (OSError, HTTPException):
        return False
    return True


def processes(stack: StackSettings) -> dict[str, dict[str, Any]]:
    """What supervisord says about each service; empty if it does not answer or is just ending."""
    try:
        return {process["name"]: process for process in supervisor(stack).getAllProcessInfo()}
    except (Fault, OSError, HTTPException):
        return {}


def supervisor(stack: StackSettings) -> Any:
    """The XML-RPC interface of supervisord."""
    transport = SupervisorTransport(None, None, f"unix://{socket_path(stack)}")
    return ServerProxy("http://127.0.0.1", transport).supervisor


def ignoring_fault(
    accepted_fault: int, function: Callable[..., object], *arguments: object
) -> None:
    """Call a function of supervisord; one kind of fault is not an error."""
    try:
        function(*arguments)
    except Fault as fault:
        if fault.faultCode != accepted_fault:
            raise


def socket_path(stack: StackSettings) -> Path:
    path = stack.directory / "supervisord.sock"
    if len(str(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(stack.directory).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"supervisord-{digest}.sock"


def stop_orphans(stack: StackSettings) -> list[str]:
    """Stop the services of this folder whose supervisord was killed; return their names."""
    orphans = [name for name in reversed(services_of(stack)) if running_pid(stack.directory, name)]
    for name in orphans:
        stop_orphan(stack.directory, name)
    return orphans


def stop_orphan(directory: Path, service: str) -> None:
    """Ask the process to end; if it does not, kill it and its children."""

    def has_ended() -> bool:
        return running_pid(directory, service) is None

    pid = running_pid(directory, service)
    if not pid:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    try:
        eventually(has_ended, ORPHAN_STOP_SEC, f"{service} did not end")
    except StackError:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # supervisord makes each service the leader of a group
        eventually(has_ended, ORPHAN_STOP_SEC, f"process {pid} survived SIGKILL")
