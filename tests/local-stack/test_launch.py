"""How a service is found, whoever started it."""

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

from launch import PID_FILES, pid_file, running_pid
from paths import LOCAL_STACK
from waiting import eventually


def test_the_pid_file_counts_only_while_the_service_lives(tmp_path: Path) -> None:
    (tmp_path / PID_FILES).mkdir()
    command = [sys.executable, str(LOCAL_STACK / "launch.py"), "kafka", "sleep", "60"]

    with subprocess.Popen(command, cwd=tmp_path) as service:
        eventually(lambda: running_pid(tmp_path, "kafka"), "the service runs", deadline_sec=20)
        assert running_pid(tmp_path, "kafka") == service.pid

        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert second.returncode == 1
        assert second.stderr == f"kafka already runs as process {service.pid}\n"

        service.send_signal(signal.SIGKILL)
    assert pid_file(tmp_path, "kafka").read_text() == f"{service.pid}\n"
    assert running_pid(tmp_path, "kafka") is None
    assert running_pid(tmp_path, "zookeeper") is None


def test_a_look_at_the_pid_file_keeps_no_service_from_starting(tmp_path: Path) -> None:
    (tmp_path / PID_FILES).mkdir()
    command = [sys.executable, str(LOCAL_STACK / "launch.py"), "kafka", "sleep", "60"]
    with pid_file(tmp_path, "kafka").open("w") as look:
        fcntl.lockf(look, fcntl.LOCK_EX)
        service = subprocess.Popen(command, cwd=tmp_path)
        time.sleep(0.3)
    with service:
        eventually(lambda: running_pid(tmp_path, "kafka"), "the service runs", deadline_sec=20)
        service.kill()


def test_an_instance_runs_in_its_own_folder_and_holds_its_pid_file_in_that_of_the_stack(
    tmp_path: Path,
) -> None:
    (tmp_path / PID_FILES).mkdir()
    (tmp_path / "kafka-2").mkdir()
    launch = [sys.executable, LOCAL_STACK / "launch.py", "--folder", "kafka-2", "kafka-2"]

    result = subprocess.run([*launch, "pwd"], cwd=tmp_path, capture_output=True, text=True)

    assert result.stdout == f"{tmp_path / 'kafka-2'}\n", result.stderr
    assert pid_file(tmp_path, "kafka-2").exists()


def test_the_command_gets_its_arguments_unchanged(tmp_path: Path) -> None:
    (tmp_path / PID_FILES).mkdir()
    command = ["echo", "--override", "-h", "a b", "--", "c"]

    result = subprocess.run(
        [sys.executable, LOCAL_STACK / "launch.py", "kafka", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert result.stdout == "--override -h a b -- c\n", result.stderr
