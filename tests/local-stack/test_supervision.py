"""supervisord, and what is left of a stack whose supervisord was killed."""

import subprocess
import sys
from pathlib import Path
from xmlrpc.client import Fault

import pytest

import supervision
from launch import PID_FILES, running_pid
from paths import LOCAL_STACK
from ports import StackSettings
from stack import Stack
from supervision import StackError, ignoring_fault, socket_path, stop_orphans

IGNORES_SIGTERM = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def start_orphan(directory: Path, service: str, code: str) -> "subprocess.Popen[bytes]":
    """A process under the pid file of the service, with no supervisord above it."""
    (directory / PID_FILES).mkdir(exist_ok=True)
    command = [sys.executable, LOCAL_STACK / "launch.py", service]
    process = subprocess.Popen(
        [*command, sys.executable, "-c", f"{code}; print(flush=True); time.sleep(60)"],
        cwd=directory,
        stdout=subprocess.PIPE,
        start_new_session=True,  # the leader of a group, as under supervisord
    )
    assert process.stdout
    process.stdout.readline()  # once the code has run
    return process


def test_the_socket_of_a_deep_folder_fits_the_limit_of_the_system() -> None:
    shallow, deep = StackSettings(Path("/stack")), StackSettings(Path("/" + "deep/" * 40))

    assert socket_path(shallow) == Path("/stack/supervisord.sock")
    assert len(str(socket_path(deep))) <= supervision.SOCKET_PATH_LIMIT
    assert socket_path(deep) != socket_path(StackSettings(Path("/" + "deep/" * 41)))


def test_a_folder_without_supervisord_is_not_up(tmp_path: Path) -> None:
    stack = StackSettings(tmp_path)

    assert not supervision.is_up(stack)
    assert supervision.processes(stack) == {}


def test_orphans_are_stopped_against_the_flow_of_the_data(tmp_path: Path) -> None:
    processes = [start_orphan(tmp_path, name, "import time") for name in ("zookeeper", "kafka")]

    assert stop_orphans(StackSettings(tmp_path)) == ["kafka", "zookeeper"]

    assert [process.wait(20) for process in processes] == [-15, -15]
    assert stop_orphans(StackSettings(tmp_path)) == []


def test_an_orphan_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "ORPHAN_STOP_SEC", 3)
    process = start_orphan(tmp_path, "kafka", IGNORES_SIGTERM)
    assert running_pid(tmp_path, "kafka") == process.pid

    assert stop_orphans(StackSettings(tmp_path)) == ["kafka"]

    assert process.wait(20) == -9


def test_down_names_the_orphans_that_it_stopped(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path)
    process = start_orphan(tmp_path, "kafka", "import time")
    said = list[str]()

    stack.down(said.append)

    assert process.wait(20) == -15
    assert [line.partition(" in ")[0] for line in said] == [
        "Stopped kafka (left by a killed supervisord)"
    ]


def test_waiting_ends_with_what_did_not_happen() -> None:
    with pytest.raises(StackError, match="^supervisord did not end within 0 s$"):
        supervision.eventually(lambda: False, 0, "supervisord did not end")


def test_only_the_accepted_fault_is_ignored() -> None:
    def fails(code: int) -> None:
        raise Fault(code, "text")

    ignoring_fault(70, fails, 70)
    with pytest.raises(Fault):
        ignoring_fault(70, fails, 10)
