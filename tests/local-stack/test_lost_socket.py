"""A supervisord that runs, but whose socket a cleaner of temporary files has deleted."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import supervision
from launch import running_pid
from paths import LOCAL_STACK
from stack import Stack, StackError
from supervision import socket_path
from waiting import eventually


@pytest.fixture(params=["in its folder", "elsewhere"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """A stack that runs without a service. The path of a deep folder is too long for a socket."""
    depth = {"in its folder": 0, "elsewhere": 5}[request.param]
    stack = Stack.on_free_ports(tmp_path.joinpath(*["a folder of twenty"] * depth))
    stack.up(services=[], say=lambda _: None)
    assert (socket_path(stack).parent == stack.directory) == (depth == 0)
    yield stack
    stack.down(say=lambda _: None)


def test_down_stops_it(stack: Stack) -> None:
    pid = stack.pid("supervisord")
    socket_path(stack).unlink()
    assert stack.is_up()
    said = list[str]()

    stack.down(said.append)

    assert not stack.is_up()
    assert subprocess.run(["ps", "-o", "stat=", str(pid)], stdout=subprocess.PIPE).stdout in (
        b"",
        b"Z\n",  # until this process has fetched its exit code
        b"Zs\n",
    )
    assert [line.partition(" in ")[0] for line in said] == ["Stopped all services"]


def test_up_and_status_say_so(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "ANSWER_SEC", 0.5)
    socket_path(stack).unlink()

    (status,) = stack.status(["kafka"])
    assert (status.state, status.problem) == ("UNKNOWN", "supervisord does not answer")
    with pytest.raises(StackError) as error:
        stack.up(services=[], say=lambda _: None)

    assert str(error.value) == (
        f"the stack in {stack.directory} runs, but its supervisord does not answer; perhaps"
        f" {socket_path(stack)} was deleted. Stop it with make local-down first"
    )


def test_a_second_supervisord_does_not_start(stack: Stack) -> None:
    socket_path(stack).unlink()
    command = [sys.executable, LOCAL_STACK / "launch.py", "supervisord", "true"]

    second = subprocess.run(command, cwd=stack.directory, capture_output=True, text=True)

    pid = running_pid(stack.directory, "supervisord")
    assert second.stderr == f"supervisord already runs as process {pid}\n"
    assert pid == stack.pid("supervisord") != 0


def test_a_supervisord_that_cannot_start_says_why(tmp_path: Path) -> None:
    stack = Stack.on_free_ports(tmp_path)
    (tmp_path / "log" / "supervisord.log").mkdir(parents=True)  # where it would write a file

    with pytest.raises(StackError) as error:
        stack.up(services=[], say=lambda _: None)

    assert str(error.value).startswith("supervisord does not start: ")
    assert str(error.value).endswith(f"Is a directory: '{tmp_path}/log/supervisord.log'")
    assert not stack.is_up()


def test_a_supervisord_without_a_lock_is_stopped_as_that_of_version_1_0_0_has_none(
    stack: Stack,
) -> None:
    stack.down(say=lambda _: None)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"]
    subprocess.run(command, cwd=stack.directory, check=True)
    eventually(lambda: supervision.answers(stack), "supervisord answers", deadline_sec=60)

    stack.down(say=lambda _: None)

    assert not supervision.answers(stack)
