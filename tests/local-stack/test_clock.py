"""Services stay healthy, and dead ones are noticed, when the clock of the machine is set back."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import probes
from launch import PID_FILES, pid_file
from paths import LOCAL_STACK, PROJECT
from ports import StackSettings
from status import service_status

HOUR_SEC = 3600
SERVICE = "spark-job"


def touch(file: Path, age_sec: float) -> None:
    """Make the file look as if it was touched some time ago, by the clock of now."""
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, (time.time() - age_sec,) * 2)


def heartbeat_of_compose(file: Path) -> int:
    """The exit code of the health check in docker-compose.yml for this file."""
    text = (PROJECT / "docker-compose.yml").read_text()
    (command,) = re.findall(r"^  test: (\[.*/tmp/healthy.*\])$", text, re.MULTILINE)
    *_, code = json.loads(command)
    code = code.replace("/tmp/healthy", str(file))
    return subprocess.run([sys.executable, "-c", code]).returncode


@pytest.mark.parametrize(
    ("age_sec", "is_healthy"), [(2, True), (HOUR_SEC, False), (-HOUR_SEC, False)]
)
def test_a_heartbeat_from_before_the_clock_was_set_back_does_not_count(
    age_sec: float, is_healthy: bool, tmp_path: Path
) -> None:
    stack = StackSettings(tmp_path)
    touch(stack.health_file(SERVICE), age_sec)

    assert (probes.problem(probes.heartbeat(SERVICE), stack) == "") is is_healthy
    assert (heartbeat_of_compose(stack.health_file(SERVICE)) == 0) is is_healthy


def test_a_service_that_started_before_the_clock_was_set_back_becomes_healthy(
    tmp_path: Path,
) -> None:
    stack = StackSettings(tmp_path)
    touch(pid_file(tmp_path, SERVICE), age_sec=-HOUR_SEC)
    touch(stack.health_file(SERVICE), age_sec=1)

    assert probes.problem(probes.heartbeat(SERVICE), stack) == ""


def test_the_heartbeat_of_an_earlier_process_does_not_count(tmp_path: Path) -> None:
    stack = StackSettings(tmp_path)
    touch(stack.health_file(SERVICE), age_sec=-1)
    (tmp_path / PID_FILES).mkdir()

    subprocess.run(
        [sys.executable, LOCAL_STACK / "launch.py", SERVICE, "true"], cwd=tmp_path, check=True
    )

    assert probes.problem(probes.heartbeat(SERVICE), stack) == "no heartbeat since its start"


def test_a_service_is_never_up_for_less_than_nothing(tmp_path: Path) -> None:
    process = {"statename": "RUNNING", "pid": 17, "start": 4000, "now": 400, "exitstatus": 0}

    assert service_status(StackSettings(tmp_path), "kafka", process).uptime_sec == 0
